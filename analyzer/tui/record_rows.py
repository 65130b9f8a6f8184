"""The main channel's records and the return path's messages, in order of time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analyzer.report.escape import terminal
from analyzer.report.style import size_text
from analyzer.tui.columns import Column
from analyzer.tui.quantities import seconds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.style import Style

    from analyzer.migration.main_channel import Record
    from analyzer.report.main_lines import MainLine
    from analyzer.tui.columns import Cell
    from analyzer.tui.palette import Palette

__all__ = ["RecordRows"]

TIMED = (Column("Time", 11, right=True), Column("Frame", 7, right=True, optional=2))


class RecordRows:
    """One row per record or message; records inside a PACKAGED command are indented."""

    def __init__(
        self, lines: list[MainLine], start: int, several: bool, timed: bool = True
    ) -> None:
        """``start`` is the time to count from (ns since the epoch), ``several`` adds a column with
        the migration's number.  ``timed`` is false for a saved migration, whose records have
        neither time nor frame.
        """
        self.lines = lines
        self.start = start
        self._several = several
        self._timed = timed
        migration = (Column("Mig", 3, right=True),) if several else ()
        self.columns: Sequence[Column] = (
            *migration,
            *(TIMED if timed else ()),
            Column("Offset", 10, right=True, optional=3),
            Column("Record", 15, grow=1, most=18),
            Column("Name", 19, grow=2, most=50),
            Column("Section", 7, right=True, optional=4),
            Column("Length", 9, right=True),
            Column("What it carries", 16, grow=3, optional=1),
        )

    def __len__(self) -> int:
        return len(self.lines)

    def row(self, position: int, palette: Palette) -> tuple[Sequence[Cell], Style]:
        """One record or message."""
        line = self.lines[position]
        cells: list[Cell] = [str(line.migration.number)] if self._several else []
        if self._timed:
            cells += [seconds(line.place.time - self.start), str(line.place.frame)]
        carries = terminal(", ".join(line.carries))
        if line.record is not None:
            return cells + _record(line.record, carries, palette), palette.plain
        name = terminal(line.name) or "return path"
        kind = (f"◂ {line.kind}", palette.device)
        size = size_text(line.length)
        cells += [str(line.offset), kind, name, "", size, (carries, palette.muted)]
        return cells, palette.plain


def _record(record: Record, carries: str, palette: Palette) -> list[Cell]:
    styles = {
        "COLO": palette.sync,
        "COMMAND": palette.sync,
        "HEADER": palette.muted,
        "CONFIGURATION": palette.config,
        "EOF": palette.info,
        "VMDESCRIPTION": palette.config,
    }
    style = styles.get(record.kind, palette.main)
    kind = record.kind.removeprefix("SECTION_")
    return [
        str(record.offset),
        (f"{'  ' * record.depth}{terminal(kind)}", style),
        terminal(record.name),
        str(record.section_id) if record.section_id is not None else "",
        size_text(record.length),
        (carries, palette.error if record.missing or record.broken else palette.muted),
    ]
