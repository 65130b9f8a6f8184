"""The packet list: rows of the packet table as cells of text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.cells import cell_len

from analyzer.migration.rows import CONFIG_STATE, DEVICE_STATE, RAM_PACKET, SYNC_PACKET
from analyzer.migration.table import INIT_PACKET
from analyzer.report.escape import terminal
from analyzer.report.packets import flags_text, pages_text
from analyzer.report.style import size_text
from analyzer.tui.columns import Column
from analyzer.tui.palette import MARK_GLYPH, SEVERITY_GLYPHS
from analyzer.tui.quantities import clock_time, seconds
from dissectors.multifd import text_of, uuid_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.style import Style

    from analyzer.tui.columns import Cell
    from analyzer.tui.document import Document
    from analyzer.tui.matching import Matching
    from analyzer.tui.packet_order import PacketOrder
    from analyzer.tui.palette import Palette
    from analyzer.tui.state import SortedBy, ViewState

__all__ = [
    "PacketRows",
    "channel_text",
    "lack_text",
    "name_text",
    "packet_columns",
]

TIME_TITLES = {
    "start": "Time",
    "absolute": "Time (UTC)",
    "previous": "Since previous",
    "switchover": "Switchover",
}


def packet_columns(time_format: str, several: bool) -> tuple[Column, ...]:
    """The columns; ``several`` adds one with the migration's number, as used in filters."""
    migration = (Column("Mig", 3, right=True, key="migration"),) if several else ()
    time_width = 15 if time_format == "absolute" else 11
    return (
        Column("", 2),
        Column("No.", 7, right=True, key="number"),
        Column("Frame", 7, right=True, optional=1, key="frame"),
        Column("Last", 7, right=True, optional=5, key="last"),
        *migration,
        Column(TIME_TITLES[time_format], time_width, right=True, key="time"),
        Column("Chan", 4, right=True, key="channel"),
        Column("Kind", 6, key="kind"),
        Column("Block or device", 17, grow=3, most=41, key="name"),
        Column("Number", 7, right=True, key="index"),
        Column("Flags", 12, optional=4, grow=1, most=24, key="flags"),
        Column("Pages", 9, right=True, optional=2, key="pages"),
        Column("Size", 10, right=True, key="size"),
        Column("Notes", 20, optional=3, grow=4, key="notes"),
    )


def _show_order(columns: Sequence[Column], by: SortedBy) -> None:
    """Mark the column that a list is sorted by; it is always shown."""
    for column in columns:
        if column.key == by.column:
            column.title += "▼" if by.descending else "▲"
            column.width = max(column.width, cell_len(column.title))
            column.optional = 0


def channel_text(channel: int) -> str:
    """The id of a channel; if it is not known (negative), the number of its stream."""
    return str(channel) if channel >= 0 else f"s{-1 - channel}"


def name_text(name: bytes) -> str:
    """A name from the capture, escaped for a terminal."""
    return terminal(text_of(name))


class PacketRows:
    """The packets that are shown: all rows, or those of ``matching``, sorted if there is an
    ``order``.
    """

    def __init__(
        self,
        document: Document,
        state: ViewState,
        matching: Matching | None = None,
        several: bool = False,
        order: PacketOrder | None = None,
    ) -> None:
        self.document = document
        self.state = state
        self.matching = matching
        self._several = several
        self._order = order
        self.columns: Sequence[Column] = packet_columns(state.time_format, several)
        if order is not None:
            _show_order(self.columns, state.sorted_by)
        self._switchovers: dict[int, int | None] = {}

    def __len__(self) -> int:
        return len(self.document.table) if self.matching is None else len(self.matching)

    def number(self, position: int) -> int:
        """The row of the table at a position of the list."""
        return self._unsorted(position if self._order is None else self._order.natural(position))

    def _unsorted(self, position: int) -> int:
        """The row at a position of the list as it was before it was sorted."""
        return position if self.matching is None else self.matching.row(position)

    def position(self, row: int) -> int:
        """The position of a row in the list, or of the next row that is shown."""
        natural = row if self.matching is None else self.matching.position(row)
        return natural if self._order is None else self._order.position(natural)

    def row(self, position: int, palette: Palette) -> tuple[Sequence[Cell], Style]:
        """One packet."""
        at = self.number(position)
        table = self.document.table
        value = {name: table.column(name)[at] for name in WANTED}
        kind = value["kind"]
        word, style = _kind(kind, value, palette)
        severity = self.document.severity(at)
        mark = (MARK_GLYPH if at in self.state.marks else " ") + SEVERITY_GLYPHS[severity]
        gutter = palette.mark if at in self.state.marks else palette.severity(severity)
        cells: list[Cell] = [
            (mark, gutter),
            str(at + 1),
            str(value["frame"]),
            str(value["end_frame"]),
            *([str(value["migration"])] if self._several else []),
            self.time(at, position),
            channel_text(value["channel"]),
            word,
            _name(kind, table.name(at)),
            _index(kind, value),
            flags_text(kind == DEVICE_STATE, value["flags"], value["state_flags"]),
            pages_text(value["normal_pages"], value["zero_pages"]),
            size_text(value["length"]),
            self.notes(at, value["missing"], value["cut"], palette),
        ]
        return cells, style

    def time(self, row: int, position: int) -> str:
        """The time of a row's first byte in the chosen format."""
        times = self.document.table.column("time")
        time = times[row]
        how = self.state.time_format
        if how == "absolute":
            return clock_time(time)
        if how == "previous":
            natural = position if self._order is None else self._order.natural(position)
            return seconds(time - times[self._unsorted(natural - 1)]) if natural else seconds(0)
        if how == "switchover":
            number = self.document.table.column("migration")[row]
            if number not in self._switchovers:
                self._switchovers[number] = self.document.switchover(number)
            since = self._switchovers[number]
            return seconds(time - since) if since is not None else "-"
        return seconds(time - self.document.start)

    def notes(self, row: int, missing: int, cut: int, palette: Palette) -> Cell:
        """The rules of a packet's findings and how much of it is missing, styled by severity."""
        parts = []
        severity = 0
        for finding in self.document.by_row.get(row, ()):
            severity = max(severity, finding.rank + 1)
            if finding.rule.slug not in parts:
                parts.append(finding.rule.slug)
        if missing:
            parts.append(lack_text(missing, cut))
            severity = max(severity, 2)
        return ", ".join(parts), palette.severity(severity)


def lack_text(missing: int, cut: int) -> str:
    """How much of a packet is missing, and whether its stream ended inside it."""
    return f"{'cut off: ' if cut else ''}{size_text(missing)} missing"


WANTED = (
    "kind", "frame", "end_frame", "migration", "channel", "packet_num", "idx", "flags",
    "normal_pages", "zero_pages", "length", "missing", "cut", "state_flags",
)  # fmt: skip


def _kind(kind: int, value: dict[str, int], palette: Palette) -> tuple[str, Style]:
    if kind == DEVICE_STATE:
        if value["idx"] >= 0 and value["state_flags"] & CONFIG_STATE:
            return "CONFIG", palette.config
        return "DEVICE", palette.device
    if kind == SYNC_PACKET:
        return "SYNC", palette.sync
    if kind == RAM_PACKET:
        return ("RAM", palette.ram) if value["normal_pages"] else ("zero", palette.zero)
    return "init", palette.muted


def _name(kind: int, name: bytes) -> str:
    """The block or device; of an initial packet the guest's uuid, if it has one."""
    if kind != INIT_PACKET:
        return name_text(name)
    return f"uuid {uuid_text(name)}" if any(name) else ""


def _index(kind: int, value: dict[str, int]) -> str:
    if kind == DEVICE_STATE:
        return str(value["idx"]) if value["idx"] >= 0 else "?"
    return f"#{value['packet_num']}" if kind in (RAM_PACKET, SYNC_PACKET) else ""
