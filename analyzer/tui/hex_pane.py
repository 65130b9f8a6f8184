"""The bytes pane: bytes in hexadecimal and ASCII, with the selected field marked."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rich.segment import Segment
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from analyzer.tui.hex_lines import bytes_per_line, hex_line
from analyzer.tui.palette import Painted

if TYPE_CHECKING:
    from textual import events

__all__ = ["HexPane"]


class HexPane(ScrollView, Painted, can_focus=True):
    """Bytes with a cursor; :class:`Pointed` says which byte the user chose."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left,h", "byte(-1)", "Byte left", show=False),
        Binding("right,l", "byte(1)", "Byte right", show=False),
        Binding("up,k", "line(-1)", "Line up", show=False),
        Binding("down,j", "line(1)", "Line down", show=False),
        Binding("pageup,ctrl+b,ctrl+u", "page(-1)", "Page up", show=False),
        Binding("pagedown,ctrl+d,space", "page(1)", "Page down", show=False),
        Binding("home,g", "edge(0)", "First byte", show=False),
        Binding("end,G", "edge(1)", "Last byte", show=False),
    ]
    DEFAULT_CSS = """
    HexPane { height: 1fr; overflow-x: hidden; scrollbar-size-vertical: 1; }
    """

    class Pointed(Message):
        """The byte cursor was moved to ``offset``."""

        def __init__(self, offset: int) -> None:
            super().__init__()
            self.offset = offset

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's name
        super().__init__(id=id)
        self.data = b""
        self.note = ""
        self.missing: tuple[tuple[int, int], ...] = ()
        self.field = (0, 0)
        self.cursor = -1

    # -- what it shows ------------------------------------------------------------------------

    def show_bytes(
        self, data: bytes, note: str = "", missing: tuple[tuple[int, int], ...] = ()
    ) -> None:
        """Show other bytes; ``note`` is shown below them, or instead of them if there are none.

        ``missing`` are the ranges (first, last) that the capture lacks.
        """
        self.data = data
        self.note = note
        self.missing = missing
        self.field = (0, 0)
        self.cursor = -1
        self._measure()
        self.scroll_to(y=0, animate=False, force=True, immediate=True)
        self.refresh()

    def mark_field(self, offset: int, size: int) -> None:
        """Mark a field and scroll to its beginning."""
        self.field = (offset, size)
        self.cursor = -1
        if size:
            self._reveal(offset)
        self.refresh()

    def on_resize(self) -> None:
        """Measure again, as the number of bytes on a line depends on the width, and keep the cursor
        or the marked field visible.
        """
        self._measure()
        self.scroll_target_y = self.scroll_y  # a greater height may have scrolled back
        if self.cursor >= 0 or self.field[1]:
            self._reveal(self._start)

    @property
    def _per_line(self) -> int:
        return bytes_per_line(self.scrollable_content_region.width)

    def _measure(self) -> None:
        lines = -(-len(self.data) // self._per_line) + bool(self.note)
        size = Size(1, lines)
        if size != self.virtual_size:
            self.virtual_size = size

    @property
    def next(self) -> int:
        """Where a search begins: at the cursor, or else behind where the marked field begins."""
        return self.cursor if self.cursor >= 0 else self.field[0] + (self.field[1] > 0)

    # -- the cursor ---------------------------------------------------------------------------

    def _point(self, offset: int) -> None:
        if not self.data:
            return
        self.cursor = max(0, min(offset, len(self.data) - 1))
        self._reveal(self.cursor)
        self.refresh()
        self.post_message(self.Pointed(self.cursor))

    def _reveal(self, offset: int) -> None:
        line = offset // self._per_line
        top, height = round(self.scroll_target_y), max(1, self.scrollable_content_region.height)
        if line < top:
            self.scroll_to(y=line, animate=False, force=True, immediate=True)
        elif line >= top + height:
            self.scroll_to(y=line - height + 1, animate=False, force=True, immediate=True)

    @property
    def _start(self) -> int:
        return self.cursor if self.cursor >= 0 else self.field[0]

    def action_byte(self, by: int) -> None:
        """Move the cursor by one byte."""
        self._point(self._start + by)

    def action_line(self, by: int) -> None:
        """Move the cursor by one line."""
        self._point(self._start + by * self._per_line)

    def action_page(self, by: int) -> None:
        """Move the cursor by one page."""
        self._point(self._start + by * self._per_line * max(1, self.size.height - 1))

    def action_edge(self, end: int) -> None:
        """Move the cursor to the first or last byte."""
        self._point(len(self.data) - 1 if end else 0)

    def on_click(self, event: events.Click) -> None:
        """Move the cursor to the byte under the mouse, in the hexadecimal or the ASCII half."""
        place = event.get_content_offset(self)
        if place is None:
            return
        per_line = self._per_line
        offset = (round(self.scroll_y) + place.y) * per_line
        ascii_at = 10 + 3 * per_line + per_line // 8 + 1
        if place.x >= ascii_at:
            column = place.x - ascii_at
        else:
            within = max(0, place.x - 10)
            group, rest = divmod(within, 25)
            column = group * 8 + min(7, rest // 3)
        if column < per_line and offset + column < len(self.data):
            self._point(offset + column)

    # -- drawing ------------------------------------------------------------------------------

    def render_line(self, y: int) -> Strip:
        """One line of the screen."""
        width = self.scrollable_content_region.width
        per_line = self._per_line
        offset = (round(self.scroll_y) + y) * per_line
        if offset < len(self.data):
            segments = hex_line(
                self.data, offset, per_line, self.field, self.cursor, self.palette, self.missing
            )
        elif offset - per_line < len(self.data) or (y == 0 and not self.data):
            segments = [Segment(self.note, self.palette.muted)]
        else:
            segments = []
        ground = self.rich_style
        return Strip(segments).adjust_cell_length(width, ground).apply_style(ground)
