"""Payloads of RAM packets by ``multifd-compression`` method (wire-format page, section 3.8)."""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, Protocol

import zstandard

if TYPE_CHECKING:
    from collections.abc import Sequence

    from analyzer.synth.pattern import Bytes

__all__ = ["Compressor", "compressor"]

QATZIP_INPUT = 65536


class Compressor(Protocol):
    """Compresses the pages of one channel's packets."""

    def __call__(self, pages: Sequence[Bytes]) -> tuple[Bytes, ...]:
        """The payload, in pieces."""


def plain(pages: Sequence[Bytes]) -> tuple[Bytes, ...]:
    """No compression."""
    return tuple(pages)


class ZlibStream:
    """One zlib stream for the channel's life, flushed after every packet."""

    def __init__(self) -> None:
        self._stream = zlib.compressobj(1)

    def __call__(self, pages: Sequence[Bytes]) -> tuple[Bytes, ...]:
        """The next stretch of the stream."""
        out = [self._stream.compress(page) for page in pages]
        return (b"".join([*out, self._stream.flush(zlib.Z_SYNC_FLUSH)]),)


class ZstdStream:
    """One zstd frame for the channel's life, flushed after every packet."""

    def __init__(self) -> None:
        self._stream = zstandard.ZstdCompressor(level=1).compressobj()

    def __call__(self, pages: Sequence[Bytes]) -> tuple[Bytes, ...]:
        """The next stretch of the frame."""
        out = [self._stream.compress(page) for page in pages]
        return (b"".join([*out, self._stream.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)]),)


def page_by_page(pages: Sequence[Bytes], wbits: int) -> tuple[Bytes, ...]:
    """Lengths, then the pages, each deflated, or raw if that is not shorter."""
    out: list[Bytes] = []
    for page in pages:
        stream = zlib.compressobj(1, zlib.DEFLATED, wbits)
        small = stream.compress(page) + stream.flush()
        out.append(small if len(small) < len(page) else page)
    return (struct.pack(f">{len(out)}I", *map(len, out)), *out)


def qpl(pages: Sequence[Bytes]) -> tuple[Bytes, ...]:
    """QPL: raw deflate with a window of 4 KiB."""
    return page_by_page(pages, -12)


def uadk(pages: Sequence[Bytes]) -> tuple[Bytes, ...]:
    """UADK: zlib format."""
    return page_by_page(pages, 15)


def qatzip(pages: Sequence[Bytes]) -> tuple[Bytes, ...]:
    """QATzip: gzip members with the extra field "QZ", 64 KiB of input each."""
    whole = b"".join(pages)
    out = []
    for at in range(0, len(whole), QATZIP_INPUT):
        piece = whole[at : at + QATZIP_INPUT]
        stream = zlib.compressobj(1, zlib.DEFLATED, -15)
        body = stream.compress(piece) + stream.flush()
        extra = struct.pack("<2sHII", b"QZ", 8, len(piece), len(body))
        head = struct.pack("<4BIBBH", 0x1F, 0x8B, 8, 4, 0, 0, 255, len(extra))
        out.append(head + extra + body + struct.pack("<II", zlib.crc32(piece), len(piece)))
    return (b"".join(out),)


def compressor(method: str) -> Compressor:
    """A new channel's compressor for a method's name."""
    made: Compressor
    if method == "zlib":
        made = ZlibStream()
    elif method == "zstd":
        made = ZstdStream()
    else:
        made = {"none": plain, "qpl": qpl, "uadk": uadk, "qatzip": qatzip}[method]
    return made
