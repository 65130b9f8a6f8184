"""Numbers as text for display: sizes, rates, points in time."""

from __future__ import annotations

from datetime import UTC, datetime

from analyzer.checks.wording import counted
from analyzer.report.style import size_text

__all__ = ["clock_time", "count", "rate", "seconds"]


def rate(bytes_per_second: float) -> str:
    """``1.0 MiB/s``."""
    return f"{size_text(round(bytes_per_second))}/s"


def count(value: int, noun: str = "") -> str:
    """A number with thousands grouped, and ``noun`` if given: ``1 hole``, ``1,000 holes``."""
    return counted(value, noun, ",") if noun else f"{value:,}"


def seconds(ns: int) -> str:
    """Nanoseconds as seconds with six decimals."""
    return f"{ns / 1e9:.6f}"


def clock_time(ns: int) -> str:
    """Time of day, UTC, with microseconds; ``ns`` since the epoch."""
    whole, rest = divmod(ns, 1_000_000_000)
    try:
        day = datetime.fromtimestamp(whole, UTC)
    except (OverflowError, OSError, ValueError):
        return str(ns)
    return f"{day:%H:%M:%S}.{rest // 1000:06d}"
