"""COLO: checkpoints behind the end of main, and the secondary's answers."""

from __future__ import annotations

import pytest

from analyzer.analysis import analyze
from analyzer.migration.activity import Activity
from analyzer.migration.colo import CHECKPOINTS_KEPT, ColoFacts
from analyzer.migration.colo_handshake import handshakes_of
from analyzer.migration.main_channel import MainFacts
from analyzer.migration.mark import Mark
from analyzer.migration.outcome import Outcome, outcome_of
from analyzer.migration.phases import phases_of
from analyzer.migration.return_path import ReturnFacts
from analyzer.migration.return_path_walker import walk_return_path
from analyzer.migration.scan import Scan
from analyzer.tcp.requests import Place
from dissectors.colo import BY_SECONDARY, ColoMessage
from dissectors.main_stream import Command
from tests.capture.files import pcap
from tests.checks.craft import Craft
from tests.lossy import frames_of
from tests.migration import main_streams as build
from tests.migration.main_streams import CHECKPOINT, feed, slugs, walk
from tests.migration.test_return_path_walker import SHUT
from tests.shipped import capture

STATE = build.CPU + build.PIC + b"\0"
REPLIES = b"".join(map(build.colo, BY_SECONDARY))
NAME = "11.1.3-colo-2ch"


def colo_of(main: MainFacts) -> ColoFacts:
    assert main.colo is not None
    return main.colo


def test_what_main_tells_of_checkpoints() -> None:
    first = build.plain()
    main = walk(first + CHECKPOINT + build.checkpoint(b""))
    colo = colo_of(main)
    assert colo.count == 2
    one, two = colo.checkpoints
    assert one.requested is not None
    assert one.requested.offset == len(first)
    assert one.sized is not None
    assert one.sized.offset == len(first) + len(CHECKPOINT) - len(STATE) - 12
    assert one.size == two.size == len(STATE)
    assert colo.last is two


def test_pages_of_checkpoints_are_no_scans() -> None:
    before, after = walk(build.plain()), walk(build.plain() + CHECKPOINT * 3)
    assert len(after.ram.iterations) == len(before.ram.iterations)
    assert after.ram.normal_pages == before.ram.normal_pages + 3


def test_rows_of_a_checkpoint() -> None:
    rows = [(r.kind, r.name, r.depth) for r in walk(build.plain() + CHECKPOINT).records]
    assert rows[-8:] == [
        ("COLO", "CHECKPOINT_REQUEST", 0),
        ("COLO", "VMSTATE_SEND", 0),
        ("SECTION_END", "ram", 1),
        ("EOF", "", 1),
        ("COLO", "VMSTATE_SIZE", 0),
        ("SECTION_FULL", "cpu", 1),
        ("SECTION_FULL", "i8259#1", 1),
        ("EOF", "", 1),
    ]


def test_colo_that_was_announced_and_did_not_begin() -> None:
    announced = build.OPENING + build.command(Command.ENABLE_COLO)
    main = walk(build.plain().replace(build.OPENING, announced, 1))
    assert colo_of(main).count == 0
    assert colo_of(main).begin is None


@pytest.mark.parametrize("behind", [b"\0", b"\0\0\0\2", b"\0\0\0\4", build.CPU])
def test_other_bytes_behind_the_end_are_no_colo(behind: bytes) -> None:
    main = walk(build.plain() + behind)
    assert main.colo is None
    assert main.trailing is not None
    assert not slugs(main.anomalies)


@pytest.mark.parametrize("first", [1, 100, 2000, 4500, 4530, len(CHECKPOINT) - 300])
def test_a_stream_that_begins_in_a_checkpoint(first: int) -> None:
    main = walk(CHECKPOINT[first:] + CHECKPOINT * 2, midstream=True)
    assert not slugs(main.anomalies)
    assert colo_of(main).count >= 2


def test_memory_is_bounded() -> None:
    count = CHECKPOINTS_KEPT + 5
    main = walk(build.plain() + (build.colo(1) + build.colo(3) + b"\0" + build.colo(4, 0)) * count)
    assert colo_of(main).count == count
    assert len(colo_of(main).checkpoints) == CHECKPOINTS_KEPT


def test_a_lost_request_makes_no_two_checkpoints_one() -> None:
    first = build.plain() + CHECKPOINT
    main = walk(first, 4, CHECKPOINT[4:] + CHECKPOINT)
    assert [c.requested is None for c in colo_of(main).checkpoints] == [False, True, False]
    assert not slugs(main.anomalies)


def test_holes_around_messages_are_no_faults() -> None:
    stream = build.with_checkpoints()
    begin = len(build.plain())
    second = begin + len(CHECKPOINT)
    holes = [(at, size) for at in range(begin - 4, begin + 9) for size in range(1, 17)]
    holes += [(at, size) for at in range(second - 260, second + 9, 3) for size in (1, 5, 88, 147)]
    holes.append((begin - 195, 4742))  # from the description into the last section
    for at, size in holes:
        main = walk(stream[:at], size, stream[at + size :])
        assert slugs(main.anomalies) <= {"main-truncated"}, (at, size)


# -- the secondary's answers -----------------------------------------------------------------------


def answered(stream: bytes) -> ReturnFacts:
    rp = ReturnFacts()
    feed(lambda reader: walk_return_path(reader, rp), [stream])
    return rp


def test_what_the_secondary_answers() -> None:
    rp = answered(SHUT + build.colo(ColoMessage.CHECKPOINT_READY) + REPLIES * 2)
    assert rp.ready is not None
    assert rp.ready.offset == len(SHUT)
    assert [[mark.offset for mark in marks] for marks in rp.answers] == [
        [12, 24], [16, 28], [20, 32],
    ]  # fmt: skip
    assert not rp.anomalies
    assert rp.skipped == 0


def test_an_answer_that_is_not_due() -> None:
    rp = answered(build.colo(ColoMessage.CHECKPOINT_READY) + REPLIES[:8] + REPLIES)
    (anomaly,) = rp.anomalies
    assert anomaly.slug == "rp-colo-message"
    assert anomaly.detail == "CHECKPOINT_REPLY, where VMSTATE_LOADED is expected"


def test_messages_go_on_behind_damage() -> None:
    ready = build.colo(ColoMessage.CHECKPOINT_READY)
    rp = answered(ready + REPLIES + b"\0\0\1\7" + REPLIES * 2)
    assert [len(marks) for marks in rp.answers] == [3, 3, 3]
    assert rp.skipped == 4


# -- both sides ------------------------------------------------------------------------------------


def mark(frame: int) -> Mark:
    return Mark(0, Place(frame, frame * 1000, 0))


def test_answers_belong_to_the_checkpoint_before_them() -> None:
    (migration,) = Scan(capture(NAME).read_bytes()).run().migrations
    facts, returned = migration.main_facts, migration.return_facts
    assert facts is not None
    assert returned is not None
    colo = facts.colo = ColoFacts()
    for frame in (10, 20, 30):
        colo.note(ColoMessage.CHECKPOINT_REQUEST, mark(frame))
    returned.answers = [mark(11), mark(31)], [mark(12), mark(25)], [mark(13), mark(26)]
    times = [
        tuple(m.frame if m is not None else None for m in (h.replied, h.received, h.loaded))
        for h in handshakes_of(migration)
    ]
    assert times == [(11, 12, 13), (None, 25, 26), (31, None, None)]
    assert [h.pause for h in handshakes_of(migration)] == [2000, None, None]


def test_a_real_pair_that_did_not_come_about() -> None:
    """Up to 10.2 COLO does not get along with a return path."""
    analysis = analyze(capture("10.0.13-colo-refused"))
    (migration,) = analysis.migrations
    assert outcome_of(migration).name == "failed"
    assert [f.rule.id for f in analysis.findings if f.severity == "error"] == ["MF711"]


def test_the_switchover_is_repeated_in_checkpoints() -> None:
    """As 10.0 does; elsewhere it is wrong."""
    again = build.command(Command.SWITCHOVER_START)
    request, send = build.colo(1), build.colo(3)
    rest = CHECKPOINT[len(request + send) :]
    assert not walk(build.plain() + request + send + again + rest).anomalies


def test_a_real_pair() -> None:
    activity = Activity()
    (migration,) = Scan(capture(NAME).read_bytes(), watchers=(activity,)).run().migrations
    handshakes = handshakes_of(migration)
    assert len(handshakes) == 3
    for handshake in handshakes:
        parts = dict(handshake.parts)
        assert list(parts) == ["reply", "memory", "state", "load"]
        assert handshake.pause == parts["memory"] + parts["state"] + parts["load"]
        assert handshake.checkpoint.size == 32546
    phases = phases_of(migration, activity.of(migration))
    sent = [c.length for c in migration.channels if c.kind != "return-path"]
    assert sum(phase.bytes for phase in phases if not phase.is_part) == sum(sent)
    by_name = {phase.name: phase for phase in phases}
    assert by_name["switchover"].end <= by_name["colo"].start
    assert outcome_of(migration).evidence.startswith("COLO kept the pair in sync and ended")


READY = build.colo(ColoMessage.CHECKPOINT_READY)


def pair(*steps: bytes, asked: bool = False, closed: str = "client") -> Outcome:
    """The outcome of a pair: behind the first state the two sides send in turn, the secondary
    first.  ``asked``: the source opened a return path; ``closed`` is who closes main.
    """
    made = Craft()
    main = made.connect(46000)
    state = build.plain()
    if asked:
        asking = build.OPENING + build.command(Command.OPEN_RETURN_PATH)
        state = state.replace(build.OPENING, asking, 1)
    main.send(state)
    for number, data in enumerate(steps):
        main.send(data, "client" if number % 2 else "server")
    if closed:
        main.fin(closed)
    (migration,) = analyze(made.pcap()).migrations
    return outcome_of(migration)


@pytest.mark.parametrize("closed", ["client", "server"])
@pytest.mark.parametrize(
    ("steps", "where"),
    [
        ((READY,), "before the first checkpoint"),
        ((READY, CHECKPOINT, REPLIES), "between two checkpoints"),
        ((READY, CHECKPOINT, REPLIES[:8]), "inside a checkpoint"),
        ((READY, CHECKPOINT), "inside a checkpoint"),
        ((READY, CHECKPOINT, REPLIES, CHECKPOINT), "inside a checkpoint"),
    ],
)
def test_where_a_pair_ended(steps: tuple[bytes, ...], where: str, closed: str) -> None:
    """What breaks off inside a checkpoint is forgiven."""
    found = pair(*steps, closed=closed)
    assert found.name == "completed"
    assert found.evidence == f"COLO kept the pair in sync and ended {where}"
    assert found.forgives == (where == "inside a checkpoint")


def test_a_pair_that_goes_on() -> None:
    found = pair(READY, CHECKPOINT, REPLIES, closed="")
    assert (found.name, found.evidence) == ("completed", "COLO keeps the pair in sync")


@pytest.mark.parametrize(
    ("asked", "steps", "refused"),
    [
        (True, (READY,), True),
        (True, (READY + SHUT,), True),
        (True, (SHUT + READY,), False),
        (True, (READY, CHECKPOINT, REPLIES), False),
        (False, (READY,), False),
    ],
)
def test_ready_is_refused_on_a_return_path_that_is_still_read(
    asked: bool, steps: tuple[bytes, ...], refused: bool
) -> None:
    """And was no longer read after a SHUT, nor is it refused once a checkpoint followed."""
    assert (pair(*steps, asked=asked).name == "failed") is refused


@pytest.mark.parametrize("first", range(100, 170, 7))
def test_a_capture_that_begins_in_colo(first: int) -> None:
    frames, link = frames_of(capture(NAME))
    analysis = analyze(pcap(frames[first:], link=link))
    assert not [f for f in analysis.findings if f.severity != "info"]
    assert {outcome_of(m).name for m in analysis.migrations} <= {"completed"}
