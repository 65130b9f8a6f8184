"""A text to read, which is scrolled with the keys of lists."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.containers import ScrollableContainer
from textual.widgets import Static

if TYPE_CHECKING:
    from textual.app import ComposeResult

__all__ = ["TextPane"]


class TextPane(ScrollableContainer):
    """Shows a text; with the class ``-wide`` its lines are not wrapped."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "scroll_up", "Up", show=False),
        Binding("down,j", "scroll_down", "Down", show=False),
        Binding("pageup,ctrl+b,ctrl+u", "page_up", "Page up", show=False),
        Binding("pagedown,ctrl+d,space", "page_down", "Page down", show=False),
        Binding("home,g", "scroll_home", "Beginning", show=False),
        Binding("end,G", "scroll_end", "End", show=False),
    ]
    DEFAULT_CSS = """
    TextPane { padding: 0 1; scrollbar-size: 1 1; }
    TextPane Static { width: 1fr; height: auto; }
    TextPane.-wide Static { width: auto; }
    """

    def __init__(
        self,
        text: Text | None = None,
        *,
        id: str | None = None,  # noqa: A002 - Textual's name
        classes: str | None = None,
    ) -> None:
        super().__init__(id=id, classes=classes)
        self._text = text if text is not None else Text()
        self._about: object = None

    def compose(self) -> ComposeResult:
        """The text."""
        yield Static(self._text)

    def show_text(self, text: Text, about: object = None) -> None:
        """Show another text, from its beginning if it is ``about`` something else than before."""
        self.query_one(Static).update(text)
        if about != self._about:
            self._about = about
            self.scroll_home()
