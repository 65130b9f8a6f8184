"""Which streams belong together."""

from __future__ import annotations

import time
from typing import Any

import pytest

from analyzer.migration.framing import Settings
from analyzer.migration.grouping import LOOK_AROUND, Grouper
from analyzer.migration.outcome import outcome_of
from analyzer.migration.scan import Scan
from analyzer.synth import build
from analyzer.tcp.flow import Connection
from analyzer.tcp.reader import UNREAD
from analyzer.tcp.requests import Place
from tests.checks.craft import EOF, PONG, RAM_END, RAM_PART, SHUT, STATE, Craft, buffer

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


def test_looking_at_a_stream_in_tiny_segments_takes_no_longer_than_at_large_ones() -> None:
    flow = Connection(0, bytes(12), Place(0, 0, 0)).forward
    walker = Grouper(Settings())._midstream(UNREAD, flow)
    next(walker)
    began = time.process_time()
    for _ in range(LOOK_AROUND - 1):
        walker.send(b"\1")
    assert time.process_time() - began < 4
