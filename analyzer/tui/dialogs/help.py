"""The help window: all keys that work here, and what they do."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType

from analyzer.tui.dialogs.tell import TellDialog
from analyzer.tui.lines import meaning, shown_key

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from textual.dom import DOMNode

__all__ = ["HelpScreen"]

INTRODUCTION = (
    "Keys follow Wireshark, termshark and vim. Selecting something on one screen selects it on "
    "all of them; Enter goes one level deeper, Escape back, Tab to the next pane. The status line "
    "has the verdict, or what a key did; its right end counts the packets."
)
KEY_WIDTH = 16


class HelpScreen(TellDialog):
    """Lists the keys of ``places`` (title, widget), from the focused pane outwards, on a blank
    screen, which is drawn faster than one dimmed.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("question_mark,f1", "leave", "Close", show=False),
    ]
    DEFAULT_CSS = """
    HelpScreen { background: $background; }
    """

    def __init__(self, *places: tuple[str, DOMNode | None]) -> None:
        super().__init__("Keys", _text(places))


def _text(places: Sequence[tuple[str, DOMNode | None]]) -> Text:
    text = Text(INTRODUCTION + "\n")
    taken: set[str] = set()
    for title, owner in places:
        heading = f"\n{title}\n"
        for binding in _bindings(type(owner)):
            keys = [key for key in binding.key.split(",") if key not in taken]
            if keys:
                text.append(heading, "bold underline")
                text.append(f"  {'  '.join(map(shown_key, keys)):<{KEY_WIDTH}}", "bold")
                text.append(f" {meaning(binding)}\n")
                taken.update(keys)
                heading = ""
    text.rstrip()
    return text


def _bindings(kind: type) -> Iterator[Binding]:
    """The bindings of the project's own classes among a class and its ancestors."""
    for base in kind.__mro__:
        if base.__module__.startswith("analyzer.tui"):
            yield from base.__dict__.get("BINDINGS", ())
