"""Exports the packets that are shown: as CSV, as JSON lines, or as a smaller capture."""

from __future__ import annotations

from bisect import bisect_right
from pathlib import Path
from typing import TYPE_CHECKING

from analyzer.capture.file import CaptureFile
from analyzer.capture.segment import SYN, decode
from analyzer.capture.sequence import MASK, ahead_of
from analyzer.capture.source import open_source
from analyzer.capture.writing import PcapngWriter
from analyzer.report.packets import Listing

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import BinaryIO

    from analyzer.capture.segment import Segment
    from analyzer.migration.table import StreamRef
    from analyzer.tui.document import Document

__all__ = ["FORMATS", "export", "format_of", "write_frames"]

FORMATS = ("csv", "jsonl", "pcapng")


def format_of(name: str) -> str | None:
    """The format given by the ending of a file's name; ``None`` if it is no known one."""
    ending = name.rpartition(".")[2].lower()
    return ending if ending in FORMATS else None


def export(document: Document, rows: Iterable[int], path: Path, format: str) -> int:  # noqa: A002
    """Write the packets of some rows to a new file; returns the number of packets (pcapng: frames).

    Raises :class:`OSError`, also if the file exists.
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
    """Write a pcapng file with just the frames that carry the packets of some rows; returns how
    many.  If the capture had to be converted to be read, the frames are those of the conversion.
    """
    wanted = _wanted(document, rows)
    writer = PcapngWriter(stream)
    converted = document.scan.reading.converted if document.scan is not None else None
    source = open_source(document.path) if converted is None else converted.open()
    try:
        for batch in CaptureFile(source).batches():
            for number, start in enumerate(batch.starts, batch.first):
                captured, original = batch.lengths(start)
                segment = decode(batch.buffer, start, captured, original, batch.interface.link_type)
                if isinstance(segment, str):
                    continue
                streams = wanted.get(segment.key, ())
                if any(stream.carries(segment, number) for stream in streams):
                    writer.frame(batch, start, batch.buffer[start : start + captured])
    finally:
        source.close()
    return writer.frames


class _Wanted:
    """The parts of a stream to export: merged, ascending spans (first, behind the last) of stream
    offsets.  For decrypted TLS they are spans of frame numbers, as offsets in the plaintext differ
    from those in the frames.
    """

    def __init__(self, stream: StreamRef, spans: list[tuple[int, int]]) -> None:
        self._origin = None if stream.decrypted else stream.origin
        self._current = True  # false: the ports are being used by another connection
        self._near = 0  # highest stream offset so far, for unwrapping sequence numbers
        self._starts: list[int] = []
        self._ends: list[int] = []
        for first, end in sorted(spans):
            if self._ends and first <= self._ends[-1]:
                self._ends[-1] = max(self._ends[-1], end)
            else:
                self._starts.append(first)
                self._ends.append(end)

    def carries(self, segment: Segment, frame: int) -> bool:
        """Whether a segment, in frame number ``frame``, carries any of the wanted bytes."""
        first, end = frame, frame + 1
        if self._origin is not None:
            seq = segment.seq
            if segment.flags & SYN:
                seq = seq + 1 & MASK
                self._current = seq == self._origin
            if not self._current:
                return False
            first = self._near + ahead_of(seq, self._origin + self._near & MASK)
            end = first + segment.length
            self._near = max(self._near, end)
        at = bisect_right(self._starts, end - 1) - 1
        return segment.length > 0 and at >= 0 and first < self._ends[at]


def _wanted(document: Document, rows: Iterable[int]) -> dict[bytes, list[_Wanted]]:
    """The wanted parts of all streams, by the key (addresses and ports) of their segments."""
    table = document.table
    spans: dict[int, list[tuple[int, int]]] = {}
    for row in rows:
        flow = table.column("flow")[row]
        if table.flows[flow].decrypted:
            first, last = sorted(table.column(name)[row] for name in ("frame", "end_frame"))
            span = first, last + 1
        else:
            first = table.column("offset")[row]
            span = first, first + table.column("length")[row]
        spans.setdefault(flow, []).append(span)
    wanted: dict[bytes, list[_Wanted]] = {}
    for flow, found in spans.items():
        stream = table.flows[flow]
        wanted.setdefault(stream.key, []).append(_Wanted(stream, found))
    return wanted
