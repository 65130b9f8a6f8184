"""Numbers as text for display: sizes, rates, durations, points in time."""

from __future__ import annotations

from datetime import UTC, datetime

from analyzer.checks.wording import counted
from analyzer.report.style import size_text

__all__ = ["clock_time", "count", "duration", "rate", "seconds"]


SECOND = 1_000_000_000
UNITS = (
    (1_000, 1, "ns", 0),
    (1_000_000, 1_000, "µs", 1),
    (SECOND, 1_000_000, "ms", 1),
    (100 * SECOND, SECOND, "s", 2),
)
"""(limit in ns below which the unit is used, its length in ns, its name, its usual decimals)."""


def rate(bytes_per_second: float) -> str:
    """``1.0 MiB/s``."""
    return f"{size_text(round(bytes_per_second))}/s"


def count(value: int, noun: str = "") -> str:
    """A number with thousands grouped, and ``noun`` if given: ``1 hole``, ``1,000 holes``."""
    return counted(value, noun, ",") if noun else f"{value:,}"


def duration(ns: float, step: int = SECOND) -> str:
    """Nanoseconds in the unit that fits, with enough decimals to tell them from ``step`` more.

    >>> duration(12_345_678), duration(2_351_336_000), duration(2_351_336_000, 1_000)
    ('12.3 ms', '2.35 s', '2.351336 s')
    """
    for limit, unit, word, usual in UNITS:
        if abs(ns) < limit:
            return f"{ns / unit:.{max(usual, _decimals(unit, step))}f} {word}"
    if step < SECOND:
        return f"{ns / SECOND:.{_decimals(SECOND, step)}f} s"
    minutes, rest = divmod(round(abs(ns) / SECOND), 60)
    return f"{'-' if ns < 0 else ''}{minutes} min {rest} s"


def _decimals(unit: int, step: int) -> int:
    """How many decimals of a unit (its length in ns) are needed to show a step (ns)."""
    decimals = 0
    while unit > max(1, step):
        decimals, unit = decimals + 1, unit // 10
    return decimals


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
