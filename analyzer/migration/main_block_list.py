"""The list of RAM blocks that begins the ``ram`` section, and the mapped-ram regions inside it.

Wire-format page, sections 6.6 and 7.
"""

from __future__ import annotations

from analyzer.migration.broken import Broken
from analyzer.migration.ram_facts import BLOCKS_MAX, MappedRam
from analyzer.tcp.requests import Deliver, End, Gap, Peek, Skip, Take
from dissectors.main_stream import IGNORE_SHARED, MAPPED_RAM, MAPPED_RAM_HEADER
from dissectors.multifd import text_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from analyzer.migration.broken import Steps
    from analyzer.migration.ram_facts import RamBlock, RamFacts, RecordTaker
    from analyzer.tcp.reader import Reader
    from analyzer.tcp.requests import Reply, Request

__all__ = ["walk_block_list"]

SMALLEST_PAGE = 1024
LARGEST_PAGE = 1 << 16
MAPPED_VERSION = 1
PAGES_ALIGNMENT = 1 << 20
WORD_BITS = 64
BITMAP_KEPT = 64 << 20
"""Bytes of a bitmap: 2 TiB of guest memory in 4 KiB pages."""


def walk_block_list(reader: Reader, ram: RamFacts, total: int, capabilities: list[str]) -> Steps:
    """The blocks whose lengths sum up to ``total`` bytes."""
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
        if not name or used > left or len(ram.blocks) >= BLOCKS_MAX:
            ram.anomalies.note(
                "ram-block-list-sum",
                at,
                reader.last,
                f"block {text_of(name)!r} of {used:#x} bytes, of {total:#x} announced "
                f"{left:#x} are left",
            )
            return Broken(None, "block list", at)
        left -= used
        block = ram.block(name)
        assert block is not None
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
    """What may follow a block's length: page size, guest address, mapped-ram header."""
    ahead = yield from _ahead(16)
    mapped = MAPPED_RAM in capabilities
    shared = IGNORE_SHARED in capabilities
    first = int.from_bytes(ahead[:8], "big")
    if not mapped and not shared and _is_mapped_header(ahead):
        mapped = True
        ram.anomalies.note(
            "capabilities-differ",
            reader.offset,
            reader.last,
            "a mapped-ram header, but the configuration does not announce mapped-ram",
        )
    # With addresses announced a lone word is the address; a row behind it says so.
    lone = shared and _row_follows(ahead[8:], last)
    if not mapped and len(ahead) >= 8 and _is_page_size(first) and not lone:
        block.page_size = first
        yield Take(8)
    if shared:
        address = yield Take(8)
        if not isinstance(address, bytes):
            return Broken(address, "guest physical address", reader.offset)
        block.gpa = int.from_bytes(address, "big")
    if mapped:
        return (yield from _mapped(reader, ram, block))
    return None


def _ahead(size: int) -> Generator[Request, Reply, bytes]:
    """Up to ``size`` bytes that come next."""
    reply = yield Peek(size)
    if isinstance(reply, Gap):
        reply = yield Peek(reply.before)
    if isinstance(reply, End):
        return reply.data
    assert isinstance(reply, bytes)
    return reply


def _is_page_size(value: int) -> bool:
    return value >= SMALLEST_PAGE and not value & (value - 1)


def _is_mapped_header(data: bytes) -> bool:
    return data[:4] == MAPPED_VERSION.to_bytes(4, "big") and _is_page_size(
        int.from_bytes(data[4:12], "big")
    )


def _row_follows(data: bytes, last: bool) -> bool:
    """Whether the list, or the section behind it, can go on with ``data``."""
    if not data:
        return False
    if last:
        return int.from_bytes(data[:8], "big") < SMALLEST_PAGE
    name = data[1 : 1 + data[0]]
    return data[0] > 0 and name.isascii() and name.decode("ascii").isprintable()


def _mapped(reader: Reader, ram: RamFacts, block: RamBlock) -> Steps:
    """A mapped-ram header, the bitmap behind it, and the region of the pages (stepped over)."""
    at = reader.offset
    head = yield Take(MAPPED_RAM_HEADER.size)
    if not isinstance(head, bytes):
        return Broken(head, "mapped-ram header", at)
    version, page_size, bitmap_offset, pages_offset = MAPPED_RAM_HEADER.unpack(head)
    mapped = MappedRam(version, page_size, bitmap_offset, pages_offset)
    block.mapped = mapped
    good_size = _is_page_size(page_size) and ram.page_size in (0, page_size)
    if version != MAPPED_VERSION or not good_size or pages_offset % PAGES_ALIGNMENT:
        ram.anomalies.note(
            "mapped-ram-header",
            at,
            reader.last,
            f"version {version}, page size {page_size}, pages at {pages_offset:#x}",
        )
    if not _is_page_size(page_size):
        return Broken(None, "mapped-ram header", at)
    ram.page_size = ram.page_size or page_size
    pages = -(-block.used_length // page_size)
    bitmap_size = -(-pages // WORD_BITS) * WORD_BITS // 8
    region_end = pages_offset + block.used_length
    if bitmap_offset < reader.offset or pages_offset < bitmap_offset + bitmap_size:
        return Broken(None, "mapped-ram header", at)

    bitmap = bytearray()
    kept = BITMAP_KEPT if ram.taker is not None and page_size <= LARGEST_PAGE else 0

    def count(piece: bytes | memoryview | None, size: int) -> None:
        bits = bytes(size) if piece is None else piece
        mapped.set_pages += int.from_bytes(bits, "little").bit_count()
        bitmap.extend(bits[: kept - len(bitmap)])

    for request in (Skip(bitmap_offset - reader.offset), Deliver(bitmap_size, count)):
        reply = yield request
        if isinstance(reply, End):
            return Broken(reply, "mapped-ram pages", at)
    yield Skip(pages_offset - reader.offset)
    if ram.taker is not None:
        yield from _mapped_pages(reader, ram.taker, block, mapped, bitmap)
    reply = yield Skip(region_end - reader.offset)
    if isinstance(reply, End):
        return Broken(reply, "mapped-ram pages", at)
    block.normal_pages += mapped.set_pages
    block.zero_pages += max(pages - mapped.set_pages, 0)
    ram.normal_pages += mapped.set_pages
    ram.zero_pages += max(pages - mapped.set_pages, 0)
    return None


def _mapped_pages(
    reader: Reader, taker: RecordTaker, block: RamBlock, mapped: MappedRam, bitmap: bytearray
) -> Generator[Request, Reply, None]:
    """The pages of a region, as far as its bitmap was kept, for who wants them."""
    size = mapped.page_size
    end = -(-block.used_length // size)
    for first, count, is_set in _runs(bitmap):
        count = min(count, end - first)
        if count > 0 and not is_set:
            taker.zero(block, first * size, count)
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
    """Stretches of equal bits: the first bit, how many, whether they are set."""
    import re  # not on the way of those who do not want pages

    for match in re.finditer(rb"\0+|\xff+|[^\0\xff]", bitmap):
        first, value = 8 * match.start(), match[0][0]
        if value in (0, 0xFF):
            yield first, 8 * len(match[0]), value > 0
        else:
            yield from ((first + bit, 1, bool(value >> bit & 1)) for bit in range(8))
