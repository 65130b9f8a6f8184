"""The help window: all keys that work here, and what they do."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType

from analyzer.tui.dialogs.tell import TellDialog
from analyzer.tui.lines import meaning, shown_key

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["HelpScreen"]

INTRODUCTION = (
    "Keys follow Wireshark, termshark and vim. Selecting something on one screen selects it on "
    "all of them; Enter goes one level deeper, Escape back, Tab to the next pane. The status line "
    "has the verdict, or what a key did; its right end counts the packets."
)
KEY_WIDTH = 16


class HelpScreen(TellDialog):
    """Lists the keys in ``groups`` of (title, bindings), on a blank screen, which is drawn faster
    than one dimmed.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("question_mark,f1", "leave", "Close", show=False),
    ]
    DEFAULT_CSS = """
    HelpScreen { background: $background; }
    """

    def __init__(self, groups: Sequence[tuple[str, Sequence[BindingType]]]) -> None:
        super().__init__("Keys", _text(groups))


def _text(groups: Sequence[tuple[str, Sequence[BindingType]]]) -> Text:
    text = Text(INTRODUCTION + "\n")
    for title, bindings in groups:
        text.append(f"\n{title}\n", "bold underline")
        for binding in bindings:
            if isinstance(binding, Binding) and binding.description:
                keys = "  ".join(shown_key(key) for key in binding.key.split(","))
                text.append(f"  {keys:<{KEY_WIDTH}}", "bold")
                text.append(f" {meaning(binding)}\n")
    text.rstrip()
    return text
