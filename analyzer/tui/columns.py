"""Which columns of a list fit into a width, and cells as segments."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, TypeAlias

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.style import Style

    Cell: TypeAlias = "str | tuple[str, Style]"

__all__ = ["Column", "cell_text", "fit", "row_segments", "wrapped"]

ANY = 1 << 20
"""More cells than any terminal has."""
LAST = 100
"""Rank of the columns that are left out first."""


class Column:
    """A column of a list.

    ``width`` is the least width in cells; spare room is shared out in proportion to ``grow``, up to
    ``most`` cells per column (0: no limit).  Where there is too little room, the columns with the
    highest ``optional`` are left out first; those with 0 are always shown.  A column is left out
    before all those that are ``filled`` if nothing stands in any of its cells.  ``key`` names what
    the list can be sorted by (empty: it cannot be sorted by this column).
    """

    __slots__ = ("grow", "key", "most", "optional", "right", "title", "width")

    def __init__(
        self,
        title: str,
        width: int,
        *,
        right: bool = False,
        grow: int = 0,
        most: int = 0,
        optional: int = 0,
        filled: bool = True,
        key: str = "",
    ) -> None:
        self.title = title
        self.width = width
        self.right = right
        self.grow = grow
        self.most = most
        self.optional = optional if filled else optional + LAST
        self.key = key

    @property
    def headroom(self) -> int:
        """By how many cells it may grow."""
        return self.most - self.width if self.most else ANY


def fit(columns: Sequence[Column], width: int) -> list[tuple[int, int]]:
    """The columns that are shown in ``width`` cells: (number of the column, its width).

    If some are left out, a cell behind the last one stays free where possible, for a sign that says
    so.
    """
    spare = width + 1
    widths: dict[int, int] = {}
    for at in sorted(range(len(columns)), key=lambda at: (columns[at].optional, at)):
        column = columns[at]
        if column.width + 1 <= spare or not column.optional:
            widths[at] = column.width
            spare -= column.width + 1
    if spare and len(widths) < len(columns):
        spare -= 1
    growing = [at for at in widths if columns[at].grow]
    growing.sort(key=lambda at: (columns[at].headroom / columns[at].grow, at))
    for done, at in enumerate(growing):
        shares = sum(columns[other].grow for other in growing[done:])
        part = min(max(0, spare) * columns[at].grow // shares, columns[at].headroom)
        widths[at] += part
        spare -= part
    return sorted(widths.items())


def cell_text(text: str, width: int, right: bool = False) -> str:
    """``text`` in exactly ``width`` cells; what is too long ends in an ellipsis."""
    if text.isascii():
        if len(text) > width:
            return text[: width - 1] + "…" if width > 0 else ""
        return text.rjust(width) if right else text.ljust(width)
    taken = cell_len(text)
    if taken > width:
        return set_cell_size(text, width - 1) + "…" if width > 0 else ""
    return " " * (width - taken) + text if right else text + " " * (width - taken)


def _text(cell: Cell) -> str:
    return cell[0] if isinstance(cell, tuple) else cell


def row_segments(
    cells: Sequence[Cell], columns: Sequence[Column], layout: Sequence[tuple[int, int]], base: Style
) -> list[Segment]:
    """One line of a list: its cells in ``layout``, one blank apart.  Text that is too long for its
    column runs over empty cells to the right of it.
    """
    segments = []
    place, end = 0, len(layout)
    while place < end:
        at, width = layout[place]
        place += 1
        cell = cells[at]
        style = base
        if type(cell) is tuple:
            text, own = cell
            style = base if base.reverse else own + base if base.bgcolor else base + own
        else:
            text = cell  # type: ignore[assignment]
        if len(text) > width and not columns[at].right:
            while place < end and not _text(cells[layout[place][0]]) and cell_len(text) > width:
                width += 1 + layout[place][1]
                place += 1
        segments.append(Segment(cell_text(text, width, columns[at].right) + " ", style))
    return segments


def wrapped(text: str, width: int, line: int) -> str:
    """Line number ``line`` of a text wrapped into ``width`` cells, indented by one blank; empty if
    there is no such line.
    """
    lines = textwrap.wrap(text, max(1, width - 2))
    return f" {lines[line]}" if line < len(lines) else ""
