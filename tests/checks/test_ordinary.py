"""The quick question must never keep a packet from a rule that would fire on it."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analyzer.checks.families import load
from analyzer.checks.ordinary import ANSWERED, is_ordinary, is_ordinary_buffer
from analyzer.checks.rule import rules_of
from analyzer.migration.channel import Channel
from analyzer.migration.consumers import Consumers, Watcher
from analyzer.migration.device import Device
from analyzer.migration.framing import Framing
from analyzer.migration.main_channel import MainFacts
from analyzer.migration.mark import Mark
from analyzer.migration.migration import Migration
from analyzer.migration.multifd_walker import walk_multifd
from analyzer.migration.scan import Scan
from analyzer.migration.settings import Settings
from analyzer.tcp.flow import Connection
from analyzer.tcp.reader import Reader
from analyzer.tcp.requests import Place
from tests.checks.craft import buffer, init, ram, sync
from tests.shipped import capture

if TYPE_CHECKING:
    from collections.abc import Sequence

    from analyzer.migration.rows import DevicePacket, RamPacket

load()
PACKET_RULES = [rule for rule in rules_of("ram", "packet") if rule.id in ANSWERED]
BUFFER_RULES = [rule for rule in rules_of("device-packet", "packet") if rule.id in ANSWERED]
SIZES = st.sampled_from((0, 40, (1 << 20) + 1))
PLACE = Place(1, 0, 0)


class Probe(Watcher):
    """Asks both: the quick question, and every packet rule."""

    def __init__(self) -> None:
        self.answers: list[tuple[bool, set[str]]] = []
        self.buffers: list[tuple[bool, set[str]]] = []

    def ram(
        self, migration: Migration, channel: Channel, packet: RamPacket, pages: Sequence[int]
    ) -> None:
        fired = {
            rule.id for rule in PACKET_RULES if rule.test(packet, channel, migration) is not None
        }
        self.answers.append((is_ordinary(packet, channel, migration, pages), fired))

    def device(self, migration: Migration, channel: Channel, packet: DevicePacket) -> None:
        fired = {
            rule.id for rule in BUFFER_RULES if rule.test(packet, channel, migration) is not None
        }
        self.buffers.append((is_ordinary_buffer(packet, migration), fired))


def answers(units: list[bytes], migration: Migration, header: int | None = None) -> Probe:
    """Walks one channel of a migration."""
    probe = Probe()
    channel = Channel("multifd", Connection(1, bytes(12), PLACE).forward)
    channel.channel_header = None if header is None else (4, header)
    migration.consumers = Consumers((probe,))

    def join(channel: Channel) -> Migration:
        migration.channels.append(channel)
        return migration

    reader = Reader(lambda reader: walk_multifd(reader, channel, join))
    reader.feed(b"".join([init(0), *units]), PLACE)
    reader.end()
    return probe


@st.composite
def migrations(draw: st.DrawFn) -> Migration:
    """Mostly plain; or with a forced era, with a device, after the switch to postcopy."""
    kind = draw(st.integers(0, 7))
    made = Migration(0, (b"",), Settings(era="7.2" if kind == 7 else None))
    if kind:
        facts = made.main_facts = MainFacts()
        facts.postcopy_run = Mark(0, PLACE) if kind == 6 else None
    if kind == 5:
        made.devices[b"vfio", 0] = Device(b"vfio", 0)
    return made


ANY: list[dict[str, Any]] = [
    {},
    {"flags": 3},
    {"flags": 0x80},
    {"flags": 6},
    {"flags": 2},
    {"pages_alloc": 129},
    {"pages_alloc": 1},
    {"num": 0},
    {"unused32": 1},
    {"unused64": bytes(23) + b"\1"},
    {"next_packet_size": 0},
    {"next_packet_size": 77},
    {"next_packet_size": (1 << 20) + 1},
    {"normal_pages": 0},
    {"normal_pages": 200},
    {"zero_pages": 0},
    {"zero_pages": 127},
    {"zero_pages": (1 << 32) - 1},
    {"offsets": b"\1".rjust(1024, b"\0")},
    {"offsets": struct.pack(">Q", 4100).ljust(1024, b"\0")},
    {"offsets": struct.pack(">3Q", 4100, 0, 8192).ljust(1024, b"\0")},
    {"offsets": struct.pack(">3Q", 0, 0, 8192).ljust(1024, b"\0")},
    {"offsets": struct.pack(">4Q", 0, 4096, 8192, 4096).ljust(1024, b"\0")},
    {"block": b""},
    {"block": b"x" * 255},
    {"block": b"x" * 256},
    {"block": b"pc.ram\0old"},
    {"block": b"\0x"},
]
"""What can be wrong with a packet, one at a time."""


@st.composite
def packets(draw: st.DrawFn) -> dict[str, Any]:
    """A RAM or SYNC packet, right or with one or two fields that do not fit the others."""
    fields: dict[str, Any] = {}
    for wrong in draw(st.lists(st.sampled_from(ANY), min_size=1, max_size=2)):
        fields |= wrong
    kind = draw(st.integers(0, 4))
    if kind == 0:
        return {"flags": 1, "pages_alloc": 0, "block": b"", **fields}
    pages = {
        "normal": draw(st.sampled_from(((), (1, 2)))),
        "zero": draw(st.sampled_from(((), (3,)))),
    }
    if kind < 4:
        return {**pages, **fields}
    return {**pages, "flags": 2, "payload": b"z" * draw(SIZES), **fields}


@settings(max_examples=1000)
@given(
    migration=migrations(),
    before=st.sampled_from((sync(0), sync(0), sync(0, pages_alloc=128), ram([0], num=0))),
    first=st.sampled_from((ram([0], num=1), ram([0], [1], num=1), ram([0], num=1, flags=2))),
    units=st.lists(packets(), min_size=1, max_size=3),
    header=st.sampled_from((*[None] * 6, 2, 3)),
)
def test_no_rule_fires_on_an_ordinary_packet(
    migration: Migration,
    before: bytes,
    first: bytes,
    units: list[dict[str, Any]],
    header: int | None,
) -> None:
    numbered = [ram(**{"num": 2 + at, **unit}) for at, unit in enumerate(units)]
    probe = answers([before, first, *numbered, sync(9)], migration, header)
    assert all(not fired for ordinary, fired in probe.answers if ordinary)


BUFFERS: list[dict[str, Any]] = [
    {},
    {},
    {"flags": 0x41},
    {"flags": 0x44},
    {"flags": 0x10},
    {"flags": 0xC0},
    {"idx": 0xFFFFFFFF},
    {"idx": 1 << 24},
    {"config": True},
    {"header": {"flags": 2}},
    {"header": {"flags": 1 << 24}},
    {"header": {"version": 1}},
    {"header": {"version": 1 << 24}},
    {"data": b""},
    {"idstr": b"x" * 256},
    {"idstr": b"vfio\0old"},
    {"idstr": b""},
    {"next_packet_size": 0},
    {"next_packet_size": 5},
    {"host_order": True},
]


@settings(max_examples=500)
@given(
    migration=migrations(),
    units=st.lists(
        st.lists(st.sampled_from(BUFFERS), min_size=1, max_size=2), min_size=1, max_size=4
    ),
    forced=st.sampled_from(("auto", "auto", "upstream", "v3")),
    compressed=st.booleans(),
)
def test_no_rule_fires_on_an_ordinary_buffer(
    migration: Migration, units: list[list[dict[str, Any]]], forced: str, compressed: bool
) -> None:
    migration.framing = Framing(Settings(dialect=forced))
    buffers = []
    for at, wrong in enumerate(units):
        fields: dict[str, Any] = {"idx": at, "data": b"state" * 8}
        for part in wrong:
            fields |= part
        buffers.append(buffer(**fields))
    first = ram([0], num=1, flags=2, payload=b"z" * 8) if compressed else ram([0], num=1)
    probe = answers([sync(0), first, *buffers], migration)
    assert all(not fired for ordinary, fired in probe.buffers if ordinary)


def test_an_odd_page_count_is_a_fork_s_whose_pages_are_taken_for_4_kib() -> None:
    offsets = (4096).to_bytes(8, "big").ljust(8 * 130, b"\0")
    sent: dict[str, Any] = {"count": 130, "offsets": offsets, "payload": bytes(4096)}
    units = [ram([1], num=number, **sent) for number in (1, 2)]
    probe = answers(units, Migration(0, (b"",), Settings()))
    assert probe.answers == [(True, set()), (True, set())]


@pytest.mark.parametrize(
    "name", ["10.0.13-vfio-3dev-4ch", "11.1.3-veth-mtu1500-zstd-3ch", "10.0.13-alpha-8k-pages-2ch"]
)
def test_what_current_senders_send_is_ordinary(name: str) -> None:
    """Otherwise the fast path is none."""
    probe = Probe()
    scan = Scan(capture(name), watchers=(probe,)).run()
    odd = [fired for ordinary, fired in probe.answers if not ordinary]
    assert len(probe.answers) > 100
    assert not odd
    config = sum(len(m.devices) for m in scan.migrations)
    assert sum(not ordinary for ordinary, _ in probe.buffers) == config


def test_only_packet_rules_are_answered() -> None:
    assert {rule.id for rule in (*PACKET_RULES, *BUFFER_RULES)} == ANSWERED
