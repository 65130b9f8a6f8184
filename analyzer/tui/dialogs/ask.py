"""A window that asks for a line of text, in one of several modes."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Input, Static

from analyzer.tui.dialogs.window import Window

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from textual.app import ComposeResult

__all__ = ["Answer", "AskDialog"]


class Answer:
    """The text that was entered, and the mode."""

    __slots__ = ("mode", "text")

    def __init__(self, mode: str, text: str) -> None:
        self.mode = mode
        self.text = text


class AskDialog(Window["Answer | None"]):
    """Returns an :class:`Answer`, or ``None`` if the user cancels.

    ``value`` and ``mode`` are the initial text and mode.  ``check(mode, text)`` returns what is
    wrong, empty if nothing is; ``suggest(mode)`` a default text for a mode; ``mode_of(text)`` the
    mode that a text implies, such as a file's ending, or ``None``.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Cancel"),
        Binding("tab,ctrl+t", "mode", "Other mode", priority=True),
    ]
    DEFAULT_CSS = """
    AskDialog { align: center middle; }
    AskDialog > Vertical {
        width: 64; max-width: 96%; height: auto; padding: 0 1;
        border: round $accent; background: $surface;
    }
    AskDialog Static { height: auto; }
    AskDialog Input { background: $boost; }
    AskDialog #complaint { color: $text-error; }
    AskDialog #hint { color: $text-muted; }
    """

    def __init__(
        self,
        title: str,
        hint: str,
        *,
        value: str = "",
        mode: str = "",
        modes: Sequence[str] = ("",),
        check: Callable[[str, str], str] = lambda _mode, _text: "",
        suggest: Callable[[str], str] | None = None,
        mode_of: Callable[[str], str | None] = lambda _text: None,
    ) -> None:
        super().__init__()
        self._title = title
        self._hint = hint
        self._value = value
        self._modes = modes
        self._at = modes.index(mode) if mode in modes else 0
        self._check = check
        self._suggest = suggest
        self._mode_of = mode_of

    def compose(self) -> ComposeResult:
        """The window."""
        with Vertical() as window:
            window.border_title = Content(self._title)
            window.border_subtitle = "Enter confirms  Esc closes"
            yield Static(self._mode_line(), id="modes")
            yield Input(value=self._first_value(), id="answer", compact=True)
            yield Static("", id="complaint", markup=False)
            yield Static(Text(self._hint), id="hint")

    def _first_value(self) -> str:
        if self._value or self._suggest is None:
            return self._value
        return self._suggest(self._modes[0])

    def on_mount(self) -> None:
        """Hide the line of modes if there is only one."""
        self.query_one("#modes").display = len(self._modes) > 1
        self.query_one(Input).focus()

    def _mode_line(self) -> Text:
        text = Text()
        for at, mode in enumerate(self._modes):
            text.append(f" {mode} ", "reverse bold" if at == self._at else "dim")
            text.append(" ")
        return text.append("  Tab changes", "dim")

    @property
    def mode(self) -> str:
        """The current mode."""
        return self._modes[self._at]

    def action_mode(self) -> None:
        """Switch to the next mode, and adapt a suggested text or an ending that implies a mode."""
        answer = self.query_one(Input)
        suggested = self._suggest(self.mode) if self._suggest is not None else None
        untouched = answer.value == suggested
        before = self.mode
        self._set_mode((self._at + 1) % len(self._modes))
        if untouched and self._suggest is not None:
            answer.value = self._suggest(self.mode)
            answer.cursor_position = len(answer.value)
        elif self._mode_of(answer.value) == before:
            answer.value = answer.value.removesuffix(f".{before}") + f".{self.mode}"
            answer.cursor_position = len(answer.value)
        self._complain()

    def _set_mode(self, at: int) -> None:
        self._at = at
        self.query_one("#modes", Static).update(self._mode_line())

    def _complain(self) -> str:
        text = self.query_one(Input).value
        complaint = self._check(self.mode, text) if text else ""
        self.query_one("#complaint", Static).update(complaint)
        return complaint

    def on_input_changed(self) -> None:
        """Say what is wrong while the user types, and switch to the mode that the text implies."""
        wanted = self._mode_of(self.query_one(Input).value)
        if wanted in self._modes and wanted != self.mode:
            self._set_mode(self._modes.index(wanted))
        self._complain()

    def on_input_submitted(self) -> None:
        """Return the answer if it is valid."""
        text = self.query_one(Input).value.strip()
        if text and not self._complain():
            self.dismiss(Answer(self.mode, text))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """There is no other mode if there is only one."""
        if action == "mode" and len(self._modes) == 1:
            return False
        return super().check_action(action, parameters)
