"""Which guest pages were sent over the multifd channels, and how often.

Each page has one mark: the SYNC round and the channel that carried it last.
"""

from __future__ import annotations

import struct
from array import array

from analyzer.migration.ram_facts import BLOCKS_MAX, OTHERS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from analyzer.migration.channel import Channel
    from analyzer.migration.mark import Mark

__all__ = ["BlockPages", "PageRoom", "PageTracker", "read_offsets"]

TRACKED_MAX = 1 << 22
"""Most pages tracked at a time, over all migrations (16 GiB of memory in 4 KiB pages, 8 MiB)."""
HIGHEST = 1 << 62
RUNS_KEPT = 64


def read_offsets(offsets: bytes, count: int, page_size: int) -> Sequence[int]:
    """The first ``count`` (at most 1024) of big-endian page offsets.

    A ``range`` if they are consecutive pages, as in the first pass over guest memory: one
    multiplication of long integers tells, without looking at each offset.
    """
    first = int.from_bytes(offsets[:8], "big")
    if first < HIGHEST and count:
        ones, steps = _runs.get((count, page_size)) or _run(count, page_size)
        if int.from_bytes(offsets[: 8 * count], "big") == first * ones + steps:
            return range(first, first + count * page_size, page_size)
    return struct.unpack_from(f">{count}Q", offsets)


_runs: dict[tuple[int, int], tuple[int, int]] = {}


def _run(count: int, page_size: int) -> tuple[int, int]:
    """Two long integers made of ``count`` big-endian 64-bit words: all 1; and 0, 1, 2, ... pages in
    bytes.
    """
    if len(_runs) >= RUNS_KEPT:
        _runs.clear()
    words = struct.Struct(f">{count}Q")
    steps = words.pack(*range(0, count * page_size, page_size))
    made = int.from_bytes(words.pack(*[1] * count), "big"), int.from_bytes(steps, "big")
    _runs[count, page_size] = made
    return made


class BlockPages:
    """Pages of one RAM block.

    ``normal`` and ``zero`` count pages sent, ``resent`` those sent again in a later round.
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
        self.marks = bytearray()  # two bytes a page: SYNC round % 255 + 1 (0: never sent), channel


class PageRoom:
    """The room for marks, which the migrations of a capture share: the newest take it from the
    oldest, which are over unless the capture is hostile.
    """

    __slots__ = ("_trackers", "_used")

    def __init__(self) -> None:
        self._trackers: dict[PageTracker, None] = {}  # those with marks, in order of their first
        self._used = 0

    def take(self, tracker: PageTracker, pages: int) -> bool:
        """Give room for the marks of so many more pages; ``False`` if that is too much."""
        while self._used + pages > TRACKED_MAX:
            oldest = next(iter(self._trackers), tracker)
            if oldest is tracker:
                return False
            del self._trackers[oldest]
            self._used -= oldest.tracked
            oldest.stop()
        self._trackers[tracker] = None
        self._used += pages
        return True


class PageTracker:
    """Counts pages by block, pages sent again in a later round, and pages sent twice in a round.

    ``tracked`` is how many pages have marks.  ``untracked`` says that there are more pages, so
    ``resent`` is a lower bound.
    """

    __slots__ = ("_room", "_stopped", "blocks", "resent", "tracked", "untracked")

    def __init__(self, room: PageRoom) -> None:
        self._room = room
        self._stopped = False
        self.blocks: dict[bytes, BlockPages] = {}
        self.resent = 0
        self.tracked = 0
        self.untracked = False

    def stop(self) -> None:
        """Drop all marks, and track no more pages."""
        self._stopped = True
        self.tracked = 0
        for block in self.blocks.values():
            block.marks = bytearray()

    def block(self, name: bytes) -> BlockPages:
        """The block called ``name``; new ones beyond :data:`BLOCKS_MAX` are counted as one."""
        found = self.blocks.get(name)
        if found is None:
            if len(self.blocks) >= BLOCKS_MAX:
                name = OTHERS
                if name in self.blocks:
                    return self.blocks[name]
            found = self.blocks[name] = BlockPages(name)
        return found

    def saw(
        self,
        block: BlockPages,
        offsets: Sequence[int],
        page_size: int,
        round_number: int,
        channel: int,
    ) -> int | None:
        """Note the pages of one packet (byte offsets in the block).

        Gives the offset of one that another channel carried in the same round, if any.
        """
        run = type(offsets) is range
        low, top = (offsets[0], offsets[-1]) if run else (min(offsets), max(offsets))
        low, top = low // page_size, top // page_size
        marks = block.marks
        if 2 * top >= len(marks) and not self._extend(block, top):
            return None
        mark = bytes((round_number % 255 + 1, channel & 0xFF))
        count = len(offsets)
        if run:
            before = bytes(marks[2 * low : 2 * top + 2])
            marks[2 * low : 2 * top + 2] = mark * count
            pages: Sequence[int] = range(low, top + 1)
        else:
            pages = [offset // page_size for offset in offsets]
            with memoryview(marks).cast("H") as words:
                before = array("H", [words[page] for page in pages]).tobytes()
                word = array("H", mark)[0]
                for page in pages:
                    words[page] = word
        if before.count(0) == len(before):
            return None
        return self._again(block, before, mark, pages, page_size)

    def _again(
        self, block: BlockPages, before: bytes, mark: bytes, pages: Sequence[int], page_size: int
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
        wanted = (top | 0xFFF) + 1
        grow = wanted - len(block.marks) // 2
        if self._stopped or not self._room.take(self, grow):
            self.untracked = True
            return False
        block.marks.extend(bytes(2 * grow))
        self.tracked += grow
        return True
