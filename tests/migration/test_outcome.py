"""How a migration ended, where the capture does not show all of it."""

from __future__ import annotations

import struct

import pytest

from analyzer.analysis import Analysis, analyze
from analyzer.migration.outcome import outcome_of
from analyzer.migration.scan import Scan
from analyzer.synth import records
from tests.capture.files import pcap
from tests.checks.craft import (
    HEADER,
    RAM_PART,
    RAM_START,
    SHUT,
    SYN,
    Craft,
    Tiny,
    buffer,
    init,
    ram,
    sync,
)
from tests.lossy import frames_of
from tests.migration.endings import answered_late, given_up, outcome
from tests.shipped import capture

NAME = "10.0.13-nanosecond-pcap-2ch"
MULTIFD_0 = 1
"""Its ``tcp.stream``."""


def without_end(first: int, last: int) -> Analysis:
    """The capture without some frames, counted from its end."""
    frames, link = frames_of(capture(NAME))
    count = len(frames)
    return analyze(pcap(frames[: count - first] + frames[count - last :], link=link))


def test_a_capture_that_ends_inside_a_packet_does_not_show_a_cancel() -> None:
    frames, link = frames_of(capture(NAME))
    whole = analyze(pcap(frames, link=link)).migrations[0]
    assert whole.main is not None
    assert whole.main.flow.fin is not None
    cut = [f for n, f in enumerate(frames, 1) if n < 148 or n > 174]
    analysis = analyze(pcap(cut, link=link))
    outcome = outcome_of(analysis.migrations[0])
    assert (outcome.name, outcome.evidence) == (
        "incomplete",
        "the capture ends before all channels are closed",
    )


@pytest.mark.parametrize("lost", [3, 8, 12])
def test_frames_lost_in_front_of_the_end_do_not_make_it_fail(lost: int) -> None:
    analysis = without_end(lost + 8, 8)
    assert outcome_of(analysis.migrations[0]).name in ("completed", "incomplete", "unknown")
    assert "error" not in {finding.severity for finding in analysis.findings}


def test_data_sent_again_behind_a_cancel_do_not_make_it_a_failure() -> None:
    tiny = given_up()
    tiny.close += [(1, "fin server")]
    made = tiny.craft()
    late = next(frame for frame in made.frames if frame.data.endswith(sync(8)))
    made.frames.remove(late)
    made.frames.append(late)
    assert outcome(made.pcap()).name == "cancelled"


def test_one_direction_alone_does_not_tell_who_gave_up() -> None:
    made = given_up().craft()
    made.frames = [frame for frame in made.frames if frame.data[26:30] == bytes((10, 0, 0, 1))]
    found = outcome(made.pcap())
    assert (found.name, found.forgives) == ("unknown", True)


def test_a_lost_end_inside_a_packet_is_not_closed_in_order() -> None:
    """The last frame of a channel, with its FIN, is missing; no return path tells the rest."""
    tiny = Tiny(return_path=False, device=False)
    tiny.multifd[1].append(ram([3, 4, 5, 6], num=9))
    made = tiny.craft()
    data = [
        f for f in made.frames if f.data[34:36] == struct.pack(">H", 46002) and len(f.data) > 54
    ]
    made.frames.remove(data[-1])
    fin = next(
        f for f in made.frames if f.data[34:36] == struct.pack(">H", 46002) and f.data[47] & 1
    )
    made.frames.remove(fin)
    found = outcome(made.pcap())
    assert (found.name, found.forgives) == ("unknown", True)
    assert "inside a packet, is not in the capture" in found.evidence


def test_a_cancel_that_the_capture_does_not_show_to_the_end_is_told_as_such() -> None:
    """A channel still sends when main is closed, long after; the capture ends inside a packet."""
    tiny = Tiny(return_path=False, device=False)
    tiny.multifd[1].append(ram([3, 4, 5, 6], num=9)[:-100])
    made = tiny.craft()
    own = [frame for frame in made.frames if frame.data[34:36] == struct.pack(">H", 46002)]
    data = [frame for frame in own if len(frame.data) > 54]
    fin = next(frame for frame in own if frame.data[47] & 1)
    made.frames = [frame for frame in made.frames if frame not in (data[-1], fin)]
    data[-1].time = made.frames[-1].time + 200_000_000
    made.frames.append(data[-1])
    found = outcome(made.pcap())
    assert (found.name, found.evidence) == (
        "cancelled",
        "multifd 1 stops inside a packet although main is complete, and the capture lacks its end",
    )


def test_a_cancel_in_a_hole_of_main_forgives() -> None:
    tiny = Tiny(return_path=False, device=False)
    tiny.multifd[0][-1] = tiny.multifd[0][-1][:-9]
    made = tiny.craft()
    eof = next(frame for frame in made.frames if frame.data.endswith(tiny.main[-1][-20:]))
    made.frames.remove(eof)
    found = {finding.rule.id: finding.severity for finding in analyze(made.pcap()).findings}
    assert found["MF203"] == "info"


def test_what_the_destination_does_after_a_cancel_is_told() -> None:
    """A yank looks like a cancel: main ends first, then the destination stops reading."""
    (migration,) = analyze(capture("10.0.13-vfio-yank-2ch")).migrations
    assert migration.main is not None
    assert migration.main.flow.fin is not None
    found = outcome_of(migration)
    assert (found.name, found.frame) == ("cancelled", migration.main.flow.fin.frame)
    assert found.evidence == (
        "the source closed main before its EOF byte, then the destination closed multifd 1 before "
        "its data ended"
    )


FAILED = records.message(records.RP_SHUT, struct.pack(">I", 1))


def finding_of(capture: bytes, rule: str) -> tuple[str, str]:
    """Severity and message of the only finding of a rule."""
    (finding,) = [f for f in analyze(capture).findings if f.rule.id == rule]
    return finding.severity, finding.message


def test_an_error_that_the_destination_reports_may_be_what_the_source_did() -> None:
    """A destination reports one after every cancel, since the state breaks off."""
    tiny = Tiny(device=False)
    del tiny.main[-4:]
    tiny.returned[-1] = FAILED
    tiny.close = [("main", "fin client")]
    found = outcome(tiny.pcap())
    assert (found.name, found.evidence) == ("failed", "the destination reported error 1")
    late = answered_late(tiny, FAILED)
    found = outcome(late)
    assert found.name == "cancelled"
    assert found.evidence == (
        "the source closed main before its EOF byte, then the destination reported error 1"
    )
    assert finding_of(late, "MF704") == (
        "info",
        "SHUT with value 1, after the source had closed main",
    )


@pytest.mark.parametrize(("received", "name"), [(1, "cancelled"), (0, "failed")])
def test_an_error_reported_after_a_fin_that_the_capture_lacks(received: int, name: str) -> None:
    """The destination's own FIN acknowledges one byte more than was sent: the source's."""
    tiny = Tiny(device=False)
    del tiny.main[-4:]
    tiny.returned[-1] = FAILED
    tiny.close = [("main", "fin server")]
    made = tiny.craft()
    fin = made.frames[-1].data
    (acked,) = struct.unpack_from(">I", fin, 42)
    made.frames[-1].data = fin[:42] + struct.pack(">I", acked + received) + fin[46:]
    assert outcome(made.pcap()).name == name
    assert finding_of(made.pcap(), "MF704")[0] == ("info" if received else "error")


def test_a_cancel_while_the_source_waits_for_the_answer() -> None:
    """Main is complete; whether the source gave up or the destination failed is a matter of who
    was first.
    """
    tiny = Tiny()
    tiny.multifd[1][-1] = tiny.multifd[1][-1][:-4]
    tiny.returned[-1] = FAILED
    tiny.close = [("main", "fin client")]
    found = outcome(tiny.pcap())
    assert (found.name, found.evidence) == ("failed", "the destination reported error 1")
    late = answered_late(tiny, FAILED)
    found = outcome(late)
    assert found.name == "cancelled"
    assert found.evidence == (
        "the source closed main without waiting for an answer, then the destination reported "
        "error 1"
    )


@pytest.mark.parametrize("first", ["client", "server"])
def test_a_return_path_that_ends_without_an_answer(first: str) -> None:
    """The destination died while it started the guest, or the source gave up."""
    tiny = Tiny()
    tiny.returned[-1] = b""
    sides = ("client", "server") if first == "client" else ("server", "client")
    tiny.close = [(name, f"fin {side}") for side in sides for name in ("main", 0, 1)]
    found = outcome(tiny.pcap())
    assert (found.name, found.evidence) == (
        ("cancelled", "the source closed main without waiting for an answer")
        if first == "client"
        else ("failed", "everything was sent, but the destination closed main without an answer")
    )


def test_a_cancel_that_the_destination_does_not_notice_leaves_two_guests() -> None:
    """The source closes main and goes on, the destination has everything and starts the guest."""
    tiny = Tiny()
    tiny.close = [(name, f"fin {side}") for side in ("client", "server") for name in (0, 1)]
    tiny.close += [("main", "fin client"), ("main", "fin server")]
    assert outcome(tiny.pcap()).name == "completed"
    late = answered_late(tiny, SHUT, behind=1)
    found = outcome(late)
    assert found.name == "cancelled"
    assert found.evidence == (
        "the source closed main without waiting for an answer, then the destination reported "
        "success"
    )
    assert finding_of(late, "MF118") == ("warning", "too late: the guest may run on both sides")


def test_an_answer_that_was_captured_out_of_order_was_awaited() -> None:
    """Its frame stands behind the source's FIN, its time before it."""
    capture = Tiny().craft()
    answer = next(frame for frame in capture.frames if frame.data.endswith(SHUT))
    port, fin = struct.pack(">H", 46000), 0x11  # of main's client
    closed = next(f for f in capture.frames if f.data[34:36] == port and f.data[47] == fin)
    capture.frames.remove(answer)
    capture.frames.insert(capture.frames.index(closed) + 1, answer)
    assert outcome(capture.pcap()).name == "completed"


def test_a_destination_that_closed_a_channel_before_the_source_did_made_it_fail() -> None:
    """However the source closes main in answer to that."""
    tiny = given_up()
    tiny.close.insert(0, (1, "reset server"))
    found = outcome(tiny.pcap())
    assert found.name == "failed"
    assert found.evidence == "the destination reset multifd 1 before main's EOF byte"


def test_the_first_of_several_resets_inside_packets_is_told() -> None:
    tiny = given_up()
    for packets in tiny.multifd:
        packets[-1] = packets[-1][:-4]
    tiny.close = [(1, "reset server"), (0, "reset server")]
    found = outcome(tiny.pcap())
    assert found.name == "failed"
    assert found.evidence == "the destination reset multifd 1 before its data ended"


def test_the_answer_to_the_end_of_a_channel_is_no_failure() -> None:
    """The source closes its channels one by one, and the destination closes them in turn."""
    tiny = given_up()
    tiny.close = [(0, "fin client"), (0, "fin server"), ("main", "fin client")]
    assert outcome(tiny.pcap()).name == "cancelled"


@pytest.mark.parametrize("return_path", [True, False])
def test_a_destination_that_did_not_read_main_to_its_end_failed(return_path: bool) -> None:
    """Its kernel resets a connection with unread bytes; a healthy destination sends a FIN."""
    tiny = Tiny(return_path=return_path, device=False)
    if return_path:
        tiny.returned[-1] = b""
    tiny.close = [(0, "fin client"), (1, "fin client"), ("main", "fin client")]
    unread = [*tiny.close, ("main", "reset server")]
    tiny.close.append(("main", "fin server"))
    assert outcome(tiny.pcap()).name == ("cancelled" if return_path else "completed")
    tiny.close = unread
    found = outcome(tiny.pcap())
    assert found.name == "failed"
    assert found.evidence == (
        "the destination reset main without having read its end: it failed to load the state"
    )


@pytest.mark.parametrize("seconds", [0, 2])
def test_a_destination_that_stopped_reading_is_told(seconds: int) -> None:
    """It may wait for a channel that never comes; the source only notices that it cannot send."""
    made = Craft()
    main = made.connect(46000)
    main.send(HEADER + RAM_START + RAM_PART)
    main.segment("server", 0, b"", window=0)
    made.time += seconds * 10**9
    main.reset("server")
    told = outcome(made.pcap()).evidence
    assert ("; nothing was read from main for 2.0 s" in told) == bool(seconds)


# -- a main that never carried anything ------------------------------------------------------------


def unused_main(
    *,
    closed: bool = False,
    refused: bool = False,
    early: tuple[str, ...] = (),
    gone: str = "",
) -> bytes:
    """Two multifd channels of a source in setup, and its main; ``early``: who closed that before
    they began.  ``gone``: what the destination closes first.
    """
    made = Craft()
    main = made.connect(46000)
    for side in early:
        main.fin(side)
    for number in (0, 1):
        last = made.connect(46001 + number)
        last.send(init(number))
    if gone:
        (main if gone == "main" else last).reset("server")
    if refused:
        made.connect(46009, syn=False).segment("client", -1, b"", SYN)
    if closed:
        main.fin()
    return made.pcap()


def test_a_source_in_setup_has_sent_nothing_on_main() -> None:
    """It waits for all multifd channels, and does so for ever if one is not accepted."""
    (migration,) = analyze(unused_main()).migrations
    assert migration.silent_main is not None
    found = outcome_of(migration)
    assert (found.name, found.evidence) == ("incomplete", "main (stream 0) never carried a byte")
    assert finding_of(unused_main(), "MF110")[1] == "main is stream 0, which never carried a byte"
    assert outcome(unused_main(refused=True)).evidence == (
        "main (stream 0) never carried a byte: the destination did not answer stream 3"
    )
    found = outcome(unused_main(closed=True))
    assert found.name == "cancelled"
    assert found.evidence.endswith("; the source closed it in setup")


@pytest.mark.parametrize(
    ("gone", "told"),
    [("main", "; the destination closed it in setup"), ("1", ": the destination reset multifd 1")],
)
@pytest.mark.parametrize("closed", [True, False])
def test_a_destination_that_closes_in_setup_fails(closed: bool, gone: str, told: str) -> None:
    found = outcome(unused_main(closed=closed, gone=gone))
    assert (found.name, found.evidence) == (
        "failed",
        f"main (stream 0) never carried a byte{told}",
    )


def test_a_main_whose_bytes_the_capture_lacks_is_not_silent() -> None:
    """Its FIN, or what the destination acknowledged, tells that there were some."""
    frames, link = frames_of(capture(NAME))
    shown = analyze(pcap(frames, link=link)).migrations[0]
    assert shown.main is not None
    port = shown.main.flow.key[8:10]
    held = [f for f in frames if f[1][34:36] != port or len(f[1]) < 70]
    (migration,) = analyze(pcap(held, link=link)).migrations
    assert (migration.main, migration.silent_main) == (None, None)
    assert outcome_of(migration).evidence == "main is not in the capture"


def test_a_connection_that_was_over_before_is_not_main() -> None:
    """Such as the probe of a port."""
    assert outcome(unused_main(early=("client", "server"))).evidence == (
        "the capture ends before all channels are closed"
    )


def test_a_source_cancelled_at_once_closes_main_before_it_connects_the_others() -> None:
    found = outcome(unused_main(early=("client",)))
    assert found.name == "cancelled"
    assert found.evidence == ("main (stream 0) never carried a byte; the source closed it in setup")


@pytest.mark.parametrize(
    ("how", "name", "evidence"),
    [
        ("fin client", "cancelled", "the source closed main before its EOF byte"),
        ("reset client", "cancelled", "the source reset main before its EOF byte"),
        ("fin server", "failed", "the destination closed main before its EOF byte"),
        ("reset server", "failed", "the destination reset main before its EOF byte"),
    ],
)
def test_it_is_told_who_ended_main_and_how(how: str, name: str, evidence: str) -> None:
    tiny = given_up()
    tiny.close = [("main", how)]
    found = outcome(tiny.pcap())
    assert (found.name, found.evidence) == (name, evidence)


def test_a_source_that_closed_main_and_then_reset_it_closed_it() -> None:
    """The kernel resets what was closed before everything was read."""
    tiny = given_up()
    tiny.close = [("main", "fin client"), ("main", "reset client")]
    assert outcome(tiny.pcap()).evidence == "the source closed main before its EOF byte"


def test_a_source_that_gives_up_in_setup_may_have_failed() -> None:
    tiny = given_up(main=2)
    for channel in tiny.multifd:
        del channel[2:]
    found = outcome(tiny.pcap())
    assert found.name == "cancelled"
    assert found.evidence == "the source closed main in setup: a cancel, or an error at the source"


@pytest.mark.parametrize(("return_path", "confirmed"), [(True, True), (False, False)])
def test_without_a_return_path_nothing_confirms_success(return_path: bool, confirmed: bool) -> None:
    found = outcome(Tiny(return_path=return_path).pcap())
    assert found.name == "completed"
    assert found.evidence.endswith("no return path to confirm it") != confirmed


def test_a_lost_fin_of_main_shows_in_what_the_destination_acknowledged() -> None:
    made = Craft()
    main = made.connect(46000)
    main.send(b"".join(given_up().main))
    main.fin()
    del made.frames[-1]
    main.client.sent += 1
    main.fin("server")
    assert outcome(made.pcap()).name == "cancelled"
    main.client.sent -= 1
    del made.frames[-1]
    main.fin("server")
    assert outcome(made.pcap()).name == "failed"


def test_who_reported_an_error_failed_where_the_end_of_main_is_lost() -> None:
    """Whether the source had closed it before is not known."""
    made = Craft()
    main = made.connect(46000)
    main.send(b"".join(given_up().main))
    main.lose(bytes(100))
    main.send(FAILED, "server")
    main.fin("server")
    found = outcome(made.pcap())
    assert (found.name, found.evidence) == ("failed", "the destination reported error 1")


def test_what_the_destination_had_read_of_tls_tells_nothing_of_its_plaintext() -> None:
    made = Craft()
    main = made.connect(46000)
    main.send(b"".join(given_up().main))
    main.client.sent += 1  # a FIN, of which only the acknowledgment is seen
    main.send(FAILED, "server")
    main.fin("server")
    (migration,) = Scan(made.pcap()).run().migrations
    assert migration.main is not None
    assert outcome_of(migration).name == "cancelled"
    migration.main.flow.decrypted = True
    assert outcome_of(migration).name == "failed"


def broken_off() -> Tiny:
    """A destination that resets channel 1 inside a buffer, and sends nothing on main."""
    tiny = Tiny(return_path=False)
    tiny.multifd[1][-1] = buffer(1, bytes(5000))[:3000]
    tiny.close = [("main", "fin client"), (1, "reset server")]
    return tiny


def test_a_destination_that_gives_up_behind_the_end_of_main_failed() -> None:
    """Without a return path the source closes main without waiting for anything."""
    found = outcome(broken_off().pcap())
    assert found.name == "failed"
    assert found.evidence == "the destination reset multifd 1 before its data ended"


def test_a_destination_that_gives_up_failed_also_where_main_is_not_in_the_capture() -> None:
    tiny = broken_off()
    tiny.main = []
    assert outcome(tiny.pcap()).name == "failed"
