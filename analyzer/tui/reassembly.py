"""The reassembly map: the state of every index of a device's state.

Pure functions from the buffers' columns to lines of segments.  Nothing is allocated by index: a
hostile idx of four billion costs no more than an idx of three.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np
from rich.segment import Segment

from analyzer.migration.reassembly import CUT, IN_ORDER, MISSING, STATES, index_states

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import TypeAlias

    import numpy.typing as npt
    from rich.style import Style

    from analyzer.tui.palette import Palette

    Ints: TypeAlias = npt.NDArray[np.int64]

__all__ = ["GLYPHS", "MapLayout", "Reassembly", "legend", "map_line", "shown_index"]

GLYPHS = "■C▲2✗▌"
"""One glyph for each of :data:`STATES`."""
NUMBERED = 6
"""Width of an index, in cells, when there is room for its number."""


class Reassembly:
    """The buffers of one device, by index.

    ``indexes`` are the distinct indexes that arrived, at least in part, ascending; ``states`` the
    state of each; ``total`` is one more than the highest of them.
    """

    __slots__ = ("indexes", "states", "total")

    def __init__(self, arrivals: Sequence[tuple[int, bool]], cut: Iterable[int] = ()) -> None:
        """``arrivals`` are (idx, whether it is the config state), in order of arrival; ``cut`` are
        the indexes of cut-off buffers.
        """
        found = sorted(index_states(arrivals, cut).items())
        self.indexes: Ints = np.array([idx for idx, _ in found], dtype=np.int64)
        self.states: Ints = np.array([state for _, state in found], dtype=np.int64)
        self.total = found[-1][0] + 1 if found else 0

    def first_lost(self) -> int:
        """The first index that is missing or was cut off; -1 if there is none."""
        whole = self.states != CUT
        whole &= self.indexes == np.arange(len(whole))  # no more behind a missing one
        return -1 if whole.all() else int(np.argmin(whole))

    def counts(self) -> dict[int, int]:
        """The number of indexes by state."""
        present = np.bincount(self.states, minlength=len(STATES))
        found = {state: int(present[state]) for state in range(len(STATES))}
        found[MISSING] = self.total - len(self.indexes)
        return found


class MapLayout:
    """The layout of the map: ``per_cell`` indexes in each cell, which is ``cell`` characters wide,
    and ``per_line`` cells on each line.
    """

    __slots__ = ("cell", "cells", "lines", "per_cell", "per_line")

    def __init__(self, total: int, width: int, height: int) -> None:
        width, height = max(1, width), max(1, height)
        wide = max(1, width // NUMBERED)
        if 0 < total <= wide * height and total <= 999:
            self.cell, self.per_line, self.per_cell = NUMBERED, wide, 1
        elif total <= width // 2 * height:
            self.cell, self.per_line, self.per_cell = 2, max(1, width // 2), 1
        else:
            self.cell, self.per_line = 1, width
            self.per_cell = max(1, -(-total // (width * height)))
        self.cells = -(-total // self.per_cell) if total else 0
        self.lines = -(-self.cells // self.per_line)

    def cell_of(self, index: int) -> int:
        """The cell that shows an index."""
        return index // self.per_cell


def cell_states(state: Reassembly, layout: MapLayout, first: int, last: int) -> list[int]:
    """The states shown by cells ``first .. last`` (exclusive): the worst of each cell's indexes."""
    last = min(last, layout.cells)
    if first >= last:
        return []
    low, high = np.searchsorted(
        state.indexes, [first * layout.per_cell, last * layout.per_cell]
    ).tolist()
    cells = state.indexes[low:high] // layout.per_cell - first
    worst = np.full(last - first, -1, dtype=np.int64)
    np.maximum.at(worst, cells, state.states[low:high])
    present = np.bincount(cells, minlength=last - first)
    room = np.full(last - first, layout.per_cell, dtype=np.int64)
    if last == layout.cells:
        room[-1] = state.total - (layout.cells - 1) * layout.per_cell
    worst[present < room] = MISSING
    shown: list[int] = worst.tolist()
    return shown


def shown_index(state: Reassembly, layout: MapLayout, cell: int) -> int:
    """The index that a cell stands for: of several, the first one in the state that it shows."""
    first = cell * layout.per_cell
    room = min(layout.per_cell, state.total - first)
    low, high = np.searchsorted(state.indexes, [first, first + room]).tolist()
    if high - low == room:
        return first + int(np.argmax(state.states[low:high]))
    away = np.flatnonzero(state.indexes[low:high] != np.arange(first, first + high - low))
    return first + int(away[0] if len(away) else high - low)


def styles(palette: Palette) -> tuple[Style, ...]:
    """The style of every state."""
    error = palette.error
    return (palette.device, palette.config, palette.warning, palette.sync, error, error)


def map_line(
    state: Reassembly, layout: MapLayout, line: int, cursor: int, palette: Palette
) -> list[Segment]:
    """One line of the map; ``cursor`` is the index to mark (-1: none)."""
    first = line * layout.per_line
    looks = styles(palette)
    marked = layout.cell_of(cursor) if cursor >= 0 else -1
    segments = []
    cells = cell_states(state, layout, first, first + layout.per_line)
    if layout.cell == NUMBERED:
        for at, kind in enumerate(cells, first):
            style = looks[kind] + palette.byte if at == marked else looks[kind]
            segments += [Segment(f"{at:>4}{GLYPHS[kind]}", style), Segment(" ")]
        return segments
    gap = " " * (layout.cell - 1)
    kinds = ((kind, at == marked) for at, kind in enumerate(cells, first))
    for (kind, here), run in groupby(kinds):
        glyphs = gap.join(GLYPHS[kind] for _ in run)
        segments.append(Segment(glyphs, looks[kind] + palette.byte if here else looks[kind]))
        if gap:
            segments.append(Segment(gap))
    return segments


def legend(state: Reassembly, palette: Palette, width: int) -> list[Segment]:
    """The meaning of the glyphs, with counts; where there is no room the gravest remain."""
    segments = []
    looks = styles(palette)
    for kind, number in state.counts().items():
        if number or kind in (IN_ORDER, MISSING):
            style = looks[kind] if number else palette.muted
            segments.append(Segment(f"{GLYPHS[kind]} {STATES[kind]} {number}  ", style))
    while len(segments) > 1 and Segment.get_line_length(segments) - 2 > width:
        del segments[0]
    return segments
