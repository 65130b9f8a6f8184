"""The help window: all keys that work here, and what they do."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.widgets import Static

from analyzer.tui.dialogs.window import Window
from analyzer.tui.lines import meaning, shown_key

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual.app import ComposeResult

__all__ = ["HelpScreen"]

INTRODUCTION = (
    "Keys follow Wireshark, termshark and vim. Selecting something on one screen selects it on "
    "all of them; Enter goes one level deeper, Tab to the next pane."
)
KEY_WIDTH = 22


class HelpScreen(Window[None]):
    """Lists the keys in ``groups`` of (title, bindings)."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,question_mark", "leave", "Close"),
        Binding("j", "scroll(1)", "Down", show=False),
        Binding("k", "scroll(-1)", "Up", show=False),
    ]
    DEFAULT_CSS = """
    HelpScreen { align: center middle; background: $background; }
    HelpScreen > VerticalScroll {
        width: 90%; max-width: 100; height: 90%; padding: 0 1;
        border: round $accent; background: $surface; scrollbar-size-vertical: 1;
    }
    HelpScreen Static { width: 1fr; height: auto; }
    """

    def __init__(self, groups: Sequence[tuple[str, Sequence[BindingType]]]) -> None:
        super().__init__()
        self._groups = groups

    def compose(self) -> ComposeResult:
        """The window."""
        with VerticalScroll() as window:
            window.border_title = "Keys"
            window.border_subtitle = "Esc closes"
            yield Static(self._text(), markup=False)

    def _text(self) -> Text:
        text = Text(INTRODUCTION + "\n")
        for title, bindings in self._groups:
            text.append(f"\n{title}\n", "bold underline")
            for binding in bindings:
                if isinstance(binding, Binding) and binding.description:
                    keys = "  ".join(shown_key(key) for key in binding.key.split(","))
                    text.append(f"  {keys:<{KEY_WIDTH}}", "bold")
                    text.append(f" {meaning(binding)}\n")
        return text

    def action_leave(self) -> None:
        """Close the window."""
        self.dismiss(None)

    def action_scroll(self, by: int) -> None:
        """Scroll, with the keys of vim."""
        window = self.query_one(VerticalScroll)
        if by > 0:
            window.scroll_down(animate=False)
        else:
            window.scroll_up(animate=False)
