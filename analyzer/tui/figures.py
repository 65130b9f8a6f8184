"""Where the time went, as ``mfshark stats`` prints it, in the width of a window."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from analyzer.migration.outcome import outcome_of
from analyzer.report.escape import terminal
from analyzer.report.stats_tables import headline, tables_of
from analyzer.report.stats_text import LANE, NARROW_LANE, Bars, cells
from analyzer.report.style import Style, table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from analyzer.migration.statistics import Statistics
    from analyzer.report.stats_cells import Table

__all__ = ["figures_lines"]

LANE_MIN = 12
"""Cells of the shortest lane."""
MANY = 8
"""Tables with more columns than this have shorter lanes, as in ``mfshark stats``."""
BETWEEN = 2
"""Blanks in front of every column."""


def figures_lines(figures: Sequence[Statistics], begin: int, width: int) -> Iterator[str]:
    """The lines, in colour; ``begin`` is the time of the capture's first frame (ns).

    Text is wrapped and lanes are shortened to fit ``width`` cells; a table that is still too wide
    is continued below itself, with its first column repeated.
    """
    style, bars = Style(colour=True), Bars()
    for number, entry in enumerate(figures):
        if number:
            yield ""
        yield from _head(entry, style, width)
        for found in tables_of(entry, begin):
            yield ""
            yield from _lines(found, style, bars, width)


def _head(figures: Statistics, style: Style, width: int) -> Iterator[str]:
    migration = figures.migration
    outcome = outcome_of(migration)
    title = f"Migration {migration.number}"
    text = f"  {migration.source} -> {migration.destination}  {outcome.name}: {outcome.evidence}"
    first, *more = _wrapped(title + terminal(text), width)
    first = style.bold(title) + first.removeprefix(title)
    yield first.replace(f"{outcome.name}: ", f"{style.outcome(outcome.name)}: ", 1)
    yield from more
    for said, warns in headline(figures):
        for line in _wrapped(f"  {said}", width):
            yield style.severity("warning", line) if warns else line


def _wrapped(text: str, width: int) -> list[str]:
    indent = len(text) - len(text.lstrip())
    return textwrap.wrap(text, max(20, width), subsequent_indent=" " * max(2, indent)) or [""]


def _lines(found: Table, style: Style, bars: Bars, width: int) -> Iterator[str]:
    yield from (style.bold(line) for line in _wrapped(terminal(found.title), width))
    for note in found.notes:
        yield from (style.dim(line) for line in _wrapped(f"  {terminal(note)}", width))
    usual = NARROW_LANE if len(found.head) > MANY else LANE
    rows = cells(found, bars, usual)
    over = sum(_widths(found.head, rows)) - width
    if over > 0:
        rows = cells(found, bars, max(LANE_MIN, usual - over))
    for number, columns in enumerate(_parts(_widths(found.head, rows), width)):
        head = [found.head[at] for at in columns]
        part = [[row[at] for at in columns] for row in rows]
        yield from table(head, part, style, left=1 if number else 2)
    if found.more:
        yield f"  {found.more}; mfshark stats --verbose shows all"


def _widths(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
    """The width of each column with the blanks in front of it; 0 for an empty one, as it is left
    out.
    """
    return [
        max(len(line[at]) for line in (head, *rows)) + BETWEEN
        if any(row[at] not in ("", "0") for row in rows)
        else 0
        for at in range(len(head))
    ]


def _parts(widths: Sequence[int], width: int) -> list[list[int]]:
    """The columns split into parts of at most ``width`` cells; each part begins with the first
    column.
    """
    parts, taken = [[0]], widths[0]
    for at in range(1, len(widths)):
        if taken + widths[at] > width and len(parts[-1]) > 1:
            parts.append([0])
            taken = widths[0]
        parts[-1].append(at)
        taken += widths[at]
    return [part for part in parts if len(part) == 1 or any(widths[at] for at in part[1:])]
