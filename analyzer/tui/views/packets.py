"""Packets: the list, the fields of the selected packet, its bytes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, ClassVar, TypeAlias

from rich.text import Text
from textual import work
from textual.binding import Binding, BindingType
from textual.worker import get_current_worker

from analyzer.migration.rows import DEVICE_STATE
from analyzer.tui.copying import json_text
from analyzer.tui.dialogs.choose import Choice, ChooseDialog
from analyzer.tui.field_panes import FieldPanes
from analyzer.tui.filter_line import FilterLine
from analyzer.tui.messages import FilterChosen, Selected
from analyzer.tui.packet_order import sort_packets
from analyzer.tui.packet_rows import PacketRows, lack_text, packet_columns
from analyzer.tui.packet_tree import packet_tree
from analyzer.tui.quantities import count
from analyzer.tui.reread import NOTHING
from analyzer.tui.row_list import RowList
from analyzer.tui.state import NATURAL, SortedBy
from analyzer.tui.tree_list import TreeList
from analyzer.tui.views.view import View

if TYPE_CHECKING:
    from textual.app import ComposeResult

    from analyzer.migration.replay import Excerpt
    from analyzer.tui.document import Document
    from analyzer.tui.matching import Matching
    from analyzer.tui.packet_order import PacketOrder

    Wanted: TypeAlias = tuple[Document, Matching | None, SortedBy, str]

__all__ = ["PacketsView"]

NO_DEVICE = "this packet belongs to no device"
PAUSE = 0.04
"""Seconds that the cursor must rest on a packet before its bytes are read from the file."""


class PacketsView(View):
    """The packet list, the fields and the bytes, as in Wireshark."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f", "filter_channel", "Channel", tooltip="Show only packets of this channel"),
        Binding("d", "filter_device", "Device", tooltip="Show only packets of this device"),
        Binding("X", "clear_filter", "Show all packets again", show=False),
        Binding("D", "to_device", "Go to its device", show=False),
        Binding("s", "sort", "Sort", tooltip="Sort the packets by a column"),
        Binding("p", "payload", "Payload", tooltip="Show the payload"),
    ]
    DEFAULT_CSS = """
    PacketsView #packet-list { height: 4fr; }
    PacketsView FieldPanes { height: 5fr; }
    PacketsView.-wide #packet-list, PacketsView.-wide FieldPanes { height: 1fr; }
    """

    _ordered: tuple[Wanted, PacketOrder] | None = None
    """The order worked out last, and for what."""

    def compose(self) -> ComposeResult:
        """The panes."""
        filters = self.mfshark.filters
        yield FilterLine(
            filters.complain, filters.complete, filters.explain, filters.history, filters.hint
        )
        yield RowList(id="packet-list", empty="no packets yet")
        yield FieldPanes()

    def home(self) -> None:
        """Focus the list."""
        self.screen.set_focus(self.packets)

    @property
    def packets(self) -> RowList:
        """The list."""
        return self.query_one("#packet-list", RowList)

    @property
    def rows(self) -> PacketRows | None:
        """The rows of the list; ``None`` before there are any."""
        rows = self.packets.rows
        return rows if isinstance(rows, PacketRows) else None

    # -- what is shown ------------------------------------------------------------------------

    def show_document(self) -> None:
        """List the packets again: loaded anew, or another filter, time format or migration."""
        document, packets = self.document, self.packets
        matching = self.mfshark.filters.matching
        several = len(document.migrations()) > 1
        packets.empty = self._empty()
        packets.show_rows(PacketRows(document, self.state, matching, several, self._order()))
        self.query_one(FilterLine).show_applied(self.state.filter)
        self._show_count()
        self.show_selection()

    def _order(self) -> PacketOrder | None:
        """The order in which the packets are listed; ``None`` as they come.

        One that has to be worked out, which happens when all packets are known, is shown later.
        """
        by, document, filters = self.state.sorted_by, self.document, self.mfshark.filters
        if by == NATURAL:
            self._ordered = None
        if by == NATURAL or not document.done or filters.behind:
            return None
        wanted = document, filters.matching, by, self.state.time_format
        if self._ordered is None or self._ordered[0] != wanted:
            self._sort_in_thread(wanted)
            return None
        return self._ordered[1]

    @work(thread=True, exclusive=True, group="sort")
    def _sort_in_thread(self, wanted: Wanted) -> None:
        worker = get_current_worker()
        document, matching, by, time_format = wanted
        order = sort_packets(document, matching, time_format, by)
        if not worker.is_cancelled:
            self.app.call_from_thread(self._show_sorted, wanted, order)

    def _show_sorted(self, wanted: Wanted, order: PacketOrder) -> None:
        self._ordered = wanted, order
        self.show_document()

    def lack(self) -> str:
        """See the base class; a filter may hide all packets."""
        return "" if self.rows is not None and len(self.rows) else self._empty()

    def _empty(self) -> str:
        document = self.document
        return document.lack() or "no packet matches the filter" + ("" if document.done else " yet")

    def show_growth(self) -> None:
        """Show the packets that were added."""
        if self.rows is None or not len(self.rows) or not self.packets.virtual_size.height:
            self.show_document()
        else:
            self.packets.grown()
            self._show_count()

    def _show_count(self) -> None:
        rows = self.rows
        total = len(self.document.table)
        shown = len(rows) if rows is not None else 0
        text = f"{count(shown)} of {count(total)}" if shown != total else count(total, "packet")
        self.query_one(FilterLine).show_count(text)

    def show_selection(self) -> None:
        """Show the selected packet."""
        rows = self.rows
        if rows is None or not len(rows):
            self.query_one(FieldPanes).clear()
            return
        position = min(rows.position(self.state.row), len(rows) - 1)
        if position != self.packets.cursor or self.packets.scroll_y > position:
            self.packets.go(position, centre=True)
        if rows.number(position) != self.state.row and not self.mfshark.filters.behind:
            self.mfshark.select_row(rows.number(position))  # the filter hides the selected packet
            self.mfshark.show_status()
        self.query_one(FieldPanes).expect((self.document, rows.number(position)))
        self._read(rows.number(position))

    # -- fields and bytes ---------------------------------------------------------------------

    @work(exclusive=True, group="bytes-pause")
    async def _read(self, row: int) -> None:
        document = self.document
        await asyncio.sleep(PAUSE)
        self._read_in_thread(document, row)

    @work(thread=True, exclusive=True, group="bytes")
    def _read_in_thread(self, document: Document, row: int) -> None:
        worker = get_current_worker()
        excerpt = self.mfshark.reread.packet(row)
        if not worker.is_cancelled and document is self.document:
            self.app.call_from_thread(self._show_fields, row, excerpt)

    def _show_fields(self, number: int, excerpt: Excerpt) -> None:
        if number >= len(self.document.table):
            return
        row = self.document.table.row(number)
        framing = next((m.framing for m in self.document.migrations(row.migration)), None)
        nodes = packet_tree(row, excerpt.data, framing)
        note = ""
        if excerpt is NOTHING:
            note = self.mfshark.reread.error
        elif len(excerpt.data) < row.length:
            note = f"{count(row.length - len(excerpt.data))} more bytes are not shown"
        title = f"Packet {row.number}"
        if row.missing:
            title += f", {lack_text(row.missing, row.cut)}"
        what = self.document, number
        self.query_one(FieldPanes).show(what, nodes, excerpt, title, note)

    def mark_bytes(self, row: int, offset: int, size: int) -> None:
        """Mark bytes of a packet as soon as they have been read."""
        self.query_one(FieldPanes).mark_bytes((self.document, row), offset, size)

    @property
    def behind(self) -> bool:
        """Whether the panes still show another packet than the selected one."""
        return self.query_one(FieldPanes).behind

    def copied(self, form: str) -> str | None:
        """The selected packet with its fields as ``text`` or ``json``, or its bytes as a ``hex``
        dump.
        """
        row, panes = self.state.row, self.query_one(FieldPanes)
        if self.lack():
            return None
        if form == "json":
            return json_text(self.document.table.row(row), panes.fields.nodes)
        if form == "text":
            return f"{self.packets.copied('text')}\n{panes.copied('text') or ''}"
        return panes.copied(form)

    def show_marks(self) -> None:
        """Redraw the list, which shows the marks."""
        self.packets.renew()

    # -- what the user does -------------------------------------------------------------------

    def on_row_list_moved(self, message: RowList.Moved) -> None:
        """Select another packet."""
        message.stop()
        if message.sender is self.packets and self.rows is not None:
            self.post_message(Selected(row=self.rows.number(message.position)))

    def on_row_list_chosen(self, message: RowList.Chosen) -> None:
        """Enter: go to the fields."""
        message.stop()
        self.screen.set_focus(self.query_one(TreeList))

    def on_tree_list_as_filter(self, message: TreeList.AsFilter) -> None:
        """Filter for packets with the same value in a field."""
        message.stop()
        text = self.mfshark.filters.of_field(self.document.table, self.state.row, message.node)
        if text is None:
            self.mfshark.tell(Text("no filter for this field"))
        else:
            self.post_message(FilterChosen(text))

    def on_filter_line_applied(self, message: FilterLine.Applied) -> None:
        """Apply the filter that was entered."""
        message.stop()
        self.post_message(FilterChosen(message.text))

    def on_filter_line_left(self, message: FilterLine.Left) -> None:
        """Return to the list."""
        message.stop()
        self.screen.set_focus(self.packets)

    def on_filter_line_told(self, message: FilterLine.Told) -> None:
        """Show faults and completions in the status line."""
        message.stop()
        self.mfshark.tell(message.text)

    def on_filter_line_save_asked(self, message: FilterLine.SaveAsked) -> None:
        """Save the filter."""
        message.stop()
        self.mfshark.filters.save(message.text)
        self.mfshark.tell(Text("filter saved; b lists saved filters"))

    def action_clear_filter(self) -> None:
        """Show all packets."""
        if self.state.filter:
            self.post_message(FilterChosen(""))
        else:
            self.mfshark.tell(Text("all packets are shown; no filter is applied"))

    def action_filter_channel(self) -> None:
        """Show only packets of the same channel, or all again."""
        self._toggle_filter(self.mfshark.filters.of_channel(self.document.table, self.state.row))

    def action_filter_device(self) -> None:
        """Show only packets of the same device, or all again."""
        table, several = self.document.table, self.document.several(self.state.migration)
        self._toggle_filter(self.mfshark.filters.of_device(table, self.state.row, several))

    def _toggle_filter(self, text: str | None) -> None:
        if text is None or self.lack():
            self.mfshark.tell(Text(self.lack() or NO_DEVICE))
        else:
            self.post_message(FilterChosen("" if text == self.state.filter else text))

    def action_sort(self) -> None:
        """Choose a column to sort the packets by; the same one again reverses the order."""
        columns = packet_columns(self.state.time_format, len(self.document.migrations()) > 1)
        choices = [Choice(column.key, column.title) for column in columns if column.key]
        dialog = ChooseDialog(
            "Sort by; the same again reverses", choices, self.state.sorted_by.column
        )
        self.app.push_screen(dialog, self._sort)

    def on_row_list_head_clicked(self, message: RowList.HeadClicked) -> None:
        """Sort by a column."""
        message.stop()
        self._sort(message.key)

    def _sort(self, column: str | None) -> None:
        if column is None:
            return
        again = self.state.sorted_by == SortedBy(column, descending=False)
        self.state.sorted_by = SortedBy(column, descending=again)
        if not self.document.done:
            self.mfshark.tell(Text("packets are sorted when all have been read"))
        self.show_document()

    def action_to_device(self) -> None:
        """Go to the packet's device."""
        table, row = self.document.table, self.state.row
        if self.lack() or table.column("kind")[row] != DEVICE_STATE:
            self.mfshark.tell(Text(self.lack() or NO_DEVICE))
            return
        self.mfshark.select_row(row)
        self.post_message(
            Selected(device=self.state.device, index=self.state.index, screen="devices")
        )
