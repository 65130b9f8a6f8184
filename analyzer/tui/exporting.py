"""Writes the packets that are shown: as CSV, as JSON lines, or as a smaller capture."""

from __future__ import annotations

from bisect import bisect_right
from pathlib import Path
from typing import TYPE_CHECKING

from analyzer.capture.file import CaptureFile
from analyzer.capture.link import decode
from analyzer.capture.source import open_source
from analyzer.capture.writing import PcapngWriter
from analyzer.report.packets import Listing

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import BinaryIO

    from analyzer.tui.document import Document

__all__ = ["FORMATS", "export", "write_frames"]

FORMATS = ("csv", "jsonl", "pcapng")


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
    """A pcapng file with the frames that carry the packets of some rows, and no others; where the
    capture was made into another one to be read, with that one's frames.
    """
    wanted = _spans(document, rows)
    writer = PcapngWriter(stream)
    converted = document.scan.reading.converted if document.scan is not None else None
    source = open_source(document.path) if converted is None else converted.open()
    try:
        for batch in CaptureFile(source).batches():
            for number, start in enumerate(batch.starts, batch.first):
                captured, original = batch.record(batch.buffer, start - 16)[2:]
                segment = decode(batch.buffer, start, captured, original, batch.interface.link_type)
                if isinstance(segment, str) or not segment.length:
                    continue
                spans = wanted.get(segment.key)
                if spans is not None and _inside(spans, number):
                    writer.frame(batch, start, batch.buffer[start : start + captured])
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
