"""Panes that show a device as a drawing: the reassembly map and the order of arrival."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, ClassVar

from rich.segment import Segment
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from analyzer.tui.arrival_plot import LATE, arrival_plot
from analyzer.tui.columns import wrapped
from analyzer.tui.palette import Painted
from analyzer.tui.reassembly import MapLayout, Reassembly, legend, map_line, shown_index

if TYPE_CHECKING:
    from textual import events

__all__ = ["ArrivalPane", "Drawn", "MapPane"]


class Drawn(Widget, Painted):
    """Base class of panes that draw their lines themselves."""

    DEFAULT_CSS = """
    Drawn { height: 1fr; }
    """

    def segments(self, y: int, width: int) -> list[Segment]:  # noqa: ARG002 - for those that draw
        """The segments of line ``y``; to be overridden, blank by default."""
        return [Segment(" " * width)]

    def render_line(self, y: int) -> Strip:
        """One line of the screen."""
        width = self.content_size.width
        ground = self.rich_style
        strip = Strip(self.segments(y, width))
        if width and strip.crop(width).text.strip():
            strip = Strip.join([strip.crop(0, width - 1), Strip([Segment("…")])])
        return strip.adjust_cell_length(width, ground).apply_style(ground)


class MapPane(Drawn, can_focus=True):
    """Every index of a device's state as a cell; the cursor is on one of them."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left,h", "move(-1, 0)", "Left", show=False),
        Binding("right,l", "move(1, 0)", "Right", show=False),
        Binding("up,k", "move(0, -1)", "Up", show=False),
        Binding("down,j", "move(0, 1)", "Down", show=False),
        Binding("home,g", "edge(0)", "First index", show=False),
        Binding("end,G", "edge(1)", "Last index", show=False),
        Binding("enter", "open", "Packet", tooltip="Go to the packet"),
    ]

    class Pointed(Message):
        """The cursor was moved to ``index``; ``opened`` on Enter."""

        def __init__(self, index: int, opened: bool = False) -> None:
            super().__init__()
            self.index = index
            self.opened = opened

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's name
        super().__init__(id=id)
        self.name_shown = ""
        self.reassembly = Reassembly([])
        self.lack = ""
        self.cursor = -1

    def show_map(self, name: str, reassembly: Reassembly, cursor: int, lack: str = "") -> None:
        """Show a device, the cursor on an index (-1: none); ``lack`` is shown if it has none."""
        self.name_shown = name
        self.reassembly = reassembly
        self.lack = lack
        self.cursor = cursor
        self._entitle()
        self.refresh()

    def _entitle(self) -> None:
        per_cell = self._layout_now.per_cell
        scale = f", {per_cell} per cell" if per_cell > 1 else ""
        owner = f" of {self.name_shown}" if self.name_shown else ""
        self.border_title = Content(f"Indexes{owner}{scale}")

    def on_resize(self) -> None:
        """Update the title: the number of indexes per cell depends on the size."""
        self._entitle()

    def point(self, index: int) -> None:
        """Put the cursor on an index, without posting a message."""
        self.cursor = index
        self.refresh()

    @property
    def _layout_now(self) -> MapLayout:
        size = self.content_size
        return MapLayout(self.reassembly.total, size.width, size.height - 1)

    def _go(self, index: int, opened: bool = False) -> None:
        if self.reassembly.total:
            self.cursor = max(0, min(index, self.reassembly.total - 1))
            self.refresh()
            self.post_message(self.Pointed(self.cursor, opened))

    def action_move(self, cells: int, lines: int) -> None:
        """Move the cursor by cells and lines."""
        layout = self._layout_now
        self._go_to(layout, layout.cell_of(max(0, self.cursor)) + cells + lines * layout.per_line)

    def _go_to(self, layout: MapLayout, cell: int) -> None:
        if self.reassembly.total:
            self._go(shown_index(self.reassembly, layout, max(0, min(cell, layout.cells - 1))))

    def action_edge(self, end: int) -> None:
        """Move the cursor to the first or last index."""
        self._go(self.reassembly.total - 1 if end else 0)

    def action_open(self) -> None:
        """Go to the packet of the index."""
        self._go(max(0, self.cursor), opened=True)

    def on_click(self, event: events.Click) -> None:
        """Move the cursor to the cell under the mouse."""
        layout = self._layout_now
        offset = event.get_content_offset(self)
        if offset is not None and offset.y > 0:
            column = min(layout.per_line - 1, offset.x // layout.cell)
            self._go_to(layout, (offset.y - 1) * layout.per_line + column)

    def segments(self, y: int, width: int) -> list[Segment]:
        """The legend, and the map below it."""
        layout = self._layout_now
        if not self.reassembly.total:
            return [Segment(wrapped(self.lack, width, y), self.palette.muted)]
        if y == 0:
            return legend(self.reassembly, self.palette, width)
        return map_line(self.reassembly, layout, y - 1, self.cursor, self.palette)


class ArrivalPane(Drawn):
    """Order of arrival (to the right) against index (upwards): a straight line is in order."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's name
        super().__init__(id=id)
        self._order: list[int] = []
        self._lines: tuple[tuple[int, int], list[str]] = ((0, 0), [])

    def show_order(self, order: list[int]) -> None:
        """Show a device by its indexes in order of arrival; the same list is not plotted again."""
        if order is not self._order:
            self._order = order
            self._lines = ((0, 0), [])
        self.refresh()

    def segments(self, y: int, width: int) -> list[Segment]:
        """The plot."""
        size = (width, self.content_size.height)
        if self._lines[0] != size:
            self._lines = size, arrival_plot(self._order, *size)
        if not self._order:
            return []
        return [
            Segment("".join(run), self.palette.warning if late else self.palette.device)
            for late, run in groupby(self._lines[1][y], LATE.__eq__)
        ]
