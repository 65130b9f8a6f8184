"""Digests of device state, piece by piece, so that two migrations can be compared.

A piece is a buffer, or 1 MiB of what main carried of a device.  Wire-format page, section 5.2.
"""

from __future__ import annotations

import hashlib

from analyzer.migration.assembly import Assembler

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import TypeAlias

    from analyzer.migration.migration import Migration

    DeviceKey: TypeAlias = tuple[int, str]
    Piece: TypeAlias = tuple[str, int]

__all__ = ["MAIN_PIECE", "DeviceContents", "DevicePieces", "first_differences"]

MAIN, BUFFER, CONFIG = "main", "buffer", "config"
PARTS = (MAIN, BUFFER, CONFIG)
"""Parts of a device's state, in the order in which a receiver loads them."""
MAIN_PIECE = 1 << 20
KEPT_MAX = 64 << 20
"""Most bytes kept of pieces, over all devices."""


class _Taker:
    """A device sink that splits the bytes into pieces: ``take(piece, data)`` gets each piece's
    bytes, in order.
    """

    def __init__(self, take: Callable[[Piece, bytes], None]) -> None:
        self._take = take
        self._main = 0

    def __call__(self, what: str, idx: int | None, data: bytes | None, _size: int) -> None:
        if data is None:
            return
        if what != "state":
            self._take((what, idx or 0), data)
        elif idx is None:
            self._take_main(data)

    def _take_main(self, data: bytes) -> None:
        at = 0
        while at < len(data):
            number, used = divmod(self._main, MAIN_PIECE)
            piece = data[at : at + MAIN_PIECE - used]
            self._take((MAIN, number), piece)
            self._main += len(piece)
            at += len(piece)


class DeviceContents:
    """The digest of every piece of every device; a scan takes its ``assembler``.

    ``digests[migration number, "idstr#instance"][part, index]`` are 16 bytes; pieces with missing
    bytes have no digest.
    """

    def __init__(self) -> None:
        self.assembler = Assembler(sink_of=self._sink_of)
        self.digests: dict[DeviceKey, dict[Piece, bytes]] = {}
        self._open: dict[DeviceKey, tuple[Piece, hashlib._Hash]] = {}

    def _sink_of(self, migration: Migration, name: str) -> _Taker:
        key = migration.number, name
        self.digests[key] = {}
        return _Taker(lambda piece, data: self._take(key, piece, data))

    def _take(self, key: DeviceKey, piece: Piece, data: bytes) -> None:
        opened = self._open.get(key)
        if opened is None or opened[0] != piece:
            self._close(key)
            opened = self._open[key] = piece, hashlib.sha256()
        opened[1].update(data)

    def _close(self, key: DeviceKey) -> None:
        opened = self._open.pop(key, None)
        if opened is not None:
            self.digests[key][opened[0]] = opened[1].digest()[:16]

    def finish(self, migrations: Iterable[Migration]) -> None:
        """The scan has ended, with these migrations."""
        for key in list(self._open):
            self._close(key)
        for (number, _), assembly in self.assembler.assemblies.items():
            if assembly.main_broken:
                found = self.digests[number, assembly.name]
                for piece in [piece for piece in found if piece[0] == MAIN]:
                    del found[piece]
        for migration in migrations:
            for device in migration.devices.values():
                found = self.digests.get((migration.number, device.name), {})
                for buffer in device.buffers:
                    if buffer.missing:
                        found.pop((CONFIG if buffer.is_config else BUFFER, buffer.idx), None)


def first_differences(one: dict[Piece, bytes], other: dict[Piece, bytes]) -> list[Piece]:
    """For each part the first piece that both devices have and that differs."""
    first: dict[str, int] = {}
    for part, index in one.keys() & other.keys():
        if one[part, index] != other[part, index]:
            first[part] = min(index, first.get(part, index))
    return [(part, first[part]) for part in PARTS if part in first]


class DevicePieces:
    """The bytes of selected pieces; a scan takes its ``assembler``.

    ``wanted`` are devices and pieces; ``found`` has their bytes, at most ``KEPT_MAX`` in all.
    """

    def __init__(self, wanted: set[tuple[DeviceKey, Piece]]) -> None:
        names = {name for (_, name), _ in wanted}
        self.assembler = Assembler(names.__contains__, self._sink_of)
        self.found: dict[tuple[DeviceKey, Piece], bytearray] = {}
        self._wanted = wanted
        self._room = KEPT_MAX

    def _sink_of(self, migration: Migration, name: str) -> _Taker:
        device = migration.number, name

        def take(piece: Piece, data: bytes) -> None:
            key = device, piece
            if key in self._wanted:
                kept = data[: self._room]
                self._room -= len(kept)
                self.found.setdefault(key, bytearray()).extend(kept)

        return _Taker(take)
