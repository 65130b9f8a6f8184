"""Captures with very many connections: what is not a migration's is let go of."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from analyzer.analysis import Analysis, analyze
from analyzer.migration import attempts, grouping, unidentified
from analyzer.migration.scan import Scan
from analyzer.migration.settings import Settings
from analyzer.report.style import Style
from analyzer.report.text import text_report
from analyzer.tui.document import Document
from analyzer.tui.stream_rows import capture_text, stream_lines
from tests.checks.craft import HEADER, RAM_END, Craft, Tiny, init, sync
from tests.tcp.wire import forgetful

if TYPE_CHECKING:
    from analyzer.tcp.flow import Flow

CLIENT_HELLO = bytes.fromhex("16030100050100000100")
STRANGER = b"GET / HTTP/1.0\r\n"


def crowd(
    count: int, data: bytes, *, closed: bool = False, tiny: bool = False, syn: bool = True
) -> bytes:
    """So many connections that begin with ``data``, then perhaps a migration."""
    capture = Craft()
    for number in range(count):
        connection = capture.connect(
            50000, client=f"10.1.{number >> 8}.{number & 255}", first=10_000 + 777 * number, syn=syn
        )
        connection.send(data)
        if closed:
            connection.fin("client")
            connection.fin("server")
    return (Tiny().craft(capture) if tiny else capture).pcap()


def notes(analysis: Analysis) -> str:
    return "\n".join(text_report(analysis, Style()))


@pytest.mark.parametrize("data", [init(0), HEADER])
def test_further_migrations_are_counted(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grouping, "MIGRATIONS_MAX", 3)
    analysis = analyze(crowd(10, data))
    assert len(analysis.migrations) == 3
    assert analysis.scan.grouper.untold == 7
    assert "channels not read: 7, beyond the limits of" in notes(analysis)


def test_a_full_capture_still_takes_channels_of_known_migrations(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(grouping, "MIGRATIONS_MAX", 1)
    analysis = analyze(Tiny().pcap())
    (migration,) = analysis.migrations
    assert len(migration.channels) == 4
    assert not analysis.scan.grouper.untold


def test_further_channels_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grouping, "KNOWN_MAX", 2)
    analysis = analyze(Tiny().pcap())
    assert len(analysis.migrations[0].channels) == 2
    assert analysis.scan.grouper.untold == 2  # what goes back counts too


def test_strangers_beyond_some_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grouping, "STRANGERS_MAX", 5)
    grouper = analyze(crowd(40, STRANGER, tiny=True)).scan.grouper
    assert len(grouper.unknown) == 5
    assert len(grouper._channels) == 5 + 4
    assert len(grouper.migrations) == 1


def test_channels_of_one_id_look_for_a_silent_main_once_each(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looked = 0
    key_of = attempts.key_of

    def counting(flow: Flow) -> tuple[bytes | int, ...]:
        nonlocal looked
        looked += 1
        return key_of(flow)

    monkeypatch.setattr(attempts, "key_of", counting)
    monkeypatch.setattr(attempts, "SILENT_MAX", 12)
    capture = Craft()
    count = 150
    for number in range(count):
        main, channel = (capture.connect(port + number) for port in (46000, 47000))
        channel.send(init(0))
        main.send(HEADER)
    scan = Scan(capture.pcap()).run()
    assert len(scan.migrations) == count
    assert looked < 2 * 20 * count


def test_few_of_many_full_attempts_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """A channel whose connection is the oldest could belong to any of them."""
    monkeypatch.setattr(attempts, "CHANNELS_LOOKED_AT", 10)
    capture = Craft()
    early = capture.connect(45000)
    for number in range(40):
        one = capture.connect(46000 + number)
        one.send(init(number % 4))
        one.fin()
    scan = Scan(capture.pcap()).run()
    assert len(scan.migrations) > 10
    found = scan.grouper._attempts._latest(attempts.key_of(scan.engine.connections[0].forward))
    assert 0 < sum(len(attempt.channels) for attempt in found) <= 10
    early.send(init(9))
    assert len(Scan(capture.pcap()).run().migrations) == len(scan.migrations)


@pytest.mark.parametrize(("size", "syn"), [(70, True), (300, False)])
def test_unidentified_streams_are_forgotten(
    size: int, syn: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    forgetful(monkeypatch, 20)
    monkeypatch.setattr(unidentified, "STREAMS_MAX", 10)
    scan = analyze(crowd(200, b"x" * size, tiny=True, syn=syn)).scan
    assert len(scan.engine.connections) <= 40
    assert {len(m.channels) for m in scan.migrations} == {4}
    assert not scan.grouper._unidentified._flows  # the capture has ended


def test_of_too_many_unidentified_streams_the_oldest_are_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(unidentified, "STREAMS_MAX", 2)
    capture = Craft()
    begun = [capture.connect(46000 + number, syn=False) for number in range(3)]
    for one in begun:
        one.send(b"x" * 100)
    for number, one in enumerate(begun):
        one.send(init(number) + sync(0) + sync(1))
    analysis = analyze(capture.pcap())
    (migration,) = analysis.migrations
    assert [c.flow.connection.number for c in migration.channels] == [1, 2]


def test_unidentified_streams_share_what_is_held_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Alone, one is held until the first sign of what it is; among many it is not."""
    monkeypatch.setattr(unidentified, "HELD_MAX", 1 << 15)

    def found(others: int) -> int:
        capture = Craft()
        for number in range(others):
            capture.connect(50000, client=f"10.1.0.{number}", syn=False).send(b"x" * 100)
        one = capture.connect(46000, syn=False)
        one.send(b"x" * 5000 + RAM_END)
        return len(Scan(capture.pcap()).run().migrations)

    assert [found(0), found(20)] == [1, 0]


@pytest.mark.parametrize("closed", [True, False])
def test_tls_of_closed_connections_is_forgotten(
    closed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    forgetful(monkeypatch, 20)
    monkeypatch.setattr(grouping, "ENCRYPTED_MAX", 60)
    scan = analyze(crowd(200, CLIENT_HELLO, closed=closed, tiny=True)).scan
    assert len(scan.grouper.tls) <= (30 if closed else 60)
    assert len(scan.engine.connections) <= (30 if closed else 90)
    assert len(scan.grouper.migrations) == 1
    assert {len(m.channels) for m in scan.migrations} == {4}


def test_the_interface_lists_the_streams_of_migrations_in_any_case(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    forgetful(monkeypatch, 20)
    document = Document("crowd.pcap", Settings())
    capture = Tiny().craft()
    for number in range(100):
        capture.connect(50000, client=f"10.1.0.{number}").send(STRANGER)
    document.scan = analyze(capture.pcap()).scan
    assert document.scan.engine.connections[0].number > 2
    numbers = [line.number for line in stream_lines(document)]
    assert {0, 1, 2} < set(numbers)
    assert numbers == sorted(numbers)


def test_the_interface_says_how_many_connections_it_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    forgetful(monkeypatch, 20)
    scan = analyze(crowd(200, STRANGER, closed=True)).scan
    kept = len(scan.engine.connections)
    assert f"{kept} of 200 connections listed" in capture_text(scan).plain
    assert "listed" not in capture_text(analyze(Tiny().pcap()).scan).plain
