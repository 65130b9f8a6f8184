"""A window with a list of choices."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from analyzer.tui.dialogs.window import Window

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from textual import events
    from textual.app import ComposeResult

__all__ = ["Choice", "ChooseDialog"]


class Choice:
    """A choice: the value it returns, the label shown, and its key (empty: none)."""

    __slots__ = ("key", "label", "value")

    def __init__(self, value: str, label: str, key: str = "") -> None:
        self.value = value
        self.label = label
        self.key = key


class ChooseDialog(Window["str | None"]):
    """Returns the value of the choice, or ``None`` if the user cancels."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "leave", "Cancel"),
        Binding("j", "move(1)", "Down", show=False),
        Binding("k", "move(-1)", "Up", show=False),
        Binding("g", "edge(0)", "First", show=False),
        Binding("G", "edge(1)", "Last", show=False),
        Binding("delete,d", "forget", "Delete", show=False),
    ]
    DEFAULT_CSS = """
    ChooseDialog { align: center middle; }
    ChooseDialog > Vertical {
        width: auto; min-width: 44; max-width: 96%; height: auto; max-height: 90%;
        border: round $accent; background: $surface;
    }
    ChooseDialog OptionList {
        width: auto; min-width: 42; height: auto; max-height: 20;
        padding: 0; background: $surface;
    }
    """

    def __init__(
        self,
        title: str,
        choices: Sequence[Choice],
        current: str | None = None,
        forget: Callable[[str], bool] | None = None,
    ) -> None:
        """``current`` is the value highlighted at first; ``forget`` deletes a choice by its value
        and returns whether it did.
        """
        super().__init__()
        self._title = title
        self._choices = list(choices)
        self._current = current
        self._forget = forget

    def compose(self) -> ComposeResult:
        """The window."""
        with Vertical() as window:
            window.border_title = Content(self._title)
            deletes = "d deletes  " if self._forget is not None else ""
            window.border_subtitle = f"{deletes}Enter chooses  Esc closes"
            options = []
            for choice in self._choices:
                label = Text(no_wrap=True)
                if choice.key:
                    label.append(f" {choice.key}  ", "bold")
                label.append(choice.label)
                options.append(Option(label))
            yield OptionList(*options, compact=True)

    def on_mount(self) -> None:
        """Highlight the current choice."""
        options = self.query_one(OptionList)
        values = [choice.value for choice in self._choices]
        options.highlighted = values.index(self._current) if self._current in values else 0
        options.focus()

    def action_move(self, by: int) -> None:
        """Move the highlight, with the keys of vim."""
        options = self.query_one(OptionList)
        if by > 0:
            options.action_cursor_down()
        else:
            options.action_cursor_up()

    def action_edge(self, end: int) -> None:
        """Move the highlight to the first or last choice."""
        options = self.query_one(OptionList)
        if end:
            options.action_last()
        else:
            options.action_first()

    def action_forget(self) -> None:
        """Delete the highlighted choice, if it can be deleted."""
        options = self.query_one(OptionList)
        at = options.highlighted
        if self._forget is None or at is None or not self._forget(self._choices[at].value):
            return
        del self._choices[at]
        options.remove_option_at_index(at)
        options.highlighted = min(at, len(self._choices) - 1)

    def on_key(self, event: events.Key) -> None:
        """Return the choice whose own key was pressed."""
        for choice in self._choices:
            if choice.key and event.character == choice.key:
                event.stop()
                self.dismiss(choice.value)

    def on_option_list_option_selected(self, message: OptionList.OptionSelected) -> None:
        """Return the choice on Enter or a click."""
        message.stop()
        self.dismiss(self._choices[message.option_index].value)
