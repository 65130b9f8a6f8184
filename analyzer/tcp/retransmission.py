"""Finds the first copy of bytes that were sent again, so that both can be compared.

Nothing is kept per segment.  A flow notes, once a batch, where in the file the batch lay and how
far the stream had come by its end; the first copy is looked for in the batch that passed it, by
the flow's addresses and ports, which lie side by side in the headers.
"""

from __future__ import annotations

import struct
from bisect import bisect_right

from analyzer.tcp.flow import HALF, MASK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from analyzer.capture.source import Source
    from analyzer.tcp.flow import Flow

__all__ = ["first_copies"]

REGION = 9 << 20
"""More than a batch can span."""

_seq = struct.Struct(">I4xB").unpack_from
_u16 = struct.Struct(">H").unpack_from


def first_copies(
    source: Source, flow: Flow, offset: int, length: int, before: int, batch: int
) -> Iterator[tuple[int, bytes]]:
    """The pieces of stream bytes ``offset .. offset + length`` as they were first seen.

    Gives ``(stream offset, bytes)``; nothing where the file cannot be read back or the place is
    not found.  Only frames in front of file position ``before`` count; ``batch`` is the file
    position of the current batch.
    """
    at = bisect_right(flow.checkpoint_offsets, offset)
    positions = flow.checkpoint_positions
    wanted, end = offset, offset + length
    while wanted < end and at <= len(positions):
        begin = positions[at] if at < len(positions) else batch
        region = source.read_at(begin, min(REGION, before - begin))
        at += 1
        if not region:
            return
        for first, data in _segments(region, flow):
            if first <= wanted < first + len(data):
                piece = data[wanted - first : end - first]
                yield wanted, piece
                wanted += len(piece)
                if wanted >= end:
                    return


def _segments(region: bytes, flow: Flow) -> Iterator[tuple[int, bytes]]:
    """Stream offset and payload of every segment of the flow in a stretch of the file."""
    key = flow.key
    pos = region.find(key)
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
        if start < end <= len(region):
            ahead = (seq - flow.next + HALF & MASK) - HALF
            yield flow.offset + ahead, region[start:end]
        pos = region.find(key, pos + 1)
