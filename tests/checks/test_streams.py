"""MF90x, MF91x: every rule fires on its own fault, and stays silent where it must."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest

from analyzer.analysis import analyze
from analyzer.checks.selection import Selection
from analyzer.report.verdict import verdict_text
from analyzer.synth import build
from tests import shipped
from tests.checks.case import Case, edited, example, verify
from tests.checks.craft import ACK, Craft, Tiny, buffer, findings, fired, sync

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.checks.craft import Frame

PAYLOAD = 54
"""Ethernet, IP and TCP in front of the payload of a crafted frame."""


def port(frame: Frame) -> int:
    """The client port of the connection that a frame belongs to."""
    source, destination = struct.unpack_from(">HH", frame.data, 34)
    return int(destination if source == 4444 else source)


def without(gone: Callable[[Frame], bool]) -> Callable[[], bytes]:
    """The clean migration without some of its frames."""

    def made() -> bytes:
        capture = Tiny().craft()
        capture.frames = [frame for frame in capture.frames if not gone(frame)]
        return capture.pcap()

    return made


def from_server(frame: Frame) -> bool:
    return frame.data[34:36] == struct.pack(">H", 4444)


def is_syn(frame: Frame) -> bool:
    return bool(frame.data[47] & 2)


def in_payload(frame: Frame) -> bool:
    """A segment inside the first RAM packet of channel 0, headers not included."""
    return frame.data[PAYLOAD:] == bytes([3]) * 1400 and port(frame) == 46001


def over_header(frame: Frame) -> bool:
    """The segment that begins the first RAM packet of channel 0."""
    return port(frame) == 46001 and frame.data[PAYLOAD + 64 :].startswith(b"pc.ram")


def again(edit: Callable[[bytes], bytes]) -> Callable[[], bytes]:
    """The clean migration with its longest frames sent again, their payload edited."""

    def made() -> bytes:
        capture = Tiny().craft()
        frames: list[Frame] = []
        for frame in capture.frames:
            frames.append(frame)
            if len(frame.data) > 1000 and in_payload(frame):
                copy = type(frame)(frame.time + 1000, edit(frame.data))
                frames.append(copy)
        capture.frames = frames
        return capture.pcap()

    return made


def twice() -> bytes:
    """A capture of two interfaces: every frame is there twice."""
    capture = Tiny().craft()
    capture.frames = [frame for frame in capture.frames for _ in range(2)]
    return capture.pcap()


def reused_ports() -> bytes:
    return Tiny().craft(Tiny().craft()).pcap()


def closed_window() -> bytes:
    capture = Tiny().craft()
    probe = Craft()
    probe.time = capture.frames[10].time
    connection = probe.connect(46001, syn=False)
    for at, window in ((0, 0), (300_000_000, 60000)):
        frame = connection.segment("server", 0, b"", ACK, window)
        frame.time += at
        capture.frames.insert(11 if not at else 13, frame)
    for later in capture.frames[14:]:
        later.time += 300_000_000
    return capture.pcap()


def behind_fin() -> bytes:
    capture = Craft()
    tiny = Tiny()
    tiny.craft(capture)
    last = capture.frames[-1]
    offset = sum(map(len, tiny.multifd[0]))
    more = Craft().connect(46001, syn=False).segment("client", offset + 1, b"more")
    more.time = last.time + 1000
    capture.frames.append(more)
    return capture.pcap()


CASES = {
    "MF901": Case(without(in_payload), alone=True),
    "MF902": Case(again(lambda data: data[:-9] + b"different"), again(bytes), alone=True),
    "MF903": Case(lambda: Tiny().craft().pcap(snaplen=500)),
    "MF904": Case(without(is_syn), alone=True),
    "MF905": Case(without(from_server), alone=True),
    "MF906": Case(edited(lambda tiny: tiny.close.clear()), alone=True),
    "MF907": Case(behind_fin, alone=True),
    "MF908": Case(reused_ports, alone=True),
    "MF909": Case(closed_window, alone=True),
    "MF910": Case(again(bytes), alone=True),
    "MF911": Case(without(over_header)),
}


@pytest.mark.parametrize("rule", CASES)
def test_fires_and_stays_silent(rule: str) -> None:
    verify(rule, CASES[rule])


def test_bytes_that_differ_are_counted() -> None:
    made = again(lambda data: data[:-9] + b"different"[:1] + data[-8:-1] + b"!")()
    told = [f.message for f in findings(made) if f.rule.id == "MF902"]
    assert set(told) == {"2 bytes sent again with different content"}


# -- what looks like a fault and is none, and other ways to be one ---------------------------------


def test_hole_names_its_place() -> None:
    (finding,) = [f for f in findings(without(in_payload)()) if f.rule.id == "MF901"]
    begin = 64 + 1344 + 1400  # initial packet, SYNC, the segment with the packet's header
    assert finding.spot.offset == begin
    assert f"7000 bytes missing, {begin} to {begin + 6999}" in finding.message
    assert "acknowledged by the receiver" in finding.message


def test_hole_makes_no_errors() -> None:
    for gone in (in_payload, over_header):
        assert "error" not in fired(without(gone)()).values()


def test_cut_frames_are_no_holes() -> None:
    found = fired(Tiny().craft().pcap(snaplen=500))
    assert "MF901" not in found
    assert "error" not in found.values()


def test_every_frame_twice_is_told_as_such() -> None:
    found = findings(twice())
    (rate,) = [f for f in found if f.rule.id == "MF910"]
    assert "at two places" in rate.message
    assert all(finding.severity == "info" for finding in found)


def late(by: int, overtaken: int) -> bytes:
    """One frame of payload comes ``by`` ns later, behind as many others of its stream."""
    capture = Tiny().craft(Craft(step=10_000))
    at = next(n for n, f in enumerate(capture.frames) if len(f.data) > 1000 and in_payload(f))
    frame = capture.frames.pop(at)
    capture.frames.insert(at + overtaken, frame)
    for later in capture.frames[at + overtaken :]:
        later.time += by
    return capture.pcap()


@pytest.mark.parametrize(
    ("by", "overtaken", "lost"),
    [(5_000_000, 1, True), (300_000, 1, False), (300_000, 4, True), (0, 1, False)],
)
def test_loss_in_front_of_the_capture_counts_as_sent_again(
    by: int, overtaken: int, lost: bool
) -> None:
    """Every byte is there once, but some of them late; a little disorder is none of it."""
    messages = [f.message for f in findings(late(by, overtaken)) if f.rule.id == "MF910"]
    assert bool(messages) == lost
    if lost:
        assert "of all of them the first copy was lost on its way to the capture" in messages[0]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        (
            "10.0.13-vfio-netem-loss-2ch",
            (
                "3.4% of the bytes were sent again, most of them on multifd 1; "
                "of 3.3% the first copy was lost on its way to the capture"
            ),
        ),
        (
            "11.1.3-vfio-config-after-iter-2ch",
            "2.1% of the bytes were sent again, most of them on multifd 0",
        ),
    ],
)
def test_real_retransmissions(name: str, told: str) -> None:
    """Loss of 1.5 % by netem; and a probe on the loopback that overtakes what is still queued."""
    found = findings(shipped.capture(name).read_bytes())
    assert [f.message for f in found if f.rule.id == "MF910"] == [told]


@pytest.mark.parametrize("kind", ["tcp-keep-alive", "tcp-reorder", "tcp-duplicate", "tcp-loss"])
def test_tcp_at_work_is_no_fault(kind: str) -> None:
    found = fired(example(kind)())
    assert not {"MF901", "MF902", "MF904", "MF907"} & set(found)
    assert set(found.values()) <= {"info"}


def test_data_on_their_way_when_the_other_side_resets() -> None:
    assert fired(example("tcp-data-after-rst")())["MF907"] == "info"


def test_stream_that_is_whole_without_its_handshake() -> None:
    (finding, *_) = [f for f in findings(without(is_syn)()) if f.rule.id == "MF904"]
    assert "in the middle" not in finding.message


def test_stream_that_begins_in_the_middle() -> None:
    capture = Tiny().craft()
    wanted = next(i for i, f in enumerate(capture.frames) if f.data[PAYLOAD:] == sync(5)[:1400])
    capture.frames = capture.frames[wanted - 3 :]
    messages = [f.message for f in findings(capture.pcap()) if f.rule.id == "MF904"]
    assert any("in the middle; decoded from offset" in message for message in messages)


def test_a_hole_is_not_where_a_late_capture_begins() -> None:
    """Its first packet is decoded, and what the hole costs comes later."""
    capture = Craft()
    channel = capture.connect(46000, syn=False)
    channel.send(sync(3) + sync(4))
    channel.lose(sync(5)[:400])
    channel.send(sync(5)[400:] + sync(6) + sync(7))
    found = {f.rule.id: f for f in findings(capture.pcap())}
    assert found["MF904"].message == "no SYN in the capture, the stream begins in the middle"
    size = len(sync(5))
    again = f"decoded again from offset {3 * size} on, {size - 400} bytes skipped"
    assert (found["MF911"].message, found["MF911"].spot.offset) == (again, 3 * size)


@pytest.mark.parametrize(("limit", "level"), [(None, "info"), (0.01, "warning"), (1.0, None)])
def test_threshold_of_the_closed_window(limit: float | None, level: str | None) -> None:
    selection = Selection(limits={} if limit is None else {"tcp-zero-window": limit})
    assert fired(closed_window(), selection=selection).get("MF909") == level


def test_many_holes_are_counted_not_listed() -> None:
    tiny = Tiny(device=False)
    tiny.multifd[0].append(buffer(0, bytes(300_000)))
    capture = tiny.craft()
    capture.frames = [f for i, f in enumerate(capture.frames) if len(f.data) < 1400 or i % 2]
    found = [f for f in findings(capture.pcap()) if f.rule.id == "MF901"]
    holes = [f for f in found if f.spot.channel is not None and f.spot.channel.id == 0]
    assert len(holes) == 50
    assert sum(f.repeats for f in holes) > 10


def test_loss_in_a_synthetic_capture() -> None:
    found = fired(build({"fault": [{"kind": "tcp-hole"}]}))
    assert found["MF901"] == "warning"
    assert "error" not in found.values()


def test_the_first_line_tells_what_the_snaplen_did() -> None:
    capture = Tiny(return_path=False).craft()
    _, text = verdict_text(analyze(capture.pcap(snaplen=100)))
    assert "migration unknown (the capture's snaplen cut main off)" in text
    assert "first MF903 tcp-snaplen: frames are cut to 100 bytes, which leaves out 33339" in text
    _, text = verdict_text(analyze(capture.pcap(snaplen=60)))
    assert text == "no migration in 77 frames, 38 of them cut to 60 bytes"
