"""The main channel's records and the return path's messages, in order of time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analyzer.migration.return_path import COLO
from analyzer.report.escape import terminal
from analyzer.report.style import size_text
from analyzer.tui.columns import Column
from analyzer.tui.quantities import count, seconds
from dissectors.multifd import text_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.style import Style

    from analyzer.migration.channel import Channel
    from analyzer.migration.main_channel import Record
    from analyzer.migration.migration import Migration
    from analyzer.migration.return_path import Message
    from analyzer.tui.columns import Cell
    from analyzer.tui.document import Document
    from analyzer.tui.palette import Palette

__all__ = ["MainLine", "RecordRows", "main_lines"]


class MainLine:
    """A record of the main channel, or a message of the return path."""

    __slots__ = ("channel", "message", "migration", "record")

    def __init__(
        self,
        migration: Migration,
        channel: Channel,
        record: Record | None = None,
        message: Message | None = None,
    ) -> None:
        self.migration = migration
        self.channel = channel
        self.record = record
        self.message = message

    @property
    def is_colo(self) -> bool:
        """Whether it is one of COLO's messages."""
        if self.record is not None:
            return self.record.kind == "COLO"
        return self.message is not None and self.message.kind >= COLO

    @property
    def time(self) -> int:
        """When its first byte was seen."""
        if self.record is not None:
            return self.record.first.time
        return self.message.mark.time if self.message is not None else 0

    @property
    def frame(self) -> int:
        """The frame of its first byte."""
        if self.record is not None:
            return self.record.first.frame
        return self.message.mark.frame if self.message is not None else 0

    @property
    def text(self) -> str:
        """Its kind and name, to look for text in."""
        if self.record is not None:
            return f"{self.record.kind} {self.record.name}"
        block = self.message.block if self.message is not None else None
        return f"{self.message.name if self.message is not None else ''} {text_of(block or b'')}"

    @property
    def offset(self) -> int:
        """Where in its stream it begins."""
        if self.record is not None:
            return self.record.offset
        return self.message.mark.offset if self.message is not None else 0


def main_lines(document: Document, number: int) -> list[MainLine]:
    """All of them, of one migration or of all."""
    lines: list[MainLine] = []
    for migration in document.migrations(number):
        facts, main = migration.main_facts, migration.main
        back, returned = migration.return_path, migration.return_facts
        if main is not None and facts is not None:
            lines += [MainLine(migration, main, record=record) for record in list(facts.records)]
        if back is not None and returned is not None:
            messages = list(returned.messages)
            lines += [MainLine(migration, back, message=message) for message in messages]
    lines.sort(key=lambda line: line.time)
    return lines


TIMED = (Column("Time", 11, right=True), Column("Frame", 7, right=True, optional=2))


class RecordRows:
    """One row a record or message; ``opened`` is not needed: nesting is shown by indentation."""

    def __init__(
        self, lines: list[MainLine], start: int, several: bool, timed: bool = True
    ) -> None:
        """``start`` is the time to count from, ``several`` adds the migration's number; not
        ``timed`` are the records of a saved migration, which have neither time nor frame.
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
            Column("What it carries", 21, grow=3, optional=1),
        )

    def __len__(self) -> int:
        return len(self.lines)

    def row(self, position: int, palette: Palette) -> tuple[Sequence[Cell], Style]:
        """One record or message."""
        line = self.lines[position]
        cells: list[Cell] = [str(line.migration.number)] if self._several else []
        if self._timed:
            cells += [seconds(line.time - self.start), str(line.frame)]
        if line.record is not None:
            return cells + _record(line.record, palette), palette.plain
        if line.message is not None:
            return cells + _message(line.message, palette), palette.plain
        return cells, palette.plain


def _record(record: Record, palette: Palette) -> list[Cell]:
    styles = {
        "COLO": palette.sync,
        "COMMAND": palette.sync,
        "HEADER": palette.muted,
        "CONFIGURATION": palette.config,
        "EOF": palette.info,
        "VMDESCRIPTION": palette.config,
    }
    style = styles.get(record.kind, palette.main)
    parts = []
    if record.normal_pages:
        parts.append(count(record.normal_pages, "page"))
    if record.zero_pages:
        parts.append(count(record.zero_pages, "zero page"))
    if record.coded_pages:
        parts.append(count(record.coded_pages, "encoded page"))
    if record.flushes:
        parts.append(f"{record.flushes} × MULTIFD_FLUSH")  # noqa: RUF001
    if record.data_bytes:
        parts.append(f"{size_text(record.data_bytes)} of device state")
    if record.value is not None:
        announces = record.kind == "COLO"
        text = (
            f"{size_text(record.value)} of device state"
            if announces
            else f"value {record.value:#x}"
        )
        parts.append(text)
    if record.by_search:
        parts.append("end found by its footer")
    look = palette.muted
    if record.missing:
        parts.append(f"{size_text(record.missing)} missing")
        look = palette.error
    if record.broken:
        parts.append(f"✗ breaks off in {terminal(record.broken)}")
        look = palette.error
    kind = record.kind.removeprefix("SECTION_")
    return [
        str(record.offset),
        (f"{'  ' * record.depth}{terminal(kind)}", style),
        terminal(record.name),
        str(record.section_id) if record.section_id is not None else "",
        size_text(record.length),
        (", ".join(parts), look),
    ]


def _message(message: Message, palette: Palette) -> list[Cell]:
    parts = []
    if message.value is not None:
        parts.append(f"value {message.value:#x}")
    if message.start is not None:
        parts.append(f"start {message.start:#x}")
    if message.size is not None:
        parts.append(f"{size_text(message.size)}")
    return [
        str(message.mark.offset),
        (f"◂ {message.name}", palette.device),
        terminal(text_of(message.block)) if message.block is not None else "return path",
        "",
        size_text(message.length),
        (", ".join(parts), palette.muted),
    ]
