"""The reassembly map of a device as SVG: a cell for each index, or for a range of indices."""

from __future__ import annotations

from bisect import bisect_left

from analyzer.migration.reassembly import (
    CONFIG,
    CUT,
    DUPLICATE,
    IN_ORDER,
    LATE,
    MISSING,
    STATES,
    index_states,
)
from analyzer.report.escape import html

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from analyzer.report.parts import Json

__all__ = ["device_map"]

COLOURS = {
    IN_ORDER: "#3f7fbf",
    CONFIG: "#5b9e49",
    LATE: "#e0812b",
    DUPLICATE: "#8a7fb8",
    MISSING: "none",
    CUT: "none",
}
CELLS = 1200
ACROSS = 60
CELL, PITCH, LEGEND = 12, 15, 22


def device_map(device: Json) -> str:
    """The map of a device as given by ``devices --format json``."""
    arrivals = ((arrival["index"], arrival["config"]) for arrival in device["arrivals"])
    cut = (buffer["index"] for buffer in device["cut"] if buffer["index"] is not None)
    states = index_states([(idx, config) for idx, config in arrivals if idx is not None], cut)
    cells = list(_cells(states, device["missing"]))
    rows = -(-len(cells) // ACROSS)
    width, height = ACROSS * PITCH, rows * PITCH + LEGEND
    box = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    parts = [f'<svg class="map" {box} xmlns="http://www.w3.org/2000/svg">\n']
    for number, (first, last, state) in enumerate(cells):
        x, y = number % ACROSS * PITCH, number // ACROSS * PITCH
        label = f"{first}" if first == last else f"{first} to {last}"
        parts.append(
            f'<rect class="{_class(state)}" x="{x + 1}" y="{y + 1}" width="{CELL}" height="{CELL}" '
            f'fill="{COLOURS[state]}"><title>{html(f"{label}: {STATES[state]}")}</title>'
            "</rect>\n"
        )
    parts += _legend({state for _, _, state in cells}, rows * PITCH)
    return "".join([*parts, "</svg>\n"])


def _cells(states: dict[int, int], missing: list[list[int]]) -> Iterator[tuple[int, int, int]]:
    """First and last index of each cell, and the worst state among them; ``missing`` is sorted."""
    known = sorted(states)
    gap_ends = [last for _, last in missing]
    span = max(known[-1:] + gap_ends[-1:], default=-1) + 1
    each = -(-span // CELLS) or 1
    at = 0
    for first in range(0, span, each):
        last = min(first + each, span) - 1
        found = []
        while at < len(known) and known[at] <= last:
            found.append(states[known[at]])
            at += 1
        gap = bisect_left(gap_ends, first)
        if len(found) <= last - first and gap < len(missing) and missing[gap][0] <= last:
            yield first, last, MISSING
        elif found:
            yield first, last, max(found)


def _legend(states: set[int], top: int) -> Iterator[str]:
    for place, state in enumerate(sorted(states)):
        x = 90 * place
        yield (
            f'<rect class="{_class(state)}" x="{x + 1}" y="{top + 6}" width="{CELL}" '
            f'height="{CELL}" fill="{COLOURS[state]}"/><text x="{x + 18}" y="{top + 16}" '
            f'font-size="12" fill="currentColor">{STATES[state]}</text>\n'
        )


def _class(state: int) -> str:
    """Its CSS class."""
    return STATES[state].replace(" ", "-")
