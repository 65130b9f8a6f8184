"""A list that draws only the rows on the screen, however many there are.

It never asks for a row that is not visible and caches a bounded number of drawn lines, so five
million rows cost no more than fifty.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from typing import TYPE_CHECKING, ClassVar, Protocol

from rich.segment import Segment
from rich.text import Text
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from analyzer.tui.columns import fit, row_segments, wrapped
from analyzer.tui.dialogs.tell import TellDialog
from analyzer.tui.palette import Painted, Palette

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.style import Style
    from textual import events

    from analyzer.tui.columns import Cell, Column

__all__ = ["NoRows", "RowList", "Rows"]

LINES_KEPT = 512
MORE = "…"
"""Shown behind the column heads if there are more columns, which a wider terminal would show."""


class Rows(Protocol):
    """The rows of a :class:`RowList`, which asks for one at a time."""

    columns: Sequence[Column]

    def __len__(self) -> int:
        """How many rows there are now."""
        ...

    def row(self, position: int, palette: Palette) -> tuple[Sequence[Cell], Style]:
        """The cells of one row, one for each column, and the style they share."""
        ...


class NoRows:
    """An empty list."""

    columns: Sequence[Column] = ()

    def __len__(self) -> int:
        return 0

    def row(self, position: int, palette: Palette) -> tuple[Sequence[Cell], Style]:
        """Never called."""
        raise IndexError(position, palette)


class RowList(ScrollView, Painted, can_focus=True):
    """A list with a cursor.

    ``rows`` is what it shows; call :meth:`renew` after they changed.  ``empty`` is the text shown
    when there are no rows.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "Up", show=False),
        Binding("down,j", "move(1)", "Down", show=False),
        Binding("pageup,ctrl+b,ctrl+u", "page(-1)", "Page up", show=False),
        Binding("pagedown,ctrl+d,space", "page(1)", "Page down", show=False),
        Binding("home,g", "first", "First", show=False),
        Binding("end,G", "last", "Last", show=False),
        Binding("enter", "choose", "Open", show=False),
        Binding("w", "whole", "Show the whole row", show=False),
    ]
    DEFAULT_CSS = """
    RowList { height: 1fr; overflow-x: hidden; scrollbar-size-vertical: 1; }
    """

    class Moved(Message):
        """The user moved the cursor to ``position``."""

        def __init__(self, sender: RowList, position: int) -> None:
            super().__init__()
            self.sender = sender
            self.position = position

        @property
        def control(self) -> RowList:
            """The list, for Textual's selectors."""
            return self.sender

    class HeadClicked(Message):
        """The head of a column was clicked; ``key`` is that of the column."""

        def __init__(self, key: str) -> None:
            super().__init__()
            self.key = key

    class Chosen(Moved):
        """Enter was pressed on ``position``, or it was double-clicked."""

    def __init__(
        self,
        rows: Rows | None = None,
        *,
        header: bool = True,
        empty: str = "",
        id: str | None = None,  # noqa: A002 - Textual's name
    ) -> None:
        super().__init__(id=id)
        self.rows: Rows = rows if rows is not None else NoRows()
        self.header = header
        self.empty = empty
        self.cursor = 0
        self._lines: OrderedDict[tuple[int, int, int, Palette], Strip] = OrderedDict()

    # -- what it shows ------------------------------------------------------------------------

    def show_rows(self, rows: Rows) -> None:
        """Show other rows; the cursor keeps its position as far as there are rows."""
        self.rows = rows
        self.renew()

    def renew(self) -> None:
        """Redraw all rows, after they changed."""
        self._lines.clear()
        self._measure()
        self.cursor = max(0, min(self.cursor, len(self.rows) - 1))
        self.refresh()

    def grown(self) -> None:
        """Redraw as needed after rows were added at the end; the others must be unchanged."""
        self._measure()
        height = self.scrollable_content_region.height
        if len(self.rows) <= round(self.scroll_y) + height + 1:
            self.refresh()

    def _measure(self) -> None:
        size = Size(1, len(self.rows) + self.header)
        if size != self.virtual_size:
            self.virtual_size = size

    def on_mount(self) -> None:
        """Measure the rows that were given before the list was mounted."""
        self._measure()

    # -- the cursor ---------------------------------------------------------------------------

    def on_resize(self) -> None:
        """Keep the cursor visible."""
        self.scroll_target_y = self.scroll_y  # a greater height may have scrolled back
        self._reveal(centre=False)

    def go(self, position: int, *, centre: bool = False) -> None:
        """Put the cursor on a row and scroll to it, without posting a message."""
        self._measure()  # another thread may have added rows
        position = max(0, min(position, len(self.rows) - 1))
        if position != self.cursor:
            old, self.cursor = self.cursor, position
            self._refresh_row(old)
            self._refresh_row(position)
        self._reveal(centre)

    def _reveal(self, centre: bool) -> None:
        page = self._page
        top = round(self.scroll_target_y)
        if top <= self.cursor < top + page:
            return
        if centre:
            top = self.cursor - page // 2
        elif self.cursor < top:
            top = self.cursor
        else:
            top = self.cursor - page + 1
        self.scroll_to(y=max(0, top), animate=False, force=True, immediate=True)

    @property
    def _page(self) -> int:
        return max(1, self.scrollable_content_region.height - self.header)

    def _refresh_row(self, position: int) -> None:
        line = position - round(self.scroll_y) + self.header
        if 0 <= line < self.size.height:
            self.refresh(Region(0, line, self.size.width, 1))

    def _moved(self, position: int) -> None:
        before = self.cursor
        self.go(position)
        if self.cursor != before:
            self.post_message(self.Moved(self, self.cursor))

    def action_move(self, by: int) -> None:
        """Move the cursor by one row."""
        self._moved(self.cursor + by)

    def action_page(self, by: int) -> None:
        """Move the cursor by one page."""
        self._moved(self.cursor + by * max(1, self._page - 1))

    def action_first(self) -> None:
        """Move the cursor to the first row."""
        self._moved(0)

    def action_last(self) -> None:
        """Move the cursor to the last row."""
        self._moved(len(self.rows) - 1)

    def action_choose(self) -> None:
        """Open the row under the cursor."""
        if len(self.rows):
            self.post_message(self.Chosen(self, self.cursor))

    def action_whole(self) -> None:
        """Show the texts of the row under the cursor, also those that there is no room for."""
        told = {
            title: text.strip() for title, text in self._named().items() if title and text.strip()
        }
        width = max(map(len, told), default=0)
        lines = [
            Text.assemble((f"{title:<{width}}  ", "bold"), text) for title, text in told.items()
        ]
        if lines:
            self.app.push_screen(TellDialog("The whole row", Text("\n").join(lines)))

    def on_click(self, event: events.Click) -> None:
        """Move the cursor to the row under the mouse; a double click opens it."""
        offset = event.get_content_offset(self)
        if offset is None:
            return
        if offset.y < self.header:
            self._click_head(offset.x)
            return
        position = round(self.scroll_y) + offset.y - self.header
        if position >= len(self.rows):
            return
        if event.chain == 2:
            self.action_choose()
        elif position != self.cursor:
            self._moved(position)

    def _click_head(self, x: int) -> None:
        for number, width in fit(self.rows.columns, self.scrollable_content_region.width):
            if 0 <= x <= width and self.rows.columns[number].key:
                self.post_message(self.HeadClicked(self.rows.columns[number].key))
            x -= width + 1

    def on_focus(self) -> None:
        """Redraw the cursor, which shows the focus."""
        self.refresh()

    def on_blur(self) -> None:
        """Redraw the cursor, which shows the focus."""
        self.refresh()

    def _named(self) -> dict[str, str]:
        """The texts of the row under the cursor, by the titles of their columns."""
        if self.cursor >= len(self.rows):
            return {}
        cells = self.rows.row(self.cursor, self.palette)[0]
        texts = (cell[0] if isinstance(cell, tuple) else cell for cell in cells)
        return {column.title: text for column, text in zip(self.rows.columns, texts, strict=True)}

    def copied(self, form: str) -> str | None:
        """The row under the cursor as ``text`` (one line) or ``json``; else ``None``."""
        named = self._named()
        if form == "text" and named:
            return "\t".join(text.strip() for text in named.values() if text.strip())
        if form == "json" and named:
            named.pop("", None)
            return json.dumps(named, ensure_ascii=False)
        return None

    # -- drawing ------------------------------------------------------------------------------

    def render_line(self, y: int) -> Strip:
        """One line of the screen."""
        width = self.scrollable_content_region.width
        if self.header and y == 0:
            return self._head(width)
        position = round(self.scroll_y) + y - self.header
        if not 0 <= position < len(self.rows):
            text = wrapped(self.empty, width, y - self.header) if not len(self.rows) else ""
            return self._finished([Segment(text, self.palette.muted)], width, None)
        focus = 0 if position != self.cursor else 2 if self.has_focus else 1
        key = (position, width, focus, self.palette)
        strip = self._lines.get(key)
        if strip is None:
            strip = self._lines[key] = self._draw(position, width, focus)
            if len(self._lines) > LINES_KEPT:
                self._lines.popitem(last=False)
        return strip

    def _head(self, width: int) -> Strip:
        columns, style = self.rows.columns, self.palette.header
        layout = fit(columns, width)
        segments = row_segments([column.title for column in columns], columns, layout, style)
        used = sum(taken + 1 for _, taken in layout)
        if len(layout) == len(columns) or used > width:
            return self._finished(segments, width, style)
        head = self._finished(segments, width, style).crop(0, width - 1)
        return Strip.join([head, self._finished([Segment(MORE)], 1, style)])

    def _draw(self, position: int, width: int, focus: int) -> Strip:
        cells, style = self.rows.row(position, self.palette)
        over = (None, self.palette.cursor_blurred, self.palette.cursor)[focus]
        if over is not None:
            style = style + over
        columns = self.rows.columns
        segments = row_segments(cells, columns, fit(columns, width), style)
        return self._finished(segments, width, over)

    def _finished(self, segments: list[Segment], width: int, style: Style | None) -> Strip:
        ground = self.rich_style
        whole = ground + style if style is not None else ground
        return Strip(segments).adjust_cell_length(width, whole).apply_style(ground)
