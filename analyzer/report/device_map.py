"""The reassembly map of a device as SVG: a cell for each index, or for some of them in a row."""

from __future__ import annotations

from bisect import bisect_left

from analyzer.report.escape import html

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from analyzer.report.parts import Json

__all__ = ["device_map", "states_of"]

COLOURS = {
    "in order": "#3f7fbf",
    "late": "#e0812b",
    "twice": "#8a7fb8",
    "config": "#5b9e49",
    "missing": "none",
}
GRAVEST_FIRST = ("missing", "twice", "late", "config", "in order")
CELLS = 1200
ACROSS = 60
CELL, PITCH, LEGEND = 12, 15, 22


def states_of(device: Json) -> dict[int, str]:
    """What became of every index that arrived; a late one came after a higher one."""
    states: dict[int, str] = {}
    highest = -1
    for arrival in device["arrivals"]:
        index = arrival["index"]
        if index is None:
            continue
        if index in states:
            states[index] = "twice"
        elif index < highest:
            states[index] = "late"
        else:
            states[index] = "config" if arrival["config"] else "in order"
        highest = max(highest, index)
    return states


def device_map(device: Json) -> str:
    """The map of a device of ``devices --format json``."""
    states = states_of(device)
    cells = list(_cells(states, device["missing"]))
    rows = -(-len(cells) // ACROSS)
    width, height = ACROSS * PITCH, rows * PITCH + LEGEND
    box = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    parts = [f'<svg class="map" {box} xmlns="http://www.w3.org/2000/svg">\n']
    for number, (first, last, state) in enumerate(cells):
        x, y = number % ACROSS * PITCH, number // ACROSS * PITCH
        label = f"{first}" if first == last else f"{first} to {last}"
        parts.append(
            f'<rect class="{state.split()[-1]}" x="{x + 1}" y="{y + 1}" width="{CELL}" '
            f'height="{CELL}" fill="{COLOURS[state]}"><title>{html(f"{label}: {state}")}</title>'
            "</rect>\n"
        )
    parts += _legend({state for _, _, state in cells}, rows * PITCH)
    return "".join([*parts, "</svg>\n"])


def _cells(states: dict[int, str], missing: list[list[int]]) -> Iterator[tuple[int, int, str]]:
    """First and last index, and the gravest state among them; gaps are in order."""
    known = sorted(states)
    gap_ends = [last for _, last in missing]
    span = max(known[-1:] + gap_ends[-1:], default=-1) + 1
    each = -(-span // CELLS) or 1
    at = 0
    for first in range(0, span, each):
        last = min(first + each, span) - 1
        found = set()
        while at < len(known) and known[at] <= last:
            found.add(states[known[at]])
            at += 1
        gap = bisect_left(gap_ends, first)
        if gap < len(missing) and missing[gap][0] <= last:
            found.add("missing")
        state = next((name for name in GRAVEST_FIRST if name in found), None)
        if state is not None:
            yield first, last, state


def _legend(states: set[str], top: int) -> Iterator[str]:
    x = 0
    for state in reversed(GRAVEST_FIRST):
        if state in states:
            yield (
                f'<rect class="{state.split()[-1]}" x="{x + 1}" y="{top + 6}" width="{CELL}" '
                f'height="{CELL}" fill="{COLOURS[state]}"/><text x="{x + 18}" y="{top + 16}" '
                f'font-size="12" fill="currentColor">{state}</text>\n'
            )
            x += 90
