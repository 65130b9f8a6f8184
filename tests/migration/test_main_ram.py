"""RAM records of every kind, the block list, page sizes, mapped-ram regions."""

from __future__ import annotations

import pytest

from analyzer.migration.main_ram import plausible_word
from dissectors.main_stream import RamFlag
from tests.migration import main_streams as build
from tests.migration.main_streams import CLOSING, EOS, FLUSH, OPENING, PAGE, RAM_ID, walk


def ram(*records: bytes, blocks: bytes = b"", opening: bytes = OPENING) -> bytes:
    listed = build.start(RAM_ID, b"ram", (blocks or build.mem_size(build.BLOCKS)) + EOS)
    return opening + listed + build.part(RAM_ID, b"".join(records) + EOS) + CLOSING


def test_encoded_pages() -> None:
    coded = build.record(0, RamFlag.XBZRLE, b"pc.ram", b"\1\0\3\4\1a")
    compressed = build.record(PAGE, RamFlag.COMPRESS_PAGE, None, build.u32(5) + b"zlib!")
    main = walk(ram(coded, compressed))
    assert not main.anomalies
    block = main.ram_blocks[b"pc.ram"]
    assert (block.xbzrle_pages, block.compressed_pages, block.normal_pages) == (1, 1, 0)
    assert main.ram.coded_bytes == 8
    assert main.ram.sent_pages == 2
    parts = [record for record in main.records if record.kind == "SECTION_PART"]
    assert parts[0].coded_pages == 2


def test_a_hook_carries_nothing() -> None:
    assert not walk(ram(build.u64(RamFlag.HOOK), build.zero(0, b"pc.ram"))).anomalies


@pytest.mark.parametrize("size", [1024, 2048, 4096, 8192, 16384, 65536])
def test_the_page_size_is_found_at_the_first_page(size: int) -> None:
    blocks = build.mem_size({b"ram0": 8 * size})
    pages = build.page(size, b"ram0", size) + b"".join(
        build.page(i * size, None, size) for i in range(2, 8)
    )
    main = walk(ram(pages, blocks=blocks))
    assert not main.anomalies
    assert main.ram.page_size == size
    assert main.ram.normal_pages == 7


def test_small_pages_show_in_addresses() -> None:
    blocks = build.mem_size({b"ram0": 16 * 1024})
    zeros = build.zero(1024, b"ram0") + build.zero(2048) + build.zero(3072)
    main = walk(ram(zeros, blocks=blocks))
    assert not main.anomalies
    assert (main.ram.page_size, main.ram.zero_pages) == (1024, 3)


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
        assert main.ram_blocks[b"mem0"].page_size == 1 << 21
        assert main.ram_blocks[b"rom"].page_size is None


def test_addresses_of_shared_blocks() -> None:
    shared = build.subsection(
        b"configuration/capabilities", build.u32(1) + build.text(b"x-ignore-shared")
    )
    opening = build.header() + build.configuration(b"pc-q35-10.0", shared)
    for address in (0, 1 << 32, 0xFEFFC000):
        blocks = build.mem_size(build.BLOCKS, build.u64(address))
        main = walk(ram(blocks=blocks, opening=opening))
        assert not main.anomalies
        assert [block.gpa for block in main.ram_blocks.values()] == [address] * 2
        assert [block.page_size for block in main.ram_blocks.values()] == [None] * 2


def test_address_and_page_size_of_shared_blocks() -> None:
    shared = build.subsection(
        b"configuration/capabilities", build.u32(1) + build.text(b"x-ignore-shared")
    )
    opening = build.header() + build.configuration(b"pc-q35-10.0", shared)
    blocks = build.mem_size(build.BLOCKS, build.u64(1 << 21) + build.u64(1 << 32))
    main = walk(ram(blocks=blocks, opening=opening))
    assert not main.anomalies
    assert [block.page_size for block in main.ram_blocks.values()] == [1 << 21] * 2
    assert [block.gpa for block in main.ram_blocks.values()] == [1 << 32] * 2


def test_rounds_end_with_a_flush() -> None:
    rounds = build.zero(0, b"pc.ram") + FLUSH + build.zero(0, b"pc.ram") + FLUSH
    main = walk(ram(rounds))
    assert [(i.zero_pages, i.reason) for i in main.iterations] == [
        (1, "flush"),
        (1, "flush"),
        (0, ""),
    ]
    assert main.ram.flush_count == len(main.flushes) == 2
    first, second = main.flushes
    assert first.offset < second.offset


def test_the_block_list_order_tells_a_new_round() -> None:
    main = walk(ram(build.zero(0, b"vga.vram"), build.zero(PAGE, b"pc.ram")))
    assert [i.zero_pages for i in main.iterations] == [1, 1]


def mapped_file(pages: dict[int, bytes], count: int = 100) -> bytes:
    """A mapped-ram file of one block of ``count`` pages."""
    capability = build.u32(1) + build.text(b"mapped-ram")
    opening = build.header() + build.configuration(
        b"pc-q35-10.0", build.subsection(b"configuration/capabilities", capability)
    )
    before = opening + build.start(RAM_ID, b"ram", build.mem_size({b"pc.ram": count * PAGE}))[:-5]
    bitmap_at = len(before) + 28
    bitmap = bytearray(-(-count // 64) * 8)
    region = bytearray(count * PAGE)
    for number, content in pages.items():
        bitmap[number // 8] |= 1 << number % 8
        region[number * PAGE : (number + 1) * PAGE] = content * PAGE
    begin = 1 << 20
    head = before + build.mapped_ram_header(bitmap_at, begin) + bitmap
    return head.ljust(begin, b"\0") + region + EOS + build.footer(RAM_ID) + CLOSING


def test_mapped_ram() -> None:
    stream = mapped_file({0: b"a", 7: b"b", 99: b"c"})
    for pieces in ([stream], [stream[i : i + 4099] for i in range(0, len(stream), 4099)]):
        main = walk(*pieces)
        assert not main.anomalies
        assert main.skipped == 0
        mapped = main.ram_blocks[b"pc.ram"].mapped
        assert mapped is not None
        assert (mapped.version, mapped.page_size, mapped.set_pages) == (1, PAGE, 3)
        assert (main.ram.normal_pages, main.ram.zero_pages) == (3, 97)
        assert main.ram.page_size == PAGE


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
    assert whole.ram_blocks[b"rom"].zero_pages == 100
    assert [i.zero_pages + i.pages for i in whole.iterations] == [600, 101, 199]
    for size in (1, 7, 9, 500):
        pieces = [stream[i : i + size] for i in range(0, len(stream), size)]
        assert build.summary(walk(*pieces)) == build.summary(whole)
    for at in range(len(OPENING) + 200, len(OPENING) + 3000, 13):
        assert set(walk(stream[:at]).anomalies.counts) <= {"main-truncated", "ram-zero-value"}
        main = walk(stream[:at], 4, stream[at + 4 :])
        assert set(main.anomalies.counts) <= {"ram-zero-value", "ram-offset-beyond"}
