"""Whether multifd channels are missing from the capture, by what the others carry."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest

from analyzer.analysis import analyze
from analyzer.migration.absent_channels import absent_ids, all_captured, lacks_channels
from analyzer.synth import records
from tests.checks.craft import PAGE, SWITCHOVER_START, Tiny, findings, init, ram, sync
from tests.migration.endings import OPEN, of

if TYPE_CHECKING:
    from collections.abc import Callable

    from analyzer.migration.migration import Migration


def read(*channels: list[bytes], lost: int | None = None, late: bool = False) -> Migration:
    """A migration with these multifd channels; of the first one a frame with data may be ``lost``,
    or its beginning.
    """
    tiny = Tiny(device=False)
    tiny.multifd = [list(units) for units in channels]
    made = tiny.craft()
    gone = [of(made, OPEN + 1)[lost]] if lost is not None else []
    if late:
        port = struct.pack(">H", OPEN + 1)
        gone = [f for f in made.frames if port in (f.data[34:36], f.data[36:38])][:3]
    made.frames = [frame for frame in made.frames if frame not in gone]
    return analyze(made.pcap()).migrations[0]


ZERO, ONE = Tiny(device=False).multifd
"""Together they use every number from 0 to 8, in three rounds."""


def test_channels_that_use_every_number_are_all() -> None:
    whole = read(ZERO, ONE)
    assert all_captured(whole)
    assert not lacks_channels(whole)
    assert absent_ids(whole) == []


@pytest.mark.parametrize(("channel", "ids"), [(ZERO, []), (ONE, [0])], ids=["0 alone", "1 alone"])
def test_a_channel_leaves_numbers_unused(channel: list[bytes], ids: list[int]) -> None:
    """As many as there were rounds, at least."""
    alone = read(channel)
    assert not all_captured(alone)
    assert lacks_channels(alone)
    assert absent_ids(alone) == ids


def test_an_absent_channel_may_have_had_the_last_number() -> None:
    """A third channel had 2 and 5, and nothing but those two SYNCs."""
    assert lacks_channels(read([init(0), sync(0), sync(3)], [init(1), sync(1), sync(4)]))


def test_fewer_numbers_than_rounds_are_no_channel() -> None:
    few = read(ZERO, [*ONE[:2], *ONE[3:]])
    assert all_captured(few)
    assert not lacks_channels(few)


@pytest.mark.parametrize(("second", "whole"), [(2, True), (3, False)])
def test_the_first_round_shows_how_many_channels_there_are(second: int, whole: bool) -> None:
    """It takes the numbers from 0 on, so that one more channel would have taken 2."""
    many = read(
        [init(0), sync(0), ram([0], num=second), sync(10), sync(13)],
        [init(1), sync(1), sync(11), sync(14)],
    )
    assert all_captured(many) is whole
    assert lacks_channels(many) is not whole


def old(unit: bytes) -> bytes:
    """A unit as QEMU 7.2 sends it."""
    for number in range(9):
        unit = unit.replace(sync(number), sync(number, pages_alloc=128, next_packet_size=PAGE))
    return unit.replace(ram([0, 1], [4, 5], num=2), ram([0, 1], num=2)).replace(
        ram([2], [6], num=3), ram([2], num=3)
    )


UNCERTAIN: dict[str, Callable[..., Migration]] = {
    "a hole": lambda *channels: read(*channels, lost=2),
    "a late start": lambda *channels: read(*channels, late=True),
    "junk": lambda first, *rest: read([*first[:3], b"\x55" * 99, *first[3:]], *rest),
    "a packet cut off": lambda first, *rest: read([*first[:-1], first[-1][:-9]], *rest),
    "an old sender": lambda *channels: read(*([*map(old, units)] for units in channels)),
}


@pytest.mark.parametrize("name", UNCERTAIN)
def test_where_numbers_prove_nothing_the_ids_tell(name: str) -> None:
    made = UNCERTAIN[name]
    for channels, lacks in (((ZERO, ONE), False), ((ONE,), name != "a late start")):
        found = made(*channels)
        assert not all_captured(found)
        assert lacks_channels(found) is lacks


@pytest.mark.parametrize(("machine", "drops"), [("pc-q35-9.2", True), ("pc-q35-10.0", False)])
def test_numbers_of_packets_that_were_never_sent_are_no_channel(machine: str, drops: bool) -> None:
    """Some versions of QEMU number packets of zero pages alone and then drop them."""
    tiny = Tiny(device=False)
    tiny.main[0] = records.header() + records.configuration(machine)
    tiny.main.remove(SWITCHOVER_START)
    zlib = ram([0], num=6, flags=2, payload=b"x" * 60)
    tiny.multifd[0] = [init(0), sync(0), zlib, sync(7), sync(9)]
    tiny.multifd[1] = [init(1), sync(1), sync(8), sync(10)]
    assert lacks_channels(analyze(tiny.pcap()).migrations[0]) is not drops
    gap = next(found for found in findings(tiny.pcap()) if found.rule.id == "MF229")
    assert ("do not send packets of zero pages alone" in gap.message) is drops


def test_an_id_may_be_that_of_a_channel_without_one() -> None:
    """Such as a connection that could not be identified."""
    two = [init(2), *ONE[1:]]
    assert absent_ids(read(ZERO, two)) == [1]
    assert absent_ids(read(ZERO, two, [b"something else"])) == []
    assert absent_ids(read(ZERO, [init(3), *ONE[1:]], [b"something else"])) == [1, 2]
