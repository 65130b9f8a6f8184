"""Which guest pages were sent over the multifd channels, in which SYNC rounds, and how often.

Each page has one mark: the SYNC round and the channel that carried it last.  Wire-format page,
section 3.6.
"""

from __future__ import annotations

import struct
import sys
from array import array
from operator import itemgetter

from analyzer.migration.mark import Mark
from analyzer.migration.ram_facts import BLOCKS_MAX, OTHERS
from dissectors.multifd import RAM, name_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TypeAlias

    from analyzer.migration.channel import Channel
    from analyzer.migration.main_channel import MainFacts
    from analyzer.migration.rows import RamPacket

    Position: TypeAlias = tuple[int, int]
    """Index of a RAM block, byte offset of a page in it: the order of the source's scans."""

__all__ = ["ROUNDS_KEPT", "BlockPages", "PageRoom", "PageRound", "PageTracker", "offsets_of"]

TRACKED_MAX = 1 << 22
"""Most pages tracked at a time, over all migrations (16 GiB of memory in 4 KiB pages, 8 MiB)."""
HIGHEST = 1 << 62
RUNS_KEPT = 64
ROUNDS_KEPT = 20_000
"""Most SYNC rounds kept; later ones are counted as the last."""


def offsets_of(packet: RamPacket, page_size: int) -> Sequence[int]:
    """Offsets of the pages that a packet carries; empty where they cannot be read."""
    used = packet.normal_pages + packet.zero_pages
    offsets = packet.offsets
    if not used or offsets is None or not page_size or used * 8 > len(offsets):
        return ()
    return read_offsets(offsets, used, page_size)


def _only_offsets_lost(packet: RamPacket) -> bool:
    """Whether a packet with pages tells all about them but their offsets, which are in a hole."""
    used = packet.normal_pages + packet.zero_pages
    known = packet.offsets is None and packet.ramblock is not None
    return known and 0 < 8 * used <= packet.header_size - RAM.size


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


class PageRound:
    """One SYNC round on all channels.

    ``lowest`` and ``highest`` are the first and last page in the order of the source's scans;
    ``None`` without pages, or where they cannot be read.
    """

    __slots__ = ("has_pages", "highest", "lowest")

    def __init__(self) -> None:
        self.has_pages = False
        self.lowest: Position | None = None
        self.highest: Position | None = None

    def reach(self, block: int, first: int, last: int) -> None:
        """Note a packet's pages in a block, between two byte offsets."""
        low, high = (block, first), (block, last)
        if self.lowest is None or low < self.lowest:
            self.lowest = low
        if self.highest is None or high > self.highest:
            self.highest = high


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

    ``rounds`` are the SYNC rounds before the switchover.  ``tracked`` is how many pages have marks.
    ``untracked`` says that there are more pages, so ``resent`` is a lower bound.
    """

    __slots__ = ("_room", "_stopped", "blocks", "rounds", "tracked", "untracked")

    def __init__(self, room: PageRoom) -> None:
        self._room = room
        self._stopped = False
        self.blocks: dict[bytes, BlockPages] = {}
        self.rounds: list[PageRound] = []
        self.tracked = 0
        self.untracked = False

    @property
    def resent(self) -> int:
        """How many pages were sent again, of all blocks."""
        return sum(block.resent for block in self.blocks.values())

    def stop(self) -> None:
        """Drop all marks, and track no more pages."""
        self._stopped = True
        self.tracked = 0
        for block in self.blocks.values():
            block.marks = bytearray()

    def saw(
        self,
        channel: Channel,
        packet: RamPacket,
        offsets: Sequence[int],
        page_size: int,
        main: MainFacts | None,
    ) -> int | None:
        """Count a complete packet and its pages, at ``offsets`` if these can be read; ``main`` is
        what main has said by then.  Pages whose offsets are in a hole only count for their block.

        Gives the offset of one that another channel carried in the same round, if any.
        """
        number = channel.round_of(packet)
        current = None
        if main is None or not (main.colo_count or main.in_switchover(packet.last)):
            current = self._round(number)
            current.has_pages |= packet.normal_pages > 0 or packet.zero_pages > 0
        if not offsets and not _only_offsets_lost(packet):
            return None
        assert packet.ramblock is not None
        name = name_of(packet.ramblock)
        block = self._block(name)
        block.normal += packet.normal_pages
        block.zero += packet.zero_pages
        if not offsets:
            return None
        low, top = offsets[0], offsets[-1]
        pages: Sequence[int]
        if type(offsets) is range:
            pages = range(low // page_size, top // page_size + 1)
        else:
            low, top = min(offsets), max(offsets)
            pages = [offset // page_size for offset in offsets]
        if top > block.highest:
            block.highest = top
            block.highest_at = packet.mark
            block.highest_on = channel
        listed = main.ram.blocks.get(name) if main is not None else None
        if current is not None and listed is not None:
            current.reach(listed.index, low, top)
        last = top // page_size
        if 2 * last >= len(block.marks) and not self._extend(block, last):
            return None
        clash = _mark(block, pages, bytes((number % 255 + 1, channel.id & 0xFF)))
        return clash * page_size if clash is not None else None

    def _round(self, number: int) -> PageRound:
        """The round ``number``; missing ones up to it are created."""
        number = min(number, ROUNDS_KEPT - 1)
        while len(self.rounds) <= number:
            self.rounds.append(PageRound())
        return self.rounds[number]

    def _block(self, name: bytes) -> BlockPages:
        """The block called ``name``; new ones beyond :data:`BLOCKS_MAX` are counted as one."""
        found = self.blocks.get(name)
        if found is None:
            if len(self.blocks) >= BLOCKS_MAX:
                name = OTHERS
                if name in self.blocks:
                    return self.blocks[name]
            found = self.blocks[name] = BlockPages(name)
        return found

    def _extend(self, block: BlockPages, top: int) -> bool:
        wanted = (top | 0xFFF) + 1
        grow = wanted - len(block.marks) // 2
        if self._stopped or not self._room.take(self, grow):
            self.untracked = True
            return False
        block.marks.extend(bytes(2 * grow))
        self.tracked += grow
        return True


def _mark(block: BlockPages, pages: Sequence[int], mark: bytes) -> int | None:
    """Mark pages, by number; gives one that another channel carried in the same round."""
    marks = block.marks
    if type(pages) is range:
        span = slice(2 * pages[0], 2 * pages[-1] + 2)
        before = bytes(marks[span])
        marks[span] = mark * len(pages)
    else:  # two or more: one alone is a range
        with memoryview(marks).cast("H") as words:
            old = itemgetter(*pages)(words)
            word = int.from_bytes(mark, sys.byteorder)
            for page in pages:
                words[page] = word
        before = array("H", old).tobytes() if any(old) else b""
    if before.count(0) == len(before):
        return None
    return _again(block, before, mark, pages)


def _again(block: BlockPages, before: bytes, mark: bytes, pages: Sequence[int]) -> int | None:
    """Count the pages that had a mark ``before``; gives one whose round was this one."""
    clash = None
    again = 0
    for index, page in enumerate(pages):
        old, carrier = before[2 * index], before[2 * index + 1]
        if not old:
            continue
        if old != mark[0]:
            again += 1
        elif carrier != mark[1] and clash is None:
            clash = page
    block.resent += again
    return clash
