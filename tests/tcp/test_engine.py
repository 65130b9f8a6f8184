"""The stream engine: what a receiver would have read, whatever the capture shows of it."""

from __future__ import annotations

import random
import struct
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analyzer.capture.file import CaptureFile
from analyzer.capture.source import open_source
from analyzer.migration.scan import Scan
from analyzer.tcp import retransmission
from analyzer.tcp.engine import Engine
from analyzer.tcp.flow import Connections
from analyzer.tcp.reader import Reader
from analyzer.tcp.requests import Deliver, Skip, Take
from tests.capture.files import Section, pcap

if TYPE_CHECKING:
    from pathlib import Path

    from analyzer.capture.frames import Batch
    from analyzer.tcp.flow import Flow
    from analyzer.tcp.requests import Walker

SYN, ACK, FIN, RST = 2, 16, 1, 4
CLIENT, SERVER = 40000, 4444
WRAP = 1 << 32


class Wire:
    """Frames of one connection, as tuples that tests may reorder before :meth:`analyse`."""

    def __init__(self, isn: int = 1000, port: int = CLIENT) -> None:
        self.isn = isn
        self.port = port
        self.frames: list[tuple[int, bytes, int]] = []

    def add(self, seq: int, data: bytes = b"", flags: int = ACK, *, back: bool = False,
            ack: int = 0, window: int = 500, snap: int | None = None) -> Wire:  # fmt: skip
        sport, dport = (SERVER, self.port) if back else (self.port, SERVER)
        addresses = bytes([10, 0, 0, 2, 10, 0, 0, 1] if back else [10, 0, 0, 1, 10, 0, 0, 2])
        tcp = struct.pack(
            ">HHIIBBHHH", sport, dport, seq % WRAP, ack % WRAP, 0x50, flags, window, 0, 0
        )
        ip = struct.pack(">BBHHHBBH", 0x45, 0, 40 + len(data), 0, 0x4000, 64, 6, 0) + addresses
        frame = bytes(12) + b"\x08\x00" + ip + tcp + data
        kept = frame if snap is None else frame[:snap]
        self.frames.append((len(self.frames) * 1_000_000, kept, len(frame)))
        return self

    def send(self, offset: int, data: bytes, **options: Any) -> Wire:
        """Payload at a stream offset."""
        return self.add(self.isn + 1 + offset, data, **options)

    def ack(self, offset: int, **options: Any) -> Wire:
        """The server acknowledges."""
        return self.add(5001, back=True, ack=self.isn + 1 + offset, **options)

    def open(self) -> Wire:
        self.add(self.isn, flags=SYN)
        return self.add(5000, flags=SYN | ACK, back=True, ack=self.isn + 1)


class Result:
    """What the engine made of it."""

    def __init__(self, capture: bytes | str, walk: Any = None) -> None:
        self.streams: dict[tuple[int, str], bytearray] = {}
        self.flows: dict[tuple[int, str], Flow] = {}
        self.readers: dict[tuple[int, str], Reader] = {}
        self.walk = walk
        file = CaptureFile(open_source(capture))
        self.engine = Engine(file.source, self.attach)
        for batch in file.batches():
            self.engine.feed(batch)
        self.engine.end()

    def attach(self, flow: Flow) -> Reader:
        key = flow.connection.number, flow.source
        out = self.streams.setdefault(key, bytearray())
        self.flows[key] = flow

        def sink(piece: bytes | memoryview | None, size: int) -> None:
            out.extend(b"?" * size if piece is None else piece)

        def everything(_reader: Reader) -> Walker:
            yield Deliver(1 << 50, sink)

        self.readers[key] = Reader(self.walk or everything)
        return self.readers[key]

    @property
    def client(self) -> bytes:
        return bytes(self.streams[0, f"10.0.0.1:{CLIENT}"])

    @property
    def flow(self) -> Flow:
        return self.flows[0, f"10.0.0.1:{CLIENT}"]


def forgetful(monkeypatch: pytest.MonkeyPatch, kept: int) -> None:
    """Let engines remember so few connections; without a look through all memory each time."""
    monkeypatch.setattr("analyzer.tcp.flow.CONNECTIONS_KEPT", kept)
    monkeypatch.setattr("analyzer.tcp.flow.gc.collect", lambda: 0)


def analysed(wire: Wire) -> Result:
    return Result(pcap(wire.frames))


def test_in_order_over_the_sequence_wrap() -> None:
    wire = Wire(isn=WRAP - 8).open()
    for at in range(0, 40, 5):
        wire.send(at, bytes([at]) * 5)
    result = analysed(wire)
    assert result.client == b"".join(bytes([at]) * 5 for at in range(0, 40, 5))
    assert not result.flow.holes


def test_reordered_and_repeated() -> None:
    wire = Wire().open().send(5, b"fghij").send(0, b"abcde").send(0, b"abcde").send(10, b"k")
    result = analysed(wire)
    assert result.client == b"abcdefghijk"
    assert result.flow.reordered == 1
    assert result.flow.retransmissions == 1
    assert result.flow.duplicate_bytes == 5
    assert not result.flow.differences


def test_partial_overlap() -> None:
    result = analysed(
        Wire().open().send(0, b"abcd").send(2, b"cdef").send(8, b"ij").send(4, b"efghi")
    )
    assert result.client == b"abcdefghij"


def test_a_second_copy_that_differs_is_noted() -> None:
    wire = Wire().open().send(0, b"abcdef").send(6, b"ghi").send(0, b"abXdef").send(9, b"j")
    result = analysed(wire)
    assert result.client == b"abcdefghij"
    (difference,) = result.flow.differences
    assert difference.offset == 2
    assert difference.place.frame == 5


def test_a_second_copy_is_compared_with_all_segments_that_it_repeats() -> None:
    wire = Wire().open().send(0, b"abc").send(3, b"def").send(6, b"ghi").send(1, b"bXdeYg")
    result = analysed(wire)
    assert [d.offset for d in result.flow.differences] == [2, 5]
    assert result.flow.unverified == 0


@pytest.mark.parametrize("between", [1, 40, 1200, 2600])
def test_copies_are_found_however_far_apart(between: int, tmp_path: Path) -> None:
    """Near, in the same batch, and in an earlier batch."""
    wire = Wire().open()
    for number in range(between):
        wire.send(4000 * number, number.to_bytes(2, "big") * 2000)
    wire.send(6, b"\0\0X\0").send(4000 * between, b"end")
    path = tmp_path / "wire.pcap"
    path.write_bytes(pcap(wire.frames))
    result = Result(str(path))
    assert [d.offset for d in result.flow.differences] == [8]
    assert result.flow.unverified == 0


def test_where_old_batches_were_is_forgotten(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """However long the capture; what comes again soon is compared all the same."""
    monkeypatch.setattr("analyzer.capture.file.CHUNK", 1 << 13)
    monkeypatch.setattr("analyzer.tcp.flow.CHECKPOINTS_KEPT", 10)
    wire = Wire().open()
    for number in range(100):
        wire.send(4000 * number, number.to_bytes(2, "big") * 2000)
    wire.send(4000 * 95 + 2, b"\0X").send(4, b"\0X").send(400_000, b"end")
    path = tmp_path / "wire.pcap"
    path.write_bytes(pcap(wire.frames))
    flow = Result(str(path)).flow
    assert 5 <= len(flow.checkpoint_positions) == len(flow.checkpoint_offsets) <= 10
    assert [d.offset for d in flow.differences] == [4000 * 95 + 3]
    assert flow.unverified == 2


def test_a_flood_of_retransmissions_is_not_looked_up_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(retransmission, "LEAST", 0)
    monkeypatch.setattr(retransmission, "ALLOWANCE", 1)
    wire = Wire().open().send(0, bytes(1000))
    for _ in range(50):
        wire.send(0, bytes(1000))
    flow = analysed(wire).flow
    assert flow.retransmissions == 50
    assert 0 < flow.unverified < 50_000
    told = Scan(pcap(wire.frames)).run().file.notes
    assert [note.partition(":")[0] for note in told] == [
        "not all retransmissions were compared with the first copy"
    ]


def test_a_waiting_segment_that_comes_again_with_other_bytes_is_noted() -> None:
    wire = Wire().open().send(3, b"def").send(3, b"dXf").send(0, b"abc")
    result = analysed(wire)
    assert result.client == b"abcdef"
    assert [d.offset for d in result.flow.differences] == [4]


def test_a_keep_alive_is_no_retransmission() -> None:
    result = analysed(Wire().open().send(0, b"abc").send(2, b"\0").ack(3).send(3, b"d"))
    assert result.client == b"abcd"
    assert result.flow.keep_alives == 1
    assert not result.flow.differences


def test_a_keep_alive_repeats_the_last_byte_sent_though_others_are_missing() -> None:
    wire = Wire().open().send(0, b"abc").send(5, b"fgh").send(7, b"\0").ack(8).send(3, b"de")
    result = analysed(wire)
    assert result.client == b"abcdefgh"
    assert result.flow.keep_alives == 1
    assert not result.flow.differences


def test_a_lost_frame_is_a_hole_with_the_frames_around_it() -> None:
    result = analysed(Wire().open().send(0, b"ab").send(5, b"fg").send(7, b"h", flags=ACK | FIN))
    assert result.client == b"ab???fgh"
    (hole,) = result.flow.holes
    assert (hole.first, hole.last, hole.before, hole.after, hole.cut) == (2, 4, 3, 4, False)
    assert result.flow.missing == 3


def test_a_hole_that_was_acknowledged_is_given_up_without_waiting_for_the_end() -> None:
    wire = Wire().open().send(0, b"ab").send(5, b"f")
    for at in range(200):
        wire.send(6 + at, b"x").ack(6 + at)
    wire.send(2, b"cde")  # too late
    result = analysed(wire)
    assert result.client[:6] == b"ab???f"
    assert result.flow.holes[0].acknowledged


def test_a_cut_frame_is_a_hole_of_known_length() -> None:
    result = analysed(Wire().open().send(0, b"abcdef", snap=54 + 2).send(6, b"gh"))
    assert result.client == b"ab????gh"
    assert result.flow.holes[0].cut
    assert result.engine.truncated == 1


def test_without_handshake_the_stream_begins_where_it_is_seen() -> None:
    result = analysed(Wire().send(100, b"abc").send(103, b"d"))
    assert result.client == b"abcd"
    assert result.flow.midstream


def test_ports_used_again_are_another_stream() -> None:
    wire = Wire().open().send(0, b"one").send(3, b"", flags=ACK | FIN)
    later = Wire(isn=900_000).open().send(0, b"two")
    wire.frames += later.frames
    result = analysed(wire)
    key = f"10.0.0.1:{CLIENT}"
    assert (bytes(result.streams[0, key]), bytes(result.streams[1, key])) == (b"one", b"two")
    assert result.engine.connections[1].reused


def test_bytes_behind_a_fin_are_ignored_and_counted() -> None:
    wire = Wire().open().send(0, b"abc", flags=ACK | FIN).send(4, b"late").send(0, b"abc")
    result = analysed(wire)
    assert result.client == b"abc"
    assert result.flow.data_after_end == 4


def test_a_fin_that_overtakes_data_ends_the_stream_when_the_data_are_there() -> None:
    result = analysed(Wire().open().send(4, b"", flags=ACK | FIN).send(0, b"abcd"))
    assert result.client == b"abcd"
    assert not result.flow.holes


def test_bytes_missing_in_front_of_a_fin_are_a_hole() -> None:
    wire = Wire().open().send(0, b"abcde").send(9, b"", flags=ACK | FIN).ack(10)
    result = analysed(wire)
    assert result.client == b"abcde????"
    assert [(h.first, h.last, h.after) for h in result.flow.holes] == [(5, 8, 4)]
    assert result.flow.closed


def test_what_the_receiver_acknowledged_up_to_its_end_was_lost_here() -> None:
    """The last frames, with the FIN: the acknowledgement counts that as one more byte."""
    wire = Wire().open().send(0, b"abcde").ack(10, flags=ACK | FIN)
    result = analysed(wire)
    assert result.client == b"abcde????"
    assert result.flow.holes[0].acknowledged
    assert result.flow.closed
    assert result.flow.fin is None


def test_a_lost_fin_alone_is_no_hole() -> None:
    result = analysed(Wire().open().send(0, b"abcde").ack(6, flags=ACK | FIN))
    assert not result.flow.holes
    assert result.flow.closed


def test_bytes_missing_in_front_of_a_reset_are_a_hole() -> None:
    wire = Wire().open().send(0, b"abcde").send(10, b"", flags=RST)
    result = analysed(wire)
    assert result.client == b"abcde????"
    assert not result.flow.holes[0].acknowledged
    assert result.flow.fin_lost


def test_without_any_end_a_stream_is_open() -> None:
    result = analysed(Wire().open().send(0, b"abcde").ack(5))
    assert not result.flow.holes
    assert not result.flow.closed


def test_a_zero_window_is_timed() -> None:
    wire = Wire().open().send(0, b"a").ack(1, window=0).ack(1, window=0).ack(1, window=9)
    result = analysed(wire)
    assert result.flow.peer.zero_window == 2_000_000


def test_wireshark_numbers_are_given_in_order_of_appearance() -> None:
    first, second = Wire().open(), Wire(port=50000).open()
    frames = [f for pair in zip(first.frames, second.frames, strict=True) for f in pair]
    result = Result(pcap(frames))
    assert [c.number for c in result.engine.connections] == [0, 1]


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


@settings(max_examples=60)
@given(st.data())
def test_any_frames_give_an_account_of_every_byte(data: st.DataObject) -> None:
    """decoded + missing = length, and no exception, whatever the frames say."""
    wire = Wire(isn=WRAP - 50)
    if data.draw(st.booleans()):
        wire.open()
    for _ in range(data.draw(st.integers(1, 25))):
        offset = data.draw(st.integers(-5, 120) | st.sampled_from([1 << 30, 1 << 31, -(1 << 31)]))
        payload = data.draw(st.binary(max_size=30))
        flags = data.draw(st.sampled_from([ACK] * 6 + [FIN | ACK, RST, SYN, SYN | ACK, 0, 255]))
        snap = data.draw(st.none() | st.integers(0, 90))
        back = data.draw(st.booleans())
        wire.send(offset, payload, flags=flags, snap=snap, back=back, ack=offset)
    counts: dict[int, list[int]] = {}

    def count(reader: Reader) -> Walker:
        seen = counts.setdefault(id(reader), [0, 0])

        def sink(piece: bytes | memoryview | None, size: int) -> None:
            seen[piece is None] += size

        yield Deliver(1 << 50, sink)

    result = Result(pcap(wire.frames), count)
    for key, flow in result.flows.items():
        present, missing = counts[id(result.readers[key])]
        assert (present + missing, missing) == (flow.offset, flow.missing)


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
