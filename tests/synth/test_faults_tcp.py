"""Each fault of TCP does to the segments what it says, and nothing to the bytes sent."""

from __future__ import annotations

from typing import Any

import pytest

from analyzer.synth import FAULTS, ScenarioError, build
from tests.synth.capture_reader import FIN, RST, SYN, Seen, Seg, records, segments

CLEAN = Seen({})
PORT = 4444


def faulty(kind: str, **keys: Any) -> list[Seg]:
    return segments(build({"fault": [{"kind": kind, **keys}]}))


def data_of(found: list[Seg], channel: int = 0) -> list[Seg]:
    port = CLEAN.ports[channel]
    return [seg for seg in found if seg.source == port and seg.payload]


CLEAN_DATA = data_of(CLEAN.segments)
PICKED = CLEAN_DATA[3]


def same(seg: Seg, other: Seg) -> bool:
    return (seg.seq, seg.payload) == (other.seq, other.payload)


def place(found: list[Seg], wanted: Seg) -> list[int]:
    return [number for number, seg in enumerate(data_of(found)) if same(seg, wanted)]


def test_a_hole_takes_so_many_segments_out() -> None:
    found = data_of(faulty("tcp-hole", count=2))
    assert [seg.seq for seg in found] == [seg.seq for seg in CLEAN_DATA[:3] + CLEAN_DATA[5:]]


def test_loss_is_seen_later_and_acknowledged_later() -> None:
    found = faulty("tcp-loss", later=5)
    assert place(found, PICKED) == [8]
    port = CLEAN.ports[0]
    acks = [seg.ack for seg in found if seg.target == port]
    assert acks.count(PICKED.seq) > 2


def test_a_reordered_segment_comes_one_later() -> None:
    assert place(faulty("tcp-reorder"), PICKED) == [4]


def test_a_duplicate_comes_right_behind_its_original() -> None:
    assert place(faulty("tcp-duplicate"), PICKED) == [3, 4]


def test_a_retransmission_comes_again_some_segments_later() -> None:
    assert place(faulty("tcp-retransmission"), PICKED) == [3, 8]


def test_retransmission_differs() -> None:
    twice = [seg for seg in data_of(faulty("tcp-retransmission-differs")) if seg.seq == PICKED.seq]
    assert len(twice) == 2
    assert twice[0].payload[:-1] == twice[1].payload[:-1]
    assert twice[0].payload[-1] != twice[1].payload[-1]


def test_an_overlap_repeats_half_of_the_segment_before() -> None:
    overlapping = data_of(faulty("tcp-overlap"))[4]
    following = CLEAN_DATA[4]
    half = len(PICKED.payload) // 2
    assert overlapping.seq == following.seq - half
    assert overlapping.payload == PICKED.payload[-half:] + following.payload


def test_keep_alive() -> None:
    probe = data_of(faulty("tcp-keep-alive"))[4]
    assert probe.seq == PICKED.seq + len(PICKED.payload) - 1
    assert probe.payload == b"\0"


def test_zero_window() -> None:
    found = faulty("tcp-zero-window", seconds=3)
    assert [seg.window for seg in found].count(0) == 3
    assert found[-1].time - CLEAN.segments[-1].time == 3_000_000


def test_no_handshake() -> None:
    port = CLEAN.ports[0]
    found = faulty("tcp-no-handshake")
    assert not any(seg.flags & SYN for seg in found if port in (seg.source, seg.target))
    assert any(seg.flags & SYN for seg in found)


def test_a_midstream_capture_lacks_handshakes_and_first_segments() -> None:
    found = faulty("tcp-midstream", at=10)
    assert not any(seg.flags & SYN for seg in found)
    assert same(data_of(found)[0], CLEAN_DATA[11])


def test_capture_ends() -> None:
    found = faulty("capture-ends", at=10)
    assert same(found[-1], CLEAN_DATA[10])


@pytest.mark.parametrize("side", ["client", "server"])
def test_one_direction(side: str) -> None:
    found = faulty("tcp-one-direction", side=side)
    assert {(seg.source == PORT) for seg in found} == {side == "server"}


def test_unfinished_connections_are_neither_closed_nor_reset() -> None:
    found = faulty("tcp-unfinished", channel="all")
    assert not any(seg.flags & (FIN | RST) for seg in found)
    assert any(seg.flags & FIN for seg in CLEAN.segments)
    assert [seg.payload for seg in data_of(found)] == [seg.payload for seg in CLEAN_DATA]


def test_data_after_fin() -> None:
    last = data_of(faulty("tcp-data-after-fin"))[-1]
    assert last.seq == CLEAN_DATA[-1].seq + len(CLEAN_DATA[-1].payload) + 1


def test_data_after_rst() -> None:
    found = faulty("tcp-data-after-rst")
    reset = next(number for number, seg in enumerate(found) if seg.flags & RST)
    assert same(found[reset - 1], PICKED)
    assert data_of(found[reset:])


def test_a_snaplen_cuts_frames_and_keeps_their_wire_lengths() -> None:
    whole = list(records(CLEAN.data))
    cut = list(records(build({"fault": [{"kind": "tcp-snaplen", "count": -1, "at": 0}]})))
    assert len(whole) == len(cut)
    assert [wire for _, _, wire in cut] == [wire for _, _, wire in whole]
    assert sum(len(frame) < wire for _, frame, wire in cut) > 5
    assert {len(frame) for _, frame, wire in cut if len(frame) < wire} == {128}


def test_fragments_together_are_the_whole_segment() -> None:
    pieces = [
        frame
        for _, frame, _ in records(build({"fault": [{"kind": "ip-fragments"}]}))
        if frame[20] & 0x20 or frame[20] & 0x1F or frame[21]
    ]
    assert len(pieces) > 1
    assert b"".join(piece[34:] for piece in pieces)[32:] == PICKED.payload


def test_netem_is_reproducible() -> None:
    scenario = {"fault": [{"kind": "tcp-netem", "hole": 0.02}]}
    assert build(scenario) == build(scenario) != CLEAN.data


@pytest.mark.parametrize(
    "fault", [f for f in FAULTS if f.stage == "segments"], ids=lambda f: f.kind
)
def test_time_never_runs_back(fault: Any) -> None:
    times = [time for time, _, _ in records(build(fault.example))]
    assert times == sorted(times)


@pytest.mark.parametrize(
    ("fault", "key", "nearest"),
    [
        ({"kind": "tcp-holes"}, "fault[0].kind", "tcp-hole"),
        ({"kind": "tcp-hole", "cont": 2}, "fault[0].cont", "count"),
        ({"kind": "tcp-hole", "count": "x"}, "fault[0].count", None),
        ({"kind": "tcp-hole", "channel": "mein"}, "fault[0].channel", "main"),
        ({"kind": "tcp-one-direction", "side": "cliend"}, "fault[0].side", "client"),
        ({"kind": "tcp-hole", "at": 100000}, "fault[0]", None),
        ({"kind": 3}, "fault[0].kind", None),
    ],
)
def test_a_fault_that_cannot_be_is_told_by_its_key(
    fault: dict[str, Any], key: str, nearest: str | None
) -> None:
    with pytest.raises(ScenarioError) as caught:
        build({"fault": [fault]})
    assert (caught.value.key, caught.value.nearest) == (key, nearest)
