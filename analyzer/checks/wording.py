"""Phrases that many findings share."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from analyzer.migration.channel import Channel

__all__ = ["counted", "duration", "listed", "names", "ranges"]

LISTED = 20
"""The maximum number of names or ranges in a row: a hostile capture has thousands."""

SECOND = 1_000_000_000
UNITS = (
    (1_000, 1, "ns", 0),
    (1_000_000, 1_000, "µs", 1),
    (SECOND, 1_000_000, "ms", 1),
    (100 * SECOND, SECOND, "s", 2),
)
"""(limit in ns below which the unit is used, its length in ns, its name, its usual decimals)."""


def counted(number: int, noun: str, digits: str = "") -> str:
    """``1 byte``, ``2 bytes``; ``digits`` is the number's format spec, ``,`` to group thousands."""
    return f"{number:{digits}} {noun}{'' if number == 1 else 's'}"


def duration(ns: float, step: int = SECOND) -> str:
    """Nanoseconds in the unit that fits, with enough decimals to tell them from ``step`` more.

    >>> duration(12_345_678), duration(2_351_336_000), duration(2_351_336_000, 1_000)
    ('12.3 ms', '2.35 s', '2.351336 s')
    """
    for limit, unit, word, usual in UNITS:
        if abs(ns) < limit:
            return f"{ns / unit:.{max(usual, _decimals(unit, step))}f} {word}" if ns else "0"
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


def listed(texts: Sequence[str], count: int | None = None) -> str:
    """The first of ``count`` texts (by default of all that are given): ``a, b and 3 more``."""
    shown = texts[:LISTED]
    more = (len(texts) if count is None else count) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def ranges(numbers: Iterable[int]) -> str:
    """``0-3, 7``, or ``0, 2, 4 and 9 more``."""
    parts: list[list[int]] = []
    for number in sorted(set(numbers)):
        if parts and parts[-1][1] == number - 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    texts = [str(a) if a == b else f"{a}-{b}" for a, b in parts[:LISTED]]
    return listed(texts, len(texts) + sum(b - a + 1 for a, b in parts[LISTED:]))


def names(channels: Iterable[Channel]) -> str:
    """``main, multifd 0-3, 7``: the names of channels in short form."""
    words: list[str] = []
    ids: list[int] = []
    for channel in channels:
        if channel.known_id is None:
            words.append(channel.name)
        else:
            ids.append(channel.known_id)
    parts = [listed(words)] if words else []
    if ids:
        parts.append(f"multifd {ranges(ids)}")
    return ", ".join(parts)
