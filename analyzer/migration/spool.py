"""Bytes that wait for their turn: in memory up to a limit, else in a temporary file."""

from __future__ import annotations

import os
import tempfile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO

__all__ = ["Kept", "Spool"]

PIECE = 1 << 16
"""Least bytes worth writing to the file, and how many are read back at once."""


class Spool:
    """The storage that several :class:`Kept` share.

    It has ``room`` bytes of memory (plus less than 64 KiB for each that is still being written),
    and an unnamed file for the rest.  The file is emptied when nothing in it is needed any more.
    """

    def __init__(self, room: int) -> None:
        self.room = room
        self.used = 0
        self._file: IO[bytes] | None = None
        self._end = 0
        self._needed = 0

    @property
    def full(self) -> bool:
        """Whether further bytes should go to the file."""
        return self.used > self.room

    def store(self, data: bytearray) -> int:
        """Write bytes to the file; gives their position in it.  Raises :class:`OSError`."""
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="mfshark-")  # noqa: SIM115 - closed with it
        place = self._end
        view = memoryview(data)
        while view:
            written = os.pwrite(self._file.fileno(), view, self._end)
            self._end += written
            view = view[written:]
        self._needed += len(data)
        return place

    def load(self, place: int, size: int) -> bytes:
        """Read stored bytes.  Raises :class:`OSError`."""
        assert self._file is not None
        return os.pread(self._file.fileno(), size, place)

    def release(self, size: int) -> None:
        """``size`` stored bytes are no longer needed."""
        self._needed -= size
        if not self._needed and self._file is not None:
            self._file.truncate(0)
            self._end = 0


class Kept:
    """Bytes that are written once, in order, with gaps of missing bytes, and read back any number
    of times until they are dropped.
    """

    __slots__ = ("_parts", "_spool", "_tail")

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._parts: list[bytearray | tuple[int, int] | int] = []  # or (position, size), or a gap
        self._tail = bytearray()

    def write(self, data: bytes | memoryview) -> None:
        """Append bytes.  Raises :class:`OSError` if they do not fit on the disk."""
        self._tail += data
        self._spool.used += len(data)
        if self._spool.full and len(self._tail) >= PIECE:
            self.settle()

    def skip(self, size: int) -> None:
        """Append a gap of ``size`` bytes, which takes no room."""
        self.settle()
        self._parts.append(size)

    def settle(self) -> None:
        """Finish a part: if memory is short, it is written to the file."""
        if not self._tail:
            return
        if self._spool.full:
            size = len(self._tail)
            self._parts.append((self._spool.store(self._tail), size))
            self._spool.used -= size
        else:
            self._parts.append(self._tail)
        self._tail = bytearray()

    def pieces(self) -> Iterator[tuple[bytes | None, int]]:
        """All bytes, as pieces with their sizes; ``None`` is a gap."""
        self.settle()
        for part in self._parts:
            if isinstance(part, int):
                yield None, part
            elif isinstance(part, bytearray):
                for at in range(0, len(part), PIECE):
                    piece = bytes(part[at : at + PIECE])
                    yield piece, len(piece)
            else:
                place, size = part
                for at in range(0, size, PIECE):
                    piece = self._spool.load(place + at, min(PIECE, size - at))
                    yield piece, len(piece)

    def drop(self) -> None:
        """Release the bytes."""
        self._spool.used -= len(self._tail)
        self._tail = bytearray()
        for part in self._parts:
            if isinstance(part, bytearray):
                self._spool.used -= len(part)
            elif isinstance(part, tuple):
                self._spool.release(part[1])
        self._parts.clear()
