"""How a migration ended: what decides between two rows of the table that are near each other."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest

from analyzer.synth import records
from tests.checks.craft import (
    EOS,
    PAGE,
    RAM_ID,
    RAM_PART,
    SHUT,
    Craft,
    Tiny,
    buffer,
    part,
)
from tests.migration.endings import OPEN, answered_late, fin_of, given_up, of, outcome
from tests.migration.main_streams import u64

if TYPE_CHECKING:
    from tests.checks.craft import Frame

CLIENTS = [(name, "fin client") for name in (0, 1, "main")]
IN_ORDER = "main and every channel were closed in order"
UNCONFIRMED = "; no return path to confirm it"


def from_source(made: Craft) -> Craft:
    """Without what the destination sent."""
    made.frames = [frame for frame in made.frames if frame.data[26:30] == bytes((10, 0, 0, 1))]
    return made


def cut_off(*, return_path: bool = True) -> Tiny:
    """Main is complete, the last packet of multifd 1 is not; there is no answer."""
    tiny = Tiny(return_path=return_path)
    tiny.multifd[1][-1] = tiny.multifd[1][-1][:-4]
    if return_path:
        tiny.returned[-1] = b""
    tiny.close = list(CLIENTS)
    return tiny


# -- main is complete, a channel is not ------------------------------------------------------------


def test_a_source_that_stops_inside_a_packet_was_cancelled_while_it_waited() -> None:
    found = outcome(cut_off().pcap())
    assert found.name == "cancelled"
    assert found.evidence == "multifd 1 stops inside a packet although main is complete"


def test_a_source_that_waits_for_nobody_leaves_the_destination_waiting() -> None:
    found = outcome(cut_off(return_path=False).pcap())
    assert (found.name, found.forgives) == ("failed", False)
    assert found.evidence == (
        "the source finished main, did not wait (no return path) and closed multifd 1 inside a "
        "packet: the destination waits for ever"
    )


def test_a_reset_inside_a_packet_is_no_orderly_close() -> None:
    tiny = cut_off(return_path=False)
    tiny.close[1] = (1, "reset client")
    found = outcome(tiny.pcap())
    assert found.name == "cancelled"
    assert found.evidence == "multifd 1 stops inside a packet although main is complete"


def test_a_packet_cut_off_is_no_cancel_in_the_source_s_direction_alone() -> None:
    found = outcome(from_source(cut_off().craft()).pcap())
    assert (found.name, found.forgives) == ("unknown", True)
    assert found.evidence.startswith("it was cancelled or failed")


def test_a_capture_that_ends_before_main_is_closed_shows_no_cancel() -> None:
    tiny = cut_off()
    del tiny.close[-1]
    found = outcome(tiny.pcap())
    assert found.name == "incomplete"
    assert found.evidence == "the capture ends before all channels are closed"


@pytest.mark.parametrize(("after", "name"), [(0, "incomplete"), (200_000_000, "cancelled")])
def test_a_channel_that_outlives_main_did_not_complete(after: int, name: str) -> None:
    """A source that completes closes everything at once."""
    tiny = cut_off()
    last = tiny.multifd[1].pop()
    tiny.close = [("main", "fin client")]
    made = tiny.craft()
    made.time += after
    frame = of(made, OPEN + 2)[-1]
    made.frames.append(frame_behind(frame, last, made.time))
    assert outcome(made.pcap()).name == name


def frame_behind(frame: Frame, data: bytes, time: int) -> Frame:
    """A frame with ``data`` that follows another in its stream."""
    head, size = bytearray(frame.data[:54]), len(frame.data) - 54
    head[16:18] = struct.pack(">H", 40 + len(data))
    (number,) = struct.unpack_from(">I", head, 38)
    head[38:42] = struct.pack(">I", number + size)
    return type(frame)(time, bytes(head) + data)


# -- what the capture lacks -----------------------------------------------------------------------


@pytest.mark.parametrize("lost", ["a buffer", "a channel", "the beginning of a channel"])
def test_what_is_not_in_the_capture_is_no_incomplete_device(lost: str) -> None:
    made = Tiny(return_path=False).craft()
    port = struct.pack(">H", OPEN + 2)
    channel = [f for f in made.frames if port in (f.data[34:36], f.data[36:38])]
    gone = {
        "a buffer": of(made, OPEN + 2)[-1:],
        "a channel": channel,
        "the beginning of a channel": channel[:3],  # the handshake, and the initial packet
    }
    made.frames = [frame for frame in made.frames if frame not in gone[lost]]
    found = outcome(made.pcap())
    assert (found.name, found.evidence) == ("completed", IN_ORDER + UNCONFIRMED)


def test_a_device_that_lacks_a_buffer_keeps_the_destination_waiting() -> None:
    tiny = Tiny(return_path=False)
    tiny.multifd[1].remove(buffer(1))
    found = outcome(tiny.pcap())
    assert (found.name, found.forgives) == ("failed", False)
    assert found.evidence == (
        "device 0000:00:02.0/vfio#0 is incomplete: the destination waits for it for ever"
    )


@pytest.mark.parametrize("lost", ["the answer", "the handshake"])
def test_an_answer_that_is_not_in_the_capture_may_have_come(lost: str) -> None:
    made = Tiny().craft()
    answer = next(frame for frame in made.frames if frame.data.endswith(SHUT))
    made.frames.remove(answer)
    if lost == "the handshake":  # nothing shows that bytes are missing
        made.frames = [f for f in made.frames if f.data[47] & 2 == 0]
    found = outcome(made.pcap())
    assert (found.name, found.evidence) == ("completed", IN_ORDER)


def test_a_hole_in_main_may_hold_its_end() -> None:
    tiny = given_up()
    made = tiny.craft()
    made.frames.remove(of(made, OPEN)[1])
    found = outcome(made.pcap())
    assert (found.name, found.forgives) == ("unknown", True)
    assert found.evidence == "the end of main is not in the capture"


def test_a_capture_that_ends_first_shows_no_cancel() -> None:
    tiny = given_up()
    tiny.close = []
    found = outcome(tiny.pcap())
    assert found.name == "incomplete"
    assert found.evidence == "the capture ends before the migration does"


@pytest.mark.parametrize("pages", [[False], [True], [False, True]])
def test_pages_on_main_show_that_setup_was_over(pages: list[bool]) -> None:
    """Be they zero pages or others."""
    body = b""
    for number, has_content in enumerate(pages):
        kind = records.page if has_content else records.zero_page
        body += kind("pc.ram", number * PAGE, again=number > 0) + b"\x11" * PAGE * has_content
    tiny = given_up(main=3)
    for channel in tiny.multifd:
        del channel[2:]
    tiny.main.append(part(RAM_ID, body + EOS))
    assert outcome(tiny.pcap()).evidence == "the source closed main before its EOF byte"


# -- who was first ---------------------------------------------------------------------------------


def test_the_first_of_several_closes_of_the_destination_is_told() -> None:
    tiny = given_up()
    tiny.close = [(1, "fin server"), (0, "reset server"), ("main", "fin client")]
    found = outcome(tiny.pcap())
    assert found.name == "failed"
    assert found.evidence == "the destination closed multifd 1 before main's EOF byte"


def test_a_lost_fin_of_main_does_not_explain_what_came_before_it() -> None:
    """The destination closed a channel first, then acknowledged main's FIN, which is missing."""
    tiny = given_up()
    tiny.close = [(1, "fin server"), ("main", "fin client"), ("main", "fin server")]
    made = tiny.craft()
    made.frames.remove(fin_of(made, OPEN))
    assert outcome(made.pcap()).evidence == (
        "the destination closed multifd 1 before main's EOF byte"
    )


@pytest.mark.parametrize(("behind", "name"), [(1, "cancelled"), (2, "completed")])
def test_frames_of_one_instant_are_told_apart_by_their_order(behind: int, name: str) -> None:
    """As in a capture with coarse times."""
    tiny = Tiny()
    tiny.close = [(n, f"fin {side}") for side in ("client", "server") for n in (0, 1)]
    tiny.close += [("main", "fin client"), ("main", "fin server")]
    made = tiny.craft()
    answer = next(frame for frame in made.frames if frame.data.endswith(SHUT))
    made.frames.remove(answer)
    made.frames.insert(len(made.frames) - behind, answer)
    for frame in made.frames:
        frame.time = answer.time
    assert outcome(made.pcap()).name == name


def test_a_source_in_postcopy_awaits_nothing() -> None:
    """Once the guest runs at the destination there is nothing to cancel."""
    tiny = Tiny(device=False)
    tiny.main[2:2] = [records.command(records.POSTCOPY_ADVISE, u64(PAGE) * 2)]
    tiny.main[-3:-3] = [records.command(records.POSTCOPY_LISTEN)]
    tiny.main[-3:-3] = [records.command(records.POSTCOPY_RUN)]
    tiny.close = [("main", "fin client"), ("main", "fin server")]
    found = outcome(answered_late(tiny, SHUT, behind=1))
    assert (found.name, found.evidence) == ("completed", "the destination reported success")


@pytest.mark.parametrize("paused", [True, False])
def test_a_destination_that_leaves_main_in_postcopy_pauses_it(paused: bool) -> None:
    tiny = Tiny(return_path=False, device=False)
    if paused:
        tiny.main[1:1] = [records.command(records.POSTCOPY_ADVISE, u64(PAGE) * 2)]
        tiny.main[4:4] = [records.command(records.POSTCOPY_LISTEN)]
        tiny.main[5:5] = [records.command(records.POSTCOPY_RUN)]
    del tiny.main[-3:]
    tiny.close = [("main", "reset server")]
    made = tiny.craft()
    made.frames.append(frame_behind(of(made, OPEN)[-1], RAM_PART, made.time))
    found = outcome(made.pcap())
    assert (found.name, found.evidence) == (
        (
            "incomplete",
            "the destination reset main in postcopy, which stays paused until it is recovered",
        )
        if paused
        else ("failed", "the destination reset main before its data ended")
    )
