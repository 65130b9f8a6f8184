"""Channels that were closed out of turn, and whether a device can be called complete."""

from __future__ import annotations

import struct

import pytest

from analyzer.analysis import analyze
from analyzer.migration.early_ends import ended_early, refused
from analyzer.migration.migration import Migration
from analyzer.migration.outcome import is_complete
from tests.checks.craft import RAM_END, Craft, Tiny, buffer, init, sync
from tests.migration.endings import OPEN, closed_early, fin_of, given_up, of


def read(made: Craft) -> Migration:
    (migration,) = analyze(made.pcap()).migrations
    return migration


# -- refused ---------------------------------------------------------------------------------------

Closes = list[tuple[int | str, str]]
KEPT: Closes = [(0, "fin client"), ("main", "fin client")]


def refusals(tiny: Tiny, *, midway: bool = True) -> list[str]:
    """The channels that were refused; ``midway``: main sends its last bytes when the multifd
    channels are closed already.
    """
    made = tiny.craft()
    if midway:
        last = of(made, OPEN)[-1]
        made.frames.remove(last)
        behind = sum(name == "main" for name, _ in tiny.close)
        made.frames.insert(len(made.frames) - behind, last)
    return [channel.name for _, channel in refused(read(made))]


@pytest.mark.parametrize("how", ["reset", "fin"])
@pytest.mark.parametrize("completed", [True, False])
def test_a_channel_that_carried_nothing_was_refused(how: str, completed: bool) -> None:
    tiny = Tiny(return_path=False, device=False) if completed else given_up()
    tiny.multifd[1] = [init(1)]
    tiny.close = [(1, f"{how} server"), *KEPT]
    assert refusals(tiny) == ["multifd 1"]
    assert not refusals(tiny, midway=False)


def test_a_channel_with_packets_is_refused_by_a_reset() -> None:
    """Unread bytes make a kernel reset a connection; a destination that read it all closes it."""
    tiny = given_up()
    tiny.close = [(1, "reset server"), *KEPT]
    assert refusals(tiny) == ["multifd 1"]
    tiny.close = [(1, "fin server"), *KEPT]
    assert not refusals(tiny)


FAILING: dict[str, Closes] = {
    "all but main": [(0, "reset server"), (1, "reset server"), ("main", "fin client")],
    "main too": [(1, "reset server"), (0, "fin client"), ("main", "reset server")],
    "behind another": [(0, "fin client"), (1, "reset server"), ("main", "fin client")],
    "in answer": [(1, "fin client"), (1, "reset server"), *KEPT],
}


@pytest.mark.parametrize("name", FAILING)
def test_a_destination_that_fails_refuses_no_channel(name: str) -> None:
    """It closes all of them; and what it closes in answer to the source was not refused."""
    tiny = given_up()
    tiny.close = FAILING[name]
    assert not refusals(tiny)


def test_a_completed_migration_refused_no_channel_that_carried_something() -> None:
    tiny = Tiny(return_path=False, device=False)
    tiny.close = [(1, "reset server"), *KEPT]
    assert not refusals(tiny)


# -- closed before a round -------------------------------------------------------------------------


def early(made: Craft) -> list[tuple[str, int, int]]:
    """Name, frame of the FIN, and frame of the round that was to come."""
    return [(c.name, fin.frame, mark.frame) for c, fin, _, mark in ended_early(read(made))]


@pytest.mark.parametrize("main_first", [True, False])
def test_a_channel_that_was_closed_before_a_round(main_first: bool) -> None:
    """The round begins with whatever came first: a SYNC of another channel, or main's FLUSH."""
    tiny = Tiny(return_path=False, device=False)
    tiny.multifd[1].pop()
    made = tiny.craft()
    assert not early(made)
    last_sync = of(made, OPEN + 1)[-1]
    flush = next(f for f in made.frames if f.data.endswith(RAM_END))
    first, second = (flush, last_sync) if main_first else (last_sync, flush)
    fin = fin_of(made, OPEN + 2)
    made.frames.remove(fin)
    made.frames.remove(second)
    begin = made.frames.index(first)
    made.frames[begin : begin + 1] = [fin, first, second]
    assert early(made) == [("multifd 1", begin + 1, begin + 2)]


def test_a_channel_with_a_sync_for_every_flush_missed_no_round() -> None:
    tiny = Tiny(return_path=False, device=False)
    tiny.multifd[0].append(sync(9))
    assert not early(closed_early(tiny, sync(9)))


# -- complete --------------------------------------------------------------------------------------


def completeness(made: Craft) -> bool | None:
    migration = read(made)
    (device,) = migration.devices.values()
    return is_complete(device, migration)


def lacking() -> Tiny:
    """Its device lacks a buffer."""
    tiny = Tiny(return_path=False)
    tiny.multifd[1].remove(buffer(1))
    return tiny


def test_a_device_with_all_its_buffers_is_complete() -> None:
    assert completeness(Tiny().craft()) is True


def test_a_device_that_lacks_a_buffer_is_not() -> None:
    assert completeness(lacking().craft()) is False


def test_a_buffer_without_an_index_leaves_a_device_incomplete() -> None:
    tiny = Tiny()
    tiny.multifd[1].append(buffer(1, payload=bytes(11)))
    assert completeness(tiny.craft()) is False


def test_what_the_capture_lacks_may_have_been_a_buffer() -> None:
    made = Tiny(return_path=False).craft()
    made.frames.remove(of(made, OPEN + 2)[-1])
    assert completeness(made) is None


def test_a_channel_that_is_not_in_the_capture_may_have_had_it() -> None:
    made = lacking().craft()
    port = struct.pack(">H", OPEN + 2)
    made.frames = [f for f in made.frames if port not in (f.data[34:36], f.data[36:38])]
    assert completeness(made) is None


def test_a_capture_that_begins_late_may_lack_it() -> None:
    made = lacking().craft()
    made.frames = [f for f in made.frames if f.data[47] & 2 == 0]
    made.frames.remove(of(made, OPEN + 2)[0])
    assert completeness(made) is None


@pytest.mark.parametrize(
    ("closed", "complete"), [([], None), ([(1, "fin client")], False), ([(0, "fin client")], None)]
)
def test_a_buffer_cut_off_by_the_capture_s_end(closed: Closes, complete: bool | None) -> None:
    """Not so one that was cut off when its channel was closed."""
    tiny = Tiny(return_path=False)
    tiny.multifd[1][-1] = tiny.multifd[1][-1][:-3]
    tiny.close = closed
    assert completeness(tiny.craft()) is complete


def test_a_cancelled_migration_sends_no_more() -> None:
    """Even if the capture does not show every channel's end."""
    tiny = lacking()
    tiny.close = []
    assert completeness(tiny.craft()) is None
    del tiny.main[-3:]
    tiny.close = [("main", "fin client")]
    assert completeness(tiny.craft()) is False
