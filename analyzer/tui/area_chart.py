"""Throughput over time: a stacked chart with eight steps per character."""

from __future__ import annotations

from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING

import numpy as np
from rich.segment import Segment
from rich.style import Style

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import TypeAlias

    import numpy.typing as npt

    Floats: TypeAlias = npt.NDArray[np.float64]
    Ints: TypeAlias = npt.NDArray[np.int64]

__all__ = ["EIGHTHS", "marked", "runs", "sparkline", "stacked_chart", "with_mark"]

EIGHTHS = " ▁▂▃▄▅▆▇█"
PLAIN = Style()
STYLE = itemgetter(1)
CURSOR = "│"
"""Drawn instead of a full block under the cursor, which would hide the cursor's background."""


def marked(segment: Segment, mark: Style) -> Segment:
    """The cell under a cursor."""
    style = segment.style or Style()
    if segment.text == EIGHTHS[-1] and mark.bgcolor is not None:
        return Segment(CURSOR, Style(color=mark.bgcolor, bgcolor=style.color, bold=True))
    return Segment(segment.text, style + mark)


def runs(cells: Iterable[tuple[str, Style]]) -> list[Segment]:
    """Texts joined into as few segments as possible, which draw faster."""
    return [
        Segment("".join(text for text, _ in group), style)
        for style, group in groupby(cells, key=STYLE)
    ]


def with_mark(line: list[Segment], column: int, mark: Style) -> list[Segment]:
    """A line of one-cell characters with ``mark`` applied to the one in ``column``; unchanged if
    there is no such column.
    """
    at = 0
    for number, segment in enumerate(line):
        text, style = segment.text, segment.style
        if at <= column < at + len(text):
            before, char, behind = text[: column - at], text[column - at], text[column - at + 1 :]
            parts = [Segment(before, style), marked(Segment(char, style), mark)]
            parts.append(Segment(behind, style))
            return [*line[:number], *(one for one in parts if one.text), *line[number + 1 :]]
        at += len(text)
    return line


def stacked_chart(
    series: Sequence[tuple[Sequence[float] | Floats, Style]],
    height: int,
    top: float,
    fills: Sequence[str] = (),
) -> list[list[Segment]]:
    """The chart as ``height`` lines, topmost first.

    ``series`` are (values by column, style), from the bottom up; ``top`` is the value of the upper
    edge.  ``fills`` has a character for each series, for where colours cannot tell them apart.
    """
    edges = _edges(np.array([values for values, _ in series], dtype=np.float64), height * 8, top)
    bottoms = np.arange(height - 1, -1, -1)[:, None] * 8
    # The eighths that each series has of a character, coded as one number to draw each code once.
    codes = np.zeros((height, edges.shape[1]), dtype=np.int64)
    sizes: dict[int, list[int]] = {}
    before = np.zeros(edges.shape[1], dtype=np.int64)
    for number, edge in enumerate(edges):
        part = np.clip(np.minimum(edge, bottoms + 8) - np.maximum(before, bottoms), 0, 8)
        codes += part * 9**number
        before = edge
    for code in np.unique(codes).tolist():
        sizes[code] = [code // 9**number % 9 for number in range(len(series))]
    styles = [style for _, style in series]
    cells = {code: _cell(parts, styles, fills) for code, parts in sizes.items()}
    return [runs(cells[code] for code in line) for line in codes.tolist()]


def _edges(values: Floats, limit: int, top: float) -> Ints:
    """Upper edge of each stacked value, in eighths of a line; a value above 0 gets at least one."""
    edges = np.rint(np.cumsum(values, axis=0) * (limit / top if top else 0)).astype(np.int64)
    before = np.zeros(values.shape[1], dtype=np.int64)
    for number, edge in enumerate(edges):
        least = before + (values[number] > 0)
        before = edges[number] = np.minimum(np.maximum(edge, least), limit)
    return edges


def _cell(sizes: Sequence[int], styles: Sequence[Style], fills: Sequence[str]) -> tuple[str, Style]:
    """The character for a cell of which each series has ``sizes`` eighths, from below.

    A full cell of several series has the colours of the lowest and the highest one; any other that
    of its largest part.
    """
    parts = [(size, number) for number, size in enumerate(sizes) if size]
    if not parts:
        return " ", PLAIN
    filled = sum(sizes)
    largest = max(parts)[1]
    if fills and filled >= 4:
        return fills[largest], styles[largest]
    if filled < 8 or len(parts) == 1:
        return EIGHTHS[filled], styles[largest]
    lower, upper = parts[0], parts[-1]
    style = styles[lower[1]] + Style(bgcolor=styles[upper[1]].color)
    return EIGHTHS[lower[0]], style


def sparkline(values: Sequence[float], top: float, style: Style) -> list[Segment]:
    """One line of bars."""
    text = "".join(
        EIGHTHS[max(1, min(8, round(value * 8 / top)))] if value > 0 and top else " "
        for value in values
    )
    return [Segment(text, style)]
