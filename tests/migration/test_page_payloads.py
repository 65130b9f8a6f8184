"""Payloads out of the stream: all pages of real captures, holes, and bounds on memory."""

from __future__ import annotations

import tracemalloc
from typing import TYPE_CHECKING

import pytest

from analyzer.migration import page_payloads
from analyzer.migration.page_payloads import CROWDED, PagePayloads
from analyzer.migration.scan import Scan
from analyzer.synth.compression import compressor
from dissectors.multifd import Compression
from tests.checks.craft import PAGE, Craft, init, ram, sync
from tests.shipped import NAMES, capture

if TYPE_CHECKING:
    from pathlib import Path

    from analyzer.migration.channel import Channel
    from analyzer.migration.migration import Migration
    from analyzer.migration.rows import RamPacket
    from dissectors.compression import Decoded


class Taken:
    """Counts pages by channel, and remembers what went wrong."""

    def __init__(self, path: Path | bytes) -> None:
        self.counts: dict[tuple[int, int], int] = {}
        self.problems: list[str] = []
        self.stops: list[tuple[int, str]] = []
        self.scan = Scan(path, page_collector=PagePayloads(self)).run()

    def pages(
        self, migration: Migration, channel: Channel, packet: RamPacket, decoded: Decoded
    ) -> None:
        key = migration.number, channel.id
        got = sum(decoded.page(number) is not None for number in range(packet.normal_pages))
        self.counts[key] = self.counts.get(key, 0) + got
        self.problems += [problem.slug for problem in decoded.problems]

    def stopped(
        self, _migration: Migration, channel: Channel, _packet: RamPacket, why: str
    ) -> None:
        self.stops.append((channel.id, why))

    def announced(self) -> dict[tuple[int, int], int]:
        return {
            (migration.number, channel.id): channel.normal_pages
            for migration in self.scan.migrations
            for channel in migration.multifd
            if channel.normal_pages
        }


@pytest.mark.parametrize("name", NAMES)
def test_every_page_of_real_captures_is_decoded(name: str) -> None:
    """Of whole captures; of one with holes all but those that the holes touch."""
    path = capture(name)
    taken = Taken(path)
    announced = taken.announced()
    holes = any(m.lacks_bytes or m.began_late or m.ends_early for m in taken.scan.migrations)
    if holes:
        assert sum(taken.counts.values()) <= sum(announced.values())
    else:
        assert taken.counts == announced
    assert taken.problems == []


def test_pages_beside_a_hole_are_decoded() -> None:
    taken = Taken(capture("10.0.13-gap-single-frame-2ch"))
    assert sum(taken.announced().values()) - sum(taken.counts.values()) == 1


def stream_of(method: str, *, port: int, number: int, into: Craft) -> None:
    """A channel with three RAM packets of one page each."""
    compress = compressor(method)
    packets = [
        ram(
            [page],
            num=10 * number + page,
            payload=b"".join(compress([bytes([page + 1]) * PAGE])),
            flags=Compression[method],
        )
        for page in range(3)
    ]
    connection = into.connect(port)
    for unit in (init(number), sync(9), *packets):
        connection.send(unit)


@pytest.mark.parametrize("method", ["zlib", "zstd"])
def test_decoders_take_bounded_memory(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_payloads, "MEMORY_MAX", 100 << 10)
    craft = Craft()
    opened = [craft.connect(46001 + number) for number in range(4)]
    compress = [compressor(method) for _ in opened]
    for number, connection in enumerate(opened):
        connection.send(init(number) + sync(number))
    for page in range(3):
        for number, connection in enumerate(opened):
            payload = b"".join(compress[number]([bytes([page + 1]) * PAGE]))
            connection.send(ram([page], num=page, payload=payload, flags=Compression[method]))
    taken = Taken(craft.pcap())
    assert taken.problems == []
    assert {why for _, why in taken.stops} == {CROWDED}
    assert len(taken.stops) == len(set(taken.stops))


def test_payloads_on_their_way_take_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest is given up; whoever comes later is not troubled by a channel that stopped."""
    monkeypatch.setattr(page_payloads, "HELD_MAX", 3 * PAGE)
    craft = Craft()
    for number in range(3):
        stuck = craft.connect(46001 + number)
        stuck.send(init(number) + sync(number) + ram([1, 2], num=1)[: 1344 + PAGE])
    stream_of("none", port=46010, number=9, into=craft)
    taken = Taken(craft.pcap())
    assert taken.counts == {(0, 9): 3}


def test_a_large_hole_in_a_payload_is_no_memory() -> None:
    hole = 1 << 30
    craft = Craft()
    sender = craft.connect(46001)
    sender.send(init(0) + sync(0) + ram([1], num=1, next_packet_size=hole + 1)[:-PAGE] + b"a")
    sender.client.sent += hole
    sender.send(sync(2) + ram([1], num=3))
    data = craft.pcap()
    tracemalloc.start()
    taken = Taken(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 << 20
    assert taken.counts == {(0, 0): 1}


def test_a_channel_without_its_beginning_cannot_be_decompressed() -> None:
    whole = Craft()
    stream_of("zlib", port=46001, number=0, into=whole)
    late = Craft()
    late.frames = whole.frames[5:]
    assert Taken(whole.pcap()).stops == []
    taken = Taken(late.pcap())
    assert taken.counts == {}
    assert len(taken.stops) == 1
