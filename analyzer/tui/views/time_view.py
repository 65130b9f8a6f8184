"""Base of the screens with a time axis: the time window, and bins computed in a thread."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType
from textual.worker import get_current_worker

from analyzer.tui.binning import Bins
from analyzer.tui.messages import Selected
from analyzer.tui.time_axis import TimeWindow
from analyzer.tui.time_panes import TimePane
from analyzer.tui.views.view import View

if TYPE_CHECKING:
    from typing import TypeAlias

    from analyzer.migration.channel import Channel
    from analyzer.migration.phases import Phase
    from analyzer.tui.document import Document

    Key: TypeAlias = tuple[int, int, int, int, tuple[int, ...]]

__all__ = ["TimeView"]

PHASES_OF_ONE = "M chooses a migration to see its phases"

BINS_KEPT = 8
"""How many windows' bins are cached, for going back to them."""


LANES = ("main", "multifd", "postcopy")
"""Kinds of channels that get a lane."""


class TimeView(View):
    """A screen around one :class:`TimePane`."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("plus,equals_sign", "scale(True)", "Zoom in"),
        Binding("minus", "scale(False)", "out", tooltip="Zoom out"),
        Binding("0", "whole", "all", tooltip="Show the whole time range"),
        Binding("shift+left,H", "pan(-0.5)", "Move left", show=False),
        Binding("shift+right,L", "pan(0.5)", "Move right", show=False),
    ]

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's name
        super().__init__(id=id)
        self._kept: dict[Key, tuple[Bins, list[Phase]]] = {}  # only of completely read captures
        self._kept_of: Document | None = None
        self._shown_of: tuple[Document, int] | None = None

    @property
    def pane(self) -> TimePane:
        """The pane."""
        return self.query_one(TimePane)

    def home(self) -> None:
        """Focus the pane."""
        self.screen.set_focus(self.pane)

    @property
    def window(self) -> TimeWindow:
        """The time window that is shown."""
        document, state = self.document, self.state
        start, end = document.start, document.end
        migrations = document.migrations(state.migration)
        flows = [channel.flow for m in migrations for channel in list(m.channels)]
        flows = [flow for flow in flows if flow.carries]
        if flows:
            start = min(flow.first.time for flow in flows)
            end = max(flow.last.time for flow in flows)
        return TimeWindow(start, end, *(state.window or (None, None)))

    @property
    def channels(self) -> list[Channel]:
        """The channels that get lanes; a saved migration has no times to draw."""
        if self.document.saved is not None:
            return []
        channels = self.document.channels(self.state.migration)
        return [channel for channel in channels if channel.kind in LANES]

    def _tell_lack(self) -> None:
        self.pane.lack = self.document.lack() or "nothing but connections: no RAM, no device state"

    def show_document(self) -> None:
        """Compute the bins again."""
        self._tell_lack()
        self.pane.wanted = self.window
        self._work_out()

    def show_growth(self) -> None:
        """Compute the bins again as long as the capture is small."""
        self._tell_lack()
        if len(self.document.table) < 200_000:
            self._work_out()

    def on_resize(self) -> None:
        """Compute the bins again: their number depends on the width."""
        super().on_resize()
        if self.display:
            self.call_after_refresh(self._work_out)

    def _work_out(self) -> None:
        if not self.pane.content_size.width:
            return  # not laid out yet: on_resize follows
        window, columns = self.window, self.pane.columns
        channels = self.channels
        document, number = self.document, self.state.migration
        key = self._key(window)
        known, complete = self._known(key), document.done
        if known is not None:
            self.workers.cancel_group(self, self._group)
            self._show(*known, channels)
            return

        def work() -> None:
            worker = get_current_worker()
            migrations = document.migrations(number) if channels else []
            bins = Bins(window, columns, [channel.stream for channel in channels])
            bins.fill(
                document.table, number, migrations, lambda: worker.is_cancelled, document.spans
            )
            phases = document.phases(number)
            if not worker.is_cancelled:
                self.app.call_from_thread(take, bins, phases)

        def take(bins: Bins, phases: list[Phase]) -> None:
            if complete and document is self._kept_of:
                if len(self._kept) >= BINS_KEPT:
                    del self._kept[next(iter(self._kept))]
                self._kept[key] = bins, phases
            self._show(bins, phases, channels)

        self.run_worker(work, thread=True, exclusive=True, group=self._group)

    @property
    def awaited(self) -> bool:
        """See the base class."""
        stale = self._shown_of != (self.document, self.state.migration)
        return stale and self.pane.display  # else it is worked out when it is shown again

    @property
    def _group(self) -> str:
        return f"bins-{self.id}"

    def _key(self, window: TimeWindow) -> Key:
        """Everything that the bins of a completely read capture depend on."""
        lanes = tuple(channel.stream for channel in self.channels)
        return window.start, window.end, self.pane.columns, self.state.migration, lanes

    def _known(self, key: Key) -> tuple[Bins, list[Phase]] | None:
        """The cached bins and phases, if they are there and cannot have changed."""
        if self._kept_of is not self.document or not self.document.done:
            self._kept.clear()
            self._kept_of = self.document
        return self._kept.get(key)

    def _show(self, bins: Bins, phases: list[Phase], channels: list[Channel]) -> None:
        del channels
        several = self.document.several(self.state.migration)
        self._shown_of = self.document, self.state.migration
        self.pane.no_phases = PHASES_OF_ONE if several and self.document.done else ""
        self.pane.origin = self.document.start
        self.pane.show_bins(bins, phases, self.state.time or bins.window.start)
        self.show_selection()

    def show_selection(self) -> None:
        """Show the time cursor."""
        if self.state.time:
            self.pane.point(self.state.time)

    def action_scale(self, closer: bool) -> None:
        """Zoom in or out."""
        self.pane.zoom(closer)

    def action_whole(self) -> None:
        """Show the whole time range."""
        self.pane.show_whole()

    def action_pan(self, by: float) -> None:
        """Move the time window by ``by`` times its length."""
        self.pane.pan(by)

    def on_time_pane_windowed(self, message: TimePane.Windowed) -> None:
        """Show another time window."""
        message.stop()
        window, pane = message.window, self.pane
        self.state.window = None if window.whole else (window.start, window.end)
        if pane.bins is not None and self._known(self._key(window)) is None:
            # An approximation, shown at once.
            pane.show_bins(pane.bins.resampled(window), pane.phases, pane.moment)
        pane.wanted = window
        self._work_out()

    def on_time_pane_pointed(self, message: TimePane.Pointed) -> None:
        """Select another time."""
        message.stop()
        if message.opened:
            self.visit(message.moment)
        else:
            self.post_message(Selected(moment=message.moment, stream=self.lane_stream))

    def visit(self, moment: int) -> None:
        """Go to the packet closest to a time (ns), or where there is none to the record."""
        document = self.document
        if len(document.table) or document.saved is not None or not document.migrations():
            self.post_message(Selected(moment=moment, stream=self.lane_stream, screen="packets"))
        else:
            self.visit_record(None, moment)

    def visit_record(self, channel: Channel | None, moment: int) -> None:
        """Go to the record of a channel (``None``: of any) closest to a time (ns)."""
        self.mfshark.show_main(channel, lambda line: line.place.time <= moment)

    @property
    def lane_stream(self) -> int | None:
        """The stream in which to look for packets; ``None`` for all."""
        return None
