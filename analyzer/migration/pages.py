"""Which guest pages went over the multifd channels, and how often.

One mark a page: the sync round and the channel that carried it last.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from analyzer.migration.channel import Channel
    from analyzer.migration.mark import Mark

__all__ = ["BlockPages", "PageTracker"]

TRACKED_MAX = 1 << 22
"""Pages tracked in all (16 GiB of guest memory in 4 KiB pages, 8 MiB of marks)."""


class BlockPages:
    """Pages of one RAM block.

    ``highest`` is the highest page offset used, in bytes; ``highest_at`` and ``highest_on`` are the
    packet that used it first, and its channel.
    """

    __slots__ = (
        "highest",
        "highest_at",
        "highest_on",
        "marks",
        "name",
        "normal",
        "resent",
        "zero",
    )

    def __init__(self, name: bytes) -> None:
        self.name = name
        self.normal = 0
        self.zero = 0
        self.resent = 0
        self.highest = -1
        self.highest_at: Mark | None = None
        self.highest_on: Channel | None = None
        self.marks = bytearray()  # two a page: sync round (0: never seen), channel


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
        self,
        block: BlockPages,
        offsets: tuple[int, ...],
        page_size: int,
        round_number: int,
        channel: int,
    ) -> int | None:
        """Pages (byte offsets in the block) that one packet carries; gives one that another
        channel carried in the same round, if there is one.
        """
        low, top = min(offsets) // page_size, max(offsets) // page_size
        marks = block.marks
        if 2 * top >= len(marks) and not self._extend(block, top):
            return None
        mark = bytes((round_number % 255 + 1, channel & 0xFF))
        count = len(offsets)
        if top - low == count - 1:  # one run, unless an offset occurs twice
            before = marks[2 * low : 2 * top + 2]
            marks[2 * low : 2 * top + 2] = mark * count
            if before.count(0) == len(before):
                return None
            return self._again(block, before, mark, [low + i for i in range(count)], page_size)
        pages = [offset // page_size for offset in offsets]
        before = bytearray()
        for page in pages:
            before += marks[2 * page : 2 * page + 2]
            marks[2 * page : 2 * page + 2] = mark
        return self._again(block, before, mark, pages, page_size)

    def _again(
        self, block: BlockPages, before: bytearray, mark: bytes, pages: list[int], page_size: int
    ) -> int | None:
        clash = None
        again = 0
        for index, page in enumerate(pages):
            old, carrier = before[2 * index], before[2 * index + 1]
            if not old:
                continue
            if old != mark[0]:
                again += 1
            elif carrier != mark[1] and clash is None:
                clash = page * page_size
        block.resent += again
        self.resent += again
        return clash

    def _extend(self, block: BlockPages, top: int) -> bool:
        wanted = (top | 0xFFFF) + 1
        grow = wanted - len(block.marks) // 2
        if self.tracked + grow > TRACKED_MAX:
            self.untracked = True
            return False
        block.marks.extend(bytes(2 * grow))
        self.tracked += grow
        return True
