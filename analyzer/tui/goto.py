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
    """What is wrong with the place; empty when nothing is."""
    if mode == "time":
        return "" if _offset(text) is not None or _clock(text) is not None else TIME_HINT
    digits = text.lstrip("#")
    return "" if digits.isascii() and digits.isdigit() and len(digits) < 19 else "a number"


TIME_HINT = "seconds since the start, or a time of day as 17:05:01.5 (UTC)"


def beyond(document: Document, mode: str, text: str) -> str:
    """That there is no such place, and where the last one is; empty where there is one."""
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
    """The row of the table; ``None`` when there is none."""
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
    """Seconds as ns."""
    try:
        value = float(text.removesuffix("s"))
    except ValueError:
        return None
    return round(value * SECOND) if abs(value) < 1e9 else None


def _clock(text: str) -> timedelta | None:
    """A time of day."""
    for form in ("%H:%M:%S.%f", "%H:%M:%S", "%H:%M"):
        try:
            found = datetime.strptime(text, form).replace(tzinfo=UTC)
        except ValueError:
            continue
        return found - found.replace(hour=0, minute=0, second=0, microsecond=0)
    return None


def _moment(start: int, clock: timedelta) -> int:
    """That time on the day on which the capture begins, or on the next one if it was over."""
    day = start - start % (86400 * SECOND)
    moment = day + round(clock.total_seconds() * SECOND)
    return moment if moment >= start - 43200 * SECOND else moment + 86400 * SECOND
