"""Which columns of a list fit into a width, and cells as segments."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.style import Style

    Cell: TypeAlias = "str | tuple[str, Style]"

__all__ = ["Column", "cell_text", "fit", "row_segments"]


class Column:
    """A column of a list.

    ``width`` is what it needs, in cells; of the room that is left it gets a share of ``grow``.
    Where there is too little room columns of the highest ``optional`` go first; 0 stays.
    """

    __slots__ = ("grow", "optional", "right", "title", "width")

    def __init__(
        self,
        title: str,
        width: int,
        *,
        right: bool = False,
        grow: int = 0,
        optional: int = 0,
    ) -> None:
        self.title = title
        self.width = width
        self.right = right
        self.grow = grow
        self.optional = optional


def fit(columns: Sequence[Column], width: int) -> list[tuple[int, int]]:
    """The columns that are shown in ``width`` cells: (number of the column, its width)."""
    shown = list(range(len(columns)))

    def needed() -> int:
        return sum(columns[at].width + 1 for at in shown) - 1

    while needed() > width:
        leaver = max(shown, key=lambda at: (columns[at].optional, at))
        if not columns[leaver].optional:
            break
        shown.remove(leaver)
    spare = max(0, width - needed())
    shares = sum(columns[at].grow for at in shown)
    fitted = []
    for at in shown:
        extra = spare * columns[at].grow // shares if shares else 0
        fitted.append((at, columns[at].width + extra))
    return fitted


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


def row_segments(
    cells: Sequence[Cell], columns: Sequence[Column], layout: Sequence[tuple[int, int]], base: Style
) -> list[Segment]:
    """One line of a list: its cells in ``layout``, one blank apart."""
    segments = []
    for at, width in layout:
        cell = cells[at]
        style = base
        if type(cell) is tuple:
            text, own = cell
            style = base if base.reverse else own + base if base.bgcolor else base + own
        else:
            text = cell  # type: ignore[assignment]
        segments.append(Segment(cell_text(text, width, columns[at].right) + " ", style))
    return segments
