"""A block's mapped-ram region: its header, the bitmap of its pages, and the pages.

Wire-format page, section 7.
"""

from __future__ import annotations

from array import array

from analyzer.migration.broken import Broken
from analyzer.migration.ram_facts import MappedRam
from analyzer.tcp.requests import Deliver, End, Skip, Take
from dissectors.main_stream import MAPPED_RAM_HEADER, MAPPED_VERSION, is_page_size
from dissectors.multifd import PAGE_SIZES, text_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from analyzer.migration.broken import Steps
    from analyzer.migration.ram_facts import ByteOrder, RamBlock, RamFacts, RecordTaker
    from analyzer.tcp.reader import Reader
    from analyzer.tcp.requests import Reply, Request

__all__ = ["walk_mapped_ram"]

PAGES_ALIGNMENT = 1 << 20
WORD_BITS = 64
WORD_SIZE = WORD_BITS // 8
ORDERS: tuple[ByteOrder, ...] = ("little", "big")
BITMAP_KEPT = 64 << 20
"""Most bytes kept of a bitmap: enough for 2 TiB of guest memory in 4 KiB pages."""


class _Bitmap:
    """A region's bitmap while it is read: counts its bits, keeps its first ``room`` bytes."""

    __slots__ = ("_mapped", "_room", "kept")

    def __init__(self, mapped: MappedRam, room: int) -> None:
        self.kept = bytearray()
        self._mapped = mapped
        self._room = room

    def take(self, piece: bytes | memoryview | None, _size: int) -> None:
        """The next piece; ``None`` for a hole."""
        if piece is None:
            self._room = 0  # bits after a hole have no known position: report the rest as unread
            return
        self._mapped.set_pages += int.from_bytes(piece, "little").bit_count()
        self.kept += piece[: self._room]
        self._room -= min(len(piece), self._room)


def walk_mapped_ram(reader: Reader, ram: RamFacts, block: RamBlock) -> Steps:
    """Walk a mapped-ram header, the bitmap after it, and the region of the pages."""
    at = reader.offset
    head = yield Take(MAPPED_RAM_HEADER.size)
    if not isinstance(head, bytes):
        return Broken(head, "mapped-ram header", at)
    mapped = block.mapped = MappedRam(*MAPPED_RAM_HEADER.unpack(head))
    if faults := ", ".join(_header_faults(mapped, ram.page_size)):
        what = f"block {text_of(block.name)!r}: {faults}"
        ram.anomalies.note("mapped-ram-header", at, reader.last, what)
    if not is_page_size(mapped.page_size):
        return Broken(None, "mapped-ram header", at)
    ram.page_size = ram.page_size or mapped.page_size
    pages = -(-block.used_length // mapped.page_size)
    bitmap_size = -(-pages // WORD_BITS) * WORD_SIZE
    bitmap_end = mapped.bitmap_offset + bitmap_size
    if mapped.bitmap_offset < reader.offset or mapped.pages_offset < bitmap_end:
        return Broken(None, "mapped-ram header", at)

    wanted = ram.taker is not None and mapped.page_size <= PAGE_SIZES[-1]
    bitmap = _Bitmap(mapped, BITMAP_KEPT if wanted else 0)
    yield Skip(mapped.bitmap_offset - reader.offset)
    missing = yield Deliver(bitmap_size, bitmap.take)
    if isinstance(missing, End):
        return Broken(missing, "mapped-ram pages", at)
    yield Skip(mapped.pages_offset - reader.offset)
    if ram.taker is not None:
        _settle_order(ram, mapped, bitmap.kept, pages)
        yield from _pages(reader, ram.taker, block, mapped, bitmap.kept)
    reply = yield Skip(mapped.pages_offset + block.used_length - reader.offset)
    if isinstance(reply, End):
        return Broken(reply, "mapped-ram pages", at)
    assert isinstance(missing, int)
    for facts in (block, ram):
        facts.normal_pages += mapped.set_pages
        facts.zero_pages += max(pages - mapped.set_pages - 8 * missing, 0)
    return None


def _header_faults(mapped: MappedRam, page_size: int) -> Iterator[str]:
    """What is invalid in a mapped-ram header; ``page_size`` is that of the headers before it."""
    if mapped.version != MAPPED_VERSION:
        yield f"version {mapped.version}, expected {MAPPED_VERSION}"
    if page_size not in (0, mapped.page_size):
        yield f"page size {mapped.page_size}, {page_size} before"
    elif not is_page_size(mapped.page_size):
        yield f"page size {mapped.page_size}"
    if mapped.pages_offset % PAGES_ALIGNMENT:
        yield f"pages at {mapped.pages_offset:#x}, which is no multiple of 1 MiB"


def _settle_order(ram: RamFacts, mapped: MappedRam, bitmap: bytearray, pages: int) -> None:
    """Find the byte order of a bitmap's words, and put its bits in page order.

    The words are in the sender's native order.  In the right order the bits after the last page are
    clear.
    """
    if 8 * len(bitmap) >= pages:
        last = bytes(bitmap[-WORD_SIZE:])
        clean = [
            order
            for order in ORDERS
            if not int.from_bytes(last, order) >> (pages - 1) % WORD_BITS + 1
        ]
        if len(clean) == 1:
            ram.byte_order = clean[0]
    mapped.byte_order = ram.byte_order or mapped.byte_order
    if mapped.byte_order == "big":
        del bitmap[len(bitmap) // WORD_SIZE * WORD_SIZE :]
        words = array("Q", bytes(bitmap))
        words.byteswap()
        bitmap[:] = words.tobytes()


def _pages(
    reader: Reader, taker: RecordTaker, block: RamBlock, mapped: MappedRam, bitmap: bytearray
) -> Generator[Request, Reply, None]:
    """Pass the pages of a region to ``taker``, as far as its bitmap was kept."""
    size = mapped.page_size
    end = -(-block.used_length // size)
    for first, count, is_set in _runs(bitmap):
        count = min(count, end - first)
        if count > 0 and not is_set:
            taker.zeros(block, range(first * size, (first + count) * size, size))
            continue
        for address in range(first * size, (first + count) * size, size):
            yield Skip(mapped.pages_offset + address - reader.offset)
            sink = taker.content(block, address, size)
            reply = yield Skip(size) if sink is None else Deliver(size, sink)
            if isinstance(reply, End):
                return
    if 8 * len(bitmap) < end:
        taker.unread(block, 8 * len(bitmap) * size)


def _runs(bitmap: bytearray) -> Iterator[tuple[int, int, bool]]:
    """Runs of equal bits: index of the first bit, number of bits, whether they are set."""
    import re  # not on the way of those who do not want pages

    for match in re.finditer(rb"\0+|\xff+|[^\0\xff]", bitmap):
        first, value = 8 * match.start(), match[0][0]
        if value in (0, 0xFF):
            yield first, 8 * len(match[0]), value > 0
        else:
            yield from ((first + bit, 1, bool(value >> bit & 1)) for bit in range(8))
