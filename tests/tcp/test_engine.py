"""The stream engine: what a receiver would have read, whatever the capture shows of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analyzer.tcp.reader import Reader
from analyzer.tcp.requests import Deliver
from tests.capture.files import pcap
from tests.tcp.wire import ACK, CLIENT, FIN, RST, SYN, WRAP, Result, Wire, analysed

if TYPE_CHECKING:
    from analyzer.tcp.requests import Walker


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
    assert result.flow.acknowledged(result.flow.holes[0])


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
    assert result.flow.acknowledged(result.flow.holes[0])
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
    assert not result.flow.acknowledged(result.flow.holes[0])
    assert result.flow.fin_lost


def test_without_any_end_a_stream_is_open() -> None:
    result = analysed(Wire().open().send(0, b"abcde").ack(5))
    assert not result.flow.holes
    assert not result.flow.closed


def test_a_zero_window_is_timed() -> None:
    wire = Wire().open().send(0, b"a").ack(1, window=0).ack(1, window=0).ack(1, window=9)
    result = analysed(wire)
    assert result.flow.peer.zero_window == 2_000_000


def test_a_window_that_is_never_opened_again_is_closed_until_the_end() -> None:
    wire = Wire().open().send(0, b"a").ack(1, window=0).send(1, b"b").send(2, b"c")
    assert analysed(wire).flow.peer.zero_window_longest == 2_000_000


def test_few_bytes_of_a_flow_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is missing before them is given up, so that memory is bounded."""
    monkeypatch.setattr("analyzer.tcp.engine.WAITING_BYTES", 100)
    wire = Wire().open().send(0, b"a").send(2, b"c" * 60).send(62, b"d" * 40).send(1, b"b")
    assert analysed(wire).client == b"ab" + b"c" * 60 + b"d" * 40
    wire = Wire().open().send(0, b"a").send(2, b"c" * 60).send(62, b"d" * 41).send(1, b"b")
    assert analysed(wire).client == b"a?" + b"c" * 60 + b"d" * 41


def test_wireshark_numbers_are_given_in_order_of_appearance() -> None:
    first, second = Wire().open(), Wire(port=50000).open()
    frames = [f for pair in zip(first.frames, second.frames, strict=True) for f in pair]
    result = Result(pcap(frames))
    assert [c.number for c in result.engine.connections] == [0, 1]


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
