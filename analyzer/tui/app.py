"""The application: one document, one state of view, and the screens that show both."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual.app import App
from textual.binding import Binding, BindingType
from textual.widgets import ContentSwitcher

from analyzer.analysis import Analysis
from analyzer.migration.rows import DEVICE_STATE
from analyzer.report.escape import terminal
from analyzer.report.verdict import verdict_text
from analyzer.tui.document import Document
from analyzer.tui.filters import Filters
from analyzer.tui.gate import Gate
from analyzer.tui.lines import KeyLine, StatusLine, TabLine
from analyzer.tui.messages import FilterChosen, Jump, Loaded, Selected
from analyzer.tui.quantities import count
from analyzer.tui.reread import Reread
from analyzer.tui.state import ALL, SCREENS, ViewState
from analyzer.tui.views.devices import DevicesView
from analyzer.tui.views.findings import FindingsView
from analyzer.tui.views.packets import PacketsView
from analyzer.tui.views.view import View

if TYPE_CHECKING:
    from textual import events
    from textual.app import ComposeResult

    from analyzer.migration.framing import Settings
    from analyzer.tui.device_facts import DeviceFacts

__all__ = ["MfsharkApp"]

TICK = 0.15
"""Seconds between looks at a capture that is being read."""


class MfsharkApp(App[int]):
    """The terminal interface."""

    TITLE = "mfshark"
    ENABLE_COMMAND_PALETTE = True
    BINDINGS: ClassVar[list[BindingType]] = [
        *(
            Binding(str(number), f"screen('{screen}')", screen.title(), show=False)
            for number, screen in enumerate(SCREENS, 1)
        ),
        Binding("question_mark", "keys", "Help", show=True),
        Binding("q", "quit", "Quit", show=True),
        Binding("right_square_bracket", "finding(1)", "Next finding", show=True),
        Binding("left_square_bracket", "finding(-1)", "Previous finding", show=False),
    ]
    CSS = """
    ContentSwitcher { height: 1fr; }
    View { height: 1fr; }
    """

    def __init__(self, path: str | None, settings: Settings) -> None:
        super().__init__()
        self.settings = settings
        self.state = ViewState()
        self.filters = Filters()
        self.document = Document(path or "", settings)
        self.reread = Reread(self.document)
        self.gate = Gate()
        self._loading: Document | None = None  # a reload in the background
        self._told: Text | None = None
        self._path = path

    def compose(self) -> ComposeResult:
        """Tabs, the screens, status, keys."""
        yield TabLine(id="tabs")
        with ContentSwitcher(initial=self.state.screen, id="screens"):
            yield PacketsView(id="packets")
            yield DevicesView(id="devices")
            yield FindingsView(id="findings")
        yield StatusLine(id="status")
        yield KeyLine(id="keys")

    def on_mount(self) -> None:
        """Begin to read."""
        self.set_interval(TICK, self._tick)
        self.theme_changed_signal.subscribe(self, lambda _theme: self._show_document())
        if self._path is not None:
            self.open(self._path)

    # -- reading captures ---------------------------------------------------------------------

    def open(self, path: str) -> None:
        """Read another capture from the start; nothing of the view is kept."""
        self.state = ViewState()
        self.filters.matching = None
        self.document = Document(path, self.settings)
        self._reread_anew()
        self._load(self.document)
        self.show_screen(self.state.screen)

    def _reread_anew(self) -> None:
        self.reread.close()
        self.reread = Reread(self.document)

    def _load(self, document: Document) -> None:
        self.gate.stop()
        gate = self.gate = Gate()

        def load() -> None:
            if document.load(gate.rest):
                self.post_message(Loaded(document))

        self.run_worker(load, thread=True, group="load", exit_on_error=True)
        self._show_status()

    def on_loaded(self, message: Loaded) -> None:
        """A capture was read to its end."""
        document = message.document
        if document is self._loading:
            self.document, self._loading = document, None
            self._reread_anew()
            self._apply_filter()
        if document is self.document:
            self._show_document()
            self._show_status()

    def _tick(self) -> None:
        """While a capture is being read: show what has come."""
        if not self.document.done and self.document.scan is not None:
            self.filters.advance(self.document)
            self.view.show_growth()
        if not self.document.done or self._loading is not None:
            self._show_status()

    async def on_event(self, event: events.Event) -> None:
        """A key stops loading for the moment that it takes to answer it."""
        if event.__class__.__name__ == "Key":
            self.gate.key()
        await super().on_event(event)

    # -- what is shown ------------------------------------------------------------------------

    @property
    def view(self) -> View:
        """The current screen."""
        return self.query_one(f"#{self.state.screen}", View)

    def show_screen(self, screen: str) -> None:
        """Show a screen and put the focus where its work begins."""
        self.state.screen = screen
        self.query_one(ContentSwitcher).current = screen
        name = terminal(Path(self.document.path).name)
        self.query_one(TabLine).show_tab(screen, name)
        self.view.show_document()
        self.view.home()

    def _show_document(self) -> None:
        self.view.show_document()

    def on_selected(self, message: Selected) -> None:
        """Something was chosen: work out what it is on every screen."""
        message.stop()
        state = self.state
        if message.row is not None:
            self._select_row(message.row)
        elif message.device is not None:
            self._select_device(message.device, message.index)
        elif message.moment is not None:
            row = self.document.row_at_time(message.moment, message.stream)
            if row is not None:
                self._select_row(row)
            state.time = message.moment
            if message.stream is not None:
                state.stream = message.stream
        if message.screen is not None and message.screen != state.screen:
            self.show_screen(message.screen)
        else:
            self.view.show_selection()
        self._show_status()

    def _select_row(self, row: int) -> None:
        state, table = self.state, self.document.table
        state.row = row
        if row >= len(table):
            return
        state.stream = table.column("stream")[row]
        state.time = table.column("end_time")[row]
        if table.column("kind")[row] == DEVICE_STATE:
            number, instance = table.column("migration")[row], table.column("instance_id")[row]
            idx = table.column("idx")[row]
            state.device = number, table.name(row), instance
            state.index = idx if idx >= 0 else None

    def _select_device(self, device: tuple[int, bytes, int], index: int | None) -> None:
        self.state.device, self.state.index = device, index
        for migration in self.document.migrations(device[0]):
            found = migration.devices.get(device[1:])
            buffers = found.buffers if found is not None else []
            buffer = next((buffer for buffer in buffers if buffer.idx == index), None)
            if found is None or buffer is None:
                continue
            row = self.document.row_of_buffer(found, buffer, device[0])
            if row is not None:
                self._select_row(row)

    def on_jump(self, message: Jump) -> None:
        """A click on a tab."""
        self.show_screen(message.screen)

    def action_screen(self, screen: str) -> None:
        """Show a screen."""
        self.show_screen(screen)

    def show_main(self, offset: int | None) -> None:
        """Show the main channel."""

    def filter_device(self, facts: DeviceFacts) -> None:
        """Show the packets of a device."""

    # -- filter -------------------------------------------------------------------------------

    def on_filter_chosen(self, message: FilterChosen) -> None:
        """Another filter."""
        message.stop()
        self.state.filter = message.text
        self._apply_filter()
        if self.state.screen != "packets":
            self.show_screen("packets")
        else:
            self._show_document()

    def _apply_filter(self) -> None:
        self.filters.apply(self.document, self.state.filter, self.state.migration)

    # -- findings -----------------------------------------------------------------------------

    def action_finding(self, by: int) -> None:
        """The next or previous packet with a finding."""
        rows = sorted(self.document.by_row)
        if not rows:
            self.tell(Text("no packet has a finding; 5 lists all findings"))
            return
        here = self.state.row
        if by > 0:
            row = next((row for row in rows if row > here), rows[0])
        else:
            row = next((row for row in reversed(rows) if row < here), rows[-1])
        self.on_selected(Selected(row=row, screen="packets"))
        finding = max(self.document.by_row[row], key=lambda finding: finding.rank)
        self.tell(Text(f"{finding.rule.id} {terminal(finding.message)}"))

    # -- the status line ----------------------------------------------------------------------

    def tell(self, text: Text) -> None:
        """Put something in the status line until the next key."""
        self._told = text if text.plain else None
        self._show_status()

    def _show_status(self) -> None:
        document = self._loading or self.document
        right = self._totals()
        if self._told is not None:
            left = self._told
        elif not document.done:
            left = self._progress(document)
        elif document.scan is not None:
            word, sentence = verdict_text(Analysis(document.scan, document.findings))
            style = {"ERROR": "bold red", "WARNING": "bold yellow", "OK": "bold green"}.get(word)
            left = Text.assemble((word, style or "bold"), " ", sentence)
        else:
            left = Text(document.error, "bold red")
        self.query_one(StatusLine).show_status(left, right)

    def _progress(self, document: Document) -> Text:
        done = round(document.fraction * 20)
        text = Text(f"{'█' * done}{'░' * (20 - done)} {document.fraction:4.0%}  ")
        elapsed = time.monotonic() - document.began
        if elapsed > 0.2:
            text.append(f"{len(document.table) / elapsed:,.0f} packets/s  ")
        remaining = document.remaining
        if remaining is not None:
            text.append(f"{remaining:.0f} s left")
        return text

    def _totals(self) -> Text:
        state, migrations = self.state, self.document.migrations()
        parts = []
        if state.marks:
            parts.append(f"{len(state.marks)} marked")
        if state.follow:
            parts.append("following")
        if len(migrations) > 1:
            which = "all" if state.migration == ALL else str(state.migration + 1)
            parts.append(f"migration {which} of {len(migrations)}")
        parts.append(f"{count(self.state.row + 1)}/{count(len(self.document.table))}")
        return Text("  ".join(parts))
