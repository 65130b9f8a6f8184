"""What is worked out from a flow's facts: its end, its holes, its window."""

from __future__ import annotations

import pytest

from analyzer.tcp.flow import HOLES_KEPT, NEVER, Connection, Flow
from analyzer.tcp.requests import Place
from tests.tcp.wire import FIN, RST, Wire, analysed

KEY = bytes((10, 0, 0, 1, 10, 0, 0, 2)) + (40000).to_bytes(2, "big") + (4444).to_bytes(2, "big")


def at(frame: int) -> Place:
    return Place(frame, frame * 1000, 0)


def flow() -> Flow:
    return Connection(0, KEY, at(1)).forward


def test_names() -> None:
    forward = flow()
    assert (forward.source, forward.destination) == ("10.0.0.1:40000", "10.0.0.2:4444")
    assert (forward.peer.source, forward.peer.destination) == (
        forward.destination,
        forward.source,
    )
    six = Connection(0, bytes(15) + b"\1" + bytes(15) + b"\2" + KEY[8:], NEVER).forward
    assert six.destination == "[::2]:4444"


@pytest.mark.parametrize(
    ("fin", "reset", "own", "first"),
    [
        (None, None, None, None),
        (5, None, 5, 5),
        (None, 7, 7, 7),
        (5, 7, 5, 5),
        (7, 5, 7, 5),
    ],
)
def test_the_end_of_a_flow(
    fin: int | None, reset: int | None, own: int | None, first: int | None
) -> None:
    """Its FIN, else its RST; and which came first."""
    ended = flow()
    ended.fin = at(fin) if fin is not None else None
    ended.reset = at(reset) if reset is not None else None
    found = [end.frame if end is not None else None for end in (ended.own_end, ended.first_end)]
    assert found == [own, first]


@pytest.mark.parametrize(
    ("ends", "closed"),
    [
        ([], False),
        ([("forward", "fin")], False),
        ([("reverse", "fin")], False),
        ([("forward", "fin"), ("reverse", "fin")], True),
        ([("forward", "reset")], True),
        ([("reverse", "reset")], True),
    ],
)
def test_a_connection_is_closed_by_two_fins_or_one_reset(
    ends: list[tuple[str, str]], closed: bool
) -> None:
    connection = flow().connection
    for side, how in ends:
        setattr(getattr(connection, side), how, at(9))
    assert connection.closed is closed


# -- holes -----------------------------------------------------------------------------------------


def holes(found: Flow) -> list[tuple[int, int, int, int, bool]]:
    return [(h.first, h.last, h.before, h.after, h.cut) for h in found.holes]


def test_holes_side_by_side_are_one_if_they_are_of_one_kind() -> None:
    found = flow()
    found.add_hole(10, 19, 3, at(5), cut=False)
    found.add_hole(20, 24, 4, at(6), cut=False)
    assert holes(found) == [(10, 24, 3, 6, False)]
    found.add_hole(25, 26, 6, at(7), cut=True)
    found.add_hole(28, 28, 7, at(8), cut=True)
    assert holes(found)[1:] == [(25, 26, 6, 7, True), (28, 28, 7, 8, True)]
    assert [hole.size for hole in found.holes] == [15, 2, 1]
    assert (found.missing, found.cut, found.hole_count) == (18, 3, 3)


def test_holes_are_counted_beyond_those_that_are_kept() -> None:
    found = flow()
    for number in range(HOLES_KEPT + 2):
        found.add_hole(10 * number, 10 * number, 3, at(5), cut=False)
    assert (len(found.holes), found.hole_count) == (HOLES_KEPT, HOLES_KEPT + 2)


def test_which_hole_a_range_touches() -> None:
    found = flow()
    found.add_hole(10, 19, 3, at(5), cut=False)
    found.add_hole(30, 39, 3, at(5), cut=False)
    first, second = found.holes
    touched = [found.hole_in(*where) for where in [(0, 9), (0, 10), (19, 29), (20, 29), (39, 99)]]
    assert touched == [None, first, first, None, second]
    assert found.hole_in(0, 99) is first


@pytest.mark.parametrize(("lost", "lacks"), [("end", True), ("middle", False), ("nothing", False)])
def test_a_flow_lacks_its_end_if_it_ends_in_a_hole(lost: str, lacks: bool) -> None:
    wire = Wire().open().send(0, b"abc")
    if lost != "middle":
        wire.send(3, b"def")
    wire.send(9, b"") if lost == "end" else wire.send(6, b"ghi")
    wire.add(wire.isn + 10, flags=FIN)
    found = analysed(wire).flow
    assert found.lacks_end is lacks
    assert bool(found.holes) is (lost != "nothing")


# -- never sent ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("carried", "fin", "acked", "never"),
    [
        (False, None, 0, True),
        (False, None, 1, False),
        (False, 0, 1, True),  # the FIN counts as one
        (False, 0, 2, False),
        (False, 3, 0, False),
        (True, None, 0, False),
    ],
)
def test_a_flow_that_never_sent_a_byte(
    carried: bool, fin: int | None, acked: int, never: bool
) -> None:
    """Neither a frame shows one, nor the FIN's place, nor what was acknowledged."""
    found = flow()
    found.acked = acked
    if carried:
        found.first = at(3)
    if fin is not None:
        found.fin, found.fin_offset = at(9), fin
    assert found.never_sent is never


# -- window ----------------------------------------------------------------------------------------


def test_the_longest_time_without_room_is_told_with_its_place() -> None:
    """Frames come every millisecond."""
    wire = Wire().open().send(0, b"abc")
    wire.ack(3, window=0).send(3, b"d").ack(3, window=0).ack(4, window=9)
    wire.ack(4, window=0).ack(4, window=9)
    wire.add(wire.isn + 5, flags=RST)
    receiver = analysed(wire).flow.peer
    assert receiver.zero_window == 4_000_000
    assert receiver.zero_window_longest == 3_000_000
    assert receiver.zero_window_place is not None
    assert receiver.zero_window_place.frame == 4


def test_a_window_may_be_closed_at_time_0() -> None:
    """A capture without clock, or with times relative to its first frame."""
    receiver = flow()
    first = Place(1, 0, 0)
    receiver.close_window(first)
    receiver.close_window(Place(2, 1000, 0))
    receiver.open_window(Place(3, 3000, 0))
    assert receiver.zero_window == 3000
    assert receiver.zero_window_place is first
