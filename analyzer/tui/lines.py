"""The one-line widgets around every screen: tabs, status, keys."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from rich.segment import Segment
from rich.text import Text
from textual.binding import Binding
from textual.strip import Strip
from textual.widget import Widget

from analyzer.tui.messages import Jump
from analyzer.tui.palette import Painted
from analyzer.tui.state import SCREENS

if TYPE_CHECKING:
    from textual import events
    from textual.screen import Screen

__all__ = ["TITLES", "KeyLine", "StatusLine", "TabLine", "keys_of", "meaning", "shown_key"]

TITLES = tuple(screen.capitalize() for screen in SCREENS)
TABS = sum(len(title) + 4 for title in TITLES)
"""Width of all titles with their keys."""
LINES_MAX = ((30, 3), (24, 2))
"""How many lines the status line may take, by the least height of the terminal."""
SHOWN_AS = {
    "question_mark": "?",
    "slash": "/",
    "left_square_bracket": "[",
    "right_square_bracket": "]",
    "colon": ":",
    "enter": "⏎",
    "tab": "⇥",
    "escape": "esc",
    "plus": "+",
    "minus": "-",
    "up": "↑",
    "down": "↓",
    "left": "←",
    "right": "→",
    "apostrophe": "'",
    "quotation_mark": '"',
    "equals_sign": "=",
    "space": "␣",
}


def shown_key(key: str) -> str:
    """A key as it is shown to the user."""
    *modifiers, name = key.split("+")
    return "+".join([*modifiers, SHOWN_AS.get(name, name)]).replace("ctrl+", "^")


def meaning(binding: Binding) -> str:
    """What a key does: the tooltip, or else the short description."""
    return binding.tooltip or binding.description


@cache
def keys_of(kind: Any) -> dict[str, str]:
    """The keys that a widget class and its own base classes bind, with what they do."""
    found: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        if base.__module__.startswith("analyzer.tui"):
            for binding in base.__dict__.get("BINDINGS", ()):
                found.update(dict.fromkeys(binding.key.split(","), meaning(binding)))
    return found


class TabLine(Widget):
    """The screens with their keys, the current one marked; the capture's name on the right.  Where
    there is too little room, only the current one has its title.
    """

    DEFAULT_CSS = "TabLine { height: 1; background: $panel; }"

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's name
        super().__init__(id=id)
        self.current = SCREENS[0]
        self.name_shown = ""
        self._edges: list[int] = []

    def show_tab(self, screen: str, name: str) -> None:
        """Mark a screen; ``name`` is the capture's."""
        self.current = screen
        self.name_shown = name
        self.refresh()

    def render(self) -> Text:
        """The line."""
        text = Text(no_wrap=True, end="")
        self._edges = []
        short = self.size.width < TABS
        for number, (screen, title) in enumerate(zip(SCREENS, TITLES, strict=True), 1):
            style = "bold reverse" if screen == self.current else ""
            text.append(f" {number}", style or "bold")
            text.append(" " if short and not style else f" {title} ", style)
            self._edges.append(text.cell_len)
        room = self.size.width - text.cell_len - 1
        if room > 12:
            name = Text(self.name_shown, "dim", no_wrap=True)
            name.truncate(room - 2, overflow="ellipsis")
            name.align("right", room)
            text.append_text(name)
        return text

    def on_click(self, event: events.Click) -> None:
        """Go to the screen under the mouse."""
        for screen, edge in zip(SCREENS, self._edges, strict=False):
            if event.x < edge:
                self.post_message(Jump(screen))
                return


class StatusLine(Widget):
    """A message on the left, totals on the right.  It takes several lines if :attr:`wanted`, the
    text to make room for, needs them and the terminal is high enough; another message that is too
    long for them pushes the totals aside.
    """

    DEFAULT_CSS = "StatusLine { height: 1; background: $surface; color: $text; }"

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's name
        super().__init__(id=id)
        self._left: Text = Text()
        self._right: Text = Text()
        self.wanted: Text = Text()

    def show_status(self, left: Text, right: Text) -> None:
        """Set both halves of the line."""
        if left != self._left or right != self._right:
            self._left, self._right = left, right
            self._measure()
            self.refresh()

    def on_mount(self) -> None:
        """Measure again when the terminal's size changes, be it only its height."""
        signal = self.screen.screen_layout_refresh_signal
        signal.subscribe(self, lambda _screen: self._measure())

    def _measure(self) -> None:
        height = self.app.size.height
        most = next((lines for least, lines in LINES_MAX if height >= least), 1)
        lines = len(self._wrapped(self.wanted, self._right)) if self.size.width else 1
        self.styles.height = min(lines, most)

    def _room(self, beside: Text | None = None) -> int:
        """Cells for a line, which may have a text beside it."""
        return max(1, self.size.width - 2 - (beside.cell_len + 2 if beside else 0))

    def _wrapped(self, text: Text, right: Text) -> list[Text]:
        """The lines of a text, at least one; only the first has the totals beside it."""
        console = self.app.console
        lines = [*text.wrap(console, self._room(right))] or [Text()]
        for line in lines:
            line.rstrip()
        if len(lines) > 1:
            lines[1:] = Text(" ").join(lines[1:]).wrap(console, self._room())
        return lines

    def render(self) -> Text:
        """The line, or lines."""
        height, right, more = max(1, self.size.height), self._right, Text()
        lines = self._wrapped(self._left, right)
        if len(lines) > height and self._left == self.wanted:
            more = Text("v shows all", "dim")
        elif len(lines) > height:
            right = Text()
            lines = self._wrapped(self._left, right)
        lines[height - 1 :] = [Text(" ").join(lines[height - 1 :])]
        text = Text(no_wrap=True, end="")
        for number, line in enumerate(lines):
            parts = [more] * (number == height - 1) + [right] * (number == 0)
            beside = Text("  ").join(filter(None, parts))
            line.truncate(self._room(beside), overflow="ellipsis", pad=True)
            text.append_text(Text.assemble("\n" if number else "", " ", line, "  ", beside))
        return text

    async def on_click(self) -> None:
        """Show the whole verdict."""
        await self.run_action("app.verdict")


class KeyLine(Widget, Painted):
    """The most important keys now: those that the focused widget and its screen show."""

    DEFAULT_CSS = "KeyLine { height: 1; background: $panel; color: $text; }"

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's name
        super().__init__(id=id)
        self._edges: list[tuple[int, str]] = []
        self._shown: list[Binding] | None = None  # cached, as it is slow to compute
        self._top: Screen[Any] | None = None  # the window whose keys are shown

    def on_mount(self) -> None:
        """Follow changes of the active bindings."""
        self.screen.bindings_updated_signal.subscribe(self, self._changed)

    def show_keys_of(self, screen: Screen[Any]) -> None:
        """Show the keys of a window, or of the screen itself."""
        self._top = screen if screen is not self.screen else None
        self._changed(screen)

    def _changed(self, _screen: Any) -> None:
        self._shown = None
        self.refresh()

    def render_line(self, _y: int) -> Strip:
        """The line."""
        width = self.size.width
        segments: list[Segment] = []
        ground, look = self.rich_style, self.palette.key
        at = 0
        self._edges = []
        if self._shown is None:
            self._shown = self._bindings_shown()
        for binding in self._shown:
            key = binding.key_display or shown_key(binding.key)
            if at + len(key) + len(binding.description) + 3 > width:
                continue
            segments.append(Segment(f" {key}", ground + look))
            segments.append(Segment(f" {binding.description} ", ground))
            at += len(key) + len(binding.description) + 3
            self._edges.append((at, binding.key))
        return Strip(segments).adjust_cell_length(width, ground)

    def _bindings_shown(self) -> list[Binding]:
        found: dict[str, Binding] = {}
        for active in (self._top or self.screen).active_bindings.values():
            binding = active.binding
            if binding.show and active.enabled and binding.action not in found:
                found[binding.action] = binding
        return list(found.values())

    def on_click(self, event: events.Click) -> None:
        """Press the key under the mouse."""
        for edge, key in self._edges:
            if event.x < edge:
                self.app.simulate_key(key)
                return
