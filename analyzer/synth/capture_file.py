"""Writes frames as pcap or pcapng, in both byte orders and resolutions."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from analyzer.synth.framing import LINKTYPES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Protocol

    from analyzer.synth.framing import Frame
    from analyzer.synth.pattern import Bytes
    from analyzer.synth.scenario import Capture

    class Writable(Protocol):
        """What is written to."""

        def write(self, data: bytes, /) -> object:
            """Take the bytes."""


__all__ = ["write"]

CHUNK: Final = 1 << 20
PADDING: Final = (b"", b"\0\0\0", b"\0\0", b"\0")


def write(frames: Iterable[Frame], capture: Capture, out: Writable) -> int:
    """Write a whole capture; gives the number of its bytes."""
    records = pcap(frames, capture) if capture.format == "pcap" else pcapng(frames, capture)
    pieces: list[Bytes] = []
    waiting = total = 0
    for record in records:
        pieces += record
        waiting += sum(map(len, record))
        if waiting >= CHUNK:
            out.write(b"".join(pieces))
            total += waiting
            waiting = 0
            pieces.clear()
    out.write(b"".join(pieces))
    return total + waiting


def cut(frame: Frame, snaplen: int) -> tuple[int, tuple[Bytes, ...]]:
    """The captured length and bytes of a frame."""
    size = sum(map(len, frame.parts))
    if size <= snaplen:
        return size, frame.parts
    return snaplen, (b"".join(frame.parts)[:snaplen],)


def pcap(frames: Iterable[Frame], capture: Capture) -> Iterator[tuple[Bytes, ...]]:
    """The file header and the records of a pcap file."""
    order = "<" if capture.byte_order == "little" else ">"
    nano = capture.resolution == "ns"
    magic = 0xA1B23C4D if nano else 0xA1B2C3D4
    fields = magic, 2, 4, 0, 0, capture.snaplen, LINKTYPES[capture.link]
    yield (struct.pack(order + "IHHiIII", *fields),)
    pack = struct.Struct(order + "IIII").pack
    snaplen = capture.snaplen
    for frame in frames:
        seconds, rest = divmod(frame.time, 1_000_000_000)
        size, parts = cut(frame, snaplen)
        yield (pack(seconds, rest if nano else rest // 1000, size, frame.wire), *parts)


def pcapng(frames: Iterable[Frame], capture: Capture) -> Iterator[tuple[Bytes, ...]]:
    """One section with one interface, and an enhanced packet block a frame."""
    order = "<" if capture.byte_order == "little" else ">"
    nano = capture.resolution == "ns"
    yield (block(order, 0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1)),)
    options = struct.pack(order + "HHB3xHH", 9, 1, 9, 0, 0) if nano else b""
    interface = struct.pack(order + "HHI", LINKTYPES[capture.link], 0, capture.snaplen)
    yield (block(order, 1, interface + options),)
    head = struct.Struct(order + "IIIIIII").pack
    tail = struct.Struct(order + "I").pack
    snaplen = capture.snaplen
    for frame in frames:
        stamp = frame.time if nano else frame.time // 1000
        size, parts = cut(frame, snaplen)
        padding = PADDING[size & 3]
        total = 32 + size + len(padding)
        start = head(6, total, 0, stamp >> 32, stamp & 0xFFFFFFFF, size, frame.wire)
        yield (start, *parts, padding, tail(total))


def block(order: str, kind: int, body: bytes) -> bytes:
    """A block with its two lengths; ``body`` is a multiple of 4 long."""
    total = struct.pack(order + "I", 12 + len(body))
    return struct.pack(order + "I", kind) + total + body + total
