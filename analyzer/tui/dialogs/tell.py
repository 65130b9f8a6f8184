"""A window with something to read."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content

from analyzer.tui.dialogs.window import Window
from analyzer.tui.text_pane import TextPane

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
        Binding("escape,q,v,i,w,enter", "leave", "Close"),
    ]
    DEFAULT_CSS = """
    TellDialog { align: center middle; }
    TellDialog > TextPane {
        width: 100; max-width: 96%; height: auto; max-height: 90%;
        border: round $accent; background: $surface;
    }
    TellDialog > TextPane.-wide { width: auto; }
    """

    def __init__(self, title: str, text: Text, *, wide: bool = False) -> None:
        super().__init__()
        self._title = title
        self._text = text
        self._wide = wide

    def compose(self) -> ComposeResult:
        """The window."""
        window = TextPane(self._text, classes="-wide" if self._wide else None)
        window.border_title = Content(self._title)
        window.border_subtitle = "Esc closes"
        yield window
