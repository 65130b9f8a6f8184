"""The capture picker."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from rich.style import Style
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Input, Static

from analyzer.capture.source import ENDINGS, is_called_capture
from analyzer.errors import reason_of
from analyzer.report.escape import terminal
from analyzer.report.style import size_text
from analyzer.tui.columns import Column
from analyzer.tui.dialogs.window import Window
from analyzer.tui.quantities import count
from analyzer.tui.row_list import RowList
from analyzer.tui.typed_path import is_directory, is_file, typed_path

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual.app import ComposeResult

    from analyzer.tui.columns import Cell
    from analyzer.tui.palette import Palette

__all__ = ["PickerScreen"]

FILES_MAX = 10_000
UP = ".."
HINT = "Enter opens, / narrows, Backspace goes up, Esc leaves"
HINT_EMPTY = "Enter and Backspace change the directory"
NOTHING_HERE = f"no capture here ({', '.join(ENDINGS)})"
NOTHING_SO_NAMED = "no capture with this text in its name"


class Entry:
    """A directory or a capture."""

    __slots__ = ("folder", "name", "path", "size", "time")

    def __init__(self, path: Path, name: str = "") -> None:
        self.path = path
        self.name = name or path.name
        self.size = 0
        self.time = 0.0
        try:
            status = path.stat()
            self.size, self.time = status.st_size, status.st_mtime
            self.folder = path.is_dir()
        except OSError:
            self.folder = False


def entries(folder: Path, part: str) -> list[Entry]:
    """The directories and captures of a directory whose names contain ``part``.

    Raises :class:`OSError` for a directory that cannot be read.
    """
    found = [
        path
        for path in folder.iterdir()
        if not path.name.startswith(".") and (is_called_capture(str(path)) or path.is_dir())
    ]
    found = [path for path in found if part.lower() in path.name.lower()][:FILES_MAX]
    return sorted((Entry(path) for path in found), key=lambda e: (not e.folder, e.name.lower()))


class EntryRows:
    """One row per entry."""

    columns: Sequence[Column] = (
        Column("Name", 30, grow=1),
        Column("Size", 10, right=True),
        Column("Changed (UTC)", 17, optional=1),
    )

    def __init__(self, listed: list[Entry]) -> None:
        self.listed = listed

    def __len__(self) -> int:
        return len(self.listed)

    def row(self, position: int, palette: Palette) -> tuple[Sequence[Cell], Style]:
        """One entry."""
        entry = self.listed[position]
        name = terminal(entry.name) + ("/" if entry.folder else "")
        cells: list[Cell] = [
            (name, palette.info if entry.folder else palette.plain),
            "" if entry.folder else size_text(entry.size),
            "" if entry.folder else _changed(entry.time),
        ]
        return cells, palette.plain


def _changed(when: float) -> str:
    try:
        return f"{datetime.fromtimestamp(when, UTC):%Y-%m-%d %H:%M}"
    except (OverflowError, OSError, ValueError):
        return ""


class PickerScreen(Window["str | None"]):
    """Returns the path of a capture, or ``None`` if the user cancels.

    It begins in a directory, with the cursor on the capture called ``name``, or else the first.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Cancel"),
        Binding("backspace,h,left", "up", "Parent directory"),
        Binding("slash", "narrow", "Name contains"),
    ]
    DEFAULT_CSS = """
    PickerScreen { align: center middle; }
    PickerScreen > Vertical {
        width: 96%; max-width: 110; height: 90%;
        border: round $accent; background: $surface;
    }
    PickerScreen Input { margin: 0 1; background: $boost; }
    PickerScreen #hint { height: 1; padding: 0 1; color: $text-muted; }
    """

    def __init__(self, folder: Path, name: str = "") -> None:
        super().__init__()
        self._folder = folder
        self._first = name

    def compose(self) -> ComposeResult:
        """The window."""
        with Vertical():
            yield RowList(id="entries")
            yield Input(placeholder="name contains …", compact=True, id="part")
            yield Static(HINT, id="hint", markup=False)

    def on_mount(self) -> None:
        """List the directory."""
        self._show(self._folder, self._first)
        self.screen.set_focus(self.query_one(RowList))

    def _show(self, folder: Path, name: str = "") -> None:
        """List a directory, with the cursor on the entry called ``name``, or the first capture."""
        self._folder = folder.resolve()
        part = self.query_one(Input).value
        why = NOTHING_SO_NAMED if part else NOTHING_HERE
        try:
            listed = entries(self._folder, part)
        except OSError as error:
            listed, why = [], reason_of(error)
        captures = sum(not entry.folder for entry in listed)
        self.query_one("#hint", Static).update(HINT if captures else f"{why}; {HINT_EMPTY}")
        listed.insert(0, Entry(self._folder.parent, UP))
        window = self.query_one(Vertical)
        window.border_title = Content(f"Open a capture: {terminal(str(self._folder))}")
        window.border_subtitle = count(captures, "capture")
        files = self.query_one(RowList)
        files.show_rows(EntryRows(listed))
        named = [at for at, entry in enumerate(listed) if entry.name == name]
        files.go(*named or [at for at, entry in enumerate(listed) if not entry.folder][:1] or [0])

    def on_row_list_chosen(self, message: RowList.Chosen) -> None:
        """Open a directory, or return the path of a capture."""
        message.stop()
        rows = message.sender.rows
        if isinstance(rows, EntryRows):
            entry = rows.listed[message.position]
            if entry.name == UP:
                self.action_up()
            elif entry.folder:
                self.query_one(Input).value = ""
                self._show(entry.path)
            else:
                self.dismiss(str(entry.path))

    def on_input_changed(self) -> None:
        """Narrow the list to names that contain the text."""
        self._show(self._folder)

    def on_input_submitted(self) -> None:
        """Open the typed path, relative to the directory shown, if it exists, or the only capture
        that is left; else go to the list.

        A directory is opened only if the text has a slash.
        """
        text, rows = self.query_one(Input).value, self.query_one(RowList).rows
        typed = self._folder / typed_path(text)
        named = [typed] if is_file(typed) else []
        if not named and text and isinstance(rows, EntryRows):
            named = [entry.path for entry in rows.listed if not entry.folder]
        if len(named) == 1:
            self.dismiss(str(named[0]))
            return
        self.screen.set_focus(self.query_one(RowList))
        if "/" in text and is_directory(typed):
            self.query_one(Input).value = ""
            self._show(typed)

    def action_up(self) -> None:
        """Go to the parent directory, with the cursor on the one left."""
        self.query_one(Input).value = ""
        self._show(self._folder.parent, self._folder.name)

    def action_narrow(self) -> None:
        """Focus the input."""
        self.screen.set_focus(self.query_one(Input))

    def action_leave(self) -> None:
        """Return from the input to the list, or cancel."""
        if self.query_one(Input).has_focus:
            self.screen.set_focus(self.query_one(RowList))
        else:
            super().action_leave()
