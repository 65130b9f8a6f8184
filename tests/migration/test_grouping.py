"""Which streams belong together."""

from __future__ import annotations

from typing import Any

import pytest

from analyzer.migration.outcome import outcome_of
from analyzer.migration.scan import Scan
from analyzer.synth import build
from dissectors.multifd import MAGIC_BYTES
from tests.checks.craft import (
    EOF,
    HEADER,
    PONG,
    RAM_END,
    RAM_PART,
    RAM_START,
    SHUT,
    STATE,
    Craft,
    Tiny,
    buffer,
    channel_header,
    config,
    init,
    sync,
)

SMALL: dict[str, Any] = {"channels": 2, "device": [{"size": 5000}]}


def migrations(scenario: dict[str, Any]) -> Scan:
    return Scan(build(scenario)).run()


def test_two_at_once_between_the_same_hosts() -> None:
    one = SMALL | {"network": {"port": 4444, "client_port": 40000}}
    two = SMALL | {"network": {"port": 4445, "client_port": 41000}, "channels": 3}
    scan = migrations({"migration": [one, two]})
    assert sorted(len(m.multifd) for m in scan.migrations) == [2, 3]
    assert all(m.main is not None for m in scan.migrations)


def test_a_retry_on_the_same_port_is_a_migration_of_its_own() -> None:
    first = SMALL | {"fault": [{"kind": "cancelled"}]}
    again = SMALL | {"after": True, "network": {"client_port": 47000}}
    scan = migrations({"migration": [first, again]})
    assert [outcome_of(m).name for m in scan.migrations] == ["cancelled", "completed"]
    assert [len(m.multifd) for m in scan.migrations] == [2, 2]


def test_the_same_ports_used_again() -> None:
    scan = migrations({"migration": [SMALL, SMALL | {"after": True}]})
    assert len(scan.migrations) == 2
    assert all(outcome_of(m).name == "completed" for m in scan.migrations)


def test_foreign_traffic_is_not_taken_for_channels() -> None:
    scan = migrations(SMALL | {"noise": {"arp": 5, "udp": 5, "tcp": 4}})
    assert len(scan.migrations) == 1
    assert not scan.migrations[0].strangers


def test_any_port_and_ipv6() -> None:
    network = {"source": "fd00::1", "destination": "fd00::2", "port": 51515}
    scan = migrations(SMALL | {"network": network})
    (migration,) = scan.migrations
    assert migration.destination == "[fd00::2]:51515"
    assert len(migration.channels) == 4


@pytest.mark.parametrize("flags", [0x10, 0x40])
def test_device_state_of_a_short_name_is_no_initial_packet(flags: int) -> None:
    made = Craft()
    channel = made.connect(46000, syn=False)
    for idx in (5, 6):
        channel.send(buffer(idx, idstr=b"vfio", flags=flags))
    (migration,) = Scan(made.pcap()).run().migrations
    (device,) = migration.devices.values()
    assert [found.idx for found in device.buffers] == [5, 6]


BEGUN_LATE = {
    "multifd": bytes(50) + buffer(0) + buffer(1) + buffer(2),
    "main": bytes(50) + RAM_PART * 3 + RAM_END + STATE + EOF,
    "return-path": PONG * 5 + SHUT,
}


@pytest.mark.parametrize("size", [1, 5, 1400])
@pytest.mark.parametrize("kind", BEGUN_LATE)
def test_a_stream_that_began_late_is_told_whatever_the_size_of_its_segments(
    kind: str, size: int
) -> None:
    made = Craft()
    made.connect(46000, syn=False).send(BEGUN_LATE[kind], size=size)
    scan = Scan(made.pcap()).run()
    (connection,) = scan.engine.connections
    channel = scan.grouper.channel_of(connection.forward)
    assert channel is not None
    assert channel.kind == kind


@pytest.mark.parametrize("size", [1, 50, 1400])
def test_the_first_mark_tells_a_stream_that_began_late(size: int) -> None:
    """Also if what another channel's packets begin with is in the same segment."""
    made = Craft()
    made.connect(46000, syn=False).send(bytes(50) + RAM_PART + RAM_END + init(0), size=size)
    (migration,) = Scan(made.pcap()).run().migrations
    assert [channel.kind for channel in migration.channels] == ["main"]


FIRST = {
    "channel": (init(7) + sync(3), "multifd", "multifd"),
    "magic": (MAGIC_BYTES, "multifd", "multifd"),
    "part of the magic": (MAGIC_BYTES[:3], "unknown", "multifd"),
    "another byte": (b"\x12", "unknown", "unknown"),
    "text": (b"GET / HTTP/1.1\r\n\r\n" * 9, "unknown", "unknown"),
    "damaged magic": (b"\xde\xad" + init(7)[2:] + sync(3), "multifd", "multifd"),
    "damaged magic, no packet": (b"\xde\xad" + init(7)[2:] + bytes(99), "unknown", "unknown"),
    "damaged magic and version": (b"\xde\xad" + bytes(62) + sync(3), "unknown", "unknown"),
    "damaged QEVM": (b"QQQQ" + HEADER[4:] + RAM_START, "main", "main"),
    "main with a channel header": (channel_header(0) + HEADER + RAM_START, "main", "main"),
    "channel with a channel header": (channel_header(2) + init(7), "multifd", "multifd"),
    "unknown channel header": (channel_header(9) + init(7), "unknown", "unknown"),
}
"""Bytes of a stream; what it is on its own, and while a migration is under way there."""


@pytest.mark.parametrize("under_way", [False, True])
@pytest.mark.parametrize("name", FIRST)
def test_a_stream_is_recognised_by_its_first_bytes(name: str, under_way: bool) -> None:
    data, *kinds = FIRST[name]
    made = tiny(46000, close=False).craft() if under_way else Craft()
    stranger = made.connect(47000)
    stranger.send(data)
    stranger.fin()
    scan = Scan(made.pcap()).run()
    channel = scan.grouper.channel_of(scan.engine.connections[-1].forward)
    assert channel is not None
    assert channel.kind == kinds[under_way]
    if data.startswith(channel_header(0)[:8]):
        assert channel.channel_header == (4, data[11])
    elif channel.kind == "unknown":
        assert channel.head == data[:8]


# -- attempts one after the other ------------------------------------------------------------------


def tiny(port: int, *, close: bool = True) -> Tiny:
    """A migration from these client ports on."""
    made = Tiny(device=False)
    made.ports = list(range(port, port + 6))
    if not close:
        made.close = []
        made.returned = made.returned[:1]
    return made


def channels(pcap: bytes) -> list[tuple[int, bool]]:
    """How many multifd channels each migration has, and whether it has a main."""
    return [(len(m.multifd), m.main is not None) for m in Scan(pcap).run().migrations]


def test_a_retry_after_one_whose_end_is_not_in_the_capture() -> None:
    made = tiny(46000, close=False).craft()
    assert channels(tiny(47000).craft(made).pcap()) == [(2, True), (2, True)]


def test_a_retry_whose_multifd_channels_speak_before_its_main() -> None:
    made = tiny(46000, close=False).craft()
    main, zero, one = (made.connect(port) for port in (47000, 47001, 47002))
    again = tiny(47000)
    for connection, units in (
        (zero, again.multifd[0]),
        (one, again.multifd[1]),
        (main, again.main),
    ):
        for unit in units:
            connection.send(unit)
    assert channels(made.pcap()) == [(2, True), (2, True)]


@pytest.mark.parametrize("late", [2, 3])
def test_an_id_given_twice_while_other_channels_are_silent_is_no_retry(late: int) -> None:
    """Channels connect side by side: one that has not introduced itself yet is no newer main."""
    made = Craft()
    main, *opened = (made.connect(46000 + number) for number in range(4))
    order = [one for number, one in enumerate(opened, 1) if number != late]
    for connection in order:
        connection.send(init(0))
    opened[late - 1].send(init(1))
    main.send(HEADER)
    assert channels(made.pcap()) == [(3, True)]


def test_the_answer_alone_tells_when_a_channel_connected() -> None:
    """Behind the end of the attempt before it: neither its SYN nor its first bytes are there."""
    made = tiny(46000).craft()
    channel = made.connect(47001)
    del made.frames[-2]
    channel.lose(init(0))
    for number in range(3):
        channel.send(sync(number))
    assert channels(made.pcap()) == [(2, True), (1, False)]


def test_an_id_given_twice_before_another_channel_connected_is_no_retry() -> None:
    """The main of a newer attempt connects before its channels, not behind them."""
    made = Craft()
    main, first, second, later = (made.connect(46000 + number) for number in range(4))
    main.send(HEADER)
    for channel in (first, second):
        channel.send(init(0))
    later.send(init(1))
    assert channels(made.pcap()) == [(3, True)]


@pytest.mark.parametrize("lost", ["init", "main"])
def test_a_channel_recognised_late_belongs_to_the_attempt_of_its_time(lost: str) -> None:
    """What stands in front of it was lost; it is given up only when the connection ends."""
    first = tiny(46000)
    made = first.craft()
    head = first.main[0] if lost == "main" else first.multifd[1][0]
    made.frames = [frame for frame in made.frames if not frame.data.endswith(head)]
    found = channels(tiny(47000).craft(made).pcap())
    assert found == [(2, True), (2, True)]


def test_a_capture_begun_late_is_one_migration() -> None:
    """Without SYN, a channel first seen behind main's end is no newer one."""
    made = Craft()
    main, zero, one = (made.connect(port, syn=False) for port in (46000, 46001, 46002))
    whole = Tiny()
    main.send(b"".join(whole.main[3:]))
    zero.send(buffer(3))
    main.fin()
    one.send(buffer(4) + config(5))
    zero.fin()
    one.fin()
    assert channels(made.pcap()) == [(2, True)]


@pytest.mark.parametrize("lost", [slice(8, 12), slice(20, 50), slice(50, 64), slice(60, 400)])
def test_a_channel_without_syn_may_have_a_hole_in_its_first_bytes(lost: slice) -> None:
    data = init(0) + b"".join(sync(number) for number in range(5))
    made = Craft()
    channel = made.connect(46000, syn=False)
    channel.send(data[: lost.start])
    channel.lose(data[lost])
    channel.send(data[lost.stop :])
    (migration,) = Scan(made.pcap()).run().migrations
    (found,) = migration.channels
    assert len(found.syncs) >= 4
    assert found.decoded + found.skipped + found.missing == len(data)


def test_a_return_path_with_a_hole_in_front_belongs_to_the_main_known_by_then() -> None:
    made = Craft()
    connection = made.connect(46000)
    connection.lose(PONG, "server")
    connection.send(PONG * 2, "server")
    connection.send(HEADER + RAM_START)
    (migration,) = Scan(made.pcap()).run().migrations
    assert [channel.kind for channel in migration.channels] == ["main", "return-path"]


@pytest.mark.parametrize("lost", [1, 8, 20])
@pytest.mark.parametrize("kind", BEGUN_LATE)
def test_every_byte_before_a_stream_is_recognised_is_accounted_for(kind: str, lost: int) -> None:
    side = "server" if kind == "return-path" else "client"
    made = Craft()
    connection = made.connect(46000)
    for size in (lost, 3):
        connection.lose(bytes(size), side)
        connection.send(bytes(5), side)
    connection.lose(bytes(1), side)
    connection.send(BEGUN_LATE[kind], side)
    if side == "server":
        connection.send(HEADER + RAM_START)
    (migration,) = Scan(made.pcap()).run().migrations
    channel = next(channel for channel in migration.channels if channel.kind == kind)
    facts = migration.facts_of(channel)
    assert facts.missing == lost + 4
    assert facts.decoded + facts.skipped + facts.missing == channel.length


def test_the_channel_header_of_main_is_accounted_for() -> None:
    made = Craft()
    made.connect(46000).send(channel_header(0) + HEADER + RAM_START)
    (migration,) = Scan(made.pcap()).run().migrations
    (main,) = migration.channels
    assert migration.facts_of(main).decoded == main.length
