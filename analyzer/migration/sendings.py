"""How often each page of guest memory was sent, and in which round: what the guest dirties.

Wire-format page, sections 3.6 and 6.6.
"""

from __future__ import annotations

from array import array

from analyzer.migration.consumers import PageCollector, Watcher
from analyzer.migration.ram_facts import BLOCKS_MAX
from dissectors.multifd import COMMON_PAGE_SIZE, name_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from analyzer.migration.channel import Channel
    from analyzer.migration.migration import Migration
    from analyzer.migration.ram_facts import RamBlock, RamFacts
    from analyzer.migration.rows import RamPacket
    from analyzer.tcp.requests import Sink

__all__ = [
    "GROWTH",
    "POSTCOPY",
    "ROUND_MAX",
    "BlockSendings",
    "RoundCounts",
    "Sendings",
    "SentPages",
    "record_page_size",
    "record_round",
    "sync_round",
]

ROUND_MAX = 0xFFFD
POSTCOPY = ROUND_MAX + 1
"""The round number of pages sent after the switchover."""
TIMES_MAX = 0xFFFF
GROWTH = 1 << 12
"""Pages that room is made for at a time: small, for the ROM of every device is a block."""
TRACKED_MAX = 1 << 24
"""Most pages counted, over all blocks (64 GiB of guest memory in 4 KiB pages, 64 MiB of counts)."""


def sync_round(channel: Channel, packet: RamPacket) -> int:
    """The round of a multifd packet, as far as rounds are told apart."""
    return min(channel.round_of(packet), ROUND_MAX)


def record_round(migration: Migration, ram: RamFacts) -> int:
    """The current round of main's RAM records: the number of FLUSH records so far or, for senders
    without them, of EOS records.
    """
    facts = migration.main_facts
    if ram.postcopy or (facts is not None and facts.postcopy_run is not None):
        return POSTCOPY
    return min(ram.flush_count or ram.section_end_count, ROUND_MAX)


def record_page_size(migration: Migration, ram: RamFacts) -> int:
    """The target page size, in bytes, of a stream's RAM records; the usual one while unknown."""
    return migration.framing.page_size or ram.page_size or COMMON_PAGE_SIZE


class RoundCounts:
    """Counts of one round: pages with content, zero pages, and those of both that were ``again``
    sent.
    """

    __slots__ = ("again", "pages", "zero_pages")

    def __init__(self) -> None:
        self.pages = 0
        self.zero_pages = 0
        self.again = 0

    def add(self, other: RoundCounts) -> None:
        """Add the counts of ``other``."""
        self.pages += other.pages
        self.zero_pages += other.zero_pages
        self.again += other.again


class Sendings:
    """How often pages were sent: ``times`` by page number (at most 65535), ``rounds`` by round
    number.  ``firsts`` are the lowest rounds of the pages: a channel may be a round ahead of
    another, so a page's first sending is not always the one that comes first.
    """

    __slots__ = ("firsts", "rounds", "times")

    def __init__(self) -> None:
        self.rounds: dict[int, RoundCounts] = {}
        self.times = array("H")
        self.firsts = array("H")

    def reserve(self, count: int) -> None:
        """Make room for the counts of ``count`` pages."""
        missing = count - len(self.times)
        if missing > 0:
            self.times.frombytes(bytes(missing * self.times.itemsize))
            self.firsts.frombytes(bytes(missing * self.firsts.itemsize))

    def count(self, numbers: Sequence[int], round_number: int, *, zero: bool) -> int:
        """Count pages by number, for which room was reserved; gives how many had come before."""
        tally = self.rounds.get(round_number)
        if tally is None:
            tally = self.rounds[round_number] = RoundCounts()
        if zero:
            tally.zero_pages += len(numbers)
        else:
            tally.pages += len(numbers)
        return self._again(numbers, round_number)

    def _again(self, numbers: Sequence[int], round_number: int) -> int:
        times, firsts = self.times, self.firsts
        if type(numbers) is range and len(numbers) > 1:
            span = slice(numbers[0], numbers[-1] + 1)
            if times[span].count(0) == len(numbers):
                times[span] = array("H", [1]) * len(numbers)
                firsts[span] = array("H", [round_number]) * len(numbers)
                return 0
        again = 0
        for number in numbers:
            before_it = times[number]
            times[number] = min(before_it + 1, TIMES_MAX)
            if before_it:
                again += 1
                self.rounds[max(firsts[number], round_number)].again += 1
                firsts[number] = min(firsts[number], round_number)
            else:
                firsts[number] = round_number
        return again

    @property
    def pages(self) -> int:
        """Number of pages that were sent at least once."""
        return len(self.times) - self.times.count(0)

    def sent_times(self) -> dict[int, int]:
        """Number of pages by how often they were sent, ascending."""
        counts: dict[int, int] = {}
        for times in self.times:
            if times:
                counts[times] = counts.get(times, 0) + 1
        return dict(sorted(counts.items()))

    def report(self) -> dict[str, Any]:
        """All counts as plain data."""
        return {
            "sent_times": {str(times): count for times, count in self.sent_times().items()},
            "rounds": [
                {
                    "round": "postcopy" if number == POSTCOPY else number,
                    "pages": tally.pages,
                    "zero_pages": tally.zero_pages,
                    "sent_before": tally.again,
                }
                for number, tally in sorted(self.rounds.items())
            ],
        }

    def heat(self, pages: int, cells: int) -> list[int]:
        """A heat map of the block's first ``pages`` pages, in at most ``cells`` ranges of equal
        length (the last may be shorter): for each the highest count of its pages.
        """
        step = max(1, -(-pages // cells))
        return [max(self.times[at : at + step], default=0) for at in range(0, pages, step)]


class BlockSendings(Sendings):
    """How often the pages of one RAM block were sent; ``end`` is 1 + the highest page number
    sent.
    """

    __slots__ = ("end", "name", "page_size")

    def __init__(self, name: bytes, page_size: int) -> None:
        super().__init__()
        self.name = name
        self.page_size = page_size
        self.end = 0

    def enlarge(self, page_size: int) -> int:
        """Number the pages anew, which are larger than was known before the first one with content;
        gives how much room is left over.
        """
        step, before = page_size // self.page_size, len(self.times)
        self.page_size = page_size
        self.times = self.times[::step]
        self.firsts = self.firsts[::step]
        self.end = -(-self.end // step)
        return before - len(self.times)


class SentPages(Watcher, PageCollector):
    """Counts the pages of a scan, which takes it as watcher and as page collector; payloads are
    skipped.

    ``untracked`` are the numbers of the migrations with more pages than could be counted.
    """

    def __init__(self) -> None:
        self.untracked: set[int] = set()
        self._blocks: dict[int, dict[bytes, BlockSendings]] = {}
        self._tracked = 0

    def of(self, migration: Migration) -> list[BlockSendings]:
        """The blocks of one migration, in the order in which their first pages came."""
        return list(self._blocks.get(migration.number, {}).values())

    def count(
        self,
        migration: Migration,
        name: bytes,
        offsets: Sequence[int],
        page_size: int,
        round_number: int,
        *,
        zero: bool,
    ) -> None:
        """Count pages at byte offsets of a block."""
        if not offsets or not page_size:
            return
        block = self._block(migration, name, page_size)
        if block is None:
            return
        size = block.page_size
        numbers: Sequence[int]
        if type(offsets) is range and offsets.step == size:
            first = offsets[0] // size
            numbers = range(first, first + len(offsets))
            end = numbers.stop
        else:
            numbers = [offset // size for offset in offsets]
            end = max(numbers) + 1
        if not self._reserve(block, end):
            self.untracked.add(migration.number)
            return
        block.end = max(block.end, end)
        block.count(numbers, round_number, zero=zero)

    def _block(self, migration: Migration, name: bytes, page_size: int) -> BlockSendings | None:
        """The block called ``name``, ``None`` if there are too many."""
        blocks = self._blocks.setdefault(migration.number, {})
        block = blocks.get(name)
        if block is None and len(blocks) < BLOCKS_MAX:
            block = blocks[name] = BlockSendings(name, page_size)
        elif block is not None and page_size > block.page_size:
            self._tracked -= block.enlarge(page_size)
        if block is None:
            self.untracked.add(migration.number)
        return block

    def _reserve(self, block: BlockSendings, end: int) -> bool:
        """Reserve room for the pages below number ``end``; ``False`` if that is too much."""
        if end <= len(block.times):
            return True
        wanted = -(-end // GROWTH) * GROWTH
        grow = wanted - len(block.times)
        if self._tracked + grow > TRACKED_MAX:
            return False
        self._tracked += grow
        block.reserve(wanted)
        return True

    # -- over multifd -------------------------------------------------------------------------

    def ram(
        self, migration: Migration, channel: Channel, packet: RamPacket, pages: Sequence[int]
    ) -> None:
        """Count a RAM packet's pages; see Watcher."""
        if not pages or packet.ramblock is None:
            return
        name = name_of(packet.ramblock)
        number, size = sync_round(channel, packet), migration.framing.page_size
        normal = packet.normal_pages
        self.count(migration, name, pages[:normal], size, number, zero=False)
        self.count(migration, name, pages[normal:], size, number, zero=True)

    # -- over main ----------------------------------------------------------------------------

    def records(self, migration: Migration, ram: RamFacts) -> _Records:
        """The taker of the pages in main's RAM records, or in the preempt channel's."""
        return _Records(self, migration, ram)


class _Records:
    """Counts the pages of one stream's RAM records."""

    def __init__(self, sent: SentPages, migration: Migration, ram: RamFacts) -> None:
        self._sent = sent
        self._migration = migration
        self._ram = ram

    def _count(self, block: RamBlock, addresses: Sequence[int], *, zero: bool = False) -> None:
        size = record_page_size(self._migration, self._ram)
        number = record_round(self._migration, self._ram)
        self._sent.count(self._migration, block.name, addresses, size, number, zero=zero)

    def content(self, block: RamBlock, address: int, _size: int) -> Sink | None:
        """Count a page, and skip its bytes."""
        self._count(block, (address,))
        return None

    def zeros(self, block: RamBlock, addresses: Sequence[int]) -> None:
        """Count zero pages."""
        self._count(block, addresses, zero=True)

    def encoded(self, block: RamBlock, address: int, _delta: bytes) -> None:
        """Count a page sent as an XBZRLE delta."""
        self._count(block, (address,))

    def unread(self, block: RamBlock, address: int) -> None:
        """Count a page whose content could not be decoded."""
        self._count(block, (address,))
