"""Which SYNC rounds carried pages, and which part of guest memory.

Wire-format page, section 3.6.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias

    Place: TypeAlias = tuple[int, int]

__all__ = ["ROUNDS_KEPT", "PageRound", "PageRounds"]

ROUNDS_KEPT = 20_000
"""Most SYNC rounds kept; later ones are counted as the last."""


class PageRound:
    """One SYNC round on all channels.

    ``lowest`` and ``highest`` are positions in the order in which the source scans guest memory,
    (index of the RAM block, byte offset of the page); ``None`` without pages, or where they cannot
    be read.
    """

    __slots__ = ("has_pages", "highest", "lowest")

    def __init__(self) -> None:
        self.has_pages = False
        self.lowest: Place | None = None
        self.highest: Place | None = None

    def reach(self, block: int, first: int, last: int) -> None:
        """Note a packet's pages in a block, between two byte offsets."""
        low, high = (block, first), (block, last)
        if self.lowest is None or low < self.lowest:
            self.lowest = low
        if self.highest is None or high > self.highest:
            self.highest = high


class PageRounds:
    """The rounds before the switchover; ``all`` is indexed by round number, from 0."""

    __slots__ = ("all",)

    def __init__(self) -> None:
        self.all: list[PageRound] = []

    def round(self, number: int) -> PageRound:
        """The round ``number``; missing ones up to it are created."""
        number = min(number, ROUNDS_KEPT - 1)
        while len(self.all) <= number:
            self.all.append(PageRound())
        return self.all[number]
