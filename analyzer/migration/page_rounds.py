"""Which SYNC rounds carried pages, and where in guest memory these lie.

Wire-format page, section 3.6.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias

    Place: TypeAlias = tuple[int, int]

__all__ = ["ROUNDS_KEPT", "PageRound", "PageRounds"]

ROUNDS_KEPT = 20_000
"""SYNC rounds told apart; what comes later counts to the last."""


class PageRound:
    """One SYNC round on all channels.

    ``lowest`` and ``highest`` are places in the order in which guest memory is scanned, (number of
    the RAM block, byte offset of the page); ``None`` without pages, or where they cannot be read.
    """

    __slots__ = ("has_pages", "highest", "lowest")

    def __init__(self) -> None:
        self.has_pages = False
        self.lowest: Place | None = None
        self.highest: Place | None = None

    def reach(self, block: int, first: int, last: int) -> None:
        """A packet's pages, from the lowest offset to the highest."""
        low, high = (block, first), (block, last)
        if self.lowest is None or low < self.lowest:
            self.lowest = low
        if self.highest is None or high > self.highest:
            self.highest = high


class PageRounds:
    """The rounds before the switchover, ``all`` by number from 0."""

    __slots__ = ("all",)

    def __init__(self) -> None:
        self.all: list[PageRound] = []

    def round(self, number: int) -> PageRound:
        """The round of that number, made with all before it where they are not there yet."""
        number = min(number, ROUNDS_KEPT - 1)
        while len(self.all) <= number:
            self.all.append(PageRound())
        return self.all[number]
