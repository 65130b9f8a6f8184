"""Which guest pages went over the multifd channels, and how often.

One mark a page: the sync round and the channel that carried it last.
"""

from __future__ import annotations

from array import array

__all__ = ["BlockPages", "PageTracker"]

TRACKED_MAX = 1 << 22
"""Pages tracked in all (16 GiB of guest memory in 4 KiB pages, 8 MiB of marks)."""
EMPTY = 0


class BlockPages:
    """Pages of one RAM block; ``highest`` is the highest page offset used, in bytes."""

    __slots__ = ("highest", "marks", "name", "normal", "resent", "zero")

    def __init__(self, name: bytes) -> None:
        self.name = name
        self.normal = 0
        self.zero = 0
        self.resent = 0
        self.highest = -1
        self.marks = array("H")


class PageTracker:
    """Counts pages by block, pages sent again in a later round, and pages sent twice in a round.

    ``untracked`` says that more pages exist than are tracked, so ``resent`` is a lower bound.
    """

    __slots__ = ("blocks", "resent", "tracked", "untracked")

    def __init__(self) -> None:
        self.blocks: dict[bytes, BlockPages] = {}
        self.resent = 0
        self.tracked = 0
        self.untracked = False

    def block(self, name: bytes) -> BlockPages:
        """The block of that name; at most 4096 different ones are told apart."""
        found = self.blocks.get(name)
        if found is None:
            if len(self.blocks) >= 4096:
                name = b"(others)"
                if name in self.blocks:
                    return self.blocks[name]
            found = self.blocks[name] = BlockPages(name)
        return found

    def saw(
        self, block: BlockPages, pages: list[int], round_number: int, channel: int
    ) -> int | None:
        """Pages (numbers) that one packet carries; gives one that another channel carried in the
        same round, if there is one."""
        top = max(pages)
        if top >= len(block.marks) and not self._extend(block, top):
            return None
        mark = (round_number % 255 + 1) << 8 | channel & 0xFF
        marks = block.marks
        low = min(pages)
        count = len(pages)
        if top - low == count - 1 and len(set(pages)) == count:
            before = marks[low : top + 1]
            marks[low : top + 1] = array("H", (mark,)) * count
            if before.count(EMPTY) == count:
                return None
            numbers = range(low, top + 1)
        else:
            before = array("H", (marks[page] for page in pages))
            for page in pages:
                marks[page] = mark
            if before.count(EMPTY) == count:
                return None
            numbers = pages  # type: ignore[assignment]
        return self._again(block, before, mark, numbers)

    def _again(
        self, block: BlockPages, before: array[int], mark: int, numbers: range
    ) -> int | None:
        clash = None
        again = 0
        for old, page in zip(before, numbers, strict=True):
            if old == EMPTY:
                continue
            if old >> 8 != mark >> 8:
                again += 1
            elif old != mark and clash is None:
                clash = page
        block.resent += again
        self.resent += again
        return clash

    def _extend(self, block: BlockPages, top: int) -> bool:
        wanted = (top | 0xFFFF) + 1
        grow = wanted - len(block.marks)
        if self.tracked + grow > TRACKED_MAX:
            self.untracked = True
            return False
        block.marks.frombytes(bytes(2 * grow))
        self.tracked += grow
        return True
