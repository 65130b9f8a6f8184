"""The display filter's input, with checks while typing, completion and history."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.message import Message
from textual.widgets import Input, Static

from analyzer.report.escape import terminal

if TYPE_CHECKING:
    from collections.abc import Callable

    from textual.app import ComposeResult

__all__ = ["FilterInput", "FilterLine"]

COMPLETIONS_SHOWN = 8


class FilterInput(Input):
    """The input; its keys are posted as messages, which :class:`FilterLine` handles."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "submit", "Apply", tooltip="Apply the filter"),
        Binding("escape", "leave", "Back", tooltip="Back to the packets"),
        Binding("tab", "complete(1)", "Complete", tooltip="Complete the name"),
        Binding("shift+tab", "complete(-1)", "Complete with the previous name", show=False),
        Binding("up", "history(-1)", "History", tooltip="Previous filter"),
        Binding("down", "history(1)", "Next filter", show=False),
        Binding("ctrl+s", "save", "Save filter", tooltip="Save the filter"),
        Binding("ctrl+u", "clear", "Clear", tooltip="Clear the line"),
    ]

    class Leave(Message):
        """Escape was pressed."""

    class Complete(Message):
        """Tab was pressed: the next (``by`` 1) or previous (-1) completion is wanted."""

        def __init__(self, by: int) -> None:
            super().__init__()
            self.by = by

    class History(Complete):
        """Up (``by`` -1) or down (1) was pressed."""

    class Save(Message):
        """The filter is to be saved."""

    def action_leave(self) -> None:
        """Return to the list."""
        self.post_message(self.Leave())

    def action_complete(self, by: int) -> None:
        """Complete with the next or previous candidate."""
        self.post_message(self.Complete(by))

    def action_history(self, by: int) -> None:
        """Go to an older or newer filter."""
        self.post_message(self.History(by))

    def action_save(self) -> None:
        """Save the filter."""
        self.post_message(self.Save())

    def action_clear(self) -> None:
        """Empty the line."""
        self.value = ""


class FilterLine(Horizontal):
    """The filter input with its label, and how many packets match.

    ``complain(text)`` returns the fault in a filter, (column, message), or ``None``;
    ``complete(text, cursor)`` the completions of the word in front of the cursor, as (start of the
    word, candidates); ``explain(text, cursor)`` the meaning of that word; ``hint(text)`` advice on
    a valid filter that is probably not what was meant.
    """

    DEFAULT_CSS = """
    FilterLine { height: 1; background: $surface; }
    FilterLine #sign { width: 10; color: $text-muted; }
    FilterLine FilterInput {
        width: 1fr; background: $boost;
    }
    FilterLine FilterInput.-good { background: $success 25%; }
    FilterLine FilterInput.-bad { background: $error 30%; }
    FilterLine #count { width: auto; padding: 0 1; color: $text-muted; }
    FilterLine #undo { width: auto; padding: 0 1; color: $text-muted; display: none; }
    """

    class Applied(Message):
        """Enter was pressed on a valid filter."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    class Told(Message):
        """A message about what is being typed, for the status line; empty to clear it."""

        def __init__(self, text: Text) -> None:
            super().__init__()
            self.text = text

    class Left(Message):
        """The user returned to the list."""

    class SaveAsked(Message):
        """The user wants to save the filter."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    def __init__(
        self,
        complain: Callable[[str], tuple[int, str] | None],
        complete: Callable[[str, int], tuple[int, list[str]]],
        explain: Callable[[str, int], str],
        history: list[str],
        hint: Callable[[str], str] = lambda _text: "",
        *,
        id: str | None = None,  # noqa: A002 - Textual's name
    ) -> None:
        super().__init__(id=id)
        self._complain = complain
        self._complete = complete
        self._explain = explain
        self._history = history
        self._hint = hint
        self._at = 0  # how far back in the history; 0 is the line being typed
        self._typed = ""
        self._cycle: tuple[int, list[str], int] | None = None
        self._set_by_us = ""
        self.applied = ""

    def on_click(self) -> None:
        """A click anywhere on the line focuses the input."""
        self.query_one(FilterInput).focus()

    def compose(self) -> ComposeResult:
        """The line."""
        yield Static(" Filter / ", id="sign")
        yield FilterInput(placeholder="none", select_on_focus=False, compact=True, id="filter")
        yield Static("", id="count", markup=False)
        yield Static("X shows all", id="undo")

    @property
    def input(self) -> FilterInput:
        """The input."""
        return self.query_one(FilterInput)

    def show_applied(self, text: str) -> None:
        """Show the filter in force, unless another one is being typed."""
        self.applied = text
        self._offer_undo()
        if not self.input.has_focus:
            self._set(text)

    def on_descendant_focus(self) -> None:
        """A filter is being typed: say at once what could follow."""
        self._offer_undo()
        self._tell_completions(self._judge(self.input.value))

    def on_descendant_blur(self) -> None:
        """No filter is being typed any more."""
        self._offer_undo()

    def _offer_undo(self) -> None:
        """Show the key that undoes the filter, unless it would be typed into the line."""
        self.query_one("#undo").display = bool(self.applied) and not self.input.has_focus

    def show_count(self, text: str) -> None:
        """Show how many packets match."""
        self.query_one("#count", Static).update(text)

    def _set(self, text: str) -> None:
        self._set_by_us = text
        self.input.value = text
        self.input.cursor_position = len(text)

    def on_input_changed(self, message: Input.Changed) -> None:
        """Check what is typed."""
        message.stop()
        text = message.value
        fault = self._judge(text)
        if text != self._set_by_us:
            self._cycle = None
            self._at = 0
        if self.input.has_focus:
            self._tell_completions(fault)

    def _judge(self, text: str) -> tuple[int, str] | None:
        """Colour the input by whether ``text`` is a valid filter; returns its fault, if any."""
        fault = self._complain(text) if text.strip() else None
        self.input.set_class(bool(text.strip()) and fault is None, "-good")
        self.input.set_class(fault is not None, "-bad")
        return fault

    def _tell_fault(self, column: int, message: str) -> None:
        self.post_message(self.Told(Text(f"column {column + 1}: {message}", "bold")))

    def _tell_completions(self, fault: tuple[int, str] | None) -> None:
        """Tell the meaning and the completions of the current word; the fault only if there are
        neither.
        """
        place = self.input.value, self.input.cursor_position
        _, found = self._complete(*place)
        meaning = self._explain(*place)
        if fault is not None and not found and not meaning:
            self._tell_fault(*fault)
            return
        if hint := self._hint(place[0]):
            self.post_message(self.Told(Text(hint, "bold")))
            return
        text = Text(meaning and f"{meaning}  ")
        text.append("  ".join(map(terminal, found[:COMPLETIONS_SHOWN])), "dim")
        if len(found) > COMPLETIONS_SHOWN:
            text.append(f"  and {len(found) - COMPLETIONS_SHOWN} more", "dim")
        self.post_message(self.Told(text))

    def on_input_submitted(self, message: Input.Submitted) -> None:
        """Apply the filter if it is valid, else say what is wrong."""
        message.stop()
        text = message.value.strip()
        fault = self._complain(text) if text else None
        if fault is not None:
            self.input.cursor_position = fault[0]
            self._tell_fault(*fault)
            self.app.bell()
            return
        self.post_message(self.Applied(text))
        self.post_message(self.Left())

    def on_filter_input_leave(self, message: FilterInput.Leave) -> None:
        """Restore the filter in force and return to the list."""
        message.stop()
        with self.input.prevent(Input.Changed):
            self._set(self.applied)
        self._judge(self.applied)
        self.post_message(self.Told(Text()))
        self.post_message(self.Left())

    def on_filter_input_complete(self, message: FilterInput.Complete) -> None:
        """Insert the next or previous candidate."""
        message.stop()
        if self._cycle is None:
            begin, found = self._complete(self.input.value, self.input.cursor_position)
            if not found:
                self.app.bell()
                return
            self._cycle = begin, found, -1 if message.by > 0 else 0
        begin, found, at = self._cycle
        at = (at + message.by) % len(found)
        self._cycle = (begin, found, at)
        text = self.input.value[:begin] + found[at]
        self._set(text)

    def on_filter_input_history(self, message: FilterInput.History) -> None:
        """Show an older or newer filter."""
        message.stop()
        if self._at == 0:
            self._typed = self.input.value
        self._at = max(0, min(len(self._history), self._at - message.by))
        self._set(self._typed if self._at == 0 else self._history[-self._at])

    def on_filter_input_save(self, message: FilterInput.Save) -> None:
        """Ask to save the filter, if it is valid."""
        message.stop()
        text = self.input.value.strip()
        if text and self._complain(text) is None:
            self.post_message(self.SaveAsked(text))
        else:
            self.app.bell()
