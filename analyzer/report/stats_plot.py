"""Plots of ``mfshark stats`` as SVG, drawn by leather; times are in ms."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from math import ceil, floor, log10

import leather
from leather import theme

from analyzer.migration.intervals import union
from analyzer.report.escape import terminal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from typing import Any

    from analyzer.migration.intervals import Span

__all__ = ["COLOURS", "Layer", "counts_plot", "heat_strip", "lanes_plot"]

COLOURS = {
    "ram": "#3f7fbf",
    "device-state": "#e0812b",
    "main": "#5b9e49",
    "vmstate": "#5b9e49",
    "description": "#8fbf7f",
    "setup": "#8a7fb8",
    "iteration": "#3f7fbf",
    "ram-rest": "#3f7fbf",
    "switchover": "#c2504a",
    "postcopy": "#9a6b3f",
    "colo": "#3f9a8a",
    "end": "#9a9a9a",
    "idle": "#b5b5b5",
    "waits": "#c2504a",
    "silence": "#808080",
    "zero": "#a9c6e3",
}
LINES = (COLOURS["iteration"], COLOURS["zero"])
WIDTH = 960
ROW = 22
AXES = 96
LEGEND = 24
STRIP = 512
STRIP_HEIGHT = 14
FAINTEST = 0.15
TICKS = 8
"""The highest number of parts of the time axis."""
STEPS = 2000
"""Spans are drawn separately down to this fraction of the width."""


class Layer:
    """A layer of a lanes plot: spans (ns) by row, and each row's colour.  ``name`` is its name in
    the legend, if there are several layers.
    """

    __slots__ = ("colours", "name", "rows")

    def __init__(self, name: str, colours: Sequence[str], rows: Sequence[Sequence[Span]]) -> None:
        self.name = name
        self.colours = colours
        self.rows = rows


def heat_strip(values: Sequence[int]) -> str:
    """Counts as an SVG element: 0 is empty, 1 faint, the highest count opaque."""
    most = max(values)
    colour = COLOURS["switchover"]
    rects = [
        f'<rect x="{at}" width="1" height="1" fill-opacity="{_opacity(value, most):.2f}"/>'
        for at, value in enumerate(values)
        if value
    ]
    return (
        f'<svg class="map" width="{STRIP}" height="{STRIP_HEIGHT}" fill="{colour}" '
        f'viewBox="0 0 {len(values)} 1" preserveAspectRatio="none" '
        f'shape-rendering="crispEdges">{"".join(rects)}</svg>'
    )


def _opacity(value: int, most: int) -> float:
    return FAINTEST + (1 - FAINTEST) * (value - 1) / max(1, most - 1)


def lanes_plot(
    labels: Sequence[str], layers: Sequence[Layer], begin: int, end: int, since: str
) -> str:
    """Rows of spans over the time from ``begin`` to ``end`` (ns), as an SVG element.

    ``labels`` name the rows, from the top; names from a capture are made printable.  ``since`` says
    where the time starts.
    """
    _look()
    chart = leather.Chart()
    chart.set_x_scale(_Time(max(1e-6, (end - begin) / 1e6)))
    rows = [str(number) for number in range(len(labels))]
    chart.set_y_scale(leather.Ordinal(rows[::-1]))
    names = [terminal(label) for label in labels]
    chart.add_y_axis(tick_formatter=lambda value, _i, _n: names[int(value)])
    chart.add_x_axis(tick_formatter=lambda value, _i, _n: f"{float(value):g}", name=f"ms {since}")
    for layer in [layer for layer in layers if any(layer.rows)] or layers[:1]:
        data: list[tuple[float, str, float | None]] = [
            ((a - begin) / 1e6, row, (b - begin) / 1e6)
            for row, spans in zip(rows, layer.rows, strict=True)
            for a, b in _visible(spans, begin, end)
        ]
        # A series needs a row; one with zero length outside the picture draws nothing.
        series = leather.Series(data or [(0, rows[0], None)], name=layer.name)
        chart.add_series(series, _Spans(layer.colours))
    height = AXES + ROW * len(labels) + (LEGEND if len(layers) > 1 else 0)
    return _svg(chart, height)


def counts_plot(lines: Mapping[str, Sequence[int]], title: str) -> str:
    """Lines of counts by number (1, 2, ...), each with its name; ``title`` names the axis."""
    _look()
    chart = leather.Chart()
    for (name, counts), colour in zip(lines.items(), LINES, strict=False):
        chart.add_line(list(enumerate(counts, 1)), name=name, stroke_color=colour)
    chart.add_x_scale(1, max(2, *(len(counts) for counts in lines.values())))
    chart.add_y_scale(0, max(1, *(max(counts, default=0) for counts in lines.values())))
    chart.add_x_axis(name=title)
    return _svg(chart, 280)


def _look() -> None:
    """Colours and font of the page; its style sheet sets those of text and grid."""
    theme.background_color = "none"
    theme.margin = 0.025
    for name in ("title", "legend", "axis_title", "tick"):
        setattr(theme, f"{name}_font_family", "inherit")
        setattr(theme, f"{name}_font_size", 12)
        setattr(theme, f"{name}_font_char_width", 7)
        setattr(theme, f"{name}_font_char_height", 12)


def _svg(chart: Any, height: int) -> str:
    text = str(chart.to_svg(width=WIDTH, height=height))
    head, _, rest = text.partition(">")
    size = f' viewBox="0 0 {WIDTH} {height}" class="plot"'
    return head + size + ">" + rest


def _visible(spans: Iterable[Span], begin: int, end: int) -> Iterator[Span]:
    """Spans widened to be visible; those too close to be distinguished are joined."""
    least = max(1, (end - begin) // STEPS)
    cut = ((max(a, begin), min(b, end)) for a, b in spans if b >= begin and a <= end)
    wide = union((a, max(b, a + least)) for a, b in cut)
    yield from ((a, min(b, end + least)) for a, b in wide)


class _Time(leather.Scale):  # type: ignore[misc]
    """From 0 to at least ``last`` ms.  leather's own scale tries some hundred ways to divide it,
    which takes longer than all the rest of a plot.
    """

    def __init__(self, last: float) -> None:
        power = 10.0 ** floor(log10(last / TICKS))
        step = next(step * power for step in (1, 2, 5, 10) if last <= TICKS * step * power)
        self._ticks = [step * number for number in range(ceil(last / step) + 1)]

    def contains(self, value: float) -> bool:
        """Whether it is on the scale."""
        return 0 <= value <= self._ticks[-1]

    def project(self, value: float, low: float, high: float) -> float:
        """Where a time is between two positions."""
        return low + (high - low) * float(value) / self._ticks[-1]

    def ticks(self) -> list[float]:
        """The times written on the axis."""
        return self._ticks


class _Spans(leather.Shape):  # type: ignore[misc]
    """Draws data rows (begin, row, end), a path for each colour."""

    def __init__(self, colours: Sequence[str]) -> None:
        self._colours = colours
        self._fill_color = colours[0]  # in the legend

    def validate_series(self, series: Any) -> None:
        """Accepts any series."""

    def to_svg(
        self, width: Any, height: Any, x_scale: Any, y_scale: Any, series: Any, _palette: Any
    ) -> ET.Element:
        """The shape that the chart expects."""
        at, per_ms = float(x_scale.project(0, 0, width)), float(x_scale.project(1, 0, width))
        per_ms -= at
        group = ET.Element("g")
        paths: dict[str, list[str]] = {}
        for begin, row, end in (datum.row for datum in series.data()):
            if end is None:
                continue
            low, high = (float(y) for y in y_scale.project_interval(row, height, 0))
            x, size = at + begin * per_ms, (end - begin) * per_ms
            path = f"M{x:.2f} {high:.1f}h{size:.2f}v{low - high:.1f}h{-size:.2f}z"
            paths.setdefault(self._colours[int(row)], []).append(path)
        for colour, parts in paths.items():
            group.append(ET.Element("path", d="".join(parts), fill=colour))
        return group
