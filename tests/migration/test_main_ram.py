"""RAM records of every kind, the block list, page sizes, mapped-ram regions."""

from __future__ import annotations

import tracemalloc
import zlib
from random import Random
from typing import TYPE_CHECKING

import pytest

from analyzer.migration.main_channel import MainFacts
from analyzer.migration.main_ram import plausible_word
from analyzer.migration.main_walker import walk_main
from analyzer.migration.ram_facts import BLOCKS_MAX
from analyzer.tcp.reader import Reader
from analyzer.tcp.requests import Place
from dissectors.main_stream import RamFlag
from tests.migration import main_streams as build
from tests.migration.main_streams import CLOSING, EOS, FLUSH, OPENING, PAGE, RAM_ID, walk
from tests.migration.mapped_files import mapped_file, mapped_opening, taken

if TYPE_CHECKING:
    from analyzer.migration.ram_facts import ByteOrder


def ram(*records: bytes, blocks: bytes = b"", opening: bytes = OPENING) -> bytes:
    listed = build.start(RAM_ID, b"ram", (blocks or build.mem_size(build.BLOCKS)) + EOS)
    return opening + listed + build.part(RAM_ID, b"".join(records) + EOS) + CLOSING


def compressed(address: int, name: bytes | None, content: bytes) -> bytes:
    data = zlib.compress(content, 1)
    return build.record(address, RamFlag.COMPRESS_PAGE, name, build.u32(len(data)) + data)


def lengths(main: MainFacts) -> dict[bytes, int]:
    return {name: block.used_length for name, block in main.ram.blocks.items()}


def test_encoded_pages() -> None:
    coded = build.record(0, RamFlag.XBZRLE, b"pc.ram", b"\1\0\3\4\1a")
    compressed = build.record(PAGE, RamFlag.COMPRESS_PAGE, None, build.u32(5) + b"zlib!")
    main = walk(ram(coded, compressed))
    assert not main.anomalies
    block = main.ram.blocks[b"pc.ram"]
    assert (block.xbzrle_pages, block.compressed_pages, block.normal_pages) == (1, 1, 0)
    assert main.ram.sent_pages == 2
    parts = [record for record in main.records if record.kind == "SECTION_PART"]
    assert parts[0].coded_pages == 2


@pytest.mark.parametrize("size", [1024, 4096, 16384, 65536])
@pytest.mark.parametrize("chance", [False, True], ids=["compressible", "not"])
def test_the_page_size_is_found_at_the_first_compressed_page(size: int, chance: bool) -> None:
    """What does not compress is larger than a common page may be."""
    content = Random(size).randbytes(size) if chance else bytes([7]) * size
    pages = build.zero(0, b"ram0") + compressed(2 * size, None, content)
    pages += compressed(3 * size, None, content) + build.page(4 * size, None, size)
    main = walk(ram(pages, blocks=build.mem_size({b"ram0": 8 * size})))
    assert not main.anomalies
    assert main.ram.page_size == size
    block = main.ram.blocks[b"ram0"]
    assert (block.compressed_pages, block.normal_pages) == (2, 1)


@pytest.mark.parametrize("size", [4096, 65536])
def test_a_compressed_page_with_a_hole_does_not_tell_the_page_size(size: int) -> None:
    """Nor is it too large for a page, whatever its size turns out to be."""
    content = Random(1).randbytes(size)
    pages = compressed(0, b"ram0", content), build.page(size, None, size)
    stream = ram(*pages, blocks=build.mem_size({b"ram0": 8 * size}))
    at = stream.index(content[:64]) + 100
    main = walk(stream[:at], 50, stream[at + 50 :])
    assert not main.anomalies
    assert main.ram.page_size == size


def test_a_hook_carries_nothing() -> None:
    assert not walk(ram(build.u64(RamFlag.HOOK), build.zero(0, b"pc.ram"))).anomalies


@pytest.mark.parametrize("size", [256, 1024, 2048, 4096, 8192, 16384, 65536])
def test_the_page_size_is_found_at_the_first_page(size: int) -> None:
    blocks = build.mem_size({b"ram0": 8 * size})
    pages = build.page(size, b"ram0", size) + b"".join(
        build.page(i * size, None, size) for i in range(2, 8)
    )
    main = walk(ram(pages, blocks=blocks))
    assert not main.anomalies
    assert main.ram.page_size == size
    assert main.ram.normal_pages == 7


@pytest.mark.parametrize("size", [8192, 16384, 65536])
def test_the_page_size_is_found_behind_a_zero_page_of_the_same_block(size: int) -> None:
    blocks = build.mem_size({b"ram0": 4 * size})
    pages = build.zero(0, b"ram0") + build.page(size, None, size) + build.page(3 * size, None, size)
    main = walk(ram(pages, blocks=blocks))
    assert not main.anomalies
    assert (main.ram.page_size, main.ram.zero_pages, main.ram.normal_pages) == (size, 1, 2)


@pytest.mark.parametrize("size", [256, 1024])
def test_small_pages_show_in_addresses(size: int) -> None:
    blocks = build.mem_size({b"ram0": 16 * size})
    zeros = build.zero(size, b"ram0") + build.zero(2 * size) + build.zero(3 * size)
    main = walk(ram(zeros, blocks=blocks))
    assert not main.anomalies
    assert (main.ram.page_size, main.ram.zero_pages) == (size, 3)


def test_page_bits_of_the_configuration() -> None:
    bits = build.subsection(b"configuration/target-page-bits", build.u32(16))
    opening = build.header() + build.configuration(b"virt-10.0", bits)
    blocks = build.mem_size({b"ram0": 4 << 16})
    main = walk(ram(build.page(0, b"ram0", 1 << 16), blocks=blocks, opening=opening))
    assert not main.anomalies
    assert (main.page_bits, main.ram.page_size, main.ram.normal_pages) == (16, 1 << 16, 1)


def test_blocks_with_huge_pages_say_so() -> None:
    sized = build.text(b"mem0") + build.u64(1 << 22) + build.u64(1 << 21)
    total = build.u64((1 << 22) + 2 * PAGE | RamFlag.MEM_SIZE)
    small = build.text(b"rom") + build.u64(2 * PAGE)
    for rows in (sized + small, small + sized):
        main = walk(ram(blocks=total + rows))
        assert not main.anomalies
        assert lengths(main) == {b"mem0": 1 << 22, b"rom": 2 * PAGE}


def test_addresses_of_shared_blocks() -> None:
    shared = build.subsection(
        b"configuration/capabilities", build.u32(1) + build.text(b"x-ignore-shared")
    )
    opening = build.header() + build.configuration(b"pc-q35-10.0", shared)
    for address in (0, 1 << 32, 0xFEFFC000):
        blocks = build.mem_size(build.BLOCKS, build.u64(address))
        main = walk(ram(blocks=blocks, opening=opening))
        assert not main.anomalies
        assert lengths(main) == build.BLOCKS


def test_address_and_page_size_of_shared_blocks() -> None:
    shared = build.subsection(
        b"configuration/capabilities", build.u32(1) + build.text(b"x-ignore-shared")
    )
    opening = build.header() + build.configuration(b"pc-q35-10.0", shared)
    blocks = build.mem_size(build.BLOCKS, build.u64(1 << 21) + build.u64(1 << 32))
    main = walk(ram(blocks=blocks, opening=opening))
    assert not main.anomalies
    assert lengths(main) == build.BLOCKS


def test_a_page_size_before_an_address_of_zero() -> None:
    shared = build.subsection(
        b"configuration/capabilities", build.u32(1) + build.text(b"x-ignore-shared")
    )
    opening = build.header() + build.configuration(b"pc-q35-10.0", shared)
    total = build.u64(6 * PAGE | RamFlag.MEM_SIZE)
    first = build.text(b"m\xff") + build.u64(4 * PAGE) + build.u64(1 << 30)
    last = build.text(b"vga") + build.u64(2 * PAGE) + build.u64(1 << 21) + build.u64(0)
    main = walk(ram(blocks=total + first + last, opening=opening))
    assert not main.anomalies
    assert lengths(main) == {b"m\xff": 4 * PAGE, b"vga": 2 * PAGE}


def test_so_many_blocks_and_no_more() -> None:
    names = [b"%d" % number for number in range(BLOCKS_MAX + 1)]
    main = walk(ram(blocks=build.mem_size(dict.fromkeys(names, PAGE))))
    assert len(main.ram.blocks) == BLOCKS_MAX
    assert main.ram.crowded
    assert not main.anomalies


def test_a_list_that_is_sent_again_orders_its_blocks_as_before() -> None:
    listed = build.mem_size(build.BLOCKS)
    main = walk(ram(listed, build.zero(0, b"vga.vram"), blocks=listed))
    assert not main.anomalies
    assert [block.index for block in main.ram.blocks.values()] == [0, 1]


def test_rounds_end_with_a_flush() -> None:
    rounds = build.zero(0, b"pc.ram") + FLUSH + build.zero(0, b"pc.ram") + FLUSH
    main = walk(ram(rounds))
    assert [(i.zero_pages, i.reason) for i in main.ram.iterations] == [
        (1, "flush"),
        (1, "flush"),
        (0, ""),
    ]
    assert main.ram.flush_count == len(main.ram.flushes) == 2
    first, second = main.ram.flushes
    assert first.offset < second.offset


def test_the_block_list_order_tells_a_new_round() -> None:
    main = walk(ram(build.zero(0, b"vga.vram"), build.zero(PAGE, b"pc.ram")))
    assert [i.zero_pages for i in main.ram.iterations] == [1, 1]


def test_mapped_ram() -> None:
    stream = mapped_file({0: b"a", 7: b"b", 99: b"c"})
    for pieces in ([stream], [stream[i : i + 4099] for i in range(0, len(stream), 4099)]):
        main = walk(*pieces)
        assert not main.anomalies
        assert main.skipped == 0
        mapped = main.ram.blocks[b"pc.ram"].mapped
        assert mapped is not None
        assert (mapped.version, mapped.page_size, mapped.set_pages) == (1, PAGE, 3)
        assert (main.ram.normal_pages, main.ram.zero_pages) == (3, 97)
        assert main.ram.page_size == PAGE


@pytest.mark.parametrize(
    ("machine", "count", "order", "known"),
    [
        (b"s390-ccw-virtio-10.0", 128, "big", "big"),
        (b"s390-ccw-virtio-10.0", 100, "little", "little"),  # emulated on another host
        (b"pseries-10.0", 100, "big", "big"),
        (b"pseries-10.0", 100, "little", "little"),
        (b"pseries-10.0", 128, "little", ""),
        (b"virt-10.0", 128, "little", "little"),
    ],
)
def test_words_of_a_bitmap(machine: bytes, count: int, order: ByteOrder, known: str) -> None:
    """They are the sender's: bits behind the last page say more than the machine's name."""
    pages = {0: b"a", 7: b"b", 9: b"c", 70: b"d", 99: b"e"}
    main, taker = taken(mapped_file(pages, count, order=order, machine=machine))
    assert taker.pages == {number * PAGE: content for number, content in pages.items()}
    mapped = main.ram.blocks[b"pc.ram"].mapped
    assert mapped is not None
    assert (mapped.byte_order, main.ram.byte_order) == (order, known)


@pytest.mark.parametrize("order", ["little", "big"])
def test_a_hole_in_a_bitmap_is_no_memory(order: ByteOrder) -> None:
    """However large it is; what lies behind it is told as unread."""
    before = mapped_opening(1 << 38, b"s390-ccw-virtio-10.0" if order == "big" else b"pc-q35-10.0")
    at = len(before) + 28
    end = at + (1 << 35) + (1 << 20) & -1 << 20
    seen = before + build.mapped_ram_header(at, end) + bytes(12)
    hole = end + (1 << 38) * PAGE - len(seen)
    tracemalloc.start()
    main, taker = taken(seen, hole, EOS + build.footer(RAM_ID) + CLOSING)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20
    assert not main.anomalies
    assert taker.unread_pages == [8 * (12 if order == "little" else 8) * PAGE]
    assert (main.ram.normal_pages, main.ram.zero_pages) == (0, 8 * 12)


@pytest.mark.parametrize(
    ("word", "page_size", "expected"),
    [
        (0x10, 4096, True),
        (0x1010, 4096, False),
        (0x200, 4096, True),
        (0x3008, 4096, True),
        (0x3028, 4096, True),
        (0x400 | 0x22, 1024, True),
        (0x400 | 0x22, 4096, False),
        (0x300A, 4096, False),
        (0x3000, 4096, False),
        (1 << 60 | 8, 4096, False),
    ],
)
def test_plausible_words(word: int, page_size: int, expected: bool) -> None:
    assert plausible_word(word, page_size) is expected


def test_runs_of_zero_pages() -> None:
    """Read many at a time, whatever interrupts them."""
    big = {b"pc.ram": 1000 * PAGE, b"rom": 500 * PAGE}
    many = [build.zero(0, b"pc.ram"), *(build.zero(i * PAGE) for i in range(1, 900))]
    many[300] = build.zero(300 * PAGE, fill=9)
    many[400] = build.page(400 * PAGE)
    many[500] = build.zero(500 * PAGE, b"pc.ram")
    many[600] = build.zero(5 * PAGE)
    many[700] = build.zero(2000 * PAGE)
    many[800:] = [build.zero(0, b"rom"), *(build.zero(i * PAGE) for i in range(1, 100))]
    stream = ram(*many, blocks=build.mem_size(big))
    whole = walk(stream)
    assert whole.anomalies.counts == {"ram-zero-value": 1, "ram-offset-beyond": 1}
    assert (whole.ram.zero_pages, whole.ram.normal_pages) == (899, 1)
    assert whole.ram.blocks[b"rom"].zero_pages == 100
    assert [i.zero_pages + i.pages for i in whole.ram.iterations] == [600, 101, 199]
    for size in (1, 7, 9, 500):
        pieces = [stream[i : i + size] for i in range(0, len(stream), size)]
        assert build.summary(walk(*pieces)) == build.summary(whole)
    for at in range(len(OPENING) + 200, len(OPENING) + 3000, 13):
        assert set(walk(stream[:at]).anomalies.counts) <= {"main-truncated", "ram-zero-value"}
        main = walk(stream[:at], 4, stream[at + 4 :])
        assert set(main.anomalies.counts) <= {"ram-zero-value", "ram-offset-beyond"}


def test_runs_of_zero_pages_are_taken_as_such() -> None:
    """Also those with gaps, and however the stream was cut."""
    pages = [*range(500), *range(600, 900, 3), *range(900, 1000)]
    records = [build.zero(0, b"pc.ram"), *(build.zero(page * PAGE) for page in pages[1:])]
    stream = ram(*records, blocks=build.mem_size({b"pc.ram": 1000 * PAGE}))
    for size in (1, 9, 500, len(stream)):
        _, taker = taken(*(stream[at : at + size] for at in range(0, len(stream), size)))
        assert [at for run in taker.runs for at in run] == [page * PAGE for page in pages]
    assert len(taker.runs) < len(pages) / 10
    assert range(128 * PAGE, 256 * PAGE, PAGE) in taker.runs


def test_what_follows_a_run_of_zero_pages_is_not_delayed() -> None:
    """Main's records are taken in when they come, before what other channels carry later."""
    zeros = build.zero(0, b"pc.ram") + b"".join(build.zero(i * PAGE) for i in range(1, 300))
    opening = OPENING + build.start(RAM_ID, b"ram", build.mem_size({b"pc.ram": 300 * PAGE}) + EOS)
    main = MainFacts()
    reader = Reader(lambda reader: walk_main(reader, main))
    reader.feed(opening + build.part(RAM_ID, zeros + EOS), Place(1, 0, 0))
    assert (main.ram.zero_pages, main.ram.section_end_count) == (300, 2)
