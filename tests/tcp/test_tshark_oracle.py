"""The stream engine puts streams together exactly as tshark does."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from analyzer.capture.file import CaptureFile
from analyzer.capture.source import open_source
from analyzer.tcp.engine import Engine
from analyzer.tcp.flow import Flow
from analyzer.tcp.reader import Reader
from analyzer.tcp.requests import Deliver, Gap, Skip, Take
from tests.shipped import NAMES, capture
from tests.tcp import tshark
from tests.tcp.faulty import Capture, conversation

if TYPE_CHECKING:
    from collections.abc import Callable

    from analyzer.tcp.requests import Walker

pytestmark = pytest.mark.skipif(tshark.MISSING, reason="tshark is not installed")

EVERYTHING = 1 << 62


class Recorder:
    """All bytes of one direction; holes as a list of (place in ``data``, missing bytes)."""

    def __init__(self, flow: Flow) -> None:
        self.flow = flow
        self.data = bytearray()
        self.holes: list[tuple[int, int]] = []

    def sink(self, piece: bytes | memoryview | None, size: int) -> None:
        if piece is None:
            self.holes.append((len(self.data), size))
        else:
            self.data += piece

    def walker(self, _reader: Reader) -> Walker:
        yield Deliver(EVERYTHING, self.sink)

    def as_tshark(self, cut: bool) -> bytes:
        """The bytes, with tshark's text for holes; it writes none where frames were cut, nor for
        what is missing in front of a FIN.
        """
        if cut or not self.holes:
            return bytes(self.data)
        parts, done = [], 0
        inside = (hole for hole in self.holes if hole[0] < len(self.data))
        for at, missing in inside:
            parts += [bytes(self.data[done:at]), tshark.hole_text(missing)]
            done = at
        return b"".join([*parts, bytes(self.data[done:])])


def run(path: Path, attach: Callable[[Flow], Reader]) -> Engine:
    source = open_source(path)
    engine = Engine(source, attach)
    for batch in CaptureFile(source).batches():
        engine.feed(batch)
    engine.end()
    source.close()
    return engine


def record(path: Path) -> tuple[Engine, dict[str, bytes]]:
    """The engine, and by ``number source`` what each side of each connection sent."""
    recorders = []

    def attach(flow: Flow) -> Reader:
        recorders.append(Recorder(flow))
        return Reader(recorders[-1].walker)

    engine = run(path, attach)
    cut = engine.truncated > 0
    return engine, {
        f"{one.flow.connection.number} {one.flow.source}": one.as_tshark(cut) for one in recorders
    }


class Sampler:
    """Looks at 5 bytes and steps over 3000: most frames take the engine's fast path."""

    def __init__(self) -> None:
        self.samples: list[tuple[int, bytes]] = []

    def walker(self, reader: Reader) -> Walker:
        while True:
            reply = yield Take(5)
            if isinstance(reply, bytes):
                self.samples.append((reader.offset - 5, reply))
            elif not isinstance(reply, Gap):
                return
            yield Skip(3000)


def same_as_tshark(path: Path) -> Engine:
    engine, ours = record(path)
    followed = tshark.follow(path, engine.streams + 1)
    assert followed.pop(engine.streams) == tshark.NOBODY
    theirs = {
        f"{number} {node}": sent
        for number, stream in followed.items()
        for node, sent in zip(stream.nodes, stream.sent, strict=True)
        if sent
    }
    assert {name: len(sent) for name, sent in ours.items()} == {
        name: len(sent) for name, sent in theirs.items()
    }
    assert [name for name, sent in ours.items() if sent != theirs[name]] == []
    return engine


@pytest.mark.parametrize("name", NAMES)
def test_shipped_captures(name: str) -> None:
    same_as_tshark(capture(name))


@pytest.mark.parametrize("lossy", [False, True], ids=["complete", "lossy"])
@pytest.mark.parametrize("syn", [True, False], ids=["handshake", "midstream"])
@pytest.mark.parametrize("seed", range(3))
def test_generated_faults(tmp_path: Path, seed: int, syn: bool, lossy: bool) -> None:
    capture = Capture()
    for number in range(12):
        conversation(capture, 10000 + number, 100 * seed + number, lossy=lossy, syn=syn)
    path = tmp_path / "generated.pcap"
    path.write_bytes(capture.pcap())
    engine = same_as_tshark(path)
    flows = [flow for connection in engine.connections for flow in connection.flows]
    assert sum(flow.reordered for flow in flows) > 0
    assert sum(flow.retransmissions for flow in flows) > 0
    assert (sum(flow.hole_count for flow in flows) > 0) == lossy


def test_samples_from_the_fast_path() -> None:
    path = capture("10.0.13-vfio-netem-loss-2ch")
    samplers = {}

    def attach(flow: Flow) -> Reader:
        sampler = samplers[flow.connection.number, flow.source] = Sampler()
        return Reader(sampler.walker)

    engine = run(path, attach)
    followed = tshark.follow(path, engine.streams + 1)
    taken = 0
    for (number, source), sampler in samplers.items():
        stream = followed[number]
        sent = stream.sent[stream.nodes.index(source)]
        taken += len(sampler.samples)
        assert all(sent[offset : offset + 5] == seen for offset, seen in sampler.samples)
    assert taken > 1000


@pytest.mark.parametrize(
    "name",
    [
        "10.0.13-vfio-netem-loss-2ch",
        "10.0.13-vfio-destination-killed-2ch",
        "10.0.13-veth-mtu1500-2ch",
        "11.1.3-postcopy-multifd-2ch",
        "10.0.13-ipv6-2ch",
    ],
)
def test_frames_and_what_they_acknowledge(name: str) -> None:
    path = capture(name)
    engine = run(path, lambda _flow: Reader(Sampler().walker))
    flows = [flow for connection in engine.connections for flow in connection.flows]
    theirs = tshark.directions(path)
    carrying = 0
    for flow in flows:
        key = flow.connection.number, int(flow.source.rpartition(":")[2])
        frames, acked = theirs.pop(key, (0, 0))
        assert flow.seen == frames
        if flow.peer.carries:
            assert flow.peer.acked == acked
            carrying += 1
    assert not theirs
    assert carrying > 2
