"""The actions behind the application's keys, except moving about."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text
from textual.worker import get_current_worker

from analyzer.report.escape import terminal
from analyzer.tui.dialogs.choose import Choice, ChooseDialog
from analyzer.tui.dialogs.help import HelpScreen
from analyzer.tui.dialogs.picker import PickerScreen
from analyzer.tui.dialogs.tell import TellDialog, room_of
from analyzer.tui.filter_line import FilterInput
from analyzer.tui.lines import TITLES
from analyzer.tui.messages import FilterChosen
from analyzer.tui.part import Part
from analyzer.tui.state import ALL, SCREENS, TIME_FORMATS
from analyzer.tui.typed_path import here

if TYPE_CHECKING:
    from analyzer.tui.document import Document

__all__ = ["Actions"]

TIME_WORDS = dict(
    zip(
        TIME_FORMATS,
        ("since the start", "of day, UTC", "since the previous packet", "since the switchover"),
        strict=True,
    )
)
VERDICTS_MAX = 100
"""At most this many migrations' verdicts are listed."""


class Actions(Part):
    """The actions about captures, filters and the screen."""

    # -- captures -----------------------------------------------------------------------------

    def action_open(self) -> None:
        """Choose a capture."""
        path = self._app.document.path
        self.choose(Path(path).parent if path else here(), os.path.basename(path))

    def choose(self, folder: Path, name: str = "") -> None:
        """Choose a capture, starting in a folder, at the file of that name."""
        self._app.push_screen(PickerScreen(folder, name), self._open)

    def _open(self, path: str | None) -> None:
        if path is not None:
            self._app.open(path)

    def action_reload(self) -> None:
        """Read the capture again."""
        app = self._app
        if not app.document.path:
            app.tell(Text(app.document.obstacle()))
        elif app.document.done:
            app.reload()
        else:
            app.tell(Text("the capture is still being read"))

    def action_help_quit(self) -> None:
        """Say how to quit: what ^c does elsewhere."""
        self._app.tell(Text("q quits"))

    def action_follow(self) -> None:
        """Start or stop following the file as it grows; end a live capture."""
        app = self._app
        if app.document.live is not None:
            if app.document.done:
                app.tell(Text("the capture has ended; there is nothing to follow"))
            app.document.end_capture()
            return
        app.state.follow = not app.state.follow
        app.show_status()
        app.tell(Text("following the file as it grows" if app.state.follow else "not following"))

    def action_migration(self) -> None:
        """Choose the migration that is shown."""
        app = self._app
        if len(app.document.migrations()) < 2:
            app.tell(Text(app.document.obstacle() or "there is only one migration"))
            return
        choices = [Choice(str(ALL), "all migrations", "a")]
        for migration in app.document.migrations():
            number = migration.number
            label = f"migration {number}  {migration.source} → {migration.destination}"
            key = str(number) if number < 10 else ""
            choices.append(Choice(str(number), terminal(label), key))
        dialog = ChooseDialog("Migration", choices, str(app.state.migration))
        app.push_screen(dialog, self._migration)

    def _migration(self, value: str | None) -> None:
        if value is not None:
            self._app.show_migration(int(value))

    # -- filters ------------------------------------------------------------------------------

    def action_edit_filter(self) -> None:
        """Go to the filter line, from any screen."""
        app = self._app
        app.show_screen("packets", deeper=True)
        app.screen.set_focus(app.view.query_one(FilterInput))

    def action_saved_filters(self) -> None:
        """Choose among saved and earlier filters."""
        app = self._app
        choices = [Choice(text, f"★ {text}") for text in app.filters.saved]
        seen = set(app.filters.saved)
        choices += [
            Choice(text, f"  {text}") for text in reversed(app.filters.history) if text not in seen
        ]
        if choices:
            choices.append(Choice("", "  no filter"))
            dialog = ChooseDialog("Filters", choices, app.state.filter or None, app.filters.forget)
            app.push_screen(dialog, self._filter)
        else:
            app.tell(Text("no filters yet; / starts one, ^s saves it"))

    def _filter(self, text: str | None) -> None:
        if text is not None:
            self._app.on_filter_chosen(FilterChosen(text))

    # -- the capture as a whole ---------------------------------------------------------------

    def action_verdict(self) -> None:
        """Show the verdict; with several migrations, also that of each."""
        app = self._app
        document, palette = app.document, app.view.palette
        lines = [palette.verdict(*document.verdict)] if document.verdict[0] else []
        migrations = document.migrations()
        if document.done and len(migrations) > 1:
            for migration in migrations[:VERDICTS_MAX]:
                verdict = palette.verdict(*document.verdict_of(migration.number))
                lines.append(Text.assemble(f"\nmigration {migration.number}: ", verdict))
        if document.error:
            lines.append(Text(document.error))
        if not lines:
            lines.append(Text(document.obstacle() or "the capture is still being read"))
        app.push_screen(TellDialog("Verdict", Text("\n").join(lines)))

    def action_figures(self) -> None:
        """Show phases, downtime and what it was spent on, computed in a thread."""
        app = self._app
        document, number = app.document, app.state.migration
        width = room_of(app.size.width)

        def work() -> None:
            lines = document.figures(number, width)
            if not get_current_worker().is_cancelled:
                app.call_from_thread(self._show_figures, document, lines)

        app.run_worker(work, thread=True, exclusive=True, group="figures")

    def _show_figures(self, document: Document, lines: list[str]) -> None:
        app = self._app
        if document is not app.document:
            return
        if not lines:
            why = "the capture is still being read"
            if document.done:
                why = "no migration" if document.saved is None else "a saved migration has no times"
            app.tell(Text(document.obstacle() or why))
            return
        text = Text("\n").join(map(Text.from_ansi, lines))
        if app.view.palette.colorless:
            text = Text(text.plain)
        app.push_screen(TellDialog("Where the time went", text, wide=True))

    # -- the screen ---------------------------------------------------------------------------

    def action_keys(self) -> None:
        """Show the keys."""
        app = self._app
        screen = f"On this screen ({TITLES[SCREENS.index(app.state.screen)]})"
        app.push_screen(
            HelpScreen(("In this pane", app.focused), (screen, app.view), ("Everywhere", app))
        )

    def action_time_format(self) -> None:
        """Switch to the next time format."""
        app = self._app
        word = app.state.next_time_format()
        app.view.show_document()
        text = f"time {TIME_WORDS[word]}"
        if app.state.screen != "packets":
            text = f"Packets shows {text}; the other screens count from the start"
        app.tell(Text(text))

    def action_step_back(self, leave: bool = True) -> None:
        """Cancel a running search for bytes, or else undo what was maximised, or else go back to
        the pane in which work on the screen begins, or, if ``leave``, from there to the screen that
        led here.
        """
        app, focused = self._app, self._app.focused
        if app.stop_searching():
            app.tell(Text("stopped"))
        elif app.view.zoomed:
            self.action_zoom()
        else:
            app.view.home()
            if leave and app.focused is focused:
                app.go_back()

    def action_zoom(self) -> None:
        """Maximise the pane, or undo that."""
        app = self._app
        app.view.zoom(None if app.view.zoomed else app.focused)
        app.show_status()
