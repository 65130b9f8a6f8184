"""A window with something to read."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType
from textual.containers import ScrollableContainer
from textual.content import Content
from textual.widgets import Static

from analyzer.tui.dialogs.window import Window

if TYPE_CHECKING:
    from rich.text import Text
    from textual.app import ComposeResult

__all__ = ["TellDialog", "room_of"]

AROUND = 5
"""Cells around the text: border, padding, scrollbar."""


def room_of(width: int) -> int:
    """Longest line of a ``wide`` text, in cells, on a terminal of ``width`` cells."""
    return max(20, width * 96 // 100 - AROUND)


class TellDialog(Window[None]):
    """Shows a text; the lines of a ``wide`` one are not wrapped."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,v,i,enter", "leave", "Close"),
    ]
    DEFAULT_CSS = """
    TellDialog { align: center middle; }
    TellDialog > ScrollableContainer {
        width: 100; max-width: 96%; height: auto; max-height: 90%; padding: 0 1;
        border: round $accent; background: $surface; scrollbar-size: 1 1;
    }
    TellDialog Static { width: 1fr; height: auto; }
    TellDialog.-wide > ScrollableContainer { width: auto; }
    TellDialog.-wide Static { width: auto; }
    """

    def __init__(self, title: str, text: Text, *, wide: bool = False) -> None:
        super().__init__(classes="-wide" if wide else None)
        self._title = title
        self._text = text

    def compose(self) -> ComposeResult:
        """The window."""
        with ScrollableContainer() as window:
            window.border_title = Content(self._title)
            window.border_subtitle = "Esc closes"
            yield Static(self._text)

    def action_leave(self) -> None:
        """Close the window."""
        self.dismiss(None)
