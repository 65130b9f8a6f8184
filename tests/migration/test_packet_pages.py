"""The pages of single packets, in any order: the same as when the capture streams by."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from analyzer.migration.packet_pages import PacketPages, PageReader
from analyzer.migration.page_payloads import PagePayloads
from analyzer.migration.replay import Replay
from analyzer.migration.scan import Scan
from analyzer.migration.table import PacketTable
from analyzer.synth.compression import compressor
from dissectors.multifd import Compression
from tests.checks.craft import PAGE, Craft, init, ram, sync
from tests.shipped import capture

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from analyzer.migration.channel import Channel
    from analyzer.migration.migration import Migration
    from analyzer.migration.rows import RamPacket
    from dissectors.compression import Decoded


class Streamed:
    """Pages as they come out while the capture streams by, by frame and stream offset."""

    def __init__(self) -> None:
        self.pages_of: dict[tuple[int, int], list[bytes | None]] = {}

    def pages(
        self, _migration: Migration, channel: Channel, packet: RamPacket, decoded: Decoded
    ) -> None:
        got = [decoded.page(number) for number in range(packet.normal_pages)]
        self.pages_of[channel.stream, packet.offset] = [g if g is None else bytes(g) for g in got]

    def stopped(
        self, _migration: Migration, _channel: Channel, _packet: RamPacket, _why: str
    ) -> None:
        """Nothing to keep."""


class Opened:
    """A capture, its table, and a reader of its packets."""

    def __init__(self, path: Path | bytes) -> None:
        self.table, self.streamed = PacketTable(), Streamed()
        self.scan = Scan(
            path, watchers=(self.table,), page_collector=PagePayloads(self.streamed)
        ).run()
        self.table.finish(self.scan.migrations)
        self.fetched = 0
        self._replay = Replay(self.scan)

        def fetch(row: int) -> object:
            self.fetched += 1
            return self._replay.packet(self.table, row)

        self.reader = PageReader(self.table, fetch)  # type: ignore[arg-type]

    def rows(self) -> list[int]:
        return [n for n in range(len(self.table)) if self.table.column("normal_pages")[n]]

    def pages(self, row: int, go_on: Callable[[float], bool] = lambda _: True) -> PacketPages:
        found = self.ask(row, go_on)
        assert found is not None
        return found

    def ask(self, row: int, go_on: Callable[[float], bool]) -> PacketPages | None:
        migration = self.scan.migrations[self.table.column("migration")[row]]
        stream = self.table.column("stream")[row]
        channel = next(c for c in migration.multifd if c.stream == stream)
        return self.reader.pages(row, migration.framing, channel, go_on)


@pytest.mark.parametrize(
    "name",
    [
        "10.0.13-veth-mtu1500-2ch",
        "11.1.3-veth-mtu1500-zstd-3ch",
        "7.2-zlib-2ch",
        "10.0.13-vfio-gaps-2ch",
    ],
)
def test_packets_in_any_order(name: str) -> None:
    opened = Opened(capture(name))
    rows = opened.rows()
    random.Random(1).shuffle(rows)
    for row in rows[:25]:
        found = opened.pages(row)
        place = opened.table.column("stream")[row], opened.table.column("offset")[row]
        sent = [page.content for page in found.pages if not page.zero]
        assert sent == opened.streamed.pages_of[place]


def chain(method: str, *, damaged: int = -1, count: int = 4) -> bytes:
    """A channel of ``count`` RAM packets, each with a page and a zero page."""
    compress = compressor(method)
    craft = Craft()
    connection = craft.connect(46001)
    connection.send(init(0) + sync(0))
    for number in range(count):
        payload = b"".join(compress([bytes([number + 1]) * PAGE]))
        if number == damaged:
            payload = payload[:3] + bytes([payload[3] ^ 0xFF]) * (len(payload) - 3)
        flags = Compression[method]
        connection.send(ram([number], [9], num=number + 1, payload=payload, flags=flags))
    return craft.pcap()


@pytest.mark.parametrize("method", [method.name for method in Compression])
def test_every_method(method: str) -> None:
    opened = Opened(chain(method))
    for row in (*opened.rows(), *reversed(opened.rows())):
        found = opened.pages(row)
        content, zero = found.pages
        assert found.method == Compression[method]
        assert found.wrong == []
        assert found.packed == (PAGE if method == "none" else found.packed)
        assert (content.offset, content.zero) == ((row - 2) * PAGE, False)
        assert content.content == bytes([row - 1]) * PAGE
        assert (zero.offset, zero.zero, zero.content) == (9 * PAGE, True, None)


def test_going_forward_reads_each_packet_once() -> None:
    opened = Opened(chain("zlib", count=8))
    for row in opened.rows():
        opened.pages(row)
    assert opened.fetched == 8


def test_behind_a_damaged_payload_nothing_can_be_decoded() -> None:
    opened = Opened(chain("zlib", damaged=1))
    before, damaged, behind = (opened.pages(row) for row in opened.rows()[:3])
    assert before.wrong == []
    assert damaged.wrong[0].startswith("zlib-bad: ")
    assert behind.wrong == ["an earlier payload of the channel is damaged"]
    assert [page.content for page in behind.pages] == [None, None]
    assert opened.pages(opened.rows()[0]).pages[0].content == b"\1" * PAGE


def test_it_can_be_stopped() -> None:
    opened = Opened(chain("zstd"))
    shares: list[float] = []

    def go_on(share: float) -> bool:
        shares.append(share)
        return share < 0.5

    assert opened.ask(opened.rows()[-1], go_on) is None
    assert shares == [0, pytest.approx(1 / 3), pytest.approx(2 / 3)]
    assert opened.pages(opened.rows()[-1]).pages[0].content == b"\4" * PAGE


@pytest.mark.parametrize(
    ("first", "why"), [(3, "beginning of the channel"), (5, "earlier bytes of the channel")]
)
def test_a_channel_without_its_beginning(first: int, why: str) -> None:
    whole = Craft()
    compress = compressor("zlib")
    connection = whole.connect(46001)
    connection.send(init(0) + sync(0))
    for number in range(3):
        payload = b"".join(compress([bytes([number + 1]) * PAGE]))
        connection.send(ram([number], num=number, payload=payload, flags=Compression.zlib))
    whole.frames = whole.frames[first:]
    opened = Opened(whole.pcap())
    found = opened.pages(opened.rows()[0])
    assert [why in text for text in found.wrong] == [True]
    assert found.pages[0].content is None


def test_frames_that_were_cut_short() -> None:
    opened = Opened(capture("10.0.13-snaplen128-2ch"))
    found = opened.pages(opened.rows()[0])
    assert all(page.content is None for page in found.pages)
