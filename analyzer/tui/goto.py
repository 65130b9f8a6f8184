"""Go to a packet by its number, its frame, or a time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from analyzer.tui.document import Document

__all__ = ["MODES", "beyond", "complaint", "row_of"]

MODES = ("packet", "frame", "time")
SECOND = 1_000_000_000


def complaint(mode: str, text: str) -> str:
    """What is expected instead of ``text``; empty if it is valid."""
    if mode == "time":
        valid = _offset(text) is not None or _clock(text) is not None
        return "" if valid else f"expected {TIME_HINT}"
    digits = text.lstrip("#")
    valid = digits.isascii() and digits.isdigit() and len(digits) < 19
    return "" if valid else "expected a number"


TIME_HINT = "seconds since the start, or a time of day as 17:05:01.5 (UTC)"


def beyond(document: Document, mode: str, text: str) -> str:
    """A message if the capture has no such place, with the last one; empty if it has."""
    if mode == "time":
        return _beyond_time(document, text)
    number = int(text.lstrip("#"))
    last = len(document.table)
    if mode == "frame" and document.scan is not None:
        last = document.scan.engine.frames
    return "" if 0 < number <= last else f"there is no {mode} {number}, the last is {last}"


def _beyond_time(document: Document, text: str) -> str:
    moment, clock = _offset(text), _clock(text)
    if moment is None and clock is not None:
        moment = _moment(document.start, clock) - document.start
    length = document.end - document.start
    if moment is None or 0 <= moment <= length:
        return ""
    return f"there is no frame at {text}: the capture has {length / SECOND:.6f} s"


def row_of(document: Document, mode: str, text: str) -> int | None:
    """The row of the table closest to the place; ``None`` if the table is empty."""
    count = len(document.table)
    if not count:
        return None
    if mode == "packet":
        return max(0, min(int(text.lstrip("#")), count) - 1)
    if mode == "frame":
        return document.row_at_frame(int(text.lstrip("#")))
    moment = _offset(text)
    if moment is not None:
        return document.row_at_time(document.start + moment)
    clock = _clock(text)
    return document.row_at_time(_moment(document.start, clock)) if clock is not None else None


def _offset(text: str) -> int | None:
    """A number of seconds in ns; ``None`` if ``text`` is none."""
    try:
        value = float(text.removesuffix("s"))
    except ValueError:
        return None
    return round(value * SECOND) if abs(value) < 1e9 else None


def _clock(text: str) -> timedelta | None:
    """A time of day; ``None`` if ``text`` is none."""
    for form in ("%H:%M:%S.%f", "%H:%M:%S", "%H:%M"):
        try:
            found = datetime.strptime(text, form).replace(tzinfo=UTC)
        except ValueError:
            continue
        return found - found.replace(hour=0, minute=0, second=0, microsecond=0)
    return None


def _moment(start: int, clock: timedelta) -> int:
    """A time of day in ns since the epoch, on the day on which the capture begins; on the next day
    if that is more than twelve hours before the beginning.
    """
    day = start - start % (86400 * SECOND)
    moment = day + round(clock.total_seconds() * SECOND)
    return moment if moment >= start - 43200 * SECOND else moment + 86400 * SECOND
