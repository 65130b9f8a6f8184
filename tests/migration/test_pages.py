"""Pages of RAM packets: by block and round, sent again, and sent twice in a round."""

from __future__ import annotations

import struct

import pytest

from analyzer.migration import pages
from analyzer.migration.channel import Channel
from analyzer.migration.main_channel import MainFacts
from analyzer.migration.mark import Mark
from analyzer.migration.pages import PageRoom, PageTracker, offsets_of
from analyzer.migration.rows import SYNC, RamPacket
from analyzer.tcp.flow import Connection
from analyzer.tcp.requests import Place

PAGE = 4096


def channel(number: int) -> Channel:
    """A multifd channel with that id."""
    made = Channel("multifd", Connection(number, bytes(12), Place(1, 1, 1)).forward)
    made.id = number
    return made


def packet(*numbers: int, block: bytes = b"ram", time: int = 1) -> RamPacket:
    """A packet with the content of these pages, given by number."""
    made = RamPacket(0, 0, Place(1, time, 1), (0, 1, 0, 128, len(numbers), 0, 0, 0))
    made.ramblock = block.ljust(256, b"\0")
    made.offsets = struct.pack(f">{len(numbers)}Q", *(PAGE * n for n in numbers))
    return made


def sync(on: Channel) -> None:
    """Ends a round on a channel."""
    on.add_ram(RamPacket(0, 0, Place(1, 1, 1), (0, 1, SYNC, 0, 0, 0, 0, 0)))


class Sender:
    """Counts packets as a migration does."""

    def __init__(self, main: MainFacts | None = None) -> None:
        self.tracker = PageTracker(PageRoom())
        self.main = main

    def __call__(self, on: Channel, sent: RamPacket) -> int | None:
        """The clash, if any."""
        return self.tracker.saw(on, sent, offsets_of(sent, PAGE), PAGE, self.main)


def test_offsets_that_follow_each_other_are_a_range() -> None:
    assert offsets_of(packet(3, 4, 5), PAGE) == range(3 * PAGE, 6 * PAGE, PAGE)
    assert offsets_of(packet(5, 3, 4), PAGE) == (5 * PAGE, 3 * PAGE, 4 * PAGE)


def test_offsets_that_cannot_be_read() -> None:
    whole, cut, holed = packet(1, 2), packet(1, 2), packet(1, 2)
    assert cut.offsets is not None
    cut.offsets, holed.offsets = cut.offsets[:-1], None
    assert [offsets_of(p, PAGE) for p in (cut, holed)] == [(), ()]
    assert offsets_of(whole, 0) == ()


@pytest.mark.parametrize("order", [(7, 8, 9), (9, 7, 8)], ids=["range", "list"])
def test_a_page_sent_on_two_channels_in_a_round(order: tuple[int, ...]) -> None:
    send, one, other = Sender(), channel(0), channel(1)
    assert send(one, packet(*order)) is None
    assert send(other, packet(8)) == 8 * PAGE
    assert send.tracker.resent == 0
    sync(one)
    assert send(one, packet(*order)) is None
    assert send.tracker.resent == 3
    assert send.tracker.blocks[b"ram"].highest == 9 * PAGE


def test_rounds_end_where_the_switchover_begins() -> None:
    main = MainFacts()
    send, on = Sender(main), channel(0)
    send(on, packet(1))
    sync(on)
    main.switchover_start = Mark(0, Place(1, 5, 1))
    send(on, packet(2, time=5))
    assert [found.has_pages for found in send.tracker.rounds] == [True]
    assert send.tracker.blocks[b"ram"].normal == 2


def test_marks_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "TRACKED_MAX", 1 << 12)
    send, on = Sender(), channel(0)
    send(on, packet(1))
    send(on, packet(1, block=b"other"))
    sync(on)
    send(on, packet(1))
    send(on, packet(1, block=b"other"))
    assert (send.tracker.resent, send.tracker.untracked) == (1, True)
    assert send.tracker.blocks[b"other"].normal == 2
