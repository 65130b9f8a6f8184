"""Channels: what each channel carried over time."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.widgets import Static

from analyzer.tui.channel_rows import ChannelRows, carried, fairness_text
from analyzer.tui.lane_lines import legend_segments
from analyzer.tui.row_list import RowList
from analyzer.tui.time_panes import AROUND_LANES, LanesPane, lane_thickness
from analyzer.tui.views.time_view import TimeView

if TYPE_CHECKING:
    from textual.app import ComposeResult

    from analyzer.migration.channel import Channel
    from analyzer.migration.phases import Phase
    from analyzer.tui.binning import Bins

__all__ = ["ChannelsView"]

LINES_EMPTY = 5
"""Height of the lanes pane when it only says why there are no lanes."""


class ChannelsView(TimeView):
    """Lanes over time, and below them one row per channel."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f", "filter", "Its packets", tooltip="Show only its packets"),
        Binding("s", "sort", "Sort the channels by number or by share", show=False),
    ]
    DEFAULT_CSS = """
    ChannelsView #legend { height: 1; }
    """

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's name
        super().__init__(id=id)
        self.shown: list[Channel] = []
        self.by_share = False

    def compose(self) -> ComposeResult:
        """The panes."""
        yield LanesPane(id="lanes")
        yield Static(id="legend")
        yield RowList(id="channel-list", empty="no channel of a migration")

    @property
    def channels(self) -> list[Channel]:
        """See the base class."""
        channels = super().channels
        return sorted(channels, key=carried, reverse=True) if self.by_share else channels

    def _show(self, bins: Bins, phases: list[Phase], channels: list[Channel]) -> None:
        migrations = self.document.migrations(self.state.migration)
        numbers = {id(channel): one.number for one in migrations for channel in one.channels}
        several = len(migrations) > 1
        numbered = [(numbers.get(id(channel), 0), channel) for channel in channels]
        self.shown = channels
        names = [
            f"{number}:{channel.name}" if several else channel.name for number, channel in numbered
        ]
        lanes = self.query_one(LanesPane)
        room = max(3, self.size.height // 2 - AROUND_LANES - 1)
        wanted = len(channels) * lane_thickness(len(channels), room)
        lines = min(room, wanted or LINES_EMPTY)
        lanes.styles.height = lines + AROUND_LANES + 1
        lanes.show_lanes(names, self._lane)
        text = Text(no_wrap=True)
        for segment in legend_segments(self.palette):
            text.append(segment.text, segment.style or "")
        self.query_one("#legend", Static).update(text)
        table = self.query_one("#channel-list", RowList)
        table.empty = self._no_channel()
        fairness = fairness_text(numbered)
        order = "by share" if self.by_share else "" if fairness else "Channels"
        table.border_title = "; ".join(filter(None, [order, fairness]))
        facts = ((one.number, one.main_facts) for one in migrations)
        mains = {number: main for number, main in facts if main is not None}
        table.show_rows(ChannelRows(numbered, several, mains))
        super()._show(bins, phases, channels)

    def _no_channel(self) -> str:
        """Why the table is empty, unless the lanes say so."""
        document = self.document
        if document.obstacle() or document.saved is not None:
            return ""
        return "no channel" if document.done else "no channel yet"

    @property
    def _lane(self) -> int:
        for lane, channel in enumerate(self.shown):
            if channel.stream == self.state.stream:
                return lane
        return 0

    @property
    def _channel(self) -> Channel | None:
        """The channel of the selected lane; ``None`` if there are no lanes."""
        lane = self.query_one(LanesPane).lane
        return self.shown[min(lane, len(self.shown) - 1)] if self.shown else None

    @property
    def lane_stream(self) -> int | None:
        """The stream of the selected lane."""
        return self._channel.stream if self._channel is not None else None

    def show_selection(self) -> None:
        """Show the time cursor and the selected channel."""
        super().show_selection()
        lane = self._lane
        lanes = self.query_one(LanesPane)
        if lane != lanes.lane and self.state.stream is not None:
            lanes.show_lanes(lanes.names, lane)
        self.query_one("#channel-list", RowList).go(lanes.lane)

    def on_lanes_pane_laned(self, message: LanesPane.Laned) -> None:
        """Select the channel of another lane."""
        message.stop()
        self._choose(message.lane)

    def on_row_list_moved(self, message: RowList.Moved) -> None:
        """Select the channel of another row."""
        message.stop()
        self._choose(message.position)

    def _choose(self, lane: int) -> None:
        self.state.stream = self.shown[lane].stream
        self.show_selection()

    def on_row_list_head_clicked(self, message: RowList.HeadClicked) -> None:
        """Sort by a column."""
        message.stop()
        self._sort(by_share=message.key == "share")

    def action_sort(self) -> None:
        """Switch between channels by number and by what they carried."""
        self._sort(by_share=not self.by_share)

    def _sort(self, *, by_share: bool) -> None:
        self.by_share = by_share
        self.show_document()

    def on_row_list_chosen(self, message: RowList.Chosen) -> None:
        """Enter: go to what the channel carried at the time cursor."""
        message.stop()
        self.visit(self.state.time or self.window.start)

    def visit(self, moment: int) -> None:
        """Go to the channel's packet, or main's record, closest to a time (ns)."""
        channel = self._channel
        if channel is not None and channel.kind == "main":
            self.visit_record(channel, moment)
        elif channel is not None and channel.kind == "postcopy":
            self.mfshark.filter_channel(channel)
        else:
            super().visit(moment)

    def action_filter(self) -> None:
        """Show only the packets of the selected channel, or main's records."""
        channel = self._channel
        if channel is None:
            self.mfshark.tell(Text("there is no channel"))
        else:
            self.mfshark.filter_channel(channel)
