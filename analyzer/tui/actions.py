"""The actions behind the application's keys, except moving about."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from rich.text import Text
from textual.worker import get_current_worker

from analyzer.errors import CaptureError
from analyzer.report.escape import terminal
from analyzer.tui import exporting, goto, search
from analyzer.tui.dialogs.ask import Answer, AskDialog
from analyzer.tui.dialogs.choose import Choice, ChooseDialog
from analyzer.tui.dialogs.help import HelpScreen
from analyzer.tui.dialogs.payload import PayloadScreen
from analyzer.tui.dialogs.picker import PickerScreen
from analyzer.tui.dialogs.tell import TellDialog, room_of
from analyzer.tui.filter_line import FilterInput
from analyzer.tui.lines import TITLES
from analyzer.tui.messages import FilterChosen, Selected
from analyzer.tui.packet_rows import PacketRows
from analyzer.tui.palette import SEVERITY_GLYPHS
from analyzer.tui.quantities import count
from analyzer.tui.state import ALL, SCREENS, TIME_FORMATS
from analyzer.tui.typed_path import here, is_directory, is_there, typed_path
from analyzer.tui.views.main_channel import MainView

if TYPE_CHECKING:
    from collections.abc import Callable

    from analyzer.tui.app import MfsharkApp
    from analyzer.tui.document import Document
    from analyzer.tui.matching import Matching
    from analyzer.tui.views.packets import PacketsView

__all__ = ["Actions"]

TIME_WORDS = dict(
    zip(
        TIME_FORMATS,
        ("since the start", "of day, UTC", "since the previous packet", "since the switchover"),
        strict=True,
    )
)
SEARCH_TOLD = 0.2
"""Seconds between two progress messages of a search."""
COPY_WAIT = 0.02
"""Seconds between attempts to copy something that is still being read."""
COPIES = (("text", "as text", "t"), ("json", "as JSON", "j"), ("hex", "as hex dump", "h"))
VERDICTS_MAX = 100
"""At most this many migrations' verdicts are listed."""


class Actions:
    """Mixin of the application."""

    _sought: Answer | None = None

    @property
    def _app(self) -> MfsharkApp:
        return cast("MfsharkApp", self)

    # -- places -------------------------------------------------------------------------------

    def action_go_to(self) -> None:
        """Go to a packet, frame or time."""
        dialog = AskDialog(
            "Go to",
            f"The packet's number, a frame's number, or {goto.TIME_HINT}.",
            modes=goto.MODES,
            check=goto.complaint,
        )
        self._app.push_screen(dialog, self._go_to)

    def _go_to(self, answer: Answer | None) -> None:
        if answer is None:
            return
        app = self._app
        row = goto.row_of(app.document, answer.mode, answer.text)
        if row is None:
            app.tell(Text("there are no packets"))
            return
        app.on_selected(Selected(row=row, screen="packets"))
        beyond = goto.beyond(app.document, answer.mode, answer.text)
        if beyond and app.state.row == row:
            app.tell(Text(beyond))

    def action_find(self) -> None:
        """Find text or bytes; on Main, a record."""
        if self._app.state.screen == "main":
            last = cast("MainView", self._app.view).sought
            where = "Text: in the kinds and names of records. Bytes: in the records, as 1122 33:44."
        else:
            last = self._sought or Answer("", "")
            where = (
                "Text: in names, kinds, indexes and findings. Bytes: in the packets, header and "
                "payload, as 1122 33:44."
            )
        dialog = AskDialog(
            "Find",
            f"{where} n and N find the next and previous one.",
            value=last.text,
            mode=last.mode,
            modes=search.MODES,
            check=lambda mode, text: (
                "expected pairs of hexadecimal digits"
                if mode == "hex bytes" and search.pattern_of(text) is None
                else ""
            ),
        )
        on_main = self._app.state.screen == "main"
        self._app.push_screen(dialog, self._find_record if on_main else self._find)

    def _find_record(self, answer: Answer | None) -> None:
        view = self._app.view
        if answer is not None and isinstance(view, MainView):
            view.find(answer)

    def _find(self, answer: Answer | None) -> None:
        if answer is not None:
            self._sought = answer
            self.action_find_again(1)

    def action_find_again(self, by: int) -> None:
        """Go to the next or previous match of the last search."""
        app, sought = self._app, self._sought
        if sought is None:
            self.action_find()
        elif sought.mode == "text":
            start = app.state.row
            row = search.find_text(app.document, app.filters.matching, sought.text, start, by)
            self.found(row, start, by)
        else:
            pattern = search.pattern_of(sought.text)
            if pattern is not None:
                app.tell(Text(f"looking for {search.shorter(pattern.hex(' '))}; Escape stops"))
                document, shown, start = app.document, app.filters.matching, app.state.row
                app.run_worker(
                    lambda: self._find_bytes(document, shown, pattern, start, by),
                    thread=True,
                    exclusive=True,
                    group="find",
                )

    def _find_bytes(
        self, document: Document, shown: Matching | None, pattern: bytes, start: int, by: int
    ) -> None:
        app = self._app
        worker = get_current_worker()
        told = time.monotonic()

        def unless_cancelled(tell: Callable[[Any], None], what: Any) -> None:
            """Runs in the application's thread, so that no cancel can come in between."""
            if not worker.is_cancelled:
                tell(what)

        def go_on(share: float) -> bool:
            nonlocal told
            now = time.monotonic()
            if now - told > SEARCH_TOLD and not worker.is_cancelled:
                told = now
                text = f"looking for {search.shorter(pattern.hex(' '))}: {share:.0%}; Escape stops"
                app.call_from_thread(unless_cancelled, app.tell, Text(text))
            return not worker.is_cancelled

        try:
            found = search.find_bytes(document, shown, pattern, start, by, go_on)
        except CaptureError as error:
            text = terminal(str(error))
            app.call_from_thread(unless_cancelled, app.tell, Text(text))
        else:
            row, at = found if found is not None else (None, 0)
            span = at, len(pattern)
            app.call_from_thread(
                unless_cancelled, lambda row: self.found(row, start, by, span), row
            )

    def stop_searching(self) -> bool:
        """Cancel a running search for bytes; returns whether there was one."""
        running = [worker for worker in self._app.workers if worker.group == "find"]
        for worker in running:
            worker.cancel()
        return bool(running)

    def action_step_back(self) -> None:
        """Cancel a running search for bytes, or else undo what was maximised, or else go back to
        the pane in which work on the screen begins.
        """
        if self.stop_searching():
            self._app.tell(Text("stopped"))
        elif self._app.view.zoomed:
            self.action_zoom()
        else:
            self._app.view.home()

    def found(
        self, row: int | None, start: int, by: int, span: tuple[int, int] | None = None
    ) -> None:
        """Show the result of a search from row ``start`` on: the packet at ``row``, or none.

        ``by`` is the direction (1 or -1), ``span`` offset and length of the bytes in the packet.
        """
        app = self._app
        if row is None or row >= len(app.document.table):
            what = self._sought.text if self._sought is not None else ""
            hidden = " in the packets that are shown" if app.filters.matching is not None else ""
            app.tell(Text(terminal(f"{search.shorter(what)} not found{hidden}")))
            app.bell()
            return
        app.on_selected(Selected(row=row, screen="packets"))
        if row != app.state.row:
            return
        text = f"found in packet {row + 1}"
        if span is not None:
            text += f" at byte {span[0]} ({span[0]:#x})"
            cast("PacketsView", app.view).mark_bytes(row, *span)
        if (row <= start) if by > 0 else (row >= start):
            text += f", wrapped around to the {'beginning' if by > 0 else 'end'}"
        app.tell(Text(text))

    def action_finding(self, by: int) -> None:
        """Go to the next or previous packet with a finding, of those that are shown."""
        app = self._app
        by_row = app.document.near_row
        rows = sorted(filter(app.filters.shows, by_row))
        if not rows:
            others = count(len(app.document.findings), "finding")
            which = "packet that is shown" if by_row else "packet"
            app.tell(Text(f"no {which} has a finding; {others} on Findings (5)"))
            return
        row = _neighbour(rows, app.state.row, by)
        app.on_selected(Selected(row=row, screen="packets"))
        finding = max(by_row[row], key=lambda finding: finding.rank)
        if app.state.row == row:
            severity = finding.rank + 1
            rule = f"{SEVERITY_GLYPHS[severity]} {finding.rule.id}"
            style = app.view.palette.severity(severity)
            app.tell(Text.assemble((rule, style), f" {terminal(finding.message)}"))

    # -- marks and times ----------------------------------------------------------------------

    def action_mark(self) -> None:
        """Mark the packet, or clear its mark."""
        app = self._app
        if len(app.document.table):
            app.state.toggle_mark(app.state.row)
            app.view.show_marks()
            app.show_status()
        else:
            app.tell(Text(app.document.lack()))

    def action_to_mark(self, by: int) -> None:
        """Go to the next or previous marked packet, of those that are shown."""
        app = self._app
        marks = sorted(filter(app.filters.shows, app.state.marks))
        if marks:
            row = _neighbour(marks, app.state.row, by)
            app.on_selected(Selected(row=row, screen="packets"))
        elif app.state.marks:
            app.tell(Text("no packet that is shown is marked"))
        else:
            app.tell(Text("nothing is marked; m marks a packet"))

    def action_time_format(self) -> None:
        """Switch to the next time format."""
        app = self._app
        word = app.state.next_time_format()
        app.view.show_document()
        text = f"time {TIME_WORDS[word]}"
        if app.state.screen != "packets":
            text = f"Packets shows {text}; the other screens count from the start"
        app.tell(Text(text))

    # -- captures -----------------------------------------------------------------------------

    def action_open(self) -> None:
        """Choose a capture."""
        path = self._app.document.path
        self.choose(Path(path).parent if path else here())

    def choose(self, folder: Path) -> None:
        """Choose a capture, starting in a folder."""
        self._app.push_screen(PickerScreen(folder, self._app.view.palette), self._open)

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
        app.show_screen("packets")
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

    # -- copying and exporting ----------------------------------------------------------------

    def action_copy(self) -> None:
        """Copy what is selected."""
        choices = [Choice(value, label, key) for value, label, key in COPIES]
        window = self._app.screen
        payload = window if isinstance(window, PayloadScreen) else None
        dialog = ChooseDialog("Copy", choices)
        self._app.push_screen(dialog, lambda form: self._copy(form, payload))

    def _copy(self, form: str | None, payload: PayloadScreen | None) -> None:
        if form is None:
            return
        shown = self._app.view if payload is None else payload
        if shown.behind:
            self._app.set_timer(COPY_WAIT, lambda: self._copy(form, payload))
            return
        text = shown.copied(form) if shown.is_attached else None
        if text is None:
            self._app.tell(Text(f"nothing to copy as {form} here"))
        else:
            self._app.copy_to_clipboard(text)
            self._app.tell(Text(f"copied {count(len(text), 'character')} as {form}"))

    def action_save_svg(self) -> None:
        """Save the screen as SVG."""
        app = self._app
        dialog = AskDialog(
            "Save the screen as SVG",
            "The file must not exist yet.",
            value=f"mfshark-{app.state.screen}.svg",
            check=_new_file,
        )
        app.push_screen(dialog, self._save_svg)

    def _save_svg(self, answer: Answer | None) -> None:
        if answer is None:
            return
        app = self._app

        def save() -> None:
            path = typed_path(answer.text)
            try:
                with path.open("x", encoding="utf-8") as stream:
                    stream.write(app.export_screenshot(title="mfshark"))
            except OSError as error:
                app.tell(Text(f"not saved: {error.strerror}"))
            else:
                app.tell(Text(f"saved {terminal(str(path))}"))

        app.call_after_refresh(save)

    def action_export(self) -> None:
        """Export the packets that are shown."""
        app = self._app
        document, matching = app.document, app.filters.matching
        if not len(document.table if matching is None else matching):
            why = document.lack() or "no packet matches the filter"
            app.tell(Text(f"nothing to export: {why}"))
            return
        stem = terminal(Path(document.path).name.split(".pcap")[0]) or "packets"
        dialog = AskDialog(
            "Export the packets that are shown",
            "csv and jsonl: one line per packet; pcapng: a capture of just their frames. "
            "The file must not exist yet.",
            modes=exporting.FORMATS,
            check=_new_file,
            suggest=lambda mode: f"{stem}-packets.{mode}",
            mode_of=exporting.format_of,
        )
        app.push_screen(dialog, self._export)

    def _export(self, answer: Answer | None) -> None:
        if answer is not None:
            self._app.run_worker(lambda: self._export_in_thread(answer), thread=True)

    def _export_in_thread(self, answer: Answer) -> None:
        app = self._app
        document = app.document
        rows = PacketRows(document, app.state, app.filters.matching)
        path = typed_path(answer.text)
        try:
            shown = (rows.number(position) for position in range(len(rows)))
            number = exporting.export(document, shown, path, answer.mode)
        except (OSError, CaptureError) as error:
            text = f"not exported: {error.strerror if isinstance(error, OSError) else error}"
        else:
            what = "frames" if answer.mode == "pcapng" else "packets"
            text = f"wrote {count(number)} {what} to {path}"
        app.call_from_thread(app.tell, Text(terminal(text)))

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
        seen: set[type] = set()
        groups: list[tuple[str, Any]] = []
        focused = app.focused
        if focused is not None:
            groups.append(("In this pane", _bindings(type(focused), seen)))
        title = TITLES[SCREENS.index(app.state.screen)]
        groups.append((f"On this screen ({title})", _bindings(type(app.view), seen)))
        taken = {key for _, group in groups for one in group for key in one.key.split(",")}
        everywhere = [one for one in app.BINDINGS if not taken.issuperset(_keys(one))]
        groups.append(("Everywhere", everywhere))
        app.push_screen(HelpScreen([group for group in groups if group[1]]))

    def action_zoom(self) -> None:
        """Maximise the pane, or undo that."""
        app = self._app
        app.view.zoom(None if app.view.zoomed else app.focused)
        app.show_status()


def _neighbour(rows: list[int], row: int, by: int) -> int:
    """The next (``by`` 1) or previous (-1) one of some ascending rows, wrapping around."""
    if by > 0:
        return next((found for found in rows if found > row), rows[0])
    return next((found for found in reversed(rows) if found < row), rows[-1])


def _bindings(kind: type, seen: set[type]) -> list[Any]:
    """The bindings of the project's own classes among a class and its ancestors."""
    found: list[Any] = []
    for base in kind.__mro__:
        if base.__module__.startswith("analyzer.tui") and base not in seen:
            seen.add(base)
            found += base.__dict__.get("BINDINGS", [])
    return found


def _keys(binding: Any) -> list[str]:
    keys: list[str] = binding.key.split(",")
    return keys


def _new_file(_mode: str, text: str) -> str:
    path = typed_path(text)
    if is_there(path):
        return "this exists already"
    return "" if is_directory(path.parent) else "there is no such directory"
