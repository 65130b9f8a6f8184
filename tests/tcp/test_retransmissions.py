"""Segments that come again: with the same bytes, with others, and keep-alives."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest

from analyzer.migration.scan import Scan
from analyzer.tcp import retransmission
from analyzer.tcp.flow import OVERTAKEN, ROUND_TRIP
from tests.capture.files import pcap
from tests.tcp.wire import CLIENT, SERVER, Result, Wire, analysed

if TYPE_CHECKING:
    from pathlib import Path


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


def test_payload_that_ends_in_its_own_addresses_and_ports_is_no_segment() -> None:
    """Guest memory may hold anything, also right in front of the second copy."""
    key = bytes([10, 0, 0, 1, 10, 0, 0, 2]) + struct.pack(">HH", CLIENT, SERVER)
    flow = analysed(Wire().open().send(0, b"abc" + key).send(0, b"aXc" + key)).flow
    assert [(d.offset, d.count) for d in flow.differences] == [(1, 1)]
    assert flow.unverified == 0


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


# -- late for the first time, or again -------------------------------------------------------------

TICK, TRIP = 1_000, 100_000


@pytest.mark.parametrize(
    ("trip", "later", "after", "again"),
    [
        (TRIP, 3, TRIP, False),
        (TRIP, 3, TRIP + TICK, True),
        (TRIP, 2, TRIP + TICK, False),  # a tail loss probe overtakes what is still queued
        (TRIP, 1, OVERTAKEN, False),
        (TRIP, 1, OVERTAKEN + TICK, True),
        (5 * OVERTAKEN, 3, 5 * OVERTAKEN, False),
        (5 * OVERTAKEN, 1, 5 * OVERTAKEN + TICK, True),
        (None, 3, ROUND_TRIP, False),
        (None, 3, ROUND_TRIP + TICK, True),
    ],
)
def test_what_comes_more_than_a_round_trip_late_was_sent_before(
    trip: int | None, later: int, after: int, again: bool
) -> None:
    """Its first copy was lost in front of the capture; what comes sooner is only out of order."""
    wire = Wire()
    if trip is not None:
        wire.open()
    wire.send(0, b"abc")
    for number in range(later):
        wire.send(6 + 3 * number, b"xyz")
    wire.send(3, b"def")
    times = [10 * OVERTAKEN] * len(wire.frames)
    times[-1] += after
    if trip is not None:
        times[:2] = 0, trip
    wire.frames = [(time, *frame[1:]) for time, frame in zip(times, wire.frames, strict=True)]
    result = analysed(wire)
    assert result.client == b"abcdef" + b"xyz" * later
    assert result.flow.late_bytes == (3 if again else 0)
