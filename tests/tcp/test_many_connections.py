"""More connections than the engine keeps, or more waiting segments than it holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from analyzer.tcp.engine import Engine
from analyzer.tcp.flow import Connections
from analyzer.tcp.reader import Reader
from analyzer.tcp.requests import Take
from tests.capture.files import pcap
from tests.tcp.wire import ACK, FIN, Result, Wire, forgetful

if TYPE_CHECKING:
    from analyzer.tcp.flow import Flow
    from analyzer.tcp.requests import Walker


def test_a_flood_of_connections_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    forgetful(monkeypatch, 50)
    frames = []
    for port in range(1, 1000):
        frames += Wire(port=port).open().frames
    keeper = Wire(port=60000).open().send(0, b"kept")
    result = Result(pcap(frames + keeper.frames))
    assert result.engine.streams == 1000
    assert len(result.engine.connections) <= 200
    assert bytes(result.streams[999, "10.0.0.1:60000"]) == b"kept"


def waiting(count: int) -> list[tuple[int, bytes, int]]:
    """Connections that lack a byte, each with three segments behind it."""
    frames = []
    for port in range(1, count + 1):
        wire = Wire(port=port).open().send(0, b"a")
        frames += wire.send(2, b"b").send(3, b"c").send(4, b"d").frames
    return frames


def test_few_segments_wait_however_many_connections_lack_bytes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What waits longest is given up, not what came last."""
    monkeypatch.setattr("analyzer.tcp.engine.WAITING_SEGMENTS_ALL", 10)
    late = Wire(port=60000).open().send(0, b"a").send(2, b"c").send(1, b"b")
    most = 0
    wait = Engine._wait

    def counted(self: Engine, flow: Flow, *rest: Any) -> None:
        nonlocal most
        wait(self, flow, *rest)
        most = max(most, sum(len(f.waiting) for f in self._flows.values()))

    monkeypatch.setattr(Engine, "_wait", counted)
    result = Result(pcap(waiting(8) + late.frames))
    assert most == 10
    assert bytes(result.streams[0, "10.0.0.1:1"]) == b"a?bcd"
    assert bytes(result.streams[8, "10.0.0.1:60000"]) == b"abc"
    assert not result.engine._waited


def test_what_waits_on_a_forgotten_connection_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    forgetful(monkeypatch, 50)
    held = 0
    forget = Connections._forget

    def told(self: Connections) -> None:
        nonlocal held
        forget(self)
        engine: Engine = getattr(self._release, "__self__")  # noqa: B009 - unknown to mypy
        held = max(held, len(engine._waited), engine._waiting_segments // 3)

    monkeypatch.setattr(Connections, "_forget", told)
    Result(pcap(waiting(500)))
    assert 0 < held <= 75


@pytest.mark.parametrize("kind", ["closed", "reused", "five bytes"])
def test_connections_that_carry_something_are_forgotten_too(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    forgetful(monkeypatch, 50)
    frames = []
    for number in range(1, 500):
        wire = Wire(port=9 if kind == "reused" else number, isn=100_000 * number).open()
        wire.send(0, b"hello" if kind == "five bytes" else bytes(100))
        if kind == "closed":
            wire.send(100, b"", flags=ACK | FIN)
            wire.add(5001, flags=ACK | FIN, back=True, ack=wire.isn + 102)
        frames += wire.frames

    def walk(_reader: Reader) -> Walker:
        yield Take(64)

    result = Result(pcap(frames), walk)
    assert result.engine.streams == 499
    assert len(result.engine.connections) <= 75
    assert len(result.engine._known.carrying) <= 75
    assert len(result.engine._flows) <= 150


def test_a_connection_that_is_read_goes_on_behind_a_flood(monkeypatch: pytest.MonkeyPatch) -> None:
    forgetful(monkeypatch, 50)
    kept = Wire(port=60000).open().send(0, bytes(100))
    frames = list(kept.frames)
    for port in range(1, 500):
        frames += Wire(port=port).open().frames
    result = Result(pcap(frames + kept.send(100, b"more").frames[3:]))
    assert bytes(result.streams[0, "10.0.0.1:60000"]) == bytes(100) + b"more"
    assert result.engine.streams == 500


def test_a_flood_of_connections_that_are_read_is_not_gone_through_for_each(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    forgetful(monkeypatch, 50)
    went = []
    forget = Connections._forget

    def told(self: Connections) -> None:
        went.append(self.count)
        forget(self)

    monkeypatch.setattr(Connections, "_forget", told)
    frames = []
    for port in range(1, 1000):
        frames += Wire(port=port).open().send(0, bytes(64)).frames
    assert len(Result(pcap(frames)).engine.connections) == 999
    assert 0 < len(went) < 50
