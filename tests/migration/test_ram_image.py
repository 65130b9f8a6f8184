"""Guest memory out of pages: which copy of a page counts, windows, bounds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from analyzer.migration.page_payloads import PagePayloads
from analyzer.migration.ram_image import RamImage, RamImages
from analyzer.migration.scan import Scan
from analyzer.synth.compression import compressor
from dissectors import xbzrle
from dissectors.multifd import Compression
from tests.checks.craft import EOS, PAGE, RAM_ID, RAM_PART, Craft, Tiny, init, part, ram, sync
from tests.migration import main_streams as build

if TYPE_CHECKING:
    from analyzer.migration.migration import Migration
    from analyzer.migration.ram_image import Content


class Memory:
    """A target in memory, with room for ``limit`` bytes."""

    def __init__(self, limit: int = 1 << 30) -> None:
        self.limit = limit
        self.data = bytearray()
        self.written = 0

    def span(self, size: int) -> bool:
        return size <= self.limit

    def fill(self, _size: int) -> bool:
        return True

    def read(self, offset: int, size: int) -> bytes:
        return bytes(self.data[offset : offset + size])

    def write(self, offset: int, data: Content) -> None:
        self.data.extend(bytes(max(0, offset + len(data) - len(self.data))))
        self.data[offset : offset + len(data)] = data
        self.written += len(data)


def image_of(first: int = 0, length: int | None = None, limit: int = 1 << 30) -> RamImage:
    return RamImage(Memory(limit), PAGE, first, length)


def data_of(image: RamImage) -> bytes:
    assert isinstance(image.target, Memory)
    return bytes(image.target.data)


def page(fill: int) -> bytes:
    return bytes([fill]) * PAGE


def test_the_copy_of_the_latest_round_counts() -> None:
    image = image_of()
    image.put(0, page(2), 2)
    image.put(0, page(1), 1)  # of a channel that lags behind
    image.put(PAGE, page(3), 1)
    image.put(PAGE, page(4), 1)  # in one round: the order of the capture
    assert data_of(image) == page(2) + page(4)
    assert image.sent.sent_times() == {2: 2}
    assert {n: (r.pages, r.again) for n, r in image.sent.rounds.items()} == {2: (1, 1), 1: (3, 1)}


def test_zero_pages_take_room_only_where_something_else_was() -> None:
    image = image_of()
    image.put(0, None, 1)
    image.put(PAGE, page(1), 1)
    image.put(PAGE, None, 2)
    image.put(PAGE, None, 3)
    assert data_of(image) == bytes(2 * PAGE)
    assert isinstance(image.target, Memory)
    assert image.target.written == 2 * PAGE
    assert image.sent.pages == 2


@pytest.mark.parametrize(
    ("first", "length", "limit"),
    [(0, None, 1 << 40), (100, 3 * PAGE, 1 << 40), (PAGE, PAGE, 1 << 40), (0, None, 7 * PAGE)],
)
@pytest.mark.parametrize("round_number", [0, 2, 4])
def test_a_run_of_zero_pages(first: int, length: int | None, limit: int, round_number: int) -> None:
    """Is the same as its pages, in the middle of others and beyond them."""
    images = [image_of(first, length, limit) for _ in range(2)]
    for image in images:
        image.put(2 * PAGE, page(2), 2)
        image.put(4 * PAGE, None, 3)
    run = range(PAGE, 9 * PAGE, PAGE)
    images[0].put_zeros(run, round_number)
    images[1].put_zeros(list(run), round_number)
    for image in images:
        image.put(3 * PAGE, page(3), 1)
    one, other = images
    assert data_of(one) == data_of(other)
    assert one.sent.report() == other.sent.report()
    assert one.sent.times == other.sent.times
    assert (one.end, bool(one.beyond)) == (other.end, bool(other.beyond))


@pytest.mark.parametrize("run", [range(1, PAGE * 4, PAGE), range(0, PAGE * 4, PAGE // 2)])
def test_a_run_of_zero_pages_between_the_pages(run: range) -> None:
    image = image_of()
    image.put_zeros(run, 1)
    assert (image.misplaced, image.sent.pages) == (4, 0 if run[0] else 4)


@pytest.mark.parametrize(
    ("first", "length"), [(0, 3 * PAGE), (PAGE, PAGE), (100, PAGE), (PAGE - 1, 2), (2 * PAGE, 8)]
)
def test_a_window(first: int, length: int) -> None:
    image = image_of(first, length)
    whole = b"".join(map(page, (1, 2, 3, 4)))
    for number in range(4):
        image.put(number * PAGE, page(number + 1), 1)
    assert data_of(image) == whole[first : first + length]


def test_an_offset_far_away_allocates_nothing() -> None:
    image = image_of(limit=1 << 20)
    image.put((1 << 64) - PAGE, page(1), 1)
    image.put(1 << 21, page(1), 1)
    image.put(5, page(1), 1)
    assert (image.beyond, image.misplaced, image.sent.pages) == (2, 1, 0)


def test_changes_are_applied_to_what_was_there() -> None:
    image = image_of()
    image.put(0, page(7), 1)
    delta = bytes([10, 2]) + b"xy" + bytes([0x80 | 0x05, 1, 1]) + b"z"
    assert xbzrle.fault(delta, PAGE) == ""
    image.change(0, delta, 2)
    expected = bytearray(page(7))
    expected[10:12] = b"xy"
    expected[12 + 133 : 12 + 134] = b"z"
    assert data_of(image) == bytes(expected)
    image.change(8 * PAGE, delta, 2)  # never sent before
    assert (image.lost_pages, image.sent.pages) == (1, 2)
    assert data_of(image) == bytes(expected)


def test_a_page_that_is_lost_keeps_what_was_there_and_is_counted() -> None:
    image = image_of()
    image.put(0, page(1), 1)
    image.put(0, None, 2, lost=True)
    assert data_of(image) == page(1)
    assert image.lost_pages == 1
    image.put(0, page(3), 3)
    assert image.lost_pages == 0


def test_a_whole_migration() -> None:
    """Two channels of which one is a round ahead; page 0 is sent twice, page 4 is zero."""
    targets: dict[bytes, Memory] = {}

    def opened(_migration: Migration, name: bytes) -> Memory:
        return targets.setdefault(name, Memory())

    images = RamImages(opened)
    Scan(
        Tiny().pcap(),
        watchers=(images,),
        page_collector=PagePayloads(images, images.records),
    ).run()
    assert bytes(targets[b"pc.ram"].data) == page(7) + page(3) + page(4)
    (image,) = images.images.values()
    assert image is not None
    assert image.sent.sent_times() == {1: 5, 2: 1}


def test_zero_pages_before_the_page_size_is_known() -> None:
    """The first page with content shows it, and comes behind zero pages of its block."""
    size = 2 * PAGE
    content = bytes([2]) * size
    records = build.zero(0, b"pc.ram") + build.zero(size) + build.page(2 * size, None, size)
    tiny = Tiny(device=False)
    tiny.multifd = []
    tiny.main[tiny.main.index(RAM_PART)] = part(RAM_ID, records + EOS)
    memory = Memory()
    images = RamImages(lambda _migration, _name: memory)
    Scan(
        tiny.pcap(),
        watchers=(images,),
        page_collector=PagePayloads(images, images.records),
    ).run()
    (image,) = images.images.values()
    assert image is not None
    assert (image.page_size, image.misplaced, image.sent.pages) == (size, 0, 3)
    assert bytes(memory.data) == bytes(2 * size) + content


@pytest.mark.parametrize("method", [m.name for m in Compression])
def test_a_channel_a_round_ahead_wins(method: str) -> None:
    """Channel 1 sends page 0 in round 2 before channel 0 sends it in round 1."""
    flags = Compression[method]
    memory = Memory()
    craft = Craft()
    slow, fast = craft.connect(46001), craft.connect(46002)
    fast.send(init(1) + sync(1) + sync(3))
    fast.send(ram([0], num=4, payload=b"".join(compressor(method)([page(9)])), flags=flags))
    slow.send(init(0) + sync(0))
    slow.send(ram([0], num=2, payload=b"".join(compressor(method)([page(5)])), flags=flags))
    images = RamImages(lambda _migration, _name: memory)
    Scan(craft.pcap(), watchers=(images,), page_collector=PagePayloads(images)).run()
    assert bytes(memory.data) == page(9)
