"""Streaming Zstandard decompression that notices a file ending inside a frame.

The library takes the end of its input for the end of the data wherever it comes, so the frame
structure is tracked alongside (RFC 8878, section 3.1).
"""

from __future__ import annotations

import zstandard

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    class Readable(Protocol):
        """The stream of compressed bytes."""

        def read(self, size: int, /) -> bytes | None:
            """At most ``size`` bytes; ``b""`` or ``None`` at the end."""
            ...


__all__ = ["BROKEN", "ZstdStream"]

WINDOW_MAX = 1 << 27
SKIPPABLE = 0x184D2A50
DICTIONARY_SIZES = 0, 1, 2, 4
CONTENT_SIZES = 0, 2, 4, 8
RLE = 1

BROKEN = (zstandard.ZstdError, EOFError)
"""What :meth:`ZstdStream.read1` raises for a damaged stream."""


class ZstdStream:
    """The decompressed content of ``handle``."""

    def __init__(self, handle: Readable) -> None:
        self._handle = handle
        self._frames = _Frames()
        self._reader = zstandard.ZstdDecompressor(max_window_size=WINDOW_MAX).stream_reader(
            self,  # type: ignore[arg-type]
            read_across_frames=True,
        )

    def read1(self, size: int, /) -> bytes:
        """At most ``size`` bytes, decompressed.  Raises one of :data:`BROKEN`."""
        data = self._reader.read1(size)
        if not data and size and not self._frames.whole:
            raise EOFError("Compressed file ended before the end of a frame was reached")
        return data

    def read(self, size: int, /) -> bytes:
        """Compressed bytes; the decompressor calls it."""
        data = self._handle.read(size) or b""
        self._frames.follow(data)
        return data


class _Frames:
    """Tracks frames and blocks; anything invalid the library refuses itself."""

    def __init__(self) -> None:
        self._skip = 0
        self._need = 4  # length of the next header, which self._take reads
        self._take: Callable[[int], None] = self._begin
        self._head = bytearray()
        self._checksum = 0

    @property
    def whole(self) -> bool:
        """Whether the bytes so far end at the end of a frame."""
        return not self._skip and not self._head and self._take == self._begin

    def follow(self, data: bytes) -> None:
        """The next bytes."""
        at = 0
        while at < len(data):
            if self._skip:
                step = min(self._skip, len(data) - at)
                self._skip -= step
                at += step
                continue
            piece = data[at : at + self._need - len(self._head)]
            self._head += piece
            at += len(piece)
            if len(self._head) == self._need:
                bits = int.from_bytes(self._head, "little")
                self._head.clear()
                self._take(bits)

    def _begin(self, magic: int) -> None:
        if magic & ~15 == SKIPPABLE:
            self._need, self._take = 4, self._skippable
        else:
            self._need, self._take = 1, self._descriptor

    def _skippable(self, size: int) -> None:
        self._skip = size
        self._need, self._take = 4, self._begin

    def _descriptor(self, bits: int) -> None:
        single = bits >> 5 & 1
        window = 1 - single
        self._checksum = bits & 4
        self._skip = window + DICTIONARY_SIZES[bits & 3] + (CONTENT_SIZES[bits >> 6] or single)
        self._need, self._take = 3, self._block

    def _block(self, bits: int) -> None:
        self._skip = 1 if bits >> 1 & 3 == RLE else bits >> 3
        if bits & 1:  # the last one
            self._skip += self._checksum
            self._need, self._take = 4, self._begin
