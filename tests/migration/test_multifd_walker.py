"""Multifd channels: every unit in every cut, holes, nonsense; every byte accounted for."""

from __future__ import annotations

import itertools
import random
from typing import TYPE_CHECKING, Any

import pytest

from analyzer.migration.channel import Channel
from analyzer.migration.consumers import Consumers, Watcher
from analyzer.migration.migration import Migration
from analyzer.migration.multifd_walker import walk_multifd
from analyzer.migration.scan import Scan
from analyzer.migration.settings import Settings
from analyzer.synth import build
from analyzer.tcp.flow import NEVER, Connection
from analyzer.tcp.reader import Reader
from analyzer.tcp.requests import Place
from dissectors.multifd import DEVICE_STATE, PACKET_BYTES, RAM, ram_header_size
from tests.checks.craft import Craft, Tiny, buffer, config, init, ram, sync
from tests.migration.main_streams import Piece, feed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from analyzer.migration.rows import DevicePacket, RamPacket


class Rows(Watcher):
    """Keeps what a scan's packets say, in a form that can be compared."""

    def __init__(self) -> None:
        self.rows: list[tuple[Any, ...]] = []

    def ram(
        self, migration: Migration, channel: Channel, packet: RamPacket, pages: Sequence[int]
    ) -> None:
        row = (migration.number, channel.id, packet.offset, packet.length, packet.flags)
        self.rows.append((*row, packet.packet_num, packet.block, pages, packet.missing))

    def device(self, migration: Migration, channel: Channel, packet: DevicePacket) -> None:
        row = (migration.number, channel.id, packet.offset, packet.length, packet.flags)
        self.rows.append((*row, packet.device, packet.idx, packet.is_config, packet.missing))


class Packets(Watcher):
    """Keeps RAM and SYNC packets."""

    def __init__(self) -> None:
        self.packets: list[RamPacket] = []

    def ram(
        self, migration: Migration, channel: Channel, packet: RamPacket, pages: Sequence[int]
    ) -> None:
        del migration, channel, pages
        self.packets.append(packet)


def rows_of(data: bytes, settings: Settings | None = None) -> tuple[list[tuple[Any, ...]], Scan]:
    rows = Rows()
    scan = Scan(data, settings, watchers=(rows,)).run()
    return sorted(rows.rows, key=lambda row: row[:3]), scan


def accounted(scan: Scan) -> None:
    for migration in scan.migrations:
        for channel in migration.multifd:
            parts = channel.decoded, channel.skipped, channel.missing
            assert sum(parts) == channel.length, (channel.name, parts, channel.length)


BASE: dict[str, Any] = {"channels": 2, "device": [{"size": 40_000, "buffer_size": 9000}]}
VARIANTS: dict[str, dict[str, Any]] = {
    "upstream": BASE,
    "10.1": BASE | {"dialect": "10.1", "config_after_iter": True},
    "v3": BASE | {"dialect": "v3"},
    "v1": BASE | {"dialect": "v1"},
    "rfc0": BASE | {"dialect": "rfc0"},
    "zlib": {"channels": 2, "compression": "zlib", "device": []},
    "zstd": {"channels": 3, "compression": "zstd", "device": []},
    "uadk": {"channels": 2, "compression": "uadk", "device": []},
    "era 7.2": {"channels": 2, "ram": {"era": "7.2"}, "device": []},
    "era 9.0": {"channels": 2, "ram": {"era": "9.0"}, "device": []},
    "1k pages": {"channels": 2, "ram": {"page_size": 1024}, "device": []},
    "8k pages": {"channels": 2, "ram": {"page_size": 8192}, "device": []},
    "16k pages": {"channels": 2, "ram": {"page_size": 16384}, "device": []},
    "64k pages": {"channels": 1, "ram": {"page_size": 65536}, "device": []},
}


@pytest.mark.parametrize("name", VARIANTS)
def test_segment_boundaries_mean_nothing(name: str) -> None:
    scenario = VARIANTS[name]
    wide, scan = rows_of(build(scenario | {"network": {"mtu": 60_000}}))
    narrow, small = rows_of(build(scenario | {"network": {"mtu": 600}}))
    assert wide
    assert wide == narrow
    for each in (scan, small):
        accounted(each)
        (migration,) = each.migrations
        assert all(not c.skipped and not c.missing for c in migration.multifd)
        assert all(c.ended_at_boundary for c in migration.multifd)


@pytest.mark.parametrize("name", VARIANTS)
def test_the_dialect_and_the_page_size_are_found(name: str) -> None:
    scenario = VARIANTS[name]
    _, scan = rows_of(build(scenario))
    framing = scan.migrations[0].framing
    size = scenario.get("ram", {}).get("page_size", 4096)
    assert framing.page_count == PACKET_BYTES // size
    if scenario.get("device"):
        expected = scenario.get("dialect", "upstream")
        assert framing.dialect is not None
        assert framing.dialect.name == ("upstream" if expected == "10.1" else expected)


def test_a_forced_dialect_wins_over_the_bytes() -> None:
    data = build(BASE | {"dialect": "v1"})
    _, auto = rows_of(data)
    _, forced = rows_of(data, Settings(dialect="upstream"))
    assert auto.migrations[0].devices
    assert not forced.migrations[0].devices


def records(data: bytes) -> list[bytes]:
    out, at = [], 24
    while at < len(data):
        size = 16 + int.from_bytes(data[at + 8 : at + 12], "little")
        out.append(data[at : at + size])
        at += size
    return out


@pytest.mark.parametrize("name", ["upstream", "v1", "rfc0", "zlib", "era 7.2", "8k pages"])
@pytest.mark.parametrize("seed", range(3))
def test_after_holes_the_walker_finds_its_way_back(name: str, seed: int) -> None:
    """What is reported behind a hole is what is there; nothing is made up."""
    data = build(VARIANTS[name] | {"network": {"mtu": 1500}})
    whole, _ = rows_of(data)
    there = {row[:7] for row in whole}
    dice = random.Random(seed)
    frames = records(data)
    kept = [f for i, f in enumerate(frames) if i < 30 or dice.random() > 0.02]
    rows, scan = rows_of(data[:24] + b"".join(kept))
    accounted(scan)
    readable = [row for row in rows if row[-1] == 0]
    assert {row[:7] for row in readable} <= there
    assert len(rows) > len(whole) // 2


def test_a_capture_that_begins_midway() -> None:
    data = build(BASE | {"network": {"mtu": 1500}, "device": [{"size": 400_000}]})
    whole, _ = rows_of(data)
    frames = records(data)
    rows, scan = rows_of(data[:24] + b"".join(frames[len(frames) // 3 :]))
    accounted(scan)
    assert len(scan.migrations) == 1
    assert len(rows) > len(whole) // 4
    assert all(channel.id < 0 for channel in scan.migrations[0].multifd)


def test_a_bad_magic_costs_one_packet() -> None:
    tiny = Tiny()
    tiny.multifd[0].insert(2, ram(normal=[0], num=90))
    tiny.multifd[0].insert(3, b"\xde\xad\xbe\xef" + ram(normal=[1], num=91)[4:])
    tiny.multifd[0].insert(4, ram(normal=[2], num=92))
    rows, scan = rows_of(tiny.pcap())
    accounted(scan)
    numbers = [row[5] for row in rows if row[1] == 0 and isinstance(row[5], int)]
    assert 90 in numbers
    assert 92 in numbers
    assert 91 not in numbers
    (channel, *_) = scan.migrations[0].multifd
    assert channel.anomalies.counts == {"packet-magic": 1}


def test_a_wrong_version_costs_nothing() -> None:
    tiny = Tiny()
    at = tiny.multifd[1].index(buffer(1))
    tiny.multifd[1][at] = buffer(1, version=2)
    rows, scan = rows_of(tiny.pcap())
    accounted(scan)
    assert [row[6] for row in rows if row[4] == 0x40] == [0, 2, 1]
    assert scan.migrations[0].multifd[1].anomalies.counts == {"packet-version": 1}


def test_magic_inside_guest_memory_does_not_mislead_the_search() -> None:
    """Guest pages that hold migration traffic: one header alone is never believed."""
    bait = ram(normal=[], zero=[5], num=7777)[:1344]
    page = bait + bytes(4096 - len(bait))
    tiny = Tiny()
    packet = bytearray(ram(normal=[0, 1], num=50))
    packet[-8192:] = page + page
    tiny.multifd[0].insert(2, b"\0\0\0\0" + bytes(packet)[4:])
    tiny.multifd[0].insert(3, ram(normal=[2], num=51))
    tiny.multifd[0].insert(4, ram(normal=[3], num=52))
    rows, scan = rows_of(tiny.pcap())
    accounted(scan)
    numbers = [row[5] for row in rows if row[1] == 0]
    assert 7777 not in numbers
    assert {51, 52} <= set(numbers)


# -- one channel, with holes everywhere ------------------------------------------------------------

STREAM = [
    init(0),
    sync(0),
    ram([0, 1], [7], num=1),
    ram([2], num=2, payload=b"x" * 300, flags=2),
    ram(zero=[3], num=3),
    buffer(0, bytes(range(200))),
    config(1),
    sync(4),
]
BOUNDARIES = [*itertools.accumulate(map(len, STREAM), initial=0)]
DEVICES = [at for at, unit in zip(BOUNDARIES, STREAM, strict=False) if unit[11] == 0x40]
WHOLE = b"".join(STREAM)


def walked(*pieces: Piece) -> tuple[list[tuple[Any, ...]], Channel]:
    """What a channel's packets are; every byte of the stream is accounted for."""
    rows = Rows()
    migration = Migration(0, (), Settings(), consumers=Consumers((rows,)))
    channel = Channel("multifd", Connection(0, bytes(12), NEVER).forward)
    reader = feed(lambda reader: walk_multifd(reader, channel, lambda _: migration), pieces)
    there = sum(piece if isinstance(piece, int) else len(piece) for piece in pieces)
    lost = sum(piece for piece in pieces if isinstance(piece, int))
    assert reader.offset == there
    assert channel.missing == lost
    assert channel.decoded + channel.skipped + channel.missing == there
    return [row[2:7] for row in rows.rows if row[-1] == 0], channel


def near(*sizes: int) -> list[int]:
    """Offsets in front of, at and behind the boundaries, the headers' ends and further ones."""
    found = {at + off + size for at in BOUNDARIES for off in (0, 12, 40, 64) for size in sizes}
    return sorted(at for at in {*found, *range(0, len(WHOLE), 501)} if 0 <= at < len(WHOLE))


@pytest.mark.parametrize("size", [1, 11, 64, 700, 5000])
def test_a_hole_anywhere_costs_what_it_touches(size: int) -> None:
    whole, _ = walked(WHOLE)
    for at in near(-1, 0, 1, 3, 8):
        rows, channel = walked(WHOLE[:at], min(size, len(WHOLE) - at), WHOLE[at + size :])
        assert set(rows) <= set(whole), at
        intact = [row for row in whole if row[0] + row[1] <= at]
        assert rows[: len(intact)] == intact, at
        assert not [row for row in rows if row[0] < at + size and row[0] + row[1] > at], at
        assert channel.id == (0 if at >= 25 else -1), at  # behind the initial packet's id


def test_a_search_may_find_a_packet_whose_headers_have_a_hole() -> None:
    packet, following = buffer(0, bytes(range(200))), buffer(1) + sync(1)
    for at in range(DEVICE_STATE.size, len(packet) - 20):
        rows, channel = walked(init(0), 90, packet[:at], 20, packet[at + 20 :] + following)
        assert [row[:1] for row in rows] == [(154 + len(packet),), (154 + len(packet + buffer(1)),)]
        assert (channel.skipped, channel.device_packets) == (0, 2), at


@pytest.mark.parametrize("found", [False, True], ids=["expected", "found by search"])
@pytest.mark.parametrize("known", [False, True])
def test_a_block_is_known_where_the_end_of_its_name_is(found: bool, known: bool) -> None:
    rows = Rows()
    migration = Migration(0, (), Settings(), consumers=Consumers((rows,)))
    channel = Channel("multifd", Connection(0, bytes(12), NEVER).forward)
    packet, at = ram([0, 1], [7], num=1), RAM["ramblock"].offset + len("pc.ram") + known
    lost: list[Piece] = [90] if found else []
    pieces = init(0), sync(0), *lost, packet[:at], 300, packet[at + 300 :], sync(2)
    feed(lambda reader: walk_multifd(reader, channel, lambda _: migration), pieces)
    _, row, _ = rows.rows
    assert row[5:] == (1, "pc.ram" if known else "?", (), 300)
    blocks = {name: (block.normal, block.zero) for name, block in migration.pages.blocks.items()}
    assert blocks == ({b"pc.ram": (2, 1)} if known else {})


def test_a_packet_found_is_as_long_as_when_it_was_found() -> None:
    """Its size was guessed, and before the next packet confirmed it, another channel told N."""
    kept = Packets()
    migration = Migration(0, (), Settings(), consumers=Consumers((kept,)))
    channel = Channel("multifd", Connection(0, bytes(12), NEVER).forward)
    reader = Reader(lambda reader: walk_multifd(reader, channel, lambda _: migration))
    place = Place(1, 1000, 0)
    reader.feed(init(0), place)
    reader.gap(90, place)
    reader.feed(sync(0), place)
    migration.framing.page_count = 512
    reader.feed(sync(1) + bytes(8 * (512 - 128)), place)
    assert [(p.packet_num, p.header_size, p.payload) for p in kept.packets] == [
        (0, ram_header_size(128), 0),
        (1, ram_header_size(512), 0),
    ]


def test_a_packet_found_under_a_wrong_dialect_has_no_negative_size() -> None:
    """It is known by its idstr, and then read as a RAM packet, as the user says."""
    kept = Packets()
    settings = Settings(dialect="upstream")
    migration = Migration(0, (), settings, consumers=Consumers((kept,)))
    channel = Channel("multifd", Connection(0, bytes(12), NEVER).forward)
    packet = buffer(0, bytes(50), flags=0x10)
    pieces = init(0), 90, packet, buffer(1, flags=0x10), bytes(2000)
    feed(lambda reader: walk_multifd(reader, channel, lambda _: migration), pieces)
    assert [(p.length, p.payload >= 0) for p in kept.packets[:1]] == [(len(packet), True)]
    assert kept.packets[0].header_size >= 0


def test_a_stream_may_end_anywhere() -> None:
    whole, _ = walked(WHOLE)
    for at in near(-1, 0, 1, 3, 8):
        rows, channel = walked(WHOLE[:at])
        assert rows == [row for row in whole if row[0] + row[1] <= at], at
        assert (channel.cut_in is None) == (at in BOUNDARIES[1:]), at
        begin = max(boundary for boundary in BOUNDARIES if boundary <= at)
        headers = DEVICE_STATE.size if begin in DEVICES else ram_header_size(128)
        assert channel.cut_bytes == (at - begin if at - begin >= headers else 0), at


def test_what_the_last_packet_lacks_is_not_what_was_missing_before_it() -> None:
    hole, end = BOUNDARIES[2] + 2000, BOUNDARIES[6] - 100
    _, channel = walked(WHOLE[:hole], 50, WHOLE[hole + 50 : end])
    assert (channel.cut_in, channel.missing) == ("payload", 50)


def test_the_first_packet_may_have_pages() -> None:
    """How many offsets a packet has is not known yet."""
    packets = [ram([0, 1], [7], num=1), buffer(0), sync(2)]
    rows, _ = walked(init(0) + b"".join(packets))
    assert rows == [
        (64, len(packets[0]), 0, 1, "pc.ram"),
        (64 + len(packets[0]), len(packets[1]), 0x40, "0000:00:02.0/vfio#0", 0),
        (64 + len(packets[0] + packets[1]), len(packets[2]), 1, 2, ""),
    ]


@pytest.mark.parametrize("known", [10, 30, 46, 62])
def test_an_initial_packet_that_ends_in_a_hole_is_accounted_for(known: int) -> None:
    made = Craft()
    channel = made.connect(46000)
    channel.send(init(0)[:known])
    channel.lose(bytes(63 - known))
    channel.fin()
    scan = Scan(made.pcap()).run()
    accounted(scan)
    (migration,) = scan.migrations
    (found,) = migration.multifd
    assert found.length == 63
    assert found.missing == 63 - known
