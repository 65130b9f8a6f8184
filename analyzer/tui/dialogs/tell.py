"""A window with something to read."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from analyzer.tui.dialogs.window import Window

if TYPE_CHECKING:
    from rich.text import Text
    from textual.app import ComposeResult

__all__ = ["TellDialog"]


class TellDialog(Window[None]):
    """Shows a text, whole."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,v,enter", "leave", "Close"),
    ]
    DEFAULT_CSS = """
    TellDialog { align: center middle; }
    TellDialog > VerticalScroll {
        width: 100; max-width: 96%; height: auto; max-height: 90%; padding: 0 1;
        border: round $accent; background: $surface; scrollbar-size-vertical: 1;
    }
    TellDialog Static { width: 1fr; height: auto; }
    """

    def __init__(self, title: str, text: Text) -> None:
        super().__init__()
        self._title = title
        self._text = text

    def compose(self) -> ComposeResult:
        """The window."""
        with VerticalScroll() as window:
            window.border_title = Content(self._title)
            window.border_subtitle = "Esc closes"
            yield Static(self._text)

    def action_leave(self) -> None:
        """Back."""
        self.dismiss(None)
