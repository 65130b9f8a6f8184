"""The view state: one object that survives a reload of the capture."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["ALL", "NATURAL", "SCREENS", "TIME_FORMATS", "SortedBy", "ViewState"]

SCREENS = ("packets", "devices", "channels", "timeline", "findings", "streams", "main")
TIME_FORMATS = ("start", "absolute", "previous", "switchover")
ALL = -1
"""Stands for all migrations of the capture."""


class SortedBy(NamedTuple):
    """What the packet list is sorted by: the key of a column, and the direction."""

    column: str
    descending: bool


NATURAL = SortedBy("number", descending=False)
"""The order of the table."""


class ViewState:
    """Screen, filter, selection and marks.

    ``row`` is the number of the selected packet in the table, ``migration`` the one shown (or
    :data:`ALL`).  ``device`` is (migration, idstr, instance id), ``index`` the selected buffer's,
    ``stream`` the selected channel's (Wireshark's number).  ``time`` is the time cursor and
    ``window`` the time range zoomed to (``None``: all), ns since the epoch; ``record`` the selected
    row of Main; ``marks`` are the marked rows of the table.  ``sorted_by`` says how the packet list
    is sorted.
    """

    __slots__ = (
        "device",
        "filter",
        "follow",
        "index",
        "marks",
        "migration",
        "record",
        "row",
        "screen",
        "sorted_by",
        "stream",
        "time",
        "time_format",
        "window",
    )

    def __init__(self) -> None:
        self.screen = SCREENS[0]
        self.filter = ""
        self.row = 0
        self.migration = ALL
        self.device: tuple[int, bytes, int] | None = None
        self.index: int | None = None
        self.stream: int | None = None
        self.time = 0
        self.window: tuple[int, int] | None = None
        self.record = 0
        self.marks: set[int] = set()
        self.time_format = TIME_FORMATS[0]
        self.sorted_by = NATURAL
        self.follow = False

    def toggle_mark(self, row: int) -> bool:
        """Set or clear a mark; returns whether it is set now."""
        self.marks ^= {row}
        return row in self.marks

    def next_time_format(self) -> str:
        """Switch to the next time format and return it."""
        at = TIME_FORMATS.index(self.time_format)
        self.time_format = TIME_FORMATS[(at + 1) % len(TIME_FORMATS)]
        return self.time_format
