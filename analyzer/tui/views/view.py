"""Base class of the screens."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from rich.text import Text
from textual.containers import Vertical
from textual.widget import Widget

from analyzer.tui.dialogs.payload import PayloadScreen
from analyzer.tui.palette import Painted
from analyzer.tui.pieces import with_payload
from analyzer.tui.row_list import RowList

if TYPE_CHECKING:
    from analyzer.tui.app import MfsharkApp
    from analyzer.tui.document import Document
    from analyzer.tui.state import ViewState

__all__ = ["View"]

WIDE = 170
"""Terminal width from which on fields and bytes are shown side by side, with all their columns."""


class View(Vertical, Painted):
    """A screen, which shows one view of the document and of the selection.

    :meth:`show_document` is called when the document or the way to show it changed,
    :meth:`show_growth` while it grows, :meth:`show_selection` when something was selected anywhere.
    """

    @property
    def mfshark(self) -> MfsharkApp:
        """The application."""
        return cast("MfsharkApp", self.app)

    @property
    def document(self) -> Document:
        """The document that is shown."""
        return self.mfshark.document

    @property
    def state(self) -> ViewState:
        """The view state, which holds the selection."""
        return self.mfshark.state

    def on_resize(self) -> None:
        """Choose the layout by the width."""
        self.set_class(self.app.size.width >= WIDE, "-wide")

    @property
    def zoomed(self) -> bool:
        """Whether one pane fills the screen."""
        return self.has_class("-around-zoomed")

    def zoom(self, pane: Widget | None) -> None:
        """Show only one pane, or with ``None`` all of them again."""
        for widget in (self, *self.query(".-zoomed")):
            widget.remove_class("-zoomed", "-around-zoomed")
        while pane is not None and pane is not self:
            pane.add_class("-zoomed")
            around = pane.parent
            pane = around if isinstance(around, Widget) else None
            if pane is not None:
                pane.add_class("-around-zoomed")

    def show_document(self) -> None:
        """Show the document again."""

    def show_growth(self) -> None:
        """Show what was added to the document."""

    def show_selection(self) -> None:
        """Show what is selected."""

    def show_marks(self) -> None:
        """Show that marks were set or cleared."""

    @property
    def awaited(self) -> bool:
        """Whether what is shown of the document's migration is just being worked out, and nothing
        of it is there yet.
        """
        return False

    @property
    def behind(self) -> bool:
        """Whether what is selected is still being read."""
        return self.awaited

    def lack(self) -> str:
        """Why no packet is selected, in words; empty if one is."""
        return self.document.lack()

    def copied(self, form: str) -> str | None:
        """The selection as ``text``, ``json`` or ``hex``; ``None`` if it has no such form."""
        focused = self.app.focused
        rows = focused if isinstance(focused, RowList) else self.query(RowList).first()
        return rows.copied(form)

    def action_payload(self) -> None:
        """Show the payload of the selected packet: its pages, or its buffer."""
        table, row, lack = self.document.table, self.state.row, self.lack()
        if lack or row >= len(table) or not with_payload(table, row, row + 1)[0]:
            self.mfshark.tell(Text(lack or "this packet has no payload"))
        else:
            self.app.push_screen(PayloadScreen(self.mfshark, row))

    def home(self) -> None:
        """Put the focus where work on this screen begins."""
