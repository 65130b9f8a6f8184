"""Times without any frame, found without a look at the time of every frame."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from analyzer.capture.frames import Batch

__all__ = ["PAUSE", "pauses_in"]

PAUSE = 10_000_000
"""A time without any frame, in ns, from which it counts as a pause."""


def pauses_in(batch: Batch, before: int, begin: int, end: int) -> Iterator[tuple[int, int, int]]:
    """The pauses in front of and in a batch, which is halved where it took long: begin and end in
    ns, and the frame that ended it.

    ``before`` is the time of the frame in front of the batch, ``begin`` and ``end`` those of its
    first and last frame.
    """
    starts, record, clock = batch.starts, batch.record, batch.interface.clock
    if begin - before > PAUSE:
        yield before, begin, batch.first
    spans = [(0, len(starts) - 1, begin, end)]
    while spans:
        low, high, begin, end = spans.pop()
        if end - begin <= PAUSE:
            continue
        if high - low <= 1:
            yield begin, end, batch.first + high
            continue
        middle = low + high >> 1
        time = clock(*record(batch.buffer, starts[middle] - 16)[:2])
        spans += (middle, high, time, end), (low, middle, begin, time)
