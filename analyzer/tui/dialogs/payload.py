"""The payload of one packet: the decompressed pages of a RAM packet, or a device-state buffer."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.content import Content
from textual.widgets import ContentSwitcher
from textual.worker import get_current_worker

from analyzer.migration.rows import RAM_PACKET
from analyzer.tui.copying import hex_dump
from analyzer.tui.dialogs.find import FindDialog
from analyzer.tui.dialogs.help import HelpScreen
from analyzer.tui.dialogs.window import Window
from analyzer.tui.field_panes import FieldPanes
from analyzer.tui.hex_pane import HexPane
from analyzer.tui.payload_rows import (
    PageRows,
    buffer_data,
    buffer_title,
    buffer_tree,
    page_note,
    pages_title,
)
from analyzer.tui.row_list import RowList
from analyzer.tui.search import MODES, pattern_of
from analyzer.tui.tree_list import TreeList

if TYPE_CHECKING:
    from textual.app import ComposeResult

    from analyzer.migration.packet_pages import PacketPages
    from analyzer.migration.replay import Excerpt
    from analyzer.tui.app import MfsharkApp
    from analyzer.tui.dialogs.ask import Answer

__all__ = ["PayloadScreen"]

KEYS = "n N step  ^f finds  y copies  ? helps  Esc closes"
HINT = "In the data of the buffer, or in the pages, decompressed. ^f again finds the next place."
WIDE = 150
"""Terminal width from which on pages and bytes are shown side by side."""


class PayloadScreen(Window[None]):
    """Shows the payload of the packet at ``row`` of the table; stepping to another packet also
    selects it in the application.
    """

    AUTO_FOCUS = ""  # keys typed ahead wait for what was read, which decides who gets them
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,p", "leave", "Close"),
        Binding("n", "step(1)", "Next on its channel"),
        Binding("N", "step(-1)", "Previous on its channel"),
        Binding("ctrl+f", "find", "Find", tooltip="Find text or bytes in the payload"),
        Binding("y", "app.copy", "Copy", tooltip="Copy what is selected"),
        Binding("question_mark,f1", "keys", "Help", tooltip="Show the keys that work here"),
    ]
    DEFAULT_CSS = """
    PayloadScreen { align: center middle; }
    PayloadScreen > ContentSwitcher {
        width: 100%; height: 100%; border: round $accent; background: $surface;
    }
    PayloadScreen #pages { layout: vertical; }
    PayloadScreen #pages RowList { height: 2fr; }
    PayloadScreen #pages HexPane { height: 3fr; }
    PayloadScreen.-wide #pages { layout: horizontal; }
    PayloadScreen.-wide #pages RowList { height: 1fr; }
    """

    def __init__(self, mfshark: MfsharkApp, row: int) -> None:
        super().__init__()
        self._mfshark = mfshark
        self._row = row
        self._document = mfshark.document
        self._shown = -1  # the row that was read

    def compose(self) -> ComposeResult:
        """Both contents, of which one is shown."""
        with ContentSwitcher(initial="pages"):
            with Container(id="pages"):
                yield RowList(empty="reading …")
                yield HexPane()
            yield FieldPanes(id="buffer")

    def on_mount(self) -> None:
        """Start reading the payload."""
        self._note("")
        self._read()

    def on_resize(self) -> None:
        """Choose the layout by the width."""
        self.set_class(self.app.size.width >= WIDE, "-wide")

    @property
    def _window(self) -> ContentSwitcher:
        return self.query_one(ContentSwitcher)

    @property
    def _pages(self) -> RowList:
        return self.query_one("#pages RowList", RowList)

    @property
    def _bytes(self) -> HexPane:
        return self.query_one("#pages HexPane", HexPane)

    # -- reading, in a thread -----------------------------------------------------------------

    def _read(self) -> None:
        row, kind = self._row, self._document.table.column("kind")[self._row]
        work = self._read_pages if kind == RAM_PACKET else self._read_buffer
        self.run_worker(lambda: work(row), thread=True, exclusive=True, group="payload")

    def _read_pages(self, row: int) -> None:
        worker = get_current_worker()
        told = -1

        def go_on(share: float) -> bool:
            nonlocal told
            if worker.is_cancelled:
                return False
            if int(100 * share) > told:
                told = int(100 * share)
                self.app.call_from_thread(self._tell, f"decompressing earlier packets: {told}%")
            return True

        found = self._mfshark.reread.pages(row, go_on)
        if found is not None and not worker.is_cancelled:
            self.app.call_from_thread(self._show_pages, row, found)

    def _read_buffer(self, row: int) -> None:
        worker = get_current_worker()
        excerpt = self._mfshark.reread.packet(row)
        if not worker.is_cancelled:
            self.app.call_from_thread(self._show_buffer, row, excerpt)

    def _tell(self, text: str) -> None:
        self._window.border_title = Content(text)

    def _note(self, text: str) -> None:
        self._window.border_subtitle = f"{text}  {KEYS}" if text else KEYS

    # -- what is shown ------------------------------------------------------------------------

    def _show_pages(self, number: int, found: PacketPages) -> None:
        row = self._document.table.row(number)
        framing = self._document.migrations(row.migration)[0].framing
        self._shown = number
        self._window.current = "pages"
        self._tell(pages_title(row, found, framing.page_size))
        self._pages.empty = found.wrong[0] if found.wrong else "no page"
        self._pages.show_rows(PageRows(found))
        self._show_page()
        if not self._bytes.has_focus:
            self.set_focus(self._pages)

    def _show_page(self) -> None:
        rows, at = self._pages.rows, self._pages.cursor
        if not isinstance(rows, PageRows) or at >= len(rows):
            self._bytes.show_bytes(b"")
            return
        page = rows.found.pages[at]
        self._bytes.border_title = f"Page at {page.offset:#x}"
        self._bytes.show_bytes(page.content or b"", page_note(page, rows.found))

    def _show_buffer(self, number: int, excerpt: Excerpt) -> None:
        row = self._document.table.row(number)
        migration = self._document.migrations(row.migration)[0]
        panes = self.query_one(FieldPanes)
        self._shown = number
        self._window.current = "buffer"
        self._tell(buffer_title(row))
        nodes = buffer_tree(row, excerpt, migration)
        note = "" if excerpt.data else self._mfshark.reread.error
        panes.fields.opened |= {(node.name,) for node in nodes}
        panes.show(number, nodes, buffer_data(excerpt), "Buffer", note)
        if not panes.bytes.has_focus:
            self.set_focus(panes.fields)

    @property
    def behind(self) -> bool:
        """Whether the packet is still being read."""
        return self.is_attached and self._shown != self._row

    def copied(self, form: str) -> str | None:
        """The page under the cursor (``hex``: its bytes), or the fields or bytes of the buffer."""
        if self._window.current == "buffer":
            return self.query_one(FieldPanes).copied(form)
        if form == "hex":
            return hex_dump(self._bytes.data) if self._bytes.data else None
        return self._pages.copied(form)

    # -- what the user does -------------------------------------------------------------------

    def on_row_list_moved(self, message: RowList.Moved) -> None:
        """Show the bytes of another page."""
        message.stop()
        if message.sender is self._pages:
            self._show_page()

    def on_row_list_chosen(self, message: RowList.Chosen) -> None:
        """Enter on a page: go to its bytes."""
        message.stop()
        self.set_focus(self._bytes)

    def on_tree_list_as_filter(self, message: TreeList.AsFilter) -> None:
        """Do nothing: there is nothing to filter here."""
        message.stop()

    def action_step(self, by: int) -> None:
        """Show the next or previous packet of the same kind on the channel; over Packets, of those
        that its filter shows.
        """
        on_packets = self._mfshark.state.screen == "packets"
        shown = self._mfshark.filters.shows if on_packets else lambda _row: True
        at = self._document.find_payload(self._row, by, shown)
        if at is None:
            self._note(f"that was the {'last' if by > 0 else 'first'} one")
            return
        self._note("")
        self._row = at
        self._mfshark.select_row(at)
        self._mfshark.view.show_selection()
        self._mfshark.show_status()
        self._read()

    def action_find(self) -> None:
        """Ask what to find."""
        if not self.behind:
            self.app.push_screen(FindDialog(HINT, self._mfshark.sought, MODES[1:]), self._find)

    def _find(self, answer: Answer | None) -> None:
        """Mark the next place of some bytes, behind what is marked, or else from the beginning."""
        pattern = pattern_of(answer.mode, answer.text) if answer is not None else None
        if pattern is None:
            return
        self._mfshark.sought = answer
        rows, page = self._pages.rows, self._pages.cursor
        pane, parts = self._bytes, [b""]
        if self._window.current == "buffer":
            pane, page = self.query_one(FieldPanes).bytes, 0
            parts = [pane.data]
        elif isinstance(rows, PageRows) and len(rows):
            parts = [found.content or b"" for found in rows.found.pages]
        for number in range(page, page + len(parts) + 1):  # the first part once more at the end
            at = number % len(parts)
            offset = parts[at].find(pattern, pane.next if number == page else 0)
            if offset >= 0:
                if pane is self._bytes:
                    self._pages.go(at)
                    self._show_page()
                pane.mark_field(offset, len(pattern))
                self._note(f"found at byte {offset:#x}")
                return
        self._note("not found")
        self.app.bell()

    def action_keys(self) -> None:
        """Show the keys."""
        self.app.push_screen(HelpScreen(("In this pane", self.focused), ("In this window", self)))
