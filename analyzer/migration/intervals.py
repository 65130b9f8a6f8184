"""Spans of time, (begin, end) in ns: when channels and devices were busy.

A list of spans is *tidy* when it ascends and its spans do not touch each other.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from itertools import accumulate

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import TypeAlias

    Span: TypeAlias = tuple[int, int]

__all__ = ["Busy", "Coverage", "alone", "clipped", "gaps", "intersection", "total", "union"]

SPANS_KEPT = 4096


def union(spans: Iterable[Span]) -> list[Span]:
    """The union of spans, tidy.

    A span may be given backwards: where frames were reordered, a packet's last byte can have been
    seen before its first.
    """
    joined: list[Span] = []
    for begin, end in sorted((a, b) if a <= b else (b, a) for a, b in spans):
        if joined and begin <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(end, joined[-1][1])
        else:
            joined.append((begin, end))
    return joined


def total(spans: Iterable[Span]) -> int:
    """Total length of tidy spans."""
    return sum(end - begin for begin, end in spans)


def clipped(spans: Sequence[Span], begin: int, end: int) -> list[Span]:
    """Tidy spans, clipped to the time between two moments."""
    first = bisect_right(spans, begin, key=lambda span: span[1])
    last = bisect_left(spans, end, key=lambda span: span[0])
    return [(max(a, begin), min(b, end)) for a, b in spans[first:last]]


def gaps(spans: Iterable[Span], begin: int, end: int) -> list[Span]:
    """The gaps between tidy spans that lie between ``begin`` and ``end``, including those at both
    ends.
    """
    free: list[Span] = []
    at = begin
    for first, last in spans:
        if first > at:
            free.append((at, first))
        at = max(at, last)
    if end > at:
        free.append((at, end))
    return free


def intersection(one: Sequence[Span], other: Sequence[Span]) -> list[Span]:
    """The intersection of two tidy lists."""
    both: list[Span] = []
    at = 0
    for begin, end in one:
        while at < len(other) and other[at][1] <= begin:
            at += 1
        here = at
        while here < len(other) and other[here][0] < end:
            both.append((max(begin, other[here][0]), min(end, other[here][1])))
            here += 1
    return both


def alone(groups: Sequence[Sequence[Span]]) -> list[int]:
    """For each of several tidy lists, how long none of the others had a span."""
    moments: list[tuple[int, int, int]] = []
    for number, spans in enumerate(groups):
        for begin, end in spans:
            if begin < end:
                moments.append((begin, 1, number))
                moments.append((end, -1, number))
    moments.sort()
    times = [0] * len(groups)
    active = numbers = before = 0
    for moment, step, number in moments:
        if active == 1:
            times[numbers] += moment - before  # with one active list the sum is its number
        active += step
        numbers += step * number
        before = moment
    return times


class Coverage:
    """Tidy spans with prefix sums, for many queries."""

    __slots__ = ("_ends", "_passed", "spans")

    def __init__(self, spans: list[Span]) -> None:
        self.spans = spans
        self._ends = [end for _, end in spans]
        self._passed = [0, *accumulate(end - begin for begin, end in spans)]

    def until(self, moment: int) -> int:
        """How much of the time up to a moment the spans cover, in ns."""
        at = bisect_left(self._ends, moment)
        covered = self._passed[at]
        if at < len(self.spans):
            covered += max(0, moment - self.spans[at][0])
        return covered

    def touches(self, begin: int, end: int) -> bool:
        """Whether the spans cover any time between two moments."""
        return self.until(end) > self.until(begin)


class Busy:
    """Spans collected while a capture streams by, in bounded memory.

    They are added in approximate order.  When there are too many, the closest neighbours among the
    older half are merged.  The newest spans, those of the switchover, stay exact.
    """

    __slots__ = ("_spans",)

    def __init__(self) -> None:
        self._spans: list[Span] = []

    def add(self, begin: int, end: int) -> None:
        """Add one packet's time."""
        spans = self._spans
        if end < begin:
            begin, end = end, begin
        if spans and spans[-1][0] <= begin <= spans[-1][1]:
            if end > spans[-1][1]:
                spans[-1] = spans[-1][0], end
            return
        spans.append((begin, end))
        if len(spans) > SPANS_KEPT:
            self._spans = _fewer(union(spans))

    def lasts(self, moment: int) -> bool:
        """Whether the newest span, if longer than 0, covers a moment."""
        return bool(self._spans) and self._spans[-1][0] < moment <= self._spans[-1][1]

    def spans(self) -> list[Span]:
        """The spans, tidy."""
        return union(self._spans)


def _fewer(spans: list[Span]) -> list[Span]:
    """Tidy spans, with those of the older half merged that are closest to each other."""
    half = len(spans) // 2
    widths = sorted(spans[i + 1][0] - spans[i][1] for i in range(half))
    limit = widths[len(widths) // 2] if widths else 0
    joined: list[Span] = []
    for number, (begin, end) in enumerate(spans):
        if joined and number <= half and begin - joined[-1][1] <= limit:
            joined[-1] = joined[-1][0], end
        else:
            joined.append((begin, end))
    return joined
