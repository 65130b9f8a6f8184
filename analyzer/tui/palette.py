"""Colours and glyphs by meaning.  Every colour comes with a glyph or a word that says the same."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

from rich.style import Style
from rich.text import Text
from textual.color import Color, ColorParseError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from textual.app import App
    from textual.widget import Widget

__all__ = [
    "DEFAULT",
    "MARK_GLYPH",
    "SEVERITY_GLYPHS",
    "Painted",
    "Palette",
    "current_palette",
    "palette_of",
]

SEVERITY_GLYPHS = (" ", "i", "!", "✗")
"""By severity number: none, info, warning, error."""
MARK_GLYPH = "◆"

ROLES = {
    "ram": ("primary", "ansi_blue"),
    "zero": ("text-disabled", "ansi_bright_black"),
    "sync": ("secondary", "ansi_magenta"),
    "device": ("success", "ansi_green"),
    "config": ("accent", "ansi_cyan"),
    "main": ("warning", "ansi_yellow"),
    "error": ("error", "ansi_red"),
    "warning": ("warning", "ansi_yellow"),
    "info": ("primary", "ansi_blue"),
}
"""Meaning: (variable of the theme, colour where the theme has only the terminal's sixteen)."""

KINDS = {
    "ram": "#7aa2f7",
    "zero": "#8b949e",
    "sync": "#bb9af7",
    "device": "#9ece6a",
    "config": "#2ac3de",
    "main": "#e0af68",
    "error": "#f7768e",
    "warning": "#ffb454",
    "info": "#7dcfff",
}
LIGHT_KINDS = {
    "ram": "#2450c4",
    "zero": "#57606a",
    "sync": "#6d28d9",
    "device": "#1f6a05",
    "config": "#00647a",
    "main": "#7a4e00",
    "error": "#b3122a",
    "warning": "#8f4a00",
    "info": "#0757b5",
}


class Palette:
    """Styles for one theme.

    Attributes by kind of data (``ram``, ``zero``, ``sync``, ``device``, ``config``, ``main``), by
    severity (``error``, ``warning``, ``info``) and by role on the screen (``plain``, ``muted``,
    ``cursor``, ``header``, ``field``, ``byte``, ``axis``, ``key``).  ``colorless``: no colours are
    shown, so glyphs have to tell kinds apart.
    """

    __slots__ = (
        "axis",
        "byte",
        "colorless",
        "config",
        "cursor",
        "cursor_blurred",
        "device",
        "error",
        "field",
        "header",
        "info",
        "key",
        "main",
        "mark",
        "muted",
        "plain",
        "ram",
        "sync",
        "warning",
        "zero",
    )

    ram: Style
    zero: Style
    sync: Style
    device: Style
    config: Style
    main: Style
    error: Style
    warning: Style
    info: Style

    def __init__(
        self, variables: Mapping[str, str], dark: bool, ansi: bool, colorless: bool = False
    ) -> None:
        self.colorless = colorless
        kinds = KINDS if dark else LIGHT_KINDS
        for role, (_, fallback) in ROLES.items():
            color = Color.parse(fallback if ansi else kinds[role])
            setattr(self, role, Style() if colorless else Style(color=color.rich_color))
        if colorless:  # Textual makes greys of colours: of red one that can hardly be read
            self.zero, self.error = Style(dim=True), Style(bold=True)
        plain = _color(variables, "foreground", "ansi_default")
        self.plain = Style()
        self.muted = Style(dim=True)
        self.header = Style(bold=True, dim=not ansi)
        self.axis = Style(dim=True)
        marks = "ansi_yellow" if ansi else "#ffd75f" if dark else "#6b4500"
        self.mark = Style() if colorless else Style(color=Color.parse(marks).rich_color)
        self.key = Style(bold=True)
        if dark or not ansi:  # yellow is hard to see on white
            self.key += self.mark
        if ansi:
            self.cursor = Style(reverse=True, bold=True)
            self.cursor_blurred = Style(underline=True, bold=True)
            self.field = Style(reverse=True)
            self.byte = Style(reverse=True, bold=True)
        else:
            base = _color(variables, "background", "#101014")
            strong = _color(variables, "primary", "#4c78ff")
            under = base.blend(strong, 0.45)
            text = under.get_contrast_text(1)  # on which not every colour of a kind can be read
            self.cursor = Style(color=text.rich_color, bgcolor=under.rich_color, bold=True)
            self.cursor_blurred = Style(bgcolor=base.blend(plain, 0.16).rich_color)
            self.field = Style(bgcolor=base.blend(strong, 0.40).rich_color)
            self.byte = Style(
                bgcolor=_color(variables, "accent", "#ffa62b").rich_color,
                color=Color.parse("#000000").rich_color,
                bold=True,
            )

    def severity(self, number: int) -> Style:
        """Style of severity 0 (none) to 3 (error)."""
        return (self.plain, self.info, self.warning, self.error)[max(0, min(3, number))]

    def verdict(self, word: str, sentence: str) -> Text:
        """A verdict, its leading word in the style of what it says."""
        styles = {"OK": self.device, "ERROR": self.error, "FAILED": self.error}
        return Text.assemble(
            (word, styles.get(word, self.warning) + Style(bold=True)), " ", sentence
        )


def _color(variables: Mapping[str, str], name: str, fallback: str) -> Color:
    try:
        return Color.parse(variables.get(name, fallback))
    except ColorParseError:
        return Color.parse(fallback)


@lru_cache(maxsize=16)
def _cached(items: tuple[tuple[str, str], ...], dark: bool, ansi: bool, colorless: bool) -> Palette:
    return Palette(dict(items), dark, ansi, colorless)


WANTED = ("background", "foreground", "primary", "accent")


def palette_of(
    variables: Mapping[str, str], dark: bool, ansi: bool, colorless: bool = False
) -> Palette:
    """The palette of a theme, from its CSS variables."""
    items = tuple((name, variables[name]) for name in WANTED if name in variables)
    return _cached(items, dark, ansi, colorless)


def current_palette(app: App[Any]) -> Palette:
    """The palette of the application's theme; without colours, marks are shown in reverse video."""
    theme = app.current_theme
    return palette_of(app.theme_variables, theme.dark, theme.ansi or app.no_color, app.no_color)


class Painted:
    """A widget that draws in the colours of the application's theme."""

    _painted: tuple[Mapping[str, str], Palette] | None = None
    """What the palette was made from, and the palette: every line drawn asks for it."""

    @property
    def palette(self) -> Palette:
        """The palette of the theme."""
        app = cast("Widget", self).app
        if self._painted is None or self._painted[0] is not app.theme_variables:
            self._painted = app.theme_variables, current_palette(app)
        return self._painted[1]


DEFAULT = Palette({}, dark=True, ansi=False)
"""For rendering outside an application."""
