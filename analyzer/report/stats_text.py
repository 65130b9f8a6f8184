"""``mfshark stats`` as text, with small bars that show when and how much."""

from __future__ import annotations

from analyzer.migration.intervals import Coverage
from analyzer.report.escape import terminal
from analyzer.report.stats_cells import Heat, Lane, Share
from analyzer.report.stats_tables import headline, tables_of
from analyzer.report.style import Style, column_widths, table
from analyzer.report.text import migration_title

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from analyzer.migration.statistics import Statistics
    from analyzer.report.stats_cells import Cell, Table

__all__ = ["Bars", "cells", "stats_text"]

LANE = 32
NARROW_LANE = 24
LANE_MIN = 12
"""Cells of a lane: as a rule, in a table with more than :data:`MANY` columns, and the shortest."""
MANY = 8
LEFT = 2
"""Columns that name a row."""
INDENT = 2
"""Blanks in front of what a long line goes on with."""
SHARE = 11
STEPS = "▁▂▃▄▅▆▇█"
PLAIN_STEPS = ".:-=+*%#"


class Bars:
    """Draws times and shares as a line of characters that ``encoding`` supports."""

    __slots__ = ("steps",)

    def __init__(self, encoding: str = "utf-8") -> None:
        self.steps = STEPS if "utf" in encoding.lower() else PLAIN_STEPS

    def lane(self, lane: Lane, width: int = LANE) -> str:
        """A lane: how much of each character's time the spans cover."""
        begin, lasts = lane.begin, max(1, lane.end - lane.begin)
        cover = Coverage(list(lane.spans))
        starts = {min(width - 1, (span[0] - begin) * width // lasts) for span in lane.spans}
        cells = []
        for column in range(width):
            a = begin + lasts * column // width
            b = begin + lasts * (column + 1) // width
            part = cover.until(b) - cover.until(a)
            if part or column in starts:
                level = part * len(self.steps) // max(1, b - a)
                cells.append(self.steps[min(len(self.steps) - 1, level)])
            else:
                cells.append(" ")
        return f"[{''.join(cells)}]"

    def heat(self, heat: Heat, width: int = LANE) -> str:
        """A heat map: the lowest step is a page sent once, the highest one sent most often."""
        values = heat.block.heat(heat.block.end, width)
        most, top = max(values), len(self.steps) - 1
        levels = [-(-(value - 1) * top // max(1, most - 1)) for value in values]
        cells = [self.steps[level] if level >= 0 else " " for level in levels]
        return f"[{''.join(cells)}]"

    def share(self, share: Share, width: int = SHARE) -> str:
        """A share of a whole."""
        full = round(width * share.part / share.whole) if share.whole else 0
        return (self.steps[-1] * full).ljust(width)


def stats_text(
    figures: Sequence[Statistics], style: Style, bars: Bars, begin: int, verbose: bool = False
) -> Iterator[str]:
    """The lines; ``begin`` is the time of the capture's first frame (ns).

    ``verbose`` lists everything that is otherwise summarised.  Where the style has a width, text
    is wrapped and lanes are shortened to fit.
    """
    for number, entry in enumerate(figures):
        if number:
            yield ""
        yield from _head(entry, style)
        for found in tables_of(entry, begin, verbose=verbose, every_iteration=verbose):
            yield ""
            yield from _table(found, style, bars)


def _head(figures: Statistics, style: Style) -> Iterator[str]:
    yield from style.folded(migration_title(figures.migration, style), INDENT)
    for said, warns in headline(figures):
        for line in style.folded(f"  {said}", INDENT):
            yield style.severity("warning", line) if warns else line


def _table(found: Table, style: Style, bars: Bars) -> Iterator[str]:
    yield from (style.bold(line) for line in style.folded(terminal(found.title), INDENT))
    for note in found.notes:
        yield from (style.dim(line) for line in style.folded(f"  {terminal(note)}", INDENT))
    usual = NARROW_LANE if len(found.head) > MANY else LANE
    rows = cells(found, bars, usual)
    over = sum(column_widths(found.head, rows, LEFT).values()) - style.width
    if over > 0:
        rows = cells(found, bars, max(LANE_MIN, usual - over))
    yield from table(found.head, rows, style, left=LEFT)
    if found.more:
        yield f"  {found.more}; mfshark stats --verbose shows all"


def cells(found: Table, bars: Bars, lane: int) -> list[list[str]]:
    """The rows of a table as text, harmless for a terminal; lanes are ``lane`` cells wide."""

    def shown(cell: Cell) -> str:
        if isinstance(cell, Lane):
            return bars.lane(cell, lane)
        if isinstance(cell, Heat):
            return bars.heat(cell, lane)
        return bars.share(cell) if isinstance(cell, Share) else terminal(cell)

    return [[shown(cell) for cell in row] for row in found.rows]
