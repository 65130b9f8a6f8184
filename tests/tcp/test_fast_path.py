"""The engine's fast path, and batches of any size, give what its readable way gives."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from analyzer.tcp.engine import Engine
from analyzer.tcp.reader import Reader
from analyzer.tcp.requests import Deliver, Skip, Take
from tests.capture.files import Section, pcap
from tests.tcp.wire import ACK, CLIENT, FIN, RST, WRAP, Result, Wire, analysed

if TYPE_CHECKING:
    from pathlib import Path

    from analyzer.capture.frames import Batch
    from analyzer.tcp.flow import Flow
    from analyzer.tcp.requests import Walker


def long_wire(seed: int) -> tuple[Wire, bytes]:
    """A long stream of large frames, with faults that do not change what the receiver read."""
    dice = random.Random(seed)
    data = dice.randbytes(300_000)
    wire = Wire(isn=dice.choice([WRAP - 70_000, 5])).open()
    at = 0
    pieces = []
    while at < len(data):
        size = dice.choice([1448, 1448, 1448, 100, 9000])
        pieces.append((at, data[at : at + size]))
        at += size
    for index in range(len(pieces) - 1):
        if dice.random() < 0.05:
            pieces[index], pieces[index + 1] = pieces[index + 1], pieces[index]
    for offset, piece in pieces:
        wire.send(offset, piece)
        if dice.random() < 0.05:
            wire.send(offset, piece)
        if dice.random() < 0.3:
            wire.ack(offset)
    return wire, data


@pytest.mark.parametrize("seed", range(6))
def test_the_fast_path_gives_what_the_readable_way_gives(seed: int) -> None:
    """Takes and Skips through a stream with faults: every taken byte is the stream's."""
    wire, data = long_wire(seed)
    dice = random.Random(seed)
    script = []
    at = 0
    while at < len(data) - 40_000:
        skip = dice.choice([0, 10, 30_000])
        script.append((at, skip))
        at += 16 + skip
    taken: list[bool] = []

    def walk(reader: Reader) -> Walker:
        for offset, skip in script:
            got = yield Take(16)
            taken.append(got == data[offset : offset + 16] and reader.offset == offset + 16)
            missing = yield Skip(skip)
            taken.append(missing == 0)

    result = Result(pcap(wire.frames), walk)
    assert len(taken) == 2 * len(script)
    assert all(taken)
    assert result.flow.offset == len(data)
    assert not result.flow.holes
    assert not result.flow.differences


@pytest.mark.parametrize("seed", range(4))
def test_in_batches_of_one_frame_the_flows_of_the_frame_are_found(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if all that carry data were looked at: frames of two interfaces in turn."""
    frames = [f for port in range(1, 40) for f in Wire(port=port).open().send(0, b"x" * 9).frames]
    frames += long_wire(seed)[0].frames
    section = Section().interface().interface()
    for number, (_, data, original) in enumerate(frames):
        section.enhanced(number, data, original, number=number & 1)

    def walk(_reader: Reader) -> Walker:
        while type((yield Take(4))) is bytes:
            yield Skip(20_000)

    def told() -> list[tuple[object, ...]]:
        return [
            (flow.offset, flow.acked, flow.first.frame, flow.last.frame,
             list(flow.checkpoint_positions), list(flow.checkpoint_offsets))
            for flow in Result(bytes(section), walk).flows.values()
        ]  # fmt: skip

    found = told()
    monkeypatch.setattr(Engine, "_candidates", lambda self, _batch: self._known.carrying)
    assert found == told()


def test_a_batch_of_one_frame_is_no_look_at_all_connections(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looked_at = []
    candidates = Engine._candidates

    def told(self: Engine, batch: Batch) -> list[Flow]:
        looked_at.append(list(candidates(self, batch)))
        return looked_at[-1]

    monkeypatch.setattr(Engine, "_candidates", told)
    section = Section().interface().interface()
    for port in range(1, 300):
        for number, (time, data, original) in enumerate(
            Wire(port=port).open().send(0, b"x").frames
        ):
            section.enhanced(time, data, original, number=number & 1)
    Result(bytes(section))
    assert len(looked_at) > 500
    assert max(map(len, looked_at)) <= 4


def test_a_hole_behind_the_fast_path_names_the_frame_in_front_of_it() -> None:
    wire = Wire().open()
    for at in range(0, 5000, 1000):
        wire.send(at, bytes(1000))
    wire.send(6000, bytes(1000)).send(7000, b"", flags=ACK | FIN)

    def walk(_reader: Reader) -> Walker:
        yield Skip(100_000)

    (hole,) = Result(pcap(wire.frames), walk).flow.holes
    assert (hole.first, hole.last, hole.before, hole.after) == (5000, 5999, 7, 8)


@pytest.mark.parametrize("end", ["FIN", "no more frames", "the ports are used again"])
def test_an_end_behind_the_fast_path_is_where_the_last_byte_was(end: str) -> None:
    wire = Wire().open()
    for at in range(0, 5000, 1000):
        wire.send(at, bytes(1000))
    if end == "FIN":
        wire.send(5000, b"", flags=ACK | FIN)
    elif end == "the ports are used again":
        wire.frames += Wire(isn=9_000_000).open().frames
    seen = []

    def walk(reader: Reader) -> Walker:
        yield Skip(100_000)
        seen.append((reader.offset, reader.last.frame))

    Result(pcap(wire.frames), walk)
    assert seen == [(5000, 7)]


@pytest.mark.parametrize("skipped", [0, 100_000])
def test_data_behind_a_reset_of_the_other_side_is_counted_on_the_fast_path_too(
    skipped: int,
) -> None:
    wire = Wire().open()
    for at in range(0, 3000, 1000):
        wire.send(at, bytes(1000))
    wire.ack(2000, flags=RST | ACK)
    for at in range(3000, 6000, 1000):
        wire.send(at, bytes(1000))

    def walk(_reader: Reader) -> Walker:
        yield Skip(skipped)
        yield Deliver(1 << 50, lambda _piece, _size: None)

    flow = Result(pcap(wire.frames), walk).flow
    assert (flow.data_after_reset, flow.offset, flow.seen) == (3000, 6000, 7)


@pytest.mark.parametrize("behind", [0, 1000])
def test_what_bare_acks_acknowledge_is_known_in_the_end(behind: int, tmp_path: Path) -> None:
    """Also those that are alone in a batch, and those of a direction that says nothing else."""
    wire = Wire().open()
    other = Wire(port=CLIENT + 1).open()
    for at in range(0, 5000, 1000):
        wire.send(at, bytes(1000)).ack(at + 1000)
    for at in range(0, 600_000, 1000):
        other.send(at, bytes(1000))
    last = Wire().ack(5000 + behind).frames
    path = tmp_path / "acks.pcap"
    path.write_bytes(pcap(wire.frames + other.frames + last + other.frames[-1:]))
    result = Result(str(path))
    assert result.flow.acked == 5000 + behind
    if behind:
        (hole,) = result.flow.holes
        end = len(wire.frames) + len(other.frames) + 2
        assert (hole.first, hole.last, hole.before, hole.after) == (5000, 5998, 11, end)
    else:
        assert not result.flow.holes


def test_an_ack_of_an_earlier_batch_is_not_read_in_a_later_one() -> None:
    wire = Wire().open().ack(0)
    other = Wire(port=CLIENT + 1).open()
    for at in range(0, 600_000, 1000):
        other.send(at, b"\x7f" * 1000, ack=0x7F7F7F7F)
    first = Wire().send(0, bytes(1000)).frames
    result = Result(pcap(wire.frames + other.frames + first))
    assert result.flow.acked == 0
    assert not result.flow.holes


def test_pauses_between_batches_of_one_frame_are_bounded_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("analyzer.tcp.engine.PAUSES_KEPT", 5)
    section = Section().interface().interface()
    for number in range(20):
        section.enhanced(number * 50_000, Wire().open().frames[0][1], 54, number=number & 1)
    assert [frame for _, _, frame in Result(bytes(section)).engine.pauses] == [2, 3, 4, 5, 6]


def test_bare_acks_tell_that_bytes_were_sent_which_the_capture_lacks() -> None:
    """No frame of that side shows a byte, and all ACKs could go the fast way."""
    wire = Wire().open()
    for offset in (0, 500, 1448):
        wire.ack(offset)
    (connection,) = analysed(wire).engine.connections
    assert not connection.forward.never_sent
