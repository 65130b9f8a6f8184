"""The time window that the timeline and the lanes show, and its axis."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.segment import Segment

from analyzer.checks.wording import duration

if TYPE_CHECKING:
    from analyzer.tui.palette import Palette

__all__ = ["TimeWindow", "axis_line", "bounded"]

LATEST = 1 << 61

CURSOR = "▲"
ZOOM = 2
SHORTEST = 1_000
"""The length of the shortest window, ns."""
STEPS = (1, 2, 5)
TICK_WIDTH = 14


def bounded(time: int) -> int:
    """A time, ns since the epoch, limited so that differences of two fit 64 bits."""
    return max(-LATEST, min(time, LATEST))


class TimeWindow:
    """The time from ``start`` to ``end``, ns since the epoch, within ``first`` to ``last``.

    Windows are not changed: methods return new ones.
    """

    __slots__ = ("end", "first", "last", "start")

    def __init__(
        self, first: int, last: int, start: int | None = None, end: int | None = None
    ) -> None:
        first, last = bounded(first), bounded(last)
        self.first = first
        self.last = max(last, first + 1)
        span = max(SHORTEST, (self.last if end is None else end) - (start or first))
        whole = self.last - self.first
        if start is None or span >= whole:
            self.start, self.end = self.first, self.last
            return
        self.start = max(self.first, min(start, self.last - span))
        self.end = self.start + span

    @property
    def span(self) -> int:
        """Its length, ns."""
        return self.end - self.start

    @property
    def whole(self) -> bool:
        """Whether the whole time range is shown."""
        return self.start == self.first and self.end == self.last

    def zoomed(self, closer: bool, around: int) -> TimeWindow:
        """A window half (``closer``) or twice as long, in which ``around`` (ns) stays in place."""
        span = self.span // ZOOM if closer else self.span * ZOOM
        around = max(self.start, min(around, self.end))
        share = (around - self.start) / self.span
        start = around - round(span * share)
        return TimeWindow(self.first, self.last, start, start + span)

    def moved(self, by: float) -> TimeWindow:
        """A window moved by ``by`` times its length."""
        start = max(self.first, self.start + round(self.span * by))
        return TimeWindow(self.first, self.last, start, start + self.span)

    def reset(self) -> TimeWindow:
        """A window of the whole time range."""
        return TimeWindow(self.first, self.last)

    def column(self, time: int, width: int) -> int:
        """The column, of ``width``, of a time; it may lie outside."""
        return (time - self.start) * width // self.span

    def time(self, column: int, width: int) -> int:
        """The time in the middle of a column."""
        return self.start + (2 * column + 1) * self.span // (2 * width)

    def seen(self, time: int) -> TimeWindow:
        """The window itself if it contains a time, else one moved so that it does."""
        if self.start <= time < self.end or self.whole:
            return self
        start = time - self.span // 2
        return TimeWindow(self.first, self.last, max(self.first, start), start + self.span)


def _step(span: int, count: int) -> int:
    """The smallest round number of ns of which at most ``count`` fit into ``span``."""
    step = 1
    while True:
        for factor in STEPS:
            if span <= step * factor * count:
                return step * factor
        step *= 10


def axis_line(
    window: TimeWindow, width: int, palette: Palette, cursor: int = -1, origin: int | None = None
) -> list[Segment]:
    """Ticks labelled with the time since ``origin`` (ns since the epoch; by default the first time
    of the window), and a mark in the column of the cursor (-1: none) instead of the label there.
    """
    zero = window.first if origin is None else bounded(origin)
    room = TICK_WIDTH
    step = _step(window.span, max(1, width // room))
    while (wide := len(duration(window.end - zero, step)) + 2) > room:
        room = wide
        step = _step(window.span, max(1, width // room))
    text = [" "] * width
    at = -(-(window.start - zero) // step) * step
    while at <= window.end - zero:
        column = window.column(zero + at, width)
        label = f"╵{duration(at, step) if at else '0'}"
        if column + len(label) <= width and not column <= cursor < column + len(label):
            text[column : column + len(label)] = label
        at += step
    if not 0 <= cursor < width:
        return [Segment("".join(text), palette.axis)]
    before, behind = "".join(text[:cursor]), "".join(text[cursor + 1 :])
    return [
        Segment(before, palette.axis),
        Segment(CURSOR, palette.mark),
        Segment(behind, palette.axis),
    ]
