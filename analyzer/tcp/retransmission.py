"""Finds the first copy of retransmitted bytes, so that both can be compared.

Segments are not kept: the file is read again.  A retransmission usually follows soon, so the search
first goes backwards from it.  A flow also notes, once per batch, the batch's file position and the
flow's offset after it: what is not nearby is searched for in the batch that carried it.  A segment
is recognised by the flow's addresses and ports, which are adjacent in its headers.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from operator import ne

from analyzer.capture.sequence import ahead_of
from analyzer.tcp.flow import Difference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from analyzer.capture.source import Source
    from analyzer.tcp.flow import Flow
    from analyzer.tcp.requests import Place

__all__ = ["EarlierCopies", "compare"]

NEAR = 1 << 20
"""How many bytes to search backwards first."""
FIRST_STEP = 1 << 13
REGION = 9 << 20
"""Bytes of file to search from a batch's beginning: more than a batch can span."""
ALLOWANCE = 8
"""Limit of re-reading, in multiples of the capture's size so far: comparing a flood of old
retransmissions would take hours.
"""
LEAST = 64 << 20
DIFFERENCES_KEPT = 100
LAYERS_IN_FRONT, HEADERS = 16, 64
"""Bytes to read before a segment's addresses, and from them on."""

_seq = struct.Struct(">I4xB").unpack_from
_u16 = struct.Struct(">H").unpack_from


def compare(flow: Flow, offset: int, second: bytes, first: bytes | None, place: Place) -> None:
    """Note where the second copy of a flow's bytes differs from the first, which is ``None`` if it
    is no longer held.
    """
    if first is None:
        flow.unverified += len(second)
    elif first != second[: len(first)] and len(flow.differences) < DIFFERENCES_KEPT:
        differs = bytes(map(ne, first, second))  # 1 where they differ
        difference = Difference(offset + differs.index(1), differs.count(1), place)
        flow.differences.append(difference)


class EarlierCopies:
    """Reads first copies from a capture's source; ``gave_up`` says that the limit of re-reading was
    hit.
    """

    def __init__(self, source: Source) -> None:
        self.gave_up = False
        self._source = source
        self._read = 0

    def compare(self, flow: Flow, offset: int, data: bytes, place: Place, batch: int) -> int:
        """Compare retransmitted bytes, in the frame at ``place``, with what can be found of their
        first copy; gives the number of bytes compared.

        ``batch`` is as in :meth:`find`.
        """
        seen = 0
        for first, copy in self.find(flow, offset, len(data), place.pos, batch):
            at = first - offset
            compare(flow, first, data[at : at + len(copy)], copy, place)
            seen += len(copy)
        return seen

    def find(
        self, flow: Flow, offset: int, length: int, before: int, batch: int
    ) -> Iterator[tuple[int, bytes]]:
        """The pieces found of the earlier copy of stream bytes ``offset`` to ``offset + length``.

        Yields ``(stream offset, bytes)``; nothing where the file cannot be read again, the segment
        is not found, or the limit of re-reading was hit.  Only frames before file position
        ``before`` count; ``batch`` is the file position of the current batch.
        """
        missing = [(offset, offset + length)]
        passed = bisect_right(flow.checkpoint_offsets, offset)
        begins = flow.checkpoint_positions
        begin = begins[passed] if passed < len(begins) else batch
        stop, step = before, FIRST_STEP
        while missing and stop > max(begin, before - NEAR):
            start = max(begin, stop - step)
            yield from self._between(flow, missing, start, stop, before)
            stop, step = start, 2 * step
        while missing and begin < stop:
            passed += 1
            following = begins[passed] if passed < len(begins) else max(batch, begin + REGION)
            end = min(following, begin + REGION, stop)
            yield from self._between(flow, missing, begin, end, before)
            begin = following

    def _between(
        self, flow: Flow, missing: list[tuple[int, int]], start: int, stop: int, before: int
    ) -> Iterator[tuple[int, bytes]]:
        """The bytes of the missing ranges, which ascend, in segments that begin in a range of the
        file; takes them off ``missing``.
        """
        if self._read > LEAST + ALLOWANCE * before:
            self.gave_up = True
            return
        begin = max(0, start - LAYERS_IN_FRONT)
        region = self._source.read_at(begin, min(stop + HEADERS, before) - begin)
        if not region:
            return
        self._read += len(region)
        for first, at, size in _segments(region, flow, start - begin, stop - begin):
            if begin + at + size > before:
                continue
            number = bisect_right(missing, first, key=lambda ends: ends[1])
            while number < len(missing) and missing[number][0] < first + size:
                low, high = missing[number]
                low_here, high_here = max(low, first), min(high, first + size)
                wanted = high_here - low_here
                piece = self._source.read_at(begin + at + low_here - first, wanted)
                if piece is None or len(piece) < wanted:
                    break
                rest = [r for r in ((low, low_here), (high_here, high)) if r[0] < r[1]]
                missing[number : number + 1] = rest
                number += len(rest)
                yield low_here, piece


def _segments(region: bytes, flow: Flow, first: int, last: int) -> Iterator[tuple[int, int, int]]:
    """Stream offset, position in ``region`` and size of the payload of each segment of the flow
    whose addresses begin at ``first`` or later and before ``last``.
    """
    key = flow.key
    pos = region.find(key, first, last + len(key) - 1)
    while pos >= 0:
        tcp = pos + len(key)
        if tcp + 16 > len(region):
            return
        seq, words = _seq(region, tcp)
        start = tcp - 4 + (words >> 4) * 4
        if len(key) == 12:
            end = pos - 12 + _u16(region, pos - 10)[0]
        else:
            end = pos + 32 + _u16(region, pos - 4)[0]
        if start < end:
            yield flow.offset + ahead_of(seq, flow.next), start, end - start
        pos = region.find(key, pos + 1, last + len(key) - 1)
