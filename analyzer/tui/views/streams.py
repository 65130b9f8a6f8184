"""Streams: the TCP side of the channels, and which parts of the capture were ignored."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType

from analyzer.tui.row_list import RowList
from analyzer.tui.stream_rows import (
    StreamRows,
    capture_text,
    file_text,
    stream_lines,
    stream_text,
)
from analyzer.tui.text_pane import TextPane
from analyzer.tui.views.view import View

if TYPE_CHECKING:
    from textual.app import ComposeResult

    from analyzer.tui.stream_rows import StreamLine

__all__ = ["StreamsView"]

PACKED = ("multifd", "main", "return-path")
"""Kinds of channels whose contents are listed on another screen."""


class StreamsView(View):
    """One row per direction of a connection; below, holes and oddities of the selected one."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f", "filter", "Its packets", tooltip="Show only its packets"),
    ]
    DEFAULT_CSS = """
    StreamsView #stream-list { height: 3fr; }
    StreamsView TextPane { height: 2fr; }
    """

    def compose(self) -> ComposeResult:
        """The panes."""
        yield RowList(id="stream-list", empty="no TCP connection")
        yield TextPane()

    def on_mount(self) -> None:
        """Title."""
        self.query_one(TextPane).border_title = "Details"

    def home(self) -> None:
        """Focus the list."""
        self.screen.set_focus(self.query_one("#stream-list"))

    @property
    def _list(self) -> RowList:
        return self.query_one("#stream-list", RowList)

    @property
    def current(self) -> StreamLine | None:
        """The direction under the cursor."""
        rows = self._list.rows
        if isinstance(rows, StreamRows) and self._list.cursor < len(rows):
            return rows.lines[self._list.cursor]
        return None

    def show_document(self) -> None:
        """List all streams again."""
        self._list.empty = self._lack()
        several = len(self.document.migrations()) > 1
        lines = stream_lines(self.document, self.state.migration)
        self._list.show_rows(StreamRows(lines, several))
        self.show_selection()

    def _lack(self) -> str:
        """Why there are no streams."""
        document = self.document
        if document.saved is not None:
            return "a saved migration has no connection"
        if document.scan is None:
            return document.obstacle()
        return "no TCP connection" + ("" if document.done else " yet")

    def show_growth(self) -> None:
        """Update the list as long as there are few connections."""
        if self.document.scan is not None and len(self.document.scan.engine.connections) < 1000:
            self.show_document()

    def show_selection(self) -> None:
        """Show the selected stream."""
        rows = self._list.rows
        if isinstance(rows, StreamRows) and self.state.stream is not None:
            for position, line in enumerate(rows.lines):
                if line.number == self.state.stream:
                    if self.current is None or self.current.number != line.number:
                        self._list.go(position, centre=True)
                    break
        self._tell()

    def _tell(self) -> None:
        scan, saved = self.document.scan, self.document.saved
        if scan is None or saved is not None:
            text = file_text(saved.saved) if saved is not None else Text()
            self.query_one(TextPane).show_text(text)
            return
        text = capture_text(scan)
        line = self.current
        if line is not None:
            text = stream_text(line, self.document.start, self.palette).append("\n").append(text)
        self.query_one(TextPane).show_text(text, line.flow if line is not None else None)

    def on_row_list_moved(self, message: RowList.Moved) -> None:
        """Select another stream."""
        message.stop()
        if self.current is not None:
            self.state.stream = self.current.number
        self._tell()

    def on_row_list_chosen(self, message: RowList.Chosen) -> None:
        """Enter: show the stream's packets."""
        message.stop()
        self.action_filter()

    def action_filter(self) -> None:
        """Show only the packets of the selected stream, or main's records."""
        line = self.current
        if line is None:
            self.mfshark.tell(Text("there is no stream"))
        elif line.channel is not None and line.channel.kind in PACKED:
            self.mfshark.filter_channel(line.channel)
        else:
            self.mfshark.tell(Text(f"no packets: {line.what}"))
