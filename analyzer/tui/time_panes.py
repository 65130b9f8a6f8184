"""Panes with a time axis: the lanes of the channels, and throughput."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, ClassVar

from rich.segment import Segment
from textual.binding import Binding, BindingType
from textual.geometry import Region
from textual.message import Message

from analyzer.checks.wording import duration
from analyzer.report.style import size_text
from analyzer.tui.area_chart import sparkline, stacked_chart, with_mark
from analyzer.tui.columns import cell_text, wrapped
from analyzer.tui.lane_lines import lane_line
from analyzer.tui.panes import Drawn
from analyzer.tui.phase_line import phase_at, phase_line
from analyzer.tui.quantities import count, rate
from analyzer.tui.time_axis import TimeWindow, axis_line, bounded

if TYPE_CHECKING:
    from textual import events

    from analyzer.migration.phases import Phase
    from analyzer.tui.binning import Bins

__all__ = ["AROUND_LANES", "LanesPane", "ThroughputPane", "TimePane", "lane_thickness"]

LABEL = 13
"""Width of the labels in front of the time axis, in cells."""
AROUND_LANES = 2
"""Lines above and below the lanes: phases, axis."""
BELOW_CHART = 4
"""Lines below the chart: axis, zero pages, numbers, legend."""
THICKEST = 3
FILLS, FILLS_COLORLESS = ("█", "█", "█"), ("▒", "━", "█")
"""Characters for the bars of RAM, main and device state; without colours, those of the lanes."""


def lane_thickness(lanes: int, room: int) -> int:
    """How many lines each lane gets in ``room`` lines."""
    return max(1, min(THICKEST, room // max(1, lanes)))


class TimePane(Drawn, can_focus=True):
    """A pane with a time axis and a cursor.

    ``bins`` has as many bins as :attr:`columns`; ``moment`` is the cursor's time.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left,h", "step(-1)", "Earlier", show=False),
        Binding("right,l", "step(1)", "Later", show=False),
        Binding("home,g", "edge(0)", "Go to the beginning", show=False),
        Binding("end,G", "edge(1)", "Go to the end", show=False),
        Binding("enter", "open", "Packet", tooltip="Go to the packet"),
    ]

    class Windowed(Message):
        """The user wants another time window."""

        def __init__(self, window: TimeWindow) -> None:
            super().__init__()
            self.window = window

    class Pointed(Message):
        """The cursor was moved to ``moment``; ``opened`` on Enter."""

        def __init__(self, moment: int, opened: bool = False) -> None:
            super().__init__()
            self.moment = moment
            self.opened = opened

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's name
        super().__init__(id=id)
        self.bins: Bins | None = None
        self.wanted: TimeWindow | None = None
        """What keys act on until the first bins are there."""
        self.phases: list[Phase] = []
        self.no_phases = ""
        """Why there are no phases; shown in their place."""
        self.moment = 0
        self.origin: int | None = None
        """The time that times are counted from, ns since the epoch: the capture's first frame."""
        self.lack = ""
        """Why there is nothing to show; shown if there is nothing else."""

    @property
    def columns(self) -> int:
        """How many bins there is room for."""
        return max(1, self.content_size.width - LABEL)

    @property
    def cursor(self) -> int:
        """The cursor's column; -1 if it is outside the window."""
        if self.bins is None:
            return -1
        column = self.bins.window.column(self.moment, self.bins.bins)
        if self.moment == self.bins.window.end:
            column = self.bins.bins - 1
        return column if 0 <= column < self.bins.bins else -1

    def since(self, bins: Bins, time: int) -> int:
        """A time (ns since the epoch) as ns since the capture's first frame."""
        return time - (bins.window.first if self.origin is None else bounded(self.origin))

    def time_text(self, bins: Bins) -> str:
        """The cursor's time."""
        return duration(self.since(bins, self.moment), round(bins.bin_ns))

    def show_bins(self, bins: Bins, phases: list[Phase], moment: int) -> None:
        """Show other bins and phases, with the cursor at a time (ns since the epoch)."""
        self.bins = bins
        self.phases = phases
        self.moment = moment
        self.refresh()

    def point(self, moment: int) -> None:
        """Put the cursor at a time (ns since the epoch), without posting a message."""
        before = self.cursor
        self.moment = moment
        self._moved(before)

    def _moved(self, before: int) -> None:
        """Redraw only what changes when the cursor leaves column ``before``: redrawing a whole pane
        of thousands of characters would delay the answer to a key.
        """
        width, height = self.content_size
        columns = {before, self.cursor}
        if len(columns) == 2:
            found = [Region(LABEL + column, 0, 1, height) for column in columns if column >= 0]
            self.refresh(*found, *(Region(0, line, width, 1) for line in self.cursor_lines))

    @property
    def cursor_lines(self) -> list[int]:
        """The lines that change with the cursor along their whole width: phases, and more."""
        return [0]

    def _window(self) -> TimeWindow | None:
        return self.bins.window if self.bins is not None else self.wanted

    def _go(self, moment: int, opened: bool = False) -> None:
        window = self._window()
        if window is None:
            return
        self.point(max(window.first, min(moment, window.last)))
        self.post_message(self.Pointed(self.moment, opened))
        seen = window.seen(self.moment)
        if seen is not window:
            self.post_message(self.Windowed(seen))

    def action_step(self, by: int) -> None:
        """Move the cursor by one column."""
        if self.bins is not None:
            column = self.cursor
            at = max(column, 0)
            self._go(self.bins.window.time(at + by, self.bins.bins))

    def pan(self, by: float) -> None:
        """Move the window by ``by`` times its length."""
        window = self._window()
        if window is not None:
            self.post_message(self.Windowed(window.moved(by)))

    def zoom(self, closer: bool) -> None:
        """Zoom in or out, around the cursor, or the middle if the cursor is outside."""
        window = self._window()
        if window is not None:
            middle = (window.start + window.end) // 2
            around = self.moment if self.cursor >= 0 else middle
            self.post_message(self.Windowed(window.zoomed(closer, around)))

    def show_whole(self) -> None:
        """Show the whole time range."""
        window = self._window()
        if window is not None:
            self.post_message(self.Windowed(window.reset()))

    def action_edge(self, end: int) -> None:
        """Move the cursor to the beginning or end of the window."""
        window = self._window()
        if window is not None:
            self._go(window.end - 1 if end else window.start)

    def action_open(self) -> None:
        """Go to the packet at the cursor."""
        self._go(self.moment, opened=True)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Zoom in with the mouse wheel."""
        event.stop()
        self.zoom(True)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Zoom out with the mouse wheel."""
        event.stop()
        self.zoom(False)

    def on_click(self, event: events.Click) -> None:
        """Move the cursor to the time under the mouse; a double click goes to the packet."""
        offset = event.get_content_offset(self)
        if offset is not None and self.bins is not None and offset.x >= LABEL:
            moment = self.bins.window.time(offset.x - LABEL, self.bins.bins)
            self._go(moment, opened=event.chain == 2)

    def nothing(self, y: int) -> list[Segment]:
        """Line ``y`` of the text shown when there is nothing else."""
        return [Segment(wrapped(self.lack, self.content_size.width, y), self.palette.muted)]

    def label(self, text: str) -> Segment:
        """The label in front of a line."""
        return Segment(cell_text(text, LABEL - 1) + " ", self.palette.muted)

    def phase_band(self, bins: Bins) -> list[Segment]:
        """The phases, that of the cursor in front of them, or why there are none."""
        if self.no_phases and not self.phases:
            return [self.label(""), Segment(self.no_phases, self.palette.muted)]
        band = phase_line(self.phases, bins.window, bins.bins, self.palette)
        return [self.label(phase_at(self.phases, self.moment)), *band]

    def cursor_line(self) -> list[Segment]:
        """The time axis, with the cursor's column marked and its time in front."""
        if self.bins is None:
            return []
        bins = self.bins
        axis = axis_line(bins.window, bins.bins, self.palette, self.cursor, self.origin)
        return [self.label(self.time_text(bins)), *axis]


class LanesPane(TimePane):
    """One lane per channel; up and down select the channel."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "lane(-1)", "Channel up", show=False),
        Binding("down,j", "lane(1)", "Channel down", show=False),
    ]

    class Laned(Message):
        """The user selected another channel; ``lane`` is its position."""

        def __init__(self, lane: int) -> None:
            super().__init__()
            self.lane = lane

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's name
        super().__init__(id=id)
        self.names: list[str] = []
        self.lane = 0

    def show_lanes(self, names: list[str], lane: int) -> None:
        """Set the names of the lanes, and the selected lane."""
        self.names = names
        self.lane = lane
        self._entitle()
        self.refresh()

    def on_resize(self) -> None:
        """Update the title: how many lanes there is room for depends on the size."""
        self._entitle()

    def _entitle(self) -> None:
        hidden = f", {self._shown} of {len(self.names)}" if self._shown < len(self.names) else ""
        self.border_title = f"Lanes{hidden}"

    @property
    def cursor_lines(self) -> list[int]:
        """See the base class; and the axis."""
        return [*super().cursor_lines, self._shown * self.thickness + 1]

    def action_lane(self, by: int) -> None:
        """Select the next or previous channel."""
        if self.names:
            self.lane = max(0, min(self.lane + by, len(self.names) - 1))
            self.refresh()
            self.post_message(self.Laned(self.lane))

    @property
    def thickness(self) -> int:
        """Lines per lane; if there are at least two, the last one is empty."""
        return lane_thickness(len(self.names), self.content_size.height - AROUND_LANES)

    @property
    def _shown(self) -> int:
        """How many lanes are shown."""
        room = max(1, self.content_size.height - AROUND_LANES) // self.thickness
        return min(room, len(self.names))

    @property
    def _top(self) -> int:
        """The first lane that is shown."""
        return max(0, min(self.lane - self._shown // 2, len(self.names) - self._shown))

    def segments(self, y: int, _width: int) -> list[Segment]:
        """Phases, lanes, axis."""
        bins = self.bins
        if bins is None or not self.names:
            return self.nothing(y)
        if y == 0:
            return self.phase_band(bins)
        thickness = self.thickness
        at, line = divmod(y - 1, thickness)
        if at >= self._shown:
            return self.cursor_line() if y == self._shown * thickness + 1 else []
        if line and line == thickness - 1:
            return []
        lane = self._top + at
        label = self.label(self.names[lane] if not line else "")
        if lane == self.lane and not line:
            style = self.palette.cursor if self.has_focus else self.palette.cursor_blurred
            label = Segment(label.text, style)
        return [label, *lane_line(bins, lane, self.cursor, self.palette, first=not line)]

    def on_click(self, event: events.Click) -> None:
        """Also select the lane under the mouse."""
        offset = event.get_content_offset(self)
        if offset is not None and 0 < offset.y <= self._shown * self.thickness:
            self.action_lane(self._top + (offset.y - 1) // self.thickness - self.lane)
        super().on_click(event)

    def on_focus(self) -> None:
        """Redraw the selected lane, which shows the focus."""
        self.refresh()

    def on_blur(self) -> None:
        """Redraw the selected lane, which shows the focus."""
        self.refresh()


class ThroughputPane(TimePane):
    """Bytes per second by kind, as a stacked chart; zero pages have a line of their own below, as
    they take hardly any bytes.
    """

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's name
        super().__init__(id=id)
        self._chart: list[list[Segment]] = []
        self._zero_line: list[Segment] = []
        self._top = 0.0
        self._charted: Bins | None = None  # the bins that were drawn, and how
        self._look: tuple[object, ...] = ()

    @property
    def cursor_lines(self) -> list[int]:
        """See the base class; and axis and numbers."""
        height = self.content_size.height
        return [*super().cursor_lines, height - BELOW_CHART, height - 2]

    def segments(self, y: int, _width: int) -> list[Segment]:
        """Phases, chart, zero pages, axis, and the numbers at the cursor."""
        bins = self.bins
        height = self.content_size.height - BELOW_CHART - 1
        if bins is None or self._idle(bins):
            return self.nothing(y)
        if height < 1:
            return []
        self._draw(bins, height)
        if y == 0:
            return self.phase_band(bins)
        if y <= height:
            return self._chart_line(bins, y - 1, height)
        if y == height + 1:
            return self.cursor_line()
        if y == height + 2:
            return [self.label("zero pages"), *self._zero_line]
        if y == height + 3:
            return [self.label("per second"), *self._numbers(bins)]
        return [self.label("one column"), *self._legend(bins)]

    def copied(self, form: str) -> str | None:
        """The numbers at the cursor as ``text`` (one line) or ``json``; else ``None``.

        In JSON: the column's time and length in seconds, bytes by kind, and zero pages.
        """
        bins, at = self.bins, self.cursor
        if bins is None or at < 0 or self._idle(bins):
            return None
        if form == "text":
            numbers = "".join(segment.text for segment in self._numbers(bins))
            return f"at {self.time_text(bins)}, per second: {numbers}"
        if form == "json":
            since = self.since(bins, bins.window.time(at, bins.bins))
            kinds = {"ram": bins.ram, "device": bins.device, "main": bins.main}
            named = {"time": since / 1e9, "seconds": bins.bin_ns / 1e9}
            named |= {f"{kind}_bytes": round(float(values[at])) for kind, values in kinds.items()}
            return json.dumps({**named, "zero_pages": round(float(bins.zero[at]))})
        return None

    def _idle(self, bins: Bins) -> bool:
        """Whether nothing at all was carried."""
        return bins.window.whole and not any(
            kind.any() for kind in (bins.ram, bins.zero, bins.device, bins.main)
        )

    def _draw(self, bins: Bins, height: int) -> None:
        """Draw the parts that do not depend on the cursor, unless they are up to date."""
        style = self.palette
        look = (height, self.size, style, self.phases)
        if bins is self._charted and look == self._look:
            return
        self._charted, self._look = bins, look
        self._top = float((bins.ram + bins.device + bins.main).max(initial=0.0))
        series = [(bins.ram, style.ram), (bins.main, style.main), (bins.device, style.device)]
        fills = self._fills if style.colorless else ()
        self._chart = stacked_chart(series, height, self._top, fills)
        most = float(bins.zero.max(initial=0.0))
        self._zero_line = sparkline(bins.zero.tolist(), most, style.zero)

    def _chart_line(self, bins: Bins, line: int, height: int) -> list[Segment]:
        top, style = self._top, self.palette
        scale = {0: top, height // 2: top * (height - height // 2) / height}
        value = scale.get(line)
        label = "" if value is None or not top else rate(value * 1e9 / bins.bin_ns)
        return [
            Segment(cell_text(label, LABEL - 1, right=True) + "▕", style.muted),
            *with_mark(self._chart[line], self.cursor, style.field),
        ]

    def _numbers(self, bins: Bins) -> list[Segment]:
        at = self.cursor
        if at < 0:
            return [Segment("the cursor is outside this time window", self.palette.muted)]
        per_second, palette = 1e9 / bins.bin_ns, self.palette
        kinds = (
            ("device", bins.device, palette.device),
            ("main", bins.main, palette.main),
            ("RAM", bins.ram, palette.ram),
        )
        return [
            *(
                Segment(f"{word} {size_text(round(carried[at] * per_second))}  ", style)
                for word, carried, style in kinds
            ),
            Segment(f"{bins.zero[at] * per_second:,.0f} zero pages", palette.zero),
        ]

    @property
    def _fills(self) -> tuple[str, str, str]:
        """The characters of RAM, main and device state."""
        return FILLS_COLORLESS if self.palette.colorless else FILLS

    def _legend(self, bins: Bins) -> list[Segment]:
        palette = self.palette
        ram, main, device = self._fills
        return [
            Segment(f"{duration(bins.bin_ns)}   ", palette.muted),
            Segment(f"{device} device  ", palette.device),
            Segment(f"{main} main  ", palette.main),
            Segment(f"{ram} RAM  ", palette.ram),
            Segment(f"{count(round(float(bins.zero.sum())))} zero pages in all", palette.zero),
        ]
