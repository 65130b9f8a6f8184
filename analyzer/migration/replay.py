"""Reads bytes of a stream again, from the file position where they were first seen.

The packet table has no payload; a packet's bytes are read again here.  Nothing is detected anew:
the stream's addresses, the sequence number of its first byte and the file position come from the
scan.
"""

from __future__ import annotations

import os
from bisect import bisect_left, bisect_right
from contextlib import closing
from itertools import chain

from analyzer.capture.file import CaptureFile
from analyzer.capture.frames import RECORD
from analyzer.capture.link import ETHERNET
from analyzer.capture.segment import RST, SYN, TCP, decode
from analyzer.capture.sequence import MASK, ahead_of
from analyzer.capture.source import open_source
from analyzer.errors import CaptureError
from analyzer.migration.scan import Scan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator
    from typing import TypeAlias

    from analyzer.capture.frames import Batch
    from analyzer.capture.replayable import ReplayableStream
    from analyzer.capture.segment import Segment
    from analyzer.capture.source import Source
    from analyzer.migration.table import PacketTable, StreamRef

    Capture: TypeAlias = "str | os.PathLike[str] | bytes | Scan"
    Piece: TypeAlias = tuple[bytes | None, int]

__all__ = ["LIMIT", "Excerpt", "Replay", "frame_places", "read_packet", "reopening"]

LIMIT = 2 << 20
"""Bytes; enough for every packet that QEMU sends."""
WAITING_BYTES = 8 << 20
WAITING_PIECES = 1 << 15
PLAIN = b"\x08\x00\x45"
"""IPv4 without options after an Ethernet header: addresses and ports begin at offset 26."""


class Excerpt:
    """Bytes that were read again.

    ``data`` has zeros where the capture lacks bytes; ``holes`` lists these ranges as (first, end)
    in ``data``.
    """

    __slots__ = ("data", "holes")

    def __init__(self, data: bytes, holes: list[tuple[int, int]]) -> None:
        self.data = data
        self.holes = holes

    @property
    def there(self) -> bytes:
        """The bytes that the capture has, without the holes."""
        parts, at = [], 0
        for first, end in self.holes:
            parts.append(self.data[at:first])
            at = end
        return b"".join([*parts, self.data[at:]])


class Replay:
    """Reads a capture again.

    ``capture`` is a path, the capture's bytes, or the scan that has read it, which knows the
    interface declarations that reading from the middle of a pcapng file needs, and the conversion
    that tshark made.  A plain file is read from the wanted position on; a compressed one from its
    start, unless the position is ahead of the last one, so reading in file order is cheap.  Not
    thread-safe.  Raises :class:`CaptureError` for standard input and other files that are not
    regular.
    """

    def __init__(self, capture: Capture | ReplayableStream) -> None:
        self._reopen = reopening(capture)
        self._declarations = capture.file.declarations if isinstance(capture, Scan) else ()
        self._scan = capture if isinstance(capture, Scan) else None
        self._decrypted: Replay | None = None
        self._source: Source | None = None
        self._batches: Iterator[Batch] | None = None
        self._batch: Batch | None = None

    def close(self) -> None:
        """Close the file."""
        self._batches = self._batch = None
        if self._source is not None:
            self._source.close()
            self._source = None
        if self._decrypted is not None:
            self._decrypted.close()

    def packet(self, table: PacketTable, row: int, limit: int = LIMIT) -> Excerpt:
        """The first ``limit`` bytes of a packet, header and payload."""
        at = {name: table.column(name)[row] for name in ("flow", "offset", "length", "pos")}
        cut = table.column("cut")[row]
        length, missing = at["length"] - cut, table.column("missing")[row] - cut
        if not missing:
            length = min(length, limit)
        pieces = self.stream_bytes(
            table.flows[at["flow"]], at["offset"], length, at["pos"], missing
        )
        return _excerpt(chain(pieces, [(None, cut)]), limit)

    def stream_bytes(
        self, stream: StreamRef, offset: int, length: int, pos: int, missing: int = 0
    ) -> Iterator[Piece]:
        """``length`` bytes of a stream from ``offset`` on, in order, in pieces of any size.

        A piece is (bytes, size), or (``None``, size) for a hole.  ``pos`` is the file position in
        the first byte's Place.  ``missing`` of the bytes are known to be missing from the capture:
        reading stops when all others are found.  At most some MiB are held at a time; bytes that
        come later than that count as missing.
        """
        if stream.decrypted and self._scan is not None:
            if self._decrypted is None and self._scan.plaintext is not None:
                self._decrypted = Replay(self._scan.plaintext)
            if self._decrypted is None:  # it is still being decrypted for the first time
                yield None, length
            else:
                yield from self._decrypted.stream_bytes(stream, offset, length, pos, missing)
            return
        pieces = _Pieces(offset, offset + length)
        for segment, buffer in self._segments(stream, pos):
            seq = segment.seq + 1 if segment.flags & SYN else segment.seq
            ahead = ahead_of(seq, stream.origin + pieces.due)
            with memoryview(buffer) as view:
                start = segment.start
                pieces.add(
                    pieces.due + ahead, view[start : start + segment.captured], segment.length
                )
            yield from pieces.take()
            if pieces.complete(length - missing):
                break
        yield from pieces.rest()

    def stretch(self, stream: StreamRef, offset: int, length: int, pos: int) -> Excerpt:
        """The same as :meth:`stream_bytes` in one piece, with zeros where bytes are missing."""
        return _excerpt(self.stream_bytes(stream, offset, length, pos), length)

    # -- frames -------------------------------------------------------------------------------

    def _segments(self, stream: StreamRef, pos: int) -> Iterator[tuple[Segment, bytearray]]:
        """The segments of a stream that carry payload, from a file position on."""
        key = stream.key
        short = len(key) == 12
        for batch in self._frames(pos):
            buffer = batch.buffer
            link = batch.interface.link_type
            plain = short and link == ETHERNET
            for start in batch.starts[bisect_left(batch.starts, pos + RECORD - batch.base) :]:
                if (
                    plain
                    and buffer[start + 26 : start + 38] != key
                    and buffer[start + 12 : start + 15] == PLAIN
                    and buffer[start + 23] == TCP
                ):
                    continue
                captured, original = batch.lengths(start)
                segment = decode(buffer, start, captured, original, link)
                if isinstance(segment, str) or segment.key != key:
                    continue
                if segment.flags & SYN and segment.seq + 1 & MASK != stream.origin:
                    return  # the next connection on the same ports
                if segment.length:
                    yield segment, buffer
                if segment.flags & RST:
                    return

    def _frames(self, pos: int) -> Iterator[Batch]:
        """Batches of frames, the first one containing the frame at ``pos``."""
        batch = self._batch
        if batch is None or not _first(batch) <= pos <= _last(batch):
            ahead = batch is not None and pos > _last(batch)
            if not ahead or self._source is None or self._source.seek(0):
                self._open(pos)
        else:
            yield batch
        assert self._batches is not None
        for batch in self._batches:
            self._batch = batch
            if _last(batch) >= pos:
                yield batch
        self._batch = self._batches = None  # the file may grow until it is read next

    def _open(self, pos: int) -> None:
        if self._source is None or not self._source.seek(0):
            self.close()
            self._source = self._reopen()
        file = CaptureFile(self._source)
        file.begin_at(pos, self._declarations)
        self._batch = None
        self._batches = file.batches()


def _excerpt(pieces: Iterable[Piece], limit: int) -> Excerpt:
    """The first ``limit`` bytes of consecutive pieces."""
    data = bytearray()
    holes: list[tuple[int, int]] = []
    for piece, size in pieces:
        kept = min(size, limit - len(data))
        if piece is None and kept:
            holes.append((len(data), len(data) + kept))
        data += bytes(kept) if piece is None else piece[:kept]
        if len(data) >= limit:
            break
    return Excerpt(bytes(data), holes)


def frame_places(scan: Scan, frames: Collection[int]) -> dict[int, tuple[int, int]]:
    """Offset and length of frames' captured bytes in the (uncompressed) file, by frame number.

    Reads the file again up to the last of ``frames``; empty where that is impossible, or the
    capture was read through tshark.
    """
    if not frames or scan.reading.through:
        return {}
    try:
        with closing(reopening(scan.path)()) as source:
            return _found_in(CaptureFile(source), sorted(frames))
    except CaptureError:
        return {}


def _found_in(file: CaptureFile, wanted: list[int]) -> dict[int, tuple[int, int]]:
    found: dict[int, tuple[int, int]] = {}
    for batch in file.batches():
        after = batch.first + batch.count
        here = wanted[bisect_left(wanted, batch.first) : bisect_left(wanted, after)]
        if here:
            starts, stops = batch.starts, batch.stops
            for frame in here:
                start = starts[frame - batch.first]
                found[frame] = batch.base + start, stops[frame - batch.first] - start
        if after > wanted[-1]:
            break
    return found


def reopening(capture: Capture | ReplayableStream) -> Callable[[], Source]:
    """A function that opens a file from its beginning, any number of times.  Raises
    :class:`CaptureError` for one that can be read only once.
    """
    if isinstance(capture, Scan) and capture.reading.converted is not None:
        return capture.reading.converted.open
    path = capture.path if isinstance(capture, Scan) else capture
    if not isinstance(path, str | bytes | os.PathLike):
        return path.open
    if not isinstance(path, bytes) and not os.path.isfile(path):
        raise CaptureError(
            "cannot be read a second time",
            path=os.fspath(path),
            advice="save the capture to a file first",
        )
    return lambda: open_source(path)


def _first(batch: Batch) -> int:
    return batch.position(batch.heads[0])


def _last(batch: Batch) -> int:
    return batch.position(batch.last)


class _Pieces:
    """Puts the pieces of stream bytes ``due`` to ``end`` in order; the first copy of a byte
    counts.
    """

    def __init__(self, due: int, end: int) -> None:
        self.due = due
        self.end = end
        self._found = 0
        self._held = 0  # bytes
        self._starts: list[int] = []
        self._parts: list[Piece] = []
        self._passed = False  # the last byte, or a later one, was seen

    def add(self, first: int, data: memoryview, length: int) -> None:
        """Add a segment of ``length`` bytes at ``first``; those that ``data`` lacks were cut by
        snaplen.
        """
        self._passed = self._passed or first + length >= self.end
        self._add(first, data, len(data))
        self._add(first + len(data), None, length - len(data))

    def _add(self, first: int, data: memoryview | None, length: int) -> None:
        begin, stop = max(first, self.due), min(first + length, self.end)
        at = bisect_right(self._starts, begin)
        if at:
            begin = max(begin, self._starts[at - 1] + self._parts[at - 1][1])
        while begin < stop:
            until = min(stop, self._starts[at]) if at < len(self._starts) else stop
            if begin < until:
                part = None if data is None else bytes(data[begin - first : until - first])
                self._starts.insert(at, begin)
                self._parts.insert(at, (part, until - begin))
                if part is not None:
                    self._found += len(part)
                    self._held += len(part)
            begin = self._starts[at] + self._parts[at][1]
            at += 1

    def complete(self, expected: int) -> bool:
        """Whether all bytes were found, if ``expected`` of them are in the capture."""
        return self.due >= self.end or (self._found >= expected and self._passed)

    def take(self) -> Iterator[Piece]:
        """The pieces in order; with too much waiting, also those after a hole."""
        starts, parts = self._starts, self._parts
        while starts:
            if starts[0] > self.due:
                if self._held <= WAITING_BYTES and len(parts) <= WAITING_PIECES:
                    return
                yield self._hole(starts[0])
            part, size = parts[0]
            del starts[0], parts[0]
            if part is not None:
                self._held -= size
            self.due += size
            yield part, size

    def rest(self) -> Iterator[Piece]:
        """All remaining pieces, with their holes."""
        while self._starts:
            if self._starts[0] > self.due:
                yield self._hole(self._starts[0])
            yield from self.take()
        if self.due < self.end:
            yield self._hole(self.end)

    def _hole(self, end: int) -> Piece:
        size = end - self.due
        self.due = end
        return None, size


def read_packet(
    capture: Capture | Replay, table: PacketTable, row: int, limit: int = LIMIT
) -> bytes:
    """The first ``limit`` bytes of a packet, zeros where the capture lacks them.

    To read many packets, pass a :class:`Replay`.  Raises :class:`CaptureError`.
    """
    if isinstance(capture, Replay):
        return capture.packet(table, row, limit).data
    replay = Replay(capture)
    try:
        return replay.packet(table, row, limit).data
    finally:
        replay.close()
