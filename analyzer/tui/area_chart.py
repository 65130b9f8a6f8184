"""Throughput over time: kinds stacked on each other, eight steps to a character."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.segment import Segment
from rich.style import Style

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["EIGHTHS", "marked", "sparkline", "stacked_chart"]

EIGHTHS = " ▁▂▃▄▅▆▇█"
CURSOR = "│"
"""Stands for a full cell that would hide the colour behind it."""


def marked(segment: Segment, mark: Style) -> Segment:
    """The cell under a cursor."""
    style = segment.style or Style()
    if segment.text == EIGHTHS[-1] and mark.bgcolor is not None:
        return Segment(CURSOR, Style(color=mark.bgcolor, bgcolor=style.color, bold=True))
    return Segment(segment.text, style + mark)


def stacked_chart(
    series: Sequence[tuple[Sequence[float], Style]],
    height: int,
    top: float,
    cursor: int = -1,
    mark: Style | None = None,
    fills: Sequence[str] = (),
) -> list[list[Segment]]:
    """``height`` lines, the highest first; ``series`` from the bottom up, each with its style.

    ``top`` is the value of the upper edge; ``mark`` is put over column ``cursor``.  ``fills`` has a
    character for each series, where colours cannot tell them apart.
    """
    width = len(series[0][0]) if series else 0
    lines: list[list[Segment]] = [[] for _ in range(height)]
    for column in range(width):
        steps = _steps([values[column] for values, _ in series], height * 8, top)
        over = mark if column == cursor else None
        for line in range(height):
            bottom = (height - 1 - line) * 8
            segment = _cell(steps, series, bottom, fills)
            if over is not None:
                segment = marked(segment, over)
            lines[line].append(segment)
    return lines


def _steps(values: Sequence[float], limit: int, top: float) -> list[int]:
    """Upper edge of each value of a stack, in eighths; what is there shows at least one."""
    edges = []
    total = 0.0
    before = 0
    for value in values:
        total += value
        edge = round(total * limit / top) if top else 0
        if value > 0:
            edge = max(edge, before + 1)
        before = min(limit, max(edge, before))
        edges.append(before)
    return edges


def _cell(
    edges: Sequence[int],
    series: Sequence[tuple[Sequence[float], Style]],
    bottom: int,
    fills: Sequence[str],
) -> Segment:
    """The character whose lower edge is at ``bottom`` eighths.

    It has two colours where the upper one goes on beyond it; else that of its largest part.
    """
    parts = []  # (eighths of this character, series), from below
    before = 0
    for number, edge in enumerate(edges):
        size = min(edge, bottom + 8) - max(before, bottom)
        if size > 0:
            parts.append((size, number))
        before = max(before, edge)
    if not parts:
        return Segment(" ")
    filled = min(8, before - bottom)
    if fills and filled >= 4:
        largest = max(parts)[1]
        return Segment(fills[largest], series[largest][1])
    if filled < 8 or len(parts) == 1:
        return Segment(EIGHTHS[filled], series[max(parts)[1]][1])
    lower, upper = parts[0], parts[-1]
    style = series[lower[1]][1] + Style(bgcolor=series[upper[1]][1].color)
    return Segment(EIGHTHS[lower[0]], style)


def sparkline(values: Sequence[float], top: float, style: Style) -> list[Segment]:
    """One line of bars."""
    text = "".join(
        EIGHTHS[max(1, min(8, round(value * 8 / top)))] if value > 0 and top else " "
        for value in values
    )
    return [Segment(text, style)]
