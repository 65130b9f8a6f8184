"""Scans over guest memory: passes that carried pages, however many SYNC rounds they took."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from analyzer.migration.activity import Activity
from analyzer.migration.memory_scans import scans_of
from analyzer.migration.phases import phases_of
from analyzer.migration.scan import Scan
from analyzer.synth import records
from tests.checks.craft import (
    EOF,
    EOS,
    FLUSH,
    HEADER,
    MACHINE,
    PAGE,
    RAM_END,
    RAM_ID,
    STATE,
    SWITCHOVER_START,
    Craft,
    init,
    part,
    ram,
    start,
    sync,
)
from tests.shipped import capture, stem, truth

if TYPE_CHECKING:
    from collections.abc import Sequence

    from analyzer.migration.migration import Migration

BLOCKS = records.block_list({"pc.ram": 1 << 20, "vga": 1 << 20})


def migration_of(rounds: Sequence[Sequence[int] | str], *, main: bool = True) -> Migration:
    """A migration with a SYNC round for each list of pages (or for the block of one name, with its
    first page), behind that of setup.
    """
    packets = [init(0), sync(0)]
    for number, pages in enumerate(rounds):
        if isinstance(pages, str):
            packets.append(ram([0], num=2 * number + 1, block=pages.encode()))
        elif pages:
            packets.append(ram(pages, num=2 * number + 1))
        packets.append(sync(2 * number + 2))
    craft = Craft()
    first = craft.connect(46000) if main else None
    multifd = craft.connect(46001)
    if first is not None:
        first.send(HEADER + start("ram", RAM_ID, BLOCKS + FLUSH + EOS))
    for packet in packets:
        multifd.send(packet)
    if first is not None:
        parts = [part(RAM_ID, FLUSH + EOS) for _ in rounds]
        state = [SWITCHOVER_START, RAM_END, STATE, EOF, records.vmdescription(MACHINE, PAGE, [])]
        for unit in [*parts, *state]:
            first.send(unit)
        first.fin()
    multifd.fin()
    (found,) = Scan(craft.pcap()).run().migrations
    return found


@pytest.mark.parametrize(
    ("rounds", "expected"),
    [
        ([[0, 1, 2]], [(1, 2)]),
        # What is dirty lies above the last page: a FLUSH when it comes to the end, no other.
        ([[0, 1], [2, 3]], [(1, 2), (2, 3)]),
        # It lies below: one FLUSH to begin at the top, one when nothing more is found.
        ([[0, 1], [], [0, 1], [], [1]], [(1, 3), (3, 5), (5, 6)]),
        # It lies on both sides: the scan goes on from the top.
        ([[4, 5], [], [2], [5, 6], [0, 1], [], [2]], [(1, 3), (3, 4), (4, 7), (7, 8)]),
        (["vga", "pc.ram"], [(1, 3)]),
        (["pc.ram", "vga"], [(1, 2), (2, 3)]),
        # Nothing was dirty, several times.
        ([[0], [], [], []], [(1, 5)]),
        ([[], [], [0]], [(1, 4)]),
        ([[], []], [(1, 3)]),
    ],
)
def test_rounds_of_a_scan(
    rounds: Sequence[Sequence[int] | str], expected: list[tuple[int, int]]
) -> None:
    scans = scans_of(migration_of(rounds))
    assert [(scan.first, scan.end) for scan in scans] == expected
    assert [scan.has_pages for scan in scans] == [any(rounds)] * len(scans)


def test_without_main_each_round_with_pages_is_one() -> None:
    scans = scans_of(migration_of([[0, 1], [], [0], []], main=False))
    assert [(scan.first, scan.end) for scan in scans] == [(1, 2), (3, 4)]


@pytest.mark.parametrize(
    ("name", "expected", "syncs"),
    [
        ("10.0.13-cancelled-2ch", 9, None),
        ("10.0.13-midstream-2ch", 31, 39),  # it begins late
        ("10.0.13-vfio-precopy-2ch", 1, 19),
        ("10.2.1-postcopy-multifd-2ch", 2, 4),
        ("8.2.2-multifd-2ch", 1, 2),
        ("9.2.1-multifd-2ch", 1, 2),
        ("7.2-multifd-2ch", 1, 2),
    ],
)
def test_scans_of_shipped_captures(name: str, expected: int, syncs: int | None) -> None:
    """QEMU counts each time it asks for what is dirty, at the switchover too: always more."""
    path = capture(name)
    (migration,) = Scan(path).run().migrations
    assert sum(scan.has_pages for scan in scans_of(migration)) == expected
    asked = truth(stem(path)).get("query_migrate_source") or {}
    if asked.get("status") == "completed":
        assert asked["ram"]["dirty-sync-count"] == syncs
        assert syncs is not None
        assert expected < syncs


def test_an_iteration_begins_where_the_bytes_on_main_do() -> None:
    """At the FLUSH behind which its first page came, or with that page, if it was seen before."""
    activity = Activity()
    (migration,) = Scan(capture("10.0.13-cancelled-2ch"), watchers=(activity,)).run().migrations
    phases = phases_of(migration, activity.of(migration))
    assert migration.main_facts is not None
    flushes = {mark.time for mark in migration.main_facts.ram.flushes}
    scans = [phase for phase in phases if phase.name == "iteration"]
    assert len(scans) == 9
    assert [scan.start in flushes for scan in scans[1:]] == [True] * 8
    # They follow one another without a gap, in time and on main.
    assert [scan.start for scan in scans[1:]] == [scan.end for scan in scans[:-1]]
    assert migration.main is not None
    assert sum(phase.main_bytes for phase in phases) == migration.main.length
