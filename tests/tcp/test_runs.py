"""Runs of frames alike, looked at as one, give what looking at each frame gives."""

from __future__ import annotations

import random
import struct
from itertools import count
from typing import TYPE_CHECKING

import pytest

from analyzer.capture import file, runs
from analyzer.capture.file import CaptureFile
from analyzer.capture.source import open_source
from analyzer.tcp.engine import Engine
from analyzer.tcp.requests import End, Skip, Take
from tests.capture.files import Frame, Section, pcap
from tests.tcp.test_shapes import WRAPPED, account
from tests.tcp.wire import ACK, FIN, WRAP, Result, Wire

if TYPE_CHECKING:
    from collections.abc import Callable

    from analyzer.tcp.reader import Reader
    from analyzer.tcp.requests import Walker

SIZE = 400
BURST = 40
PACKET = 130 * SIZE + 17
PORTS = 3


def bursts(seed: int, faults: int) -> list[Frame]:
    """Three connections that send bursts in turn, in which some frames are not like the others."""
    dice = random.Random(seed)
    made = [Wire(isn=dice.choice((5, WRAP - 300_000)), port=port).open() for port in range(PORTS)]
    frames = [frame for wire in made for frame in wire.frames]
    sent = [0] * PORTS
    for turn in range(75):
        which = turn % PORTS
        wire = made[which]
        wire.frames.clear()
        for _ in range(BURST):
            wire.send(sent[which] * SIZE, dice.randbytes(SIZE))
            sent[which] += 1
        for _ in range(faults):
            at = dice.randrange(BURST - 3)
            FAULTS[dice.choice(list(FAULTS))](wire, at, dice)
        wire.ack(sent[which] * SIZE)
        frames += wire.frames
    for number, wire in enumerate(made):
        wire.frames.clear()
        frames += wire.send(sent[number] * SIZE, b"", flags=ACK | FIN).frames
    return [(number * 1000, data, length) for number, (_, data, length) in enumerate(frames)]


def late(wire: Wire, at: int, _dice: random.Random) -> None:
    wire.frames[at], wire.frames[at + 2] = wire.frames[at + 2], wire.frames[at]


def lost(wire: Wire, at: int, _dice: random.Random) -> None:
    del wire.frames[at]


def again(wire: Wire, at: int, _dice: random.Random) -> None:
    wire.frames.insert(at + 2, wire.frames[at])


def differing(wire: Wire, at: int, dice: random.Random) -> None:
    time, data, length = wire.frames[at]
    wire.frames.insert(at + 1, (time, data[:-9] + dice.randbytes(9), length))


def cut(wire: Wire, at: int, _dice: random.Random) -> None:
    time, data, length = wire.frames[at]
    wire.frames[at] = time, data[:-5], length


def closed(wire: Wire, at: int, _dice: random.Random) -> None:
    time, data, length = wire.frames[at]
    wire.frames[at] = time, data[:48] + b"\0\0" + data[50:], length


def pushed(wire: Wire, at: int, _dice: random.Random) -> None:
    time, data, length = wire.frames[at]
    wire.frames[at] = time, data[:47] + b"\x18" + data[48:], length


def in_vxlan() -> Callable[[bytes], bytes]:
    """Puts frames into VXLAN; no two outer headers are the same."""
    numbers = count()

    def wrapped(frame: bytes) -> bytes:
        number = next(numbers)
        ports = struct.pack(">HHHH", 50_000 + number % 7, 4789, 16 + len(frame), number % 5)
        address = struct.pack(">HHHBBH8x", 36 + len(frame), number & 0xFFFF, 0, 64, 17, number % 11)
        return frame[:14] + b"\x45\0" + address + ports + b"\x08\0\0\0\0\0\7\0" + frame

    return wrapped


FAULTS: dict[str, Callable[[Wire, int, random.Random], None]] = {
    kind.__name__: kind for kind in (late, lost, again, differing, cut, closed, pushed)
}


def as_pcapng(frames: list[Frame], link: int) -> bytes:
    """Most with options; and an unknown block now and then."""
    section = Section().interface(link)
    for number, (time, data, original) in enumerate(frames):
        options = section.option(2, b"\0\0\0\1") if number % 97 < 90 else b""
        section.enhanced(time // 1000, data, original, options=options)
        if number % 701 == 700:
            section.block(0xBAD, b"custom")
    return bytes(section)


CONTAINERS: dict[str, Callable[[list[Frame], int], bytes]] = {
    "pcap": lambda frames, link: pcap(frames, link=link),
    "pcap, big-endian": lambda frames, link: pcap(frames, ">", link=link),
    "pcapng": as_pcapng,
}


class Passed:
    """How many frames were passed in runs."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.frames = 0
        pass_run = Engine._pass_run

        def counted(*arguments: object) -> int:
            passed = pass_run(*arguments)  # type: ignore[arg-type]
            self.frames += passed
            return passed

        monkeypatch.setattr(Engine, "_pass_run", counted)


def seen_of(capture: bytes) -> tuple[list[object], list[object]]:
    """What a walker reads that skips most, and what the engine counts."""
    heads: list[object] = []

    def walk(reader: Reader) -> Walker:
        while not isinstance(head := (yield Take(40)), End):
            told = head if type(head) is bytes else type(head)
            heads.append((reader.offset, reader.first.frame, reader.first.pos, told))
            missing = yield Skip(PACKET - 40)
            heads.append(missing if type(missing) is int else type(missing))

    return account(Result(capture, walk)), heads


@pytest.fixture
def _small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file, "CHUNK", 1 << 17)


@pytest.mark.usefixtures("_small_batches")
@pytest.mark.parametrize("faults", [0, 1, 4])
@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("layout", ["Ethernet", "two tags", "IPv6", "cooked v2", "raw", "VXLAN"])
def test_a_run_gives_what_its_frames_give(
    layout: str, container: str, faults: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    link, wrapped = {**WRAPPED, "VXLAN": (1, in_vxlan())}.get(layout, (1, lambda frame: frame))
    frames = []
    for time, data, length in bursts(faults, faults):
        whole = wrapped(data)
        frames.append((time, whole, len(whole) + length - len(data)))
    capture = CONTAINERS[container](frames, link)
    passed = Passed(monkeypatch)
    found = seen_of(capture)
    assert passed.frames > 100
    monkeypatch.setattr(runs, "FRAMES_MIN", len(frames) + 1)
    passed.frames = 0
    assert seen_of(capture) == found
    assert not passed.frames


@pytest.mark.usefixtures("_small_batches")
@pytest.mark.parametrize("container", CONTAINERS)
def test_the_frames_of_a_run_are_told_one_by_one(container: str) -> None:
    frames = bursts(3, 2)
    number = more = 0
    for batch in CaptureFile(open_source(CONTAINERS[container](frames, 1))).batches():
        starts, stops = batch.starts, batch.stops
        assert batch.count == len(starts) == len(stops)
        assert batch.first == number + 1
        assert batch.last == starts[-1]
        for start, stop in zip(starts, stops, strict=True):
            time, data, original = frames[number]
            number += 1
            assert batch.number(start) == number
            assert batch.buffer[start:stop] == data
            assert batch.header(start) == (time, len(data), original)
        more += batch.runs.more
    assert number == len(frames)
    assert more > number / 2


def test_short_runs_are_not_searched_for_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor those of frames that no connection has."""
    monkeypatch.setattr(file, "CHUNK", 1 << 14)
    searches = 0
    search = runs.Runs.search

    def counted(self: runs.Runs, buffer: bytearray, pos: int, end: int) -> int:
        nonlocal searches
        searches += 1
        return search(self, buffer, pos, end)

    monkeypatch.setattr(runs.Runs, "search", counted)
    wires = [Wire(port=port).open() for port in (1, 2)]
    frames = [frame for wire in wires for frame in wire.frames]
    for turn in range(4000):
        wire = wires[turn % 2]
        wire.frames.clear()
        wire.send(turn // 2 * 10, bytes(10))
        frames += wire.frames
    other = [(0, bytes(60), 60)] * 4000
    for capture in (frames, other):
        searches = 0
        assert Result(pcap(capture)).engine.frames == len(capture)
        assert searches < len(capture) / 20
