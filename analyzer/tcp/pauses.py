"""Times without any frame, found without looking at the time of every frame."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from analyzer.capture.frames import Batch

__all__ = ["PAUSE", "pauses_in"]

PAUSE = 10_000_000
"""Least length in ns of a time without frames that counts as a pause."""


def pauses_in(batch: Batch, before: int, begin: int, end: int) -> Iterator[tuple[int, int, int]]:
    """The pauses before and inside a batch: begin and end in ns, and the frame that ended it.

    ``before`` is the time of the frame before the batch, ``begin`` and ``end`` those of its first
    and last frame.  Spans longer than a pause are bisected.
    """
    starts = batch.starts
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
        time = batch.time(starts[middle])
        spans += (middle, high, time, end), (low, middle, begin, time)
