"""The application: one document, one view state, and the screens that show both."""

from __future__ import annotations

import os
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from rich.text import Text
from textual.app import SystemCommand
from textual.binding import Binding, BindingType
from textual.theme import ThemeProvider
from textual.widgets import ContentSwitcher, Input

from analyzer.report.escape import terminal
from analyzer.tui.actions import Actions
from analyzer.tui.dialogs.commands import Commands
from analyzer.tui.document import Document
from analyzer.tui.filters import Filters, device_filter
from analyzer.tui.gate import Gate
from analyzer.tui.key_order import KeyOrder
from analyzer.tui.lines import TITLES, KeyLine, StatusLine, TabLine, keys_of, meaning, shown_key
from analyzer.tui.messages import FilterChosen, Jump, Loaded
from analyzer.tui.places import Places
from analyzer.tui.quantities import count
from analyzer.tui.reread import Reread
from analyzer.tui.row_list import RowList
from analyzer.tui.selecting import Selecting
from analyzer.tui.state import ALL, SCREENS, ViewState
from analyzer.tui.taking_out import TakingOut
from analyzer.tui.typed_path import here
from analyzer.tui.views.channels import ChannelsView
from analyzer.tui.views.devices import DevicesView
from analyzer.tui.views.findings import FindingsView
from analyzer.tui.views.main_channel import RECORDED, MainView
from analyzer.tui.views.packets import PacketsView
from analyzer.tui.views.streams import StreamsView
from analyzer.tui.views.timeline import TimelineView
from analyzer.tui.views.view import View

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from textual import events
    from textual.app import ComposeResult
    from textual.screen import Screen
    from textual.widget import Widget

    from analyzer.capture.growing import GrowingSource
    from analyzer.migration.channel import Channel
    from analyzer.migration.settings import Settings
    from analyzer.report.main_lines import MainLine

__all__ = ["MfsharkApp"]

TICK = 0.05
"""Seconds between calls of the periodic work."""
GROWTH = 0.2
"""Seconds between two redraws of a growing capture."""
FOLLOW_PAUSE = 1.0
"""Least seconds between two readings of a growing file (or three times as long as one takes)."""

NO_CAPTURE = 2
"""Exit status when the file turned out to be no capture, the same as for other commands."""
PANES = "RowList, HexPane, MapPane, TimePane, TextPane"
"""The widgets that Tab goes through, and of which the first has the focus at the beginning: all
that can have it except the filter line.
"""


class MfsharkApp(Places, TakingOut, Actions, Selecting, KeyOrder):
    """The terminal interface.

    ``path`` is the capture; without one, or with a folder, the user chooses.  ``store`` is the file
    that keeps filters between sessions (``None``: nothing is kept), ``live`` the source of the
    capture's bytes while they are being written.
    """

    TITLE = "mfshark"
    AUTO_FOCUS = PANES
    BINDINGS: ClassVar[list[BindingType]] = [
        *(
            Binding(
                str(number), f"screen('{screen}')", f"Screen {title}", show=False, priority=True
            )
            for number, (screen, title) in enumerate(zip(SCREENS, TITLES, strict=True), 1)
        ),
        Binding("slash", "edit_filter", "Filter", priority=True, tooltip="Filter the packets"),
        Binding("tab", "app.focus_next", "Next pane", show=False),
        Binding("shift+tab", "app.focus_previous", "Previous pane", show=False),
        Binding("question_mark,f1", "keys", "Help", tooltip="Show the keys that work here"),
        Binding("i", "figures", "Downtime", tooltip="Show where the time went"),
        Binding("q", "quit", "Quit"),
        Binding("v", "verdict", "Verdict", tooltip="Show the whole verdict"),
        Binding("ctrl+g,colon", "go_to", "Go to", tooltip="Go to a packet, a frame or a time"),
        Binding("ctrl+f", "find", "Find", tooltip="Find text or bytes in the packets"),
        Binding("n", "find_again(1)", "Find next", show=False),
        Binding("N", "find_again(-1)", "Find previous", show=False),
        Binding("escape", "step_back", "Go back to the list, or to the screen before", show=False),
        Binding("right_square_bracket", "finding(1)", "Finding", tooltip="Go to the next finding"),
        Binding("left_square_bracket", "finding(-1)", "Go to the previous finding", show=False),
        Binding("m", "mark", "Mark", tooltip="Mark the selected packet, or remove its mark"),
        Binding("apostrophe", "to_mark(1)", "Go to the next mark", show=False),
        Binding("quotation_mark", "to_mark(-1)", "Go to the previous mark", show=False),
        Binding("t", "time_format", "Time", tooltip="Switch to the next time format"),
        Binding("y", "copy", "Copy", tooltip="Copy what is selected"),
        Binding("e", "export", "Export", tooltip="Export the packets that are shown"),
        Binding("S", "save_svg", "Save screen as SVG", show=False),
        Binding("b", "saved_filters", "Choose a saved filter", show=False),
        Binding("M", "migration", "Choose one of several migrations", show=False),
        Binding("o", "open", "Open", tooltip="Open another capture"),
        Binding("r", "reload", "Read the capture again", show=False),
        Binding("F", "follow", "Follow the file as it grows", show=False),
        Binding("z", "zoom", "Maximise the pane", show=False),
        Binding("T", "change_theme", "Choose a theme", show=False),
        Binding(
            "ctrl+p", "command_palette", "Find a command by its name", show=False, priority=True
        ),
    ]
    CSS = """
    ContentSwitcher { height: 1fr; }
    View { height: 1fr; }
    View TextPane, RowList#buffers, RowList#channel-list, TreeList, HexPane, Drawn {
        border-top: solid $panel-lighten-2;
        &:focus { border-top: solid $accent; }
    }
    .-wide HexPane { width: 79; height: 1fr; margin-left: 1; }
    .-around-zoomed > * { display: none; }
    .-around-zoomed > .-zoomed {
        display: block; width: 1fr; height: 1fr; min-width: 100%; min-height: 100%;
        max-height: 100%; margin: 0;
    }
    View *, Window * { border-title-color: $text 75%; border-subtitle-color: $text 75%; }
    """

    def __init__(
        self,
        path: str | None,
        settings: Settings,
        store: Path | None = None,
        live: GrowingSource | None = None,
    ) -> None:
        super().__init__()
        self.animation_level = "none"  # what moves slowly is drawn more than once
        self.settings = settings
        self.state = ViewState()
        self.filters = Filters(store)
        self._folder: Path | None = None  # to choose from
        if path is not None and os.path.isdir(path):
            self._folder, path = Path(path).resolve(), None
        self.document = Document(path or "", settings)
        self.reread = Reread(self.document)
        self.gate = Gate()
        self._loading: Document | None = None  # a reload in the background
        self._told: Text | None = None
        self._way: list[tuple[str, Widget | None]] = []  # screens and panes that led deeper
        self._path = path
        self._live = live
        self._drawn = 0.0
        self._last_row = 0
        self._read_at = 0.0

    def compose(self) -> ComposeResult:
        """Tabs, the screens, status, keys."""
        yield TabLine(id="tabs")
        with ContentSwitcher(initial=self.state.screen, id="screens"):
            yield PacketsView(id="packets")
            yield DevicesView(id="devices")
            yield ChannelsView(id="channels")
            yield TimelineView(id="timeline")
            yield FindingsView(id="findings")
            yield StreamsView(id="streams")
            yield MainView(id="main")
        yield StatusLine(id="status")
        yield KeyLine(id="keys")

    async def action_quit(self) -> None:
        """Quit; the exit status says whether the file was a capture."""
        self.exit(NO_CAPTURE if self.document.failed else 0)

    def on_mount(self) -> None:
        """Start reading, or let the user choose a capture."""
        self.set_interval(TICK, self._tick)
        self.theme_changed_signal.subscribe(self, lambda _theme: self._show_again())
        if self._path is not None:
            self.open(self._path, self._live)
        else:
            self.document.done = True
            self.show_screen(self.state.screen)
            self.show_status()
            self.choose(self._folder or here())

    def _show_again(self) -> None:
        """Show everything in the colours of another theme."""
        self.view.show_document()
        self.show_status()

    def action_command_palette(self) -> None:
        """Open the command palette."""
        if not isinstance(self.screen, Commands):
            self.push_screen(Commands())

    def action_focus_next(self) -> None:
        """Focus the next pane; the filter line has its own key, and Tab completes in it."""
        self.screen.focus_next(PANES if len(self.screen_stack) == 1 else "*")

    def action_focus_previous(self) -> None:
        """Focus the previous pane."""
        self.screen.focus_previous(PANES if len(self.screen_stack) == 1 else "*")

    def on_key(self, event: events.Key) -> None:
        """If the key does nothing here but something on other screens, say on which."""
        if len(self.screen_stack) > 1 or event.key in keys_of(type(self)):
            return
        around: list[Any] = [self.view]
        if self.focused is not None:
            around += self.focused.ancestors_with_self
        if any(event.key in keys_of(part.__class__) for part in around):
            return
        found = [
            (title, keys_of(type(view))[event.key])
            for title, view in zip(TITLES, self.screen_stack[0].query(View), strict=True)
            if event.key in keys_of(type(view))
        ]
        if found:
            *before, last = (title for title, _ in found)
            titles = f"{', '.join(before)} and {last}" if before else last
            what = found[0][1]
            key = shown_key(event.key)
            self.tell(Text(f"{key} is a key of {titles}: {what[0].lower()}{what[1:]}"))

    def search_themes(self) -> None:
        """Open the command palette on the themes."""
        self.push_screen(Commands([ThemeProvider], placeholder="Search for themes…"))

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """The commands of the palette: everything that has a key on this screen."""
        yield from super().get_system_commands(screen)
        for owner in (self.view, self):
            for binding in owner.BINDINGS:
                if isinstance(binding, Binding) and binding.description:
                    yield SystemCommand(
                        meaning(binding),
                        "key " + ", ".join(map(shown_key, binding.key.split(","))),
                        partial(self.run_action, binding.action, owner),
                    )

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Disable the keys of screens and of the filter line in inputs and windows.

        They have priority elsewhere, so that what is typed behind them goes to the new screen.
        """
        elsewhere = len(self.screen_stack) > 1 or isinstance(self.focused, Input)
        if action in ("screen", "edit_filter") and elsewhere:
            return False
        return super().check_action(action, parameters)

    # -- reading captures ---------------------------------------------------------------------

    def open(self, path: str, live: GrowingSource | None = None) -> None:
        """Read another capture; the view state is reset."""
        self.state = ViewState()
        for rows in self.screen_stack[0].query(RowList):
            rows.go(0)
        self._loading = self._told = None
        self.stop_searching()
        self.document = Document(path, self.settings, live)
        self._reread_anew()
        self._apply_filter()
        self._load(self.document)
        self.show_screen(self.state.screen)

    def reload(self) -> None:
        """Read the capture again in the background; the view is updated when all has been read."""
        if self._loading is None and self.document.done and self.document.path:
            self._loading = Document(self.document.path, self.settings)
            self._load(self._loading)

    def _reread_anew(self) -> None:
        self.reread.close()
        self.reread = Reread(self.document)

    def _load(self, document: Document) -> None:
        self.gate.stop()
        gate = self.gate = Gate()

        def load() -> None:
            if document.load(gate.rest):
                self.post_message(Loaded(document))

        self.run_worker(load, thread=True, group="load")
        self.show_status()

    def on_loaded(self, message: Loaded) -> None:
        """A capture was read to its end."""
        document = message.document
        if document is self._loading and document.scan is None:
            self._loading = None  # what was read before is better than nothing
            self._read_at = time.monotonic()
            self.tell(Text(document.error, self.view.palette.error))
            return
        if document is self._loading:
            before, state = self.document, self.state
            at_end = state.row >= len(before.table) - 1
            last = max(0, len(document.table) - 1)
            row = before.row_in(document, state.row)
            state.row = last if row is None else row
            marks = (before.row_in(document, row) for row in state.marks)
            state.marks = {row for row in marks if row is not None}
            self.document, self._loading = document, None
            self._reread_anew()
            if not state.follow:
                packets = f": {count(len(document.table), 'packet')}" if len(document.table) else ""
                self.tell(Text(f"read again{packets}"))
            elif at_end:
                self.select_row(last)
        elif document is not self.document:
            return
        self._read_at = time.monotonic()
        self._apply_filter()
        if document.saved is not None and self.state.screen == "packets":
            self.show_screen("main")
        else:
            self.view.show_document()
            if document.live is not None:
                self._stay_at_end()
        self.show_status()

    async def _tick(self) -> None:
        """Periodic work: filter more rows, show what has been read, and follow a growing file."""
        await self.take_late_keys()
        if not any(screen.query(StatusLine) for screen in self.screen_stack[:1]):
            return  # the application is ending
        document, now = self.document, time.monotonic()
        behind = self.filters.behind
        if behind:
            self.filters.advance()
            if self._give_filter_up():
                self.view.show_document()
        growing = not document.done and document.scan is not None
        if (growing or behind) and now - self._drawn > GROWTH:
            self._drawn = now
            self.view.show_growth()
            if document.live is not None:
                self._stay_at_end()
            self.show_status()
        elif behind and not self.filters.behind:
            self.view.show_document()
            self.show_status()
        if self._loading is not None:
            self.show_status()
        elif self.state.follow and document.done:
            self._look_for_more(now)

    def _stay_at_end(self) -> None:
        """Keep a cursor that was on the last packet of a live capture on the last one."""
        last = max(0, len(self.document.table) - 1)
        if self._last_row <= self.state.row < last:
            self.select_row(last)
            if self.state.screen == "packets":
                self.view.show_selection()
        self._last_row = last

    def _look_for_more(self, now: float) -> None:
        """Read the file again if it has grown; pauses leave most of the time to the user."""
        pause = max(FOLLOW_PAUSE, 3 * self.document.elapsed)
        if now - self._read_at > pause and self.document.changed():
            self.reload()

    @property
    def awaited(self) -> bool:
        """See the base class; a screen or window may have to be worked out first, or something be
        copied.
        """
        working = len(self.screen_stack) == 1 and self.view.awaited
        opening = any(w.group == "figures" and not w.is_finished for w in self.workers)
        return working or opening or self.copying or super().awaited

    def key_taken(self) -> None:
        """Pause loading while a key is being answered, and clear the message in the status line."""
        self.gate.key()
        if self._told is not None:
            self._told = None
            self.call_later(self.show_status)

    def on_unmount(self) -> None:
        """Stop reading."""
        self.gate.stop()
        self.reread.close()

    # -- what is shown ------------------------------------------------------------------------

    @property
    def view(self) -> View:
        """The current screen."""
        return self.screen_stack[0].query_one(f"#{self.state.screen}", View)

    def show_screen(self, screen: str, *, deeper: bool = False) -> None:
        """Show a screen and put the focus where its work begins.  If it is ``deeper`` than the one
        before, :meth:`go_back` leads back to that.
        """
        if not deeper:
            self._way.clear()
        elif screen != self.state.screen:
            self._way.append((self.state.screen, self.screen_stack[0].focused))
        self.view.zoom(None)
        self.state.screen = screen
        self.screen_stack[0].query_one(ContentSwitcher).current = screen
        self.screen_stack[0].query_one(TabLine).show_tab(screen, terminal(self.document.name))
        self.view.show_document()
        self.view.home()
        self.show_status()  # a pane of the previous screen may have been zoomed

    def go_back(self) -> None:
        """Show the screen, and focus the pane, that led to this one, if any did."""
        if self._way:
            *way, (screen, pane) = self._way
            self.show_screen(screen)
            self._way = way
            self.screen_stack[0].set_focus(pane)

    def on_jump(self, message: Jump) -> None:
        """A tab was clicked: show its screen."""
        self.show_screen(message.screen)

    def action_screen(self, screen: str) -> None:
        """Show a screen."""
        self.show_screen(screen)

    def show_main(
        self, channel: Channel | None, until: Callable[[MainLine], bool] | None = None
    ) -> None:
        """Show Main, and on it a record of a channel: see :meth:`MainView.go_to`."""
        self.show_screen("main", deeper=True)
        self.screen_stack[0].query_one(MainView).go_to(channel, until)

    def filter_device(self, number: int, name: str) -> None:
        """Show the packets of a device (``idstr#instance``) of a migration."""
        several = self.document.several(self.state.migration)
        self.on_filter_chosen(FilterChosen(device_filter(name, number if several else None)))

    def filter_channel(self, channel: Channel) -> None:
        """Show the packets of a channel; for main or the return path, its records."""
        if channel.kind in RECORDED:
            self.show_main(channel)
        elif channel.kind == "postcopy":
            self.tell(Text("the pages of a postcopy channel are not listed"))
        else:
            self.on_filter_chosen(FilterChosen(f"tcp.stream == {channel.stream}"))

    # -- filter -------------------------------------------------------------------------------

    def on_filter_chosen(self, message: FilterChosen) -> None:
        """Apply a filter and show the packets."""
        message.stop()
        self.state.filter = message.text
        self.filters.remember(message.text)
        self._apply_filter()
        if self.state.screen != "packets":
            self.show_screen("packets", deeper=True)
        else:
            self.view.show_document()
        if hint := self.filters.hint(message.text):
            self.tell(Text(hint, "bold"))
        self.show_status()

    def _apply_filter(self) -> None:
        self.filters.apply(self.document.table, self.state.filter, self.state.migration)
        self._give_filter_up()

    def _give_filter_up(self) -> bool:
        """If the filter could not be applied, drop it and say why; returns whether that was so."""
        fault, self.filters.fault = self.filters.fault, ""
        if fault:
            self.state.filter = ""
            self.tell(Text(f"{fault}; no filter is applied", "bold"))
        return bool(fault)

    def show_migration(self, number: int) -> None:
        """Show one migration, or all (:data:`ALL`)."""
        self.state.migration = number
        self.state.window = None
        self._apply_filter()
        if number != ALL:
            self.select_within(number)
        self.view.show_document()
        self.show_status()

    # -- the status line ----------------------------------------------------------------------

    def tell(self, text: Text) -> None:
        """Show a message in the status line until the next key."""
        self._told = text if text.plain else None
        self.show_status()

    def show_status(self) -> None:
        """Update the status line."""
        document = self._loading or self.document
        right = self._totals()
        if self._told is not None:
            left = self._told
        elif not document.done:
            left = self._progress(document)
        elif document.verdict[0]:
            left = self.view.palette.verdict(*document.verdict_of(self.state.migration))
        elif document.error:
            left = Text(document.error, self.view.palette.error)
        else:
            left = Text(document.obstacle())
        status = self.screen_stack[0].query_one(StatusLine)
        if self._told is None and self._loading is None:  # a reload keeps the room
            status.wanted = left if document.done else Text()
        status.show_status(left, right)

    def _progress(self, document: Document) -> Text:
        if document.live is not None:
            frames = document.scan.engine.frames if document.scan is not None else 0
            found = len(document.migrations())
            seen = f"  {count(frames, 'frame')}  {count(found, 'migration')}"
            return Text.assemble(("LIVE", self.view.palette.device), seen, "  F ends it")
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
        if self.view.zoomed:
            parts.append("z restores the screen")
        if state.follow:
            parts.append("following")
        if len(migrations) > 1:
            every = count(len(migrations), "migration")
            parts.append(
                f"{every if state.migration == ALL else f'migration {state.migration}'} (M)"
            )
        total = len(self.document.table)
        row = count(min(self.state.row + 1, total)).rjust(len(count(total)))
        parts.append(
            f"{row}/{count(total)}"
        )  # constant width, so that the verdict's wrapping stays
        return Text("  ".join(parts))
