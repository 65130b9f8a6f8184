"""What RAM records say: blocks, pages, rounds.

Wire-format page, sections 6.6 and 7.
"""

from __future__ import annotations

from analyzer.migration.anomaly import AnomalyList

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Literal, Protocol, TypeAlias

    from analyzer.migration.mark import Mark
    from analyzer.migration.room import Room
    from analyzer.tcp.requests import Sink

    ByteOrder: TypeAlias = Literal["little", "big"]

    class RecordTaker(Protocol):
        """Takes the pages of a stream's RAM records; ``address`` is the byte offset in the
        block.
        """

        def content(self, block: RamBlock, address: int, size: int) -> Sink | None:
            """The sink for the ``size`` bytes of a page; ``None`` to skip them."""

        def zeros(self, block: RamBlock, addresses: Sequence[int]) -> None:
            """Zero pages, in ascending order; a ``range`` if they follow each other."""

        def encoded(self, block: RamBlock, address: int, delta: bytes) -> None:
            """A page sent as the difference from its last content (XBZRLE)."""

        def unread(self, block: RamBlock, address: int) -> None:
            """A page whose content could not be decoded."""


__all__ = ["BLOCKS_MAX", "OTHERS", "Iteration", "MappedRam", "RamBlock", "RamFacts"]

BLOCKS_MAX = 4096
OTHERS = b"(others)"
"""Name under which everything beyond such a limit is counted together."""
MARKS_MAX = 1 << 17
EOS_SIZE = 8


class MappedRam:
    """A block's mapped-ram header.

    ``set_pages`` counts the bits set in its bitmap, whose words were read in ``byte_order``.
    """

    __slots__ = ("bitmap_offset", "byte_order", "page_size", "pages_offset", "set_pages", "version")

    def __init__(self, version: int, page_size: int, bitmap_offset: int, pages_offset: int) -> None:
        self.version = version
        self.page_size = page_size
        self.bitmap_offset = bitmap_offset
        self.pages_offset = pages_offset
        self.set_pages = 0
        self.byte_order: ByteOrder = "little"


class RamBlock:
    """A RAM block: its entry in the block list, and what this stream carried of it.

    ``listed`` is false for a block that was named but is not (yet) in the list; then
    ``used_length`` is 0.  ``index`` is its position in the list, which is the order of the sender's
    scans.
    """

    __slots__ = (
        "compressed_pages",
        "index",
        "listed",
        "mapped",
        "name",
        "normal_pages",
        "used_length",
        "xbzrle_pages",
        "zero_pages",
    )

    def __init__(self, name: bytes, index: int, used_length: int = 0, listed: bool = False) -> None:
        self.name = name
        self.index = index
        self.used_length = used_length
        self.listed = listed
        self.mapped: MappedRam | None = None
        self.normal_pages = 0
        self.zero_pages = 0
        self.xbzrle_pages = 0
        self.compressed_pages = 0


class Iteration:
    """The RAM records between two wraps of guest memory: from ``start`` to ``end`` (``None`` while
    it lasts).

    A scan that carries pages may consist of several (:mod:`analyzer.migration.memory_scans`).
    ``reason`` says what ended it: ``flush`` (a MULTIFD_FLUSH record), ``wrap`` (addresses began
    again) or ``end`` (the END section).  ``pages``, ``zero_pages`` and ``bytes`` are those of this
    stream's RAM records.
    """

    __slots__ = ("_bytes", "_normal", "_ram", "_zero", "end", "reason", "start")

    def __init__(self, ram: RamFacts, start: Mark) -> None:
        self._ram: RamFacts | None = ram
        self.start = start
        self.end: Mark | None = None
        self.reason = ""
        self._normal = -ram.sent_pages
        self._zero = -ram.zero_pages
        self._bytes = -ram.bytes

    def close(self, end: Mark, reason: str) -> None:
        """End the iteration."""
        self._normal, self._zero, self._bytes = self.pages, self.zero_pages, self.bytes
        self._ram = None
        self.end = end
        self.reason = reason

    @property
    def pages(self) -> int:
        """Pages sent with content."""
        return self._normal + (self._ram.sent_pages if self._ram else 0)

    @property
    def zero_pages(self) -> int:
        """Zero pages."""
        return self._zero + (self._ram.zero_pages if self._ram else 0)

    @property
    def bytes(self) -> int:
        """Bytes of RAM records."""
        return self._bytes + (self._ram.bytes if self._ram else 0)


class RamFacts:
    """RAM as one stream (main or postcopy preempt) carries it.

    ``page_size`` is the target's in bytes, 0 while unknown; it may be set from outside.
    ``mem_size`` is the total size in the block list, ``None`` before the list, ``blocks`` are in
    its order.  ``flushes`` and ``section_ends`` are where MULTIFD_FLUSH and EOS records end, as far
    as these marks are kept; ``iterations`` are the scans between two wraps of guest memory, with
    multifd the first is the setup round.  ``bytes`` counts the bytes of RAM records.  ``taker``
    gets the pages, if set.  ``ended`` says that later records belong to COLO's checkpoints, not to
    scans over guest memory.  ``byte_order`` is that of the sender's native words, empty while
    unknown.  ``belied`` are capabilities that were announced but contradicted by the block list.
    ``crowded`` says that there are more blocks than are told apart: the others count as the
    ``unnamed`` one, as pages do whose block name was in a hole.
    """

    __slots__ = (
        "anomalies",
        "belied",
        "blocks",
        "byte_order",
        "bytes",
        "compressed_pages",
        "crowded",
        "current",
        "ended",
        "flush_count",
        "flushes",
        "iterations",
        "last_address",
        "mem_size",
        "normal_pages",
        "page_size",
        "postcopy",
        "room",
        "section_end_count",
        "section_ends",
        "settled",
        "taker",
        "unnamed",
        "xbzrle_pages",
        "zero_pages",
    )

    def __init__(self, anomalies: AnomalyList, room: Room) -> None:
        self.anomalies = anomalies
        self.room = room
        self.blocks: dict[bytes, RamBlock] = {}
        self.current: RamBlock | None = None
        self.unnamed = RamBlock(b"", -1)
        self.crowded = False
        self.mem_size: int | None = None
        self.page_size = 0
        self.normal_pages = 0
        self.zero_pages = 0
        self.xbzrle_pages = 0
        self.compressed_pages = 0
        self.bytes = 0
        self.settled = 0  # stream offset up to which ``bytes`` counts
        self.flushes: list[Mark] = []
        self.flush_count = 0
        self.section_ends: list[Mark] = []
        self.section_end_count = 0
        self.iterations: list[Iteration] = []
        self.last_address = -1
        self.postcopy = False
        self.ended = False
        self.taker: RecordTaker | None = None
        self.byte_order: ByteOrder | Literal[""] = ""
        self.belied: set[str] = set()

    @property
    def sent_pages(self) -> int:
        """Pages sent with content, encoded or not."""
        return self.normal_pages + self.xbzrle_pages + self.compressed_pages

    def know(self, other: RamFacts) -> None:
        """Copy the block list of another stream."""
        self.mem_size = other.mem_size
        self.crowded = other.crowded
        for name, block in other.blocks.items():
            if block.listed:
                self.blocks[name] = RamBlock(name, block.index, block.used_length, listed=True)

    def block(self, name: bytes) -> RamBlock:
        """The block called ``name``, added if it is new; the unnamed one if there are too many."""
        block = self.blocks.get(name)
        if block is None:
            if len(self.blocks) >= BLOCKS_MAX:
                self.crowded = True
                return self.unnamed
            block = self.blocks[name] = RamBlock(name, len(self.blocks))
        return block

    def lacks(self, name: bytes) -> bool:
        """Whether a block is not in the list, as far as that is known."""
        block = self.blocks.get(name)
        return not self.crowded if block is None else not block.listed

    def lose_place(self) -> None:
        """Records were skipped: it is unknown which block the next ones continue."""
        self.current = None
        self.last_address = -1

    def settle(self, offset: int) -> None:
        """Count the bytes of RAM records up to ``offset``."""
        self.bytes += offset - self.settled
        self.settled = offset

    def next_iteration(self, mark: Mark, reason: str) -> None:
        """End the current iteration, and begin the next."""
        self.settle(mark.offset)
        if self.iterations and self.iterations[-1].end is None:
            self.iterations[-1].close(mark, reason)
        if self.room.has(len(self.iterations), MARKS_MAX):
            self.iterations.append(Iteration(self, mark))

    def finish(self, mark: Mark) -> None:
        """The END section has ended: end the last iteration, or drop it if it is empty."""
        self.settle(mark.offset)
        if self.iterations and self.iterations[-1].end is None:
            if self.iterations[-1].bytes <= EOS_SIZE:
                self.iterations.pop()
            else:
                self.iterations[-1].close(mark, "end")

    def flushed(self, mark: Mark) -> None:
        """Note a MULTIFD_FLUSH record that ends at ``mark``."""
        self.flush_count += 1
        if self.room.has(len(self.flushes), MARKS_MAX):
            self.flushes.append(mark)
        if not self.ended:
            self.next_iteration(mark, "flush")

    def section_ended(self, mark: Mark) -> None:
        """Note an EOS record that ends at ``mark``."""
        self.section_end_count += 1
        if self.room.has(len(self.section_ends), MARKS_MAX):
            self.section_ends.append(mark)
