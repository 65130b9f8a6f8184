"""Reassembles device state: what main carried, then the buffers by index.

Wire-format page 5.2: a device's whole state is its DEV_DATA_STATE bytes on main in order, then the
data of its multifd buffers by index; the config-state buffer is separate.
"""

from __future__ import annotations

import hashlib

from analyzer.migration.consumers import DeviceCollector
from analyzer.migration.spool import Kept, Spool
from dissectors.multifd import device_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from analyzer.migration.main_channel import VfioSection
    from analyzer.migration.migration import Migration
    from analyzer.migration.rows import DevicePacket
    from analyzer.tcp.requests import Sink

    Key: TypeAlias = tuple[bytes, int]
    DeviceSink: TypeAlias = Callable[[str, int | None, bytes | None, int], None]

__all__ = ["Assembler", "Assembly"]

IN_MEMORY = 32 << 20
"""Buffers waiting for their turn are held in memory up to this many bytes, beyond that on disk."""


class _Held(Kept):
    """One buffer and its bytes, while it arrives and waits; ``left`` bytes are still to come."""

    __slots__ = ("broken", "idx", "is_config", "left", "size")

    def __init__(self, packet: DevicePacket, spool: Spool) -> None:
        super().__init__(spool)
        assert packet.idx is not None
        self.idx = packet.idx
        self.is_config = packet.is_config
        self.size = packet.data_size
        self.left = packet.data_size
        self.broken = False


class Assembly:
    """The state of one device while it is reassembled.

    ``main_bytes`` and ``data_bytes`` count the bytes reassembled so far, ``buffers`` the multifd
    buffers that arrived.  ``broken`` says that bytes of the data buffers are missing or ambiguous,
    ``main_broken`` that bytes on main are missing.  The digests are sha256 in hex, ``None`` where
    bytes are missing: ``data_digest`` of the data buffers by index, ``config_digest`` of the config
    state, ``state_digest`` of main's data and the data buffers.
    """

    def __init__(
        self,
        name: str,
        section: Callable[[], VfioSection | None],
        sink: DeviceSink | None = None,
    ) -> None:
        self.name = name
        self.main_bytes = 0
        self.data_bytes = 0
        self.broken = False
        self.main_broken = False
        self._section = section
        self._sink = sink
        self._state = hashlib.sha256()
        self._data = hashlib.sha256()
        self._config: str | None = None
        self._data_next = 0
        self._state_next = 0
        self._held: dict[int, _Held] = {}
        self._config_idx: int | None = None
        self.buffers = 0

    # -- main ---------------------------------------------------------------------------------

    def main_piece(self, piece: bytes | memoryview | None, size: int) -> None:
        """Sink for the device's DEV_DATA_STATE bytes on main."""
        self.main_bytes += size
        if piece is None:
            self.main_broken = True
            return
        self._state.update(piece)
        if self._sink is not None:
            self._sink("state", None, bytes(piece), size)

    # -- buffers ------------------------------------------------------------------------------

    def take(self, held: _Held) -> None:
        """Take a buffer that has arrived completely."""
        self.buffers += 1
        if held.is_config:
            self._config_idx = held.idx
            self._take_config(held)
            return
        if held.idx < self._data_next or held.idx in self._held:
            self.broken = True  # a duplicate index: it is ambiguous which one counts
            held.drop()
            return
        self._held[held.idx] = held
        self.drain(last=False)

    def _take_config(self, held: _Held) -> None:
        digest = hashlib.sha256()
        self._use(held, "config", digest)
        self._config = None if held.broken else digest.hexdigest()
        held.drop()

    def _use(self, held: _Held, what: str, digest: hashlib._Hash | None) -> None:
        """Pass a buffer's bytes to the sink, and to ``digest`` unless bytes are missing."""
        if held.broken:
            digest = None
        if digest is None and self._sink is None:
            return
        for data, size in held.pieces():
            if digest is not None and data is not None:
                digest.update(data)
            if self._sink is not None:
                self._sink(what, held.idx, data, size)

    def drain(self, *, last: bool) -> None:
        """Use the buffers that are next in order; with ``last``, main is taken to have ended."""
        while (held := self._held.get(self._data_next)) is not None:
            self.broken |= held.broken
            self._use(held, "buffer", None if self.broken else self._data)
            self._data_next += 1
            self.data_bytes += held.size
        if not last and not self._main_ended:
            return
        while self._state_next < self._data_next:
            held = self._held.pop(self._state_next)
            self._use(held, "state", None if self.broken else self._state)
            held.drop()
            self._state_next += 1

    def finish(self) -> None:
        """End of the capture: buffers behind a missing index are passed on as they are."""
        self.drain(last=True)
        for idx in sorted(self._held):
            held = self._held.pop(idx)
            self.broken = True
            self._use(held, "buffer", None)
            held.drop()

    @property
    def _main_ended(self) -> bool:
        """Whether main can carry no more data of this device."""
        section = self._section()
        return section is not None and section.data_ended is not None

    @property
    def complete(self) -> bool:
        """Whether all data buffers before the config state were reassembled, with no bytes
        missing.
        """
        return not self.broken and self._config_idx == self._data_next

    @property
    def data_digest(self) -> str | None:
        """sha256 of the data buffers joined by index, or ``None``."""
        return self._data.hexdigest() if self.complete else None

    @property
    def config_digest(self) -> str | None:
        """sha256 of the config state, or ``None``."""
        return self._config

    @property
    def state_digest(self) -> str | None:
        """sha256 of the device's whole state, or ``None`` where the capture lacks some of it."""
        section = self._section()
        over_main = not self.buffers and section is not None and section.announced == "main"
        if self.main_broken or not (self.complete or over_main):
            return None
        return self._state.hexdigest()


class Assembler(DeviceCollector):
    """Reassembles every device of a scan.

    ``wanted(name)`` selects devices by ``idstr#instance``; ``sink_of(migration, name)`` gives
    ``sink(what, idx, data, size)`` for a device's bytes: ``state`` (in order, main's first),
    ``buffer`` (each data buffer in index order) and ``config``; where ``data`` is ``None``,
    ``size`` bytes are missing from the capture.
    """

    def __init__(
        self,
        wanted: Callable[[str], bool] | None = None,
        sink_of: Callable[[Migration, str], DeviceSink] | None = None,
    ) -> None:
        self.assemblies: dict[tuple[int, Key], Assembly] = {}
        self._wanted = wanted
        self._sink_of = sink_of
        self._spool = Spool(IN_MEMORY)

    def of(self, migration: Migration, key: Key) -> Assembly | None:
        """The assembly of one device, if it was wanted and carried anything."""
        return self.assemblies.get((migration.number, key))

    def finish(self) -> None:
        """The scan has ended."""
        for assembly in self.assemblies.values():
            assembly.finish()

    def _assembly(self, migration: Migration, key: Key) -> Assembly | None:
        name = device_name(*key)
        found = self.assemblies.get((migration.number, key))
        if found is None and (self._wanted is None or self._wanted(name)):
            sink = self._sink_of(migration, name) if self._sink_of is not None else None
            found = Assembly(name, lambda: migration.vfio_sections.get(key), sink)
            self.assemblies[migration.number, key] = found
        return found

    def main_data(self, migration: Migration, key: Key) -> Sink | None:
        """The sink for a device's bytes on main; see DeviceCollector."""
        assembly = self._assembly(migration, key)
        return assembly.main_piece if assembly is not None else None

    def buffer(self, migration: Migration, packet: DevicePacket) -> Sink | None:
        """The sink for a multifd buffer's data; see DeviceCollector."""
        key = migration.device_key(packet)
        assembly = self._assembly(migration, key)
        if assembly is None:
            return None
        held = _Held(packet, self._spool)

        def sink(piece: bytes | memoryview | None, size: int) -> None:
            if not size:
                return  # an empty buffer was taken below
            if piece is None:
                held.broken = True
                held.skip(size)
            else:
                held.write(piece)
            held.left -= size
            if not held.left:
                held.settle()
                assembly.take(held)

        if not held.left:
            assembly.take(held)
        return sink
