"""RAM records: on the main channel inside sections, on the preempt channel without sections.

Wire-format page, section 6.6.
"""

from __future__ import annotations

import struct

from analyzer.migration.broken import Broken
from analyzer.migration.main_block_list import walk_block_list
from analyzer.migration.mark import Mark
from analyzer.tcp.requests import Deliver, End, Glance, Peek, Push, Skip, Take
from dissectors import xbzrle
from dissectors.main_stream import (
    FOOTER_BYTE,
    MAPPED_RAM,
    RAM_FLAG_BITS,
    RAM_PAGE_KINDS,
    SMALLEST_PAGE,
    TINY_PAGE,
    RamFlag,
)
from dissectors.multifd import COMMON_PAGE_SIZE, LIKELY_PAGE_SIZES, PAGE_SIZES, text_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator

    from analyzer.migration.broken import Steps
    from analyzer.migration.ram_facts import RamBlock, RamFacts, RecordTaker
    from analyzer.tcp.reader import Reader
    from analyzer.tcp.requests import Reply, Request, Sink

__all__ = ["WITHOUT_LIST", "ZERO_AND_WORD", "RamWalk", "is_ram_record", "plausible_word"]

BYTE = Take(1)
WORD = Take(8)
ZERO_AND_WORD = Take(9)
CONTINUE = int(RamFlag.CONTINUE)
PAGE = int(RamFlag.PAGE)
ZERO = int(RamFlag.ZERO)
XBZRLE = int(RamFlag.XBZRLE)
COMPRESS_PAGE = int(RamFlag.COMPRESS_PAGE)
EOS = int(RamFlag.EOS)
FLUSH = int(RamFlag.MULTIFD_FLUSH)
MEM_SIZE = int(RamFlag.MEM_SIZE)
HOOK = int(RamFlag.HOOK)
KINDS = int(RAM_PAGE_KINDS)
PAGE_AGAIN = PAGE | CONTINUE
ZERO_AGAIN = ZERO | CONTINUE
FILL_AND_WORD = struct.Struct(">BQ")
RUN_MAX = 256
AGAIN = (PAGE_AGAIN, ZERO_AGAIN)
ADDRESS_LIMIT = 1 << 52
WITHOUT_LIST = "ram-section-without-start"


def plausible_word(word: int, page_size: int = SMALLEST_PAGE) -> bool:
    """Whether a BE64 word can begin a RAM record, with target pages of ``page_size`` bytes."""
    flags = word & (page_size - 1)
    if flags in (EOS, FLUSH):
        return word == flags
    return flags & ~CONTINUE in (PAGE, ZERO, XBZRLE, COMPRESS_PAGE) and word < ADDRESS_LIMIT


def is_ram_record(head: bytes) -> bool:
    """Whether a stream or a section's body that begins with these eight bytes begins with a RAM
    record.
    """
    return len(head) == WORD.size and plausible_word(int.from_bytes(head, "big"))


def _is_tiny(flags: int) -> bool:
    """Whether these flags of a page record are valid only with :data:`TINY_PAGE`."""
    low = flags & TINY_PAGE - 1
    return flags != low and low & ~CONTINUE in (PAGE, ZERO, XBZRLE)


class RamWalk:
    """Walks RAM records up to their EOS.

    ``framed`` is false on the preempt channel, where records are not in sections; ``strict`` is
    false after a hole, which may have hidden names and the block list.
    """

    __slots__ = (
        "capabilities",
        "framed",
        "mapped",
        "mask",
        "ram",
        "reader",
        "run",
        "section_id",
        "skip",
        "strict",
    )

    def __init__(
        self,
        reader: Reader,
        ram: RamFacts,
        *,
        section_id: int = 0,
        capabilities: list[str] | None = None,
        framed: bool = True,
        strict: bool = True,
    ) -> None:
        self.reader = reader
        self.ram = ram
        self.section_id = section_id
        self.capabilities = capabilities or []
        self.mapped = MAPPED_RAM in self.capabilities
        self.framed = framed
        self.strict = strict
        self.skip = Skip(0)
        self.mask = 0
        self.run = 1  # how many zero pages to expect next
        self._use_page_size(ram.page_size or COMMON_PAGE_SIZE)

    def walk(self) -> Steps:
        """Walk the records up to EOS, or to the end of the stream, which is no fault if not
        ``framed``.
        """
        ram = self.ram
        ram.settled = self.reader.offset
        if not ram.iterations:
            ram.next_iteration(Mark(self.reader.offset, self.reader.last), "")
        head: Reply | Broken = yield WORD
        while isinstance(head, bytes):
            word = int.from_bytes(head, "big")
            flags = word & self.mask
            block = ram.current
            if block is not None and flags in AGAIN:
                address = word ^ flags
                if address <= ram.last_address or address >= block.used_length:
                    self._odd_address(block, address, self.reader.offset - WORD.size)
                ram.last_address = address
                if flags == PAGE_AGAIN:
                    if not ram.page_size:
                        yield from self._find_page_size(address)
                    missing = yield self.skip if ram.taker is None else self._content_of(block)
                    if isinstance(missing, End):
                        return Broken(missing, "page content", self.reader.offset)
                    block.normal_pages += 1
                    ram.normal_pages += 1
                    head = yield WORD
                else:
                    head = yield from self._zeros(block)
            elif word == EOS:
                self._ended()
                return None
            else:
                head = yield from self._other(word)
        return self._cut(head)

    def _cut(self, head: Reply | Broken) -> Broken | None:
        """Handle an end of the records other than EOS."""
        have = head.have if isinstance(head, End) else 0
        self.ram.settle(self.reader.offset - have)
        if head is None or isinstance(head, Broken):
            return head
        if isinstance(head, End) and not have and not self.framed:
            return None
        return Broken(head, "RAM record", self.reader.offset - have)

    def _ended(self) -> None:
        mark = Mark(self.reader.offset, self.reader.last)
        self.ram.settle(mark.offset)
        self.ram.section_ended(mark)

    def _use_page_size(self, size: int) -> None:
        self.skip = Skip(size)
        self.mask = size - 1

    def _note(self, slug: str, detail: str) -> None:
        self.ram.anomalies.note(slug, self.reader.offset, self.reader.last, detail)

    def _odd_address(self, block: RamBlock, address: int, at: int) -> None:
        """Check an address that is not above the last one, or is outside its block; the record
        begins at offset ``at``.
        """
        ram = self.ram
        if block.listed and address >= block.used_length:
            self._note(
                "ram-offset-beyond",
                f"offset {address:#x} in {text_of(block.name)!r}, whose length is "
                f"{block.used_length:#x}",
            )
        if address <= ram.last_address:
            self._wrapped(at)

    def _wrapped(self, at: int) -> None:
        ram = self.ram
        if not ram.postcopy and not ram.ended and not ram.flush_count:
            ram.next_iteration(Mark(at, self.reader.last), "wrap")

    def _content_of(self, block: RamBlock) -> Request:
        """A request that passes the page at the last address to the taker, or skips it."""
        ram, size = self.ram, self.skip.size
        if ram.taker is None:
            return self.skip
        sink = ram.taker.content(block, ram.last_address, size)
        return self.skip if sink is None else Deliver(size, sink)

    # -- the slow path ------------------------------------------------------------------------

    def _other(self, word: int) -> Generator[Request, Reply, Reply | Broken]:
        """Walk a record other than a page that continues the same block; gives the next record's
        word.

        ``None`` instead of a word: the section ended without EOS.
        """
        if self.framed and word >> 24 == FOOTER_BYTE << 32 | self.section_id:
            self._note("ram-no-eos", "the section's footer is where a record should be")
            yield Push(word.to_bytes(8, "big"))
            return None
        if word & RAM_FLAG_BITS & KINDS:
            broken = yield from self._page(word)
        elif word & RAM_FLAG_BITS == MEM_SIZE:
            broken = yield from walk_block_list(
                self.reader, self.ram, word ^ MEM_SIZE, self.capabilities
            )
        elif word == FLUSH:
            broken = None
            self.ram.flushed(Mark(self.reader.offset, self.reader.last))
            self._refuse_if_mapped("a MULTIFD_FLUSH")
        elif word == HOOK:
            broken = None
        else:
            broken = self._bad_flags(word, self.reader.offset - WORD.size)
        if broken is not None:
            return broken
        return (yield WORD)

    def _bad_flags(self, word: int, at: int) -> Broken:
        self.ram.anomalies.note(
            "ram-flags-unknown", at, self.reader.last, f"word {word:#018x} at offset {at}"
        )
        return Broken(None, "RAM record flags", at)

    def _refuse_if_mapped(self, what: str) -> None:
        if self.mapped and MAPPED_RAM not in self.ram.belied:
            self._note("mapped-ram-in-stream", f"{what} record though mapped-ram is on")

    def _page(self, word: int) -> Steps:
        """Walk one page record, with its block's name if it has one."""
        ram = self.ram
        at = self.reader.offset - WORD.size
        if word & self.mask & ~RAM_FLAG_BITS and not ram.page_size:
            self.mask = RAM_FLAG_BITS  # no such address with common pages: they are smaller
            if word & SMALLEST_PAGE:
                ram.page_size = SMALLEST_PAGE
                self._use_page_size(SMALLEST_PAGE)
        if not ram.page_size and _is_tiny(word & RAM_FLAG_BITS):
            ram.page_size = TINY_PAGE
            self._use_page_size(TINY_PAGE)
        flags = word & self.mask
        kind = flags & ~CONTINUE
        if kind not in (PAGE, ZERO, XBZRLE, COMPRESS_PAGE):
            return self._bad_flags(word, at)
        if not flags & CONTINUE:
            broken = yield from self._name(at)
            if broken is not None:
                return broken
        block = ram.current
        if block is None:
            if self.strict:
                self._note("ram-continue-first", "CONTINUE before any block was named")
            block = ram.current = ram.unnamed
        address = word ^ flags
        self._odd_address(block, address, at)
        ram.last_address = address
        self._refuse_if_mapped(RamFlag(kind).name or "a page")
        if kind == PAGE:
            return (yield from self._content(block, address, at))
        if kind == ZERO:
            one = yield BYTE
            if not isinstance(one, bytes):
                return Broken(one, "fill byte", at)
            self._zero_value(one, block)
            return None
        if kind == XBZRLE:
            return (yield from self._xbzrle(block, at))
        return (yield from self._compressed(block, at))

    def _name(self, at: int) -> Steps:
        size = yield BYTE
        if not isinstance(size, bytes):
            return Broken(size, "block name", at)
        name = yield Take(size[0])
        if not isinstance(name, bytes):
            return Broken(name, "block name", at)
        ram = self.ram
        block = ram.block(name)
        if block is ram.unnamed:
            ram.last_address = -1
            ram.current = block
            return None
        if self.strict and not block.listed:
            if ram.mem_size is not None:
                self._note("ram-unknown-block", f"block {text_of(name)!r}")
            elif WITHOUT_LIST not in ram.anomalies.counts:
                self._note(WITHOUT_LIST, f"block {text_of(name)!r}")
        before = ram.current
        if block is not before:
            if before is not None and block.index < before.index:
                self._wrapped(at)
            ram.last_address = -1
            ram.current = block
        return None

    def _find_page_size(self, address: int) -> Generator[Request, Reply, None]:
        """Find the page size by what follows the first page that has content, at ``address``."""
        for size in (*LIKELY_PAGE_SIZES, TINY_PAGE):
            after = None if address % size else (yield Peek(size + WORD.size))
            if isinstance(after, bytes) and plausible_word(
                int.from_bytes(after[size:], "big"), size
            ):
                self.ram.page_size = size
                self._use_page_size(size)
                return

    def _content(self, block: RamBlock, address: int, at: int) -> Steps:
        """Walk the content of a page."""
        ram = self.ram
        if not ram.page_size:
            yield from self._find_page_size(address)
        missing = yield self._content_of(block)
        if isinstance(missing, End):
            return Broken(missing, "page content", at)
        block.normal_pages += 1
        ram.normal_pages += 1
        return None

    def _zeros(self, block: RamBlock) -> Generator[Request, Reply, Reply | Broken]:
        """Walk the rest of a zero page, and of those that follow it directly as far as they are at
        hand: waiting for more would delay what ends the section.

        Gives the word of the record after them.
        """
        if self.run > 1:
            ahead = yield Glance(ZERO_AND_WORD.size * self.run)
            assert isinstance(ahead, bytes)
            whole = len(ahead) // ZERO_AND_WORD.size
            count = self._count_zeros(ahead[: whole * ZERO_AND_WORD.size], block)
            if count:
                taken = yield Take(ZERO_AND_WORD.size * count)
                assert isinstance(taken, bytes)
                self.run = min(2 * self.run, RUN_MAX) if count == whole else 1
                return taken[-WORD.size :]
        self.run = max(2, self.run)
        both = yield ZERO_AND_WORD
        if isinstance(both, bytes):
            self._zero_value(both, block)
            return both[1:]
        if isinstance(both, End) and both.have:
            self._zero_value(both.data, block)
            return End(both.have - 1, both.data[1:])
        one = both if isinstance(both, End) else (yield BYTE)
        if not isinstance(one, bytes):
            return Broken(one, "fill byte", self.reader.offset - WORD.size)
        self._zero_value(one, block)
        return (yield WORD)

    def _count_zeros(self, ahead: bytes, block: RamBlock) -> int:
        """Count the consecutive zero pages in ``ahead``, which has a fill byte and the next word
        for each.
        """
        ram = self.ram
        mask, limit = self.mask, block.used_length
        count = 0
        first = before = last = ram.last_address
        for fill, word in FILL_AND_WORD.iter_unpack(ahead):
            if fill:
                break
            count += 1
            before = last
            last = word - ZERO_AGAIN
            if word & mask != ZERO_AGAIN or not before < last < limit:
                break
        ram.last_address = before  # the last word belongs to the next record
        block.zero_pages += count
        ram.zero_pages += count
        if count and ram.taker is not None:
            words = FILL_AND_WORD.iter_unpack(ahead[: ZERO_AND_WORD.size * (count - 1)])
            addresses = [first, *(word - ZERO_AGAIN for _, word in words)]
            run = range(first, first + count * self.skip.size, self.skip.size)
            ram.taker.zeros(block, run if addresses == list(run) else addresses)
        return count

    def _zero_value(self, data: bytes, block: RamBlock) -> None:
        if data[0]:
            self._note("ram-zero-value", f"a zero page with value {data[0]}")
        block.zero_pages += 1
        self.ram.zero_pages += 1
        if self.ram.taker is not None:
            self.ram.taker.zeros(block, (self.ram.last_address,))

    def _xbzrle(self, block: RamBlock, at: int) -> Steps:
        head = yield Take(3)
        if not isinstance(head, bytes):
            return Broken(head, "XBZRLE header", at)
        size = int.from_bytes(head[1:], "big")
        page_size = self.ram.page_size or COMMON_PAGE_SIZE
        if head[0] != xbzrle.ENCODED or size > page_size:
            self._note("ram-xbzrle", f"encoding {head[0]}, length {size}")
            return Broken(None, "XBZRLE header", at)
        data = yield Take(size)
        if not isinstance(data, bytes):
            return Broken(data, "XBZRLE content", at)
        wrong = xbzrle.fault(data, page_size)
        if wrong:
            self._note("ram-xbzrle", wrong)
        elif self.ram.taker is not None:
            self.ram.taker.encoded(block, self.ram.last_address, data)
        block.xbzrle_pages += 1
        self.ram.xbzrle_pages += 1
        return None

    def _compressed(self, block: RamBlock, at: int) -> Steps:
        head = yield Take(4)
        if not isinstance(head, bytes):
            return Broken(head, "compressed length", at)
        size = int.from_bytes(head, "big")
        if not self.ram.page_size and size <= 2 * PAGE_SIZES[-1]:
            yield from self._find_inflated_size(size)
        largest = self.ram.page_size or PAGE_SIZES[-1]  # unknown if the capture lacks bytes of it
        if size > 2 * largest:
            self._note("ram-flags-unknown", f"a compressed page of {size} bytes")
            return Broken(None, "compressed length", at)
        held = bytearray()
        wanted = self.ram.taker is not None
        missing = yield Deliver(size, _into(held)) if wanted else Skip(size)
        if isinstance(missing, End):
            return Broken(missing, "compressed content", at)
        if self.ram.taker is not None:
            self._inflate(self.ram.taker, block, None if missing else held)
        block.compressed_pages += 1
        self.ram.compressed_pages += 1
        return None

    def _find_inflated_size(self, size: int) -> Generator[Request, Reply, None]:
        """Find the page size by the first page that is compressed, to ``size`` bytes."""
        from dissectors.compression import inflated_size  # seldom needed

        data = yield Peek(size)
        found = inflated_size(data, PAGE_SIZES[-1]) if isinstance(data, bytes) else None
        if found in PAGE_SIZES:
            self.ram.page_size = found
            self._use_page_size(found)

    def _inflate(self, taker: RecordTaker, block: RamBlock, data: bytearray | None) -> None:
        """Decompress the page at the last address and pass it to ``taker``; ``data`` is ``None`` if
        bytes are missing.
        """
        from dissectors.compression import Problem, inflated_page  # seldom needed

        address = self.ram.last_address
        size = self.ram.page_size or COMMON_PAGE_SIZE
        page = None if data is None else inflated_page(data, size)
        if isinstance(page, Problem):
            self._note(page.slug, f"page {address:#x} of {text_of(block.name)!r} {page.detail}")
            page = None
        if page is None:
            taker.unread(block, address)
        elif (sink := taker.content(block, address, size)) is not None:
            sink(page, size)


def _into(held: bytearray) -> Sink:
    """A sink that appends to ``held``."""

    def sink(piece: bytes | memoryview | None, _size: int) -> None:
        if piece is not None:
            held.extend(piece)

    return sink
