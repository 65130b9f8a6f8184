"""Writes the packets that are shown: as CSV, as JSON lines, or as a smaller capture."""

from __future__ import annotations

import struct
from bisect import bisect_right
from pathlib import Path
from typing import TYPE_CHECKING

from analyzer.capture.file import CaptureFile
from analyzer.capture.link import decode
from analyzer.capture.source import open_source
from analyzer.report.packets import Listing

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import BinaryIO

    from analyzer.capture.frames import Batch, Interface
    from analyzer.tui.document import Document

__all__ = ["FORMATS", "export", "write_frames"]

FORMATS = ("csv", "jsonl", "pcapng")
SECTION, INTERFACE, ENHANCED = 0x0A0D0D0A, 1, 6


def export(document: Document, rows: Iterable[int], path: Path, format: str) -> int:  # noqa: A002
    """Write the packets of some rows to a new file; gives how many packets (frames, for pcapng).

    Raises :class:`OSError`, also when the file exists.
    """
    if format == "pcapng":
        with path.open("xb") as stream:
            return write_frames(document, rows, stream)
    listing = Listing(format)
    number = 0
    with path.open("x", encoding="utf-8", newline="") as text:
        text.writelines(line + listing.separator for line in listing.head())
        for line in listing.rows(document.table, rows):
            text.write(line + listing.separator)
            number += 1
        text.writelines(listing.tail())
    return number


# -- a smaller capture ------------------------------------------------------------------------


def write_frames(document: Document, rows: Iterable[int], stream: BinaryIO) -> int:
    """A pcapng file with the frames that carry the packets of some rows, and no others."""
    wanted = _spans(document, rows)
    writer = _Writer(stream)
    source = open_source(document.path)
    try:
        for batch in CaptureFile(source).batches():
            for number, start in enumerate(batch.starts, batch.first):
                captured, original = batch.record(batch.buffer, start - 16)[2:]
                segment = decode(batch.buffer, start, captured, original, batch.interface.link_type)
                if isinstance(segment, str) or not segment.length:
                    continue
                spans = wanted.get(segment.key)
                if spans is not None and _inside(spans, number):
                    writer.frame(batch, start, captured, original)
    finally:
        source.close()
    return writer.frames


def _spans(document: Document, rows: Iterable[int]) -> dict[bytes, list[list[int]]]:
    """By addresses and ports: the spans (first, last) of frames that are wanted, merged."""
    table = document.table
    first, last, flow = (table.column(name) for name in ("frame", "end_frame", "flow"))
    wanted: dict[bytes, list[list[int]]] = {}
    for row in rows:
        spans = wanted.setdefault(table.flows[flow[row]].key, [])
        begin, end = sorted((first[row], last[row]))
        if spans and begin <= spans[-1][1] + 1:
            spans[-1][1] = max(spans[-1][1], end)
            spans[-1][0] = min(spans[-1][0], begin)
        else:
            spans.append([begin, end])
    for spans in wanted.values():
        spans.sort()
    return wanted


def _inside(spans: list[list[int]], frame: int) -> bool:
    at = bisect_right(spans, [frame, 1 << 62]) - 1
    return at >= 0 and spans[at][0] <= frame <= spans[at][1]


class _Writer:
    """A pcapng section with nanosecond time stamps; interfaces as they are needed."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._interfaces: dict[int, int] = {}
        self.frames = 0
        self._block(SECTION, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1))

    def _block(self, kind: int, *parts: bytes | bytearray) -> None:
        body = b"".join(parts)
        body += bytes(-len(body) % 4)
        size = len(body) + 12
        self._stream.write(struct.pack("<II", kind, size) + body + struct.pack("<I", size))

    def _interface(self, interface: Interface) -> int:
        number = self._interfaces.get(id(interface))
        if number is None:
            number = self._interfaces[id(interface)] = len(self._interfaces)
            resolution = struct.pack("<HHB3xHH", 9, 1, 9, 0, 0)
            head = struct.pack("<HHI", interface.link_type, 0, interface.snaplen)
            self._block(INTERFACE, head, resolution)
        return number

    def frame(self, batch: Batch, start: int, captured: int, original: int) -> None:
        """One frame."""
        number = self._interface(batch.interface)
        seconds, rest = batch.record(batch.buffer, start - 16)[:2]
        time = batch.interface.clock(seconds, rest)
        head = struct.pack(
            "<IIIII", number, time >> 32 & 0xFFFFFFFF, time & 0xFFFFFFFF, captured, original
        )
        self._block(ENHANCED, head, batch.buffer[start : start + captured])
        self.frames += 1
