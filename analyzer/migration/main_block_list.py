"""The list of RAM blocks that begins the ``ram`` section, and the mapped-ram regions inside it.

Wire-format page, sections 6.6 and 7.
"""

from __future__ import annotations

from array import array

from analyzer.migration.broken import Broken
from analyzer.migration.ram_facts import BLOCKS_MAX, MappedRam
from analyzer.tcp.requests import Deliver, End, Gap, Peek, Skip, Take
from dissectors.main_stream import (
    IGNORE_SHARED,
    MAPPED_RAM,
    MAPPED_RAM_HEADER,
    MAPPED_VERSION,
    can_follow_block,
    is_mapped_header,
    is_page_size,
    page_size_follows,
)
from dissectors.multifd import PAGE_SIZES, text_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from analyzer.migration.broken import Steps
    from analyzer.migration.ram_facts import ByteOrder, RamBlock, RamFacts, RecordTaker
    from analyzer.tcp.reader import Reader
    from analyzer.tcp.requests import Reply, Request

__all__ = ["walk_block_list"]

PAGES_ALIGNMENT = 1 << 20
WORD_BITS = 64
WORD_SIZE = WORD_BITS // 8
ORDERS: tuple[ByteOrder, ...] = ("little", "big")
BITMAP_KEPT = 64 << 20
"""Most bytes kept of a bitmap: enough for 2 TiB of guest memory in 4 KiB pages."""


def walk_block_list(reader: Reader, ram: RamFacts, total: int, capabilities: list[str]) -> Steps:
    """Walk the list of RAM blocks, whose lengths add up to ``total`` bytes."""
    ram.mem_size = total
    left = total
    ram.current = None
    while left > 0:
        at = reader.offset
        size = yield Take(1)
        if not isinstance(size, bytes):
            return Broken(size, "block list", at)
        row = yield Take(size[0] + 8)
        if not isinstance(row, bytes):
            return Broken(row, "block list", at)
        used = int.from_bytes(row[-8:], "big")
        name = row[:-8]
        block = ram.block(name) if name and used <= left else None
        if block is None:
            full = len(ram.blocks) >= BLOCKS_MAX
            ram.anomalies.note(
                "ram-block-list-sum",
                at,
                reader.last,
                f"block {text_of(name)!r} of {used:#x} bytes, of {total:#x} announced "
                f"{left:#x} are left" + f", and there are {BLOCKS_MAX} blocks" * full,
            )
            return Broken(None, "block list", at)
        left -= used
        block.index = len(ram.blocks) - 1
        block.used_length = used
        block.listed = True
        broken = yield from _extras(reader, ram, block, capabilities, last=left == 0)
        if broken is not None:
            return broken.inside(f"block {text_of(name)!r}")
    return None


def _extras(
    reader: Reader, ram: RamFacts, block: RamBlock, capabilities: list[str], *, last: bool
) -> Steps:
    """Walk what may follow a block's length: page size, guest address, mapped-ram header."""
    ahead = yield from _ahead(16)
    if not block.index:
        _compare(reader, ram, capabilities, ahead, last)
    mapped, shared = (
        name in capabilities and name not in ram.belied for name in (MAPPED_RAM, IGNORE_SHARED)
    )
    if not mapped and not shared and is_mapped_header(ahead):
        mapped = True
        _note_contradiction(
            reader, ram, "a mapped-ram header, but the configuration does not announce mapped-ram"
        )
    if not mapped and page_size_follows(ahead, shared=shared, last=last):
        block.page_size = int.from_bytes(ahead[:8], "big")
        yield Take(8)
    if shared:
        address = yield Take(8)
        if not isinstance(address, bytes):
            return Broken(address, "guest physical address", reader.offset)
        block.gpa = int.from_bytes(address, "big")
    if mapped:
        return (yield from _mapped(reader, ram, block))
    return None


def _compare(
    reader: Reader, ram: RamFacts, capabilities: list[str], ahead: bytes, last: bool
) -> None:
    """Check the announced capabilities against ``ahead``, the bytes that follow the first block's
    length; one that does not fit is ignored from then on.
    """
    bare = can_follow_block(ahead, last=last)
    if IGNORE_SHARED in capabilities:
        if bare or (MAPPED_RAM in capabilities and is_mapped_header(ahead)):
            ram.belied.add(IGNORE_SHARED)
            what = "x-ignore-shared is announced, but no address follows a block's length"
            _note_contradiction(reader, ram, what)
        else:
            bare = can_follow_block(ahead[8:], last=last)
    if MAPPED_RAM in capabilities and bare:
        ram.belied.add(MAPPED_RAM)
        what = "mapped-ram is announced, but no header of it follows a block's length"
        _note_contradiction(reader, ram, what)


def _note_contradiction(reader: Reader, ram: RamFacts, what: str) -> None:
    ram.anomalies.note("capabilities-differ", reader.offset, reader.last, what)


def _ahead(size: int) -> Generator[Request, Reply, bytes]:
    """Peek at up to ``size`` bytes."""
    reply = yield Peek(size)
    if isinstance(reply, Gap):
        reply = yield Peek(reply.before)
    if isinstance(reply, End):
        return reply.data
    assert isinstance(reply, bytes)
    return reply


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


def _mapped(reader: Reader, ram: RamFacts, block: RamBlock) -> Steps:
    """Walk a mapped-ram header, the bitmap after it, and the region of the pages."""
    at = reader.offset
    head = yield Take(MAPPED_RAM_HEADER.size)
    if not isinstance(head, bytes):
        return Broken(head, "mapped-ram header", at)
    version, page_size, bitmap_offset, pages_offset = MAPPED_RAM_HEADER.unpack(head)
    mapped = MappedRam(version, page_size, bitmap_offset, pages_offset)
    block.mapped = mapped
    if faults := ", ".join(_header_faults(mapped, ram.page_size)):
        what = f"block {text_of(block.name)!r}: {faults}"
        ram.anomalies.note("mapped-ram-header", at, reader.last, what)
    if not is_page_size(page_size):
        return Broken(None, "mapped-ram header", at)
    ram.page_size = ram.page_size or page_size
    pages = -(-block.used_length // page_size)
    bitmap_size = -(-pages // WORD_BITS) * WORD_BITS // 8
    region_end = pages_offset + block.used_length
    if bitmap_offset < reader.offset or pages_offset < bitmap_offset + bitmap_size:
        return Broken(None, "mapped-ram header", at)

    bitmap = bytearray()
    room = BITMAP_KEPT if ram.taker is not None and page_size <= PAGE_SIZES[-1] else 0

    def count(piece: bytes | memoryview | None, _size: int) -> None:
        nonlocal room
        if piece is None:
            room = 0  # bits after a hole have no known position: report the rest as unread
            return
        mapped.set_pages += int.from_bytes(piece, "little").bit_count()
        bitmap.extend(piece[:room])
        room -= min(len(piece), room)

    yield Skip(bitmap_offset - reader.offset)
    missing = yield Deliver(bitmap_size, count)
    if isinstance(missing, End):
        return Broken(missing, "mapped-ram pages", at)
    yield Skip(pages_offset - reader.offset)
    if ram.taker is not None:
        _settle_order(ram, mapped, bitmap, pages)
        yield from _mapped_pages(reader, ram.taker, block, mapped, bitmap)
    reply = yield Skip(region_end - reader.offset)
    if isinstance(reply, End):
        return Broken(reply, "mapped-ram pages", at)
    assert isinstance(missing, int)
    zeros = max(pages - mapped.set_pages - 8 * missing, 0)
    block.normal_pages += mapped.set_pages
    block.zero_pages += zeros
    ram.normal_pages += mapped.set_pages
    ram.zero_pages += zeros
    return None


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


def _mapped_pages(
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
