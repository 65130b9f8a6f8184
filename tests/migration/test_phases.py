"""Phases: pages and bytes by position, on real captures and crafted streams."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import pytest

from analyzer.migration.activity import Activity
from analyzer.migration.phases import PARTS, phases_of
from analyzer.migration.scan import Scan
from analyzer.migration.switchover import switchover_window
from dissectors.multifd import INIT
from tests.shipped import NAMES, capture, truth

if TYPE_CHECKING:
    from pathlib import Path

    from analyzer.migration.migration import Migration
    from analyzer.migration.phases import Phase

LOSSY = ("gap", "snaplen", "midstream")


@cache
def scanned(path: Path) -> list[tuple[Migration, list[Phase]]]:
    activity = Activity()
    scan = Scan(path, watchers=(activity,)).run()
    return [(m, phases_of(m, activity.of(m))) for m in scan.migrations]


def named(phases: list[Phase], name: str) -> Phase:
    return next(phase for phase in phases if phase.name == name)


def only(name: str) -> tuple[Migration, list[Phase]]:
    return scanned(capture(name))[0]


@pytest.mark.parametrize(
    "name", [name for name in NAMES if not any(word in name for word in LOSSY)]
)
def test_phases_share_out_all_that_was_sent(name: str) -> None:
    for migration, phases in scanned(capture(name)):
        whole = [phase for phase in phases if not phase.is_part]
        channels = migration.multifd
        facts = migration.main_facts
        if facts is None:
            continue
        sent = sum(ram.sent_pages for ram in migration.ram_streams)
        sent += sum(channel.normal_pages for channel in channels)
        assert sum(phase.normal_pages for phase in whole) == sent
        zero = sum(ram.zero_pages for ram in migration.ram_streams)
        zero += sum(channel.zero_pages for channel in channels)
        assert sum(phase.zero_pages for phase in whole) == zero
        assert migration.main is not None
        size = migration.main.length
        if migration.preempt is not None:
            size += migration.preempt.length
        for channel in channels:
            carried = INIT.size + channel.ram_bytes + channel.device_bytes
            # All of it, but for a header that was cut off.
            assert carried == channel.length or channel.cut_in not in {None, "payload"}
            size += carried
        assert sum(phase.bytes for phase in whole) == size


def test_a_recovered_postcopy_goes_on_with_postcopy() -> None:
    """The guest runs on the destination already: no scans, no switchover, no downtime."""
    path = capture("8.2.2-preempt-recovered")
    names = [[phase.name for phase in phases] for _, phases in scanned(path)]
    first = ["setup", "iteration", "switchover", "vmstate", "postcopy", "end"]
    assert names == [first, ["setup", "postcopy", "end"]]
    (_, _), (recovery, phases) = scanned(path)
    assert switchover_window(recovery) is None
    pages = named(phases, "postcopy")
    assert recovery.preempt_facts is not None
    assert 0 < recovery.preempt_facts.ram.normal_pages < pages.normal_pages


@pytest.mark.parametrize("name", NAMES)
def test_phases_come_in_order_and_the_parts_lie_in_the_switchover(name: str) -> None:
    path = capture(name)
    for _, phases in scanned(path):
        for phase in phases:
            assert phase.start <= phase.end
        scans = [phase for phase in phases if phase.name == "iteration"]
        assert [scan.number for scan in scans] == list(range(1, len(scans) + 1))
        assert [scan.start for scan in scans] == sorted(scan.start for scan in scans)
        whole = [phase for phase in phases if phase.name == "switchover"]
        if whole and "midstream" not in path.name and "postcopy" not in path.name:
            for part in (phase for phase in phases if phase.name in PARTS):
                assert part.bytes <= whole[0].bytes
                assert part.end <= whole[0].end


@pytest.mark.parametrize("name", NAMES)
def test_setup_is_over_when_the_first_scan_begins(name: str) -> None:
    """The footer of its last section may come with the first scan's end."""
    path = capture(name)
    for _, phases in scanned(path):
        if [phase.name for phase in phases[:2]] == ["setup", "iteration"]:
            assert phases[0].end == max(phases[0].start, phases[1].start)


def test_setup_lasts_as_long_as_the_source_says() -> None:
    _, phases = only("10.0.13-vfio-3dev-4ch")
    asked = truth("10.0.13-vfio-3dev-4ch")["query_migrate_source"]["setup-time"]
    assert named(phases, "setup").duration == pytest.approx(asked * 1_000_000, rel=0.25)


def test_switchover_and_its_parts() -> None:
    migration, phases = only("10.0.13-vfio-3dev-4ch")
    assert [phase.name for phase in phases] == [
        "setup", "iteration", "switchover", *PARTS, "end",
    ]  # fmt: skip
    rest, state = named(phases, "ram-rest"), named(phases, "device-state")
    assert (rest.normal_pages, rest.zero_pages) == (256, 1024)
    # QEMU's figure is that of the payloads, and of what went over main before the stop.
    vfio = truth("10.0.13-vfio-3dev-4ch")["query_migrate_source"]["vfio"]["transferred"]
    assert migration.main_facts is not None
    before = sum(device.main_bytes for device in migration.main_facts.devices.values())
    packets = sum(channel.device_packets for channel in migration.multifd)
    assert state.bytes == vfio - before + packets * 276
    assert named(phases, "switchover").bytes > rest.bytes + state.bytes


def test_what_came_of_a_packet_that_was_cut_off_is_device_state() -> None:
    migration, phases = only("10.0.13-vfio-truncated-no-returnpath-2ch")
    state, late = named(phases, "device-state"), named(phases, "switchover")
    (cut,) = [channel for channel in migration.multifd if channel.cut_in]
    assert cut.cut_bytes == 752_736
    assert state.end == cut.flow.last.time == late.end
    assert state.bytes == sum(channel.device_bytes for channel in migration.multifd)


def test_the_scans_of_a_legacy_sender_are_told_by_addresses() -> None:
    _, phases = only("7.2-multifd-2ch")
    scan, late = named(phases, "iteration"), named(phases, "switchover")
    assert (scan.normal_pages, scan.zero_pages) == (279, 16187)
    assert (late.normal_pages, late.zero_pages) == (256, 0)


def test_the_scans_of_a_plain_migration_are_told_by_addresses() -> None:
    _, phases = only("10.0.13-xbzrle-nomultifd")
    scans = [phase for phase in phases if phase.name == "iteration"]
    assert [scan.normal_pages for scan in scans] == [279, 256, 256]
    assert [scan.zero_pages for scan in scans] == [16187, 0, 0]


def test_postcopy_begins_where_the_downtime_ends() -> None:
    _, phases = only("11.1.3-postcopy-multifd-2ch")
    postcopy, late = named(phases, "postcopy"), named(phases, "switchover")
    assert postcopy.start == late.end
    assert postcopy.normal_pages == 8274
    assert late.bytes == late.main_bytes


def test_a_cancelled_migration_has_no_switchover() -> None:
    _, phases = only("10.0.13-cancelled-2ch")
    assert {phase.name for phase in phases} == {"setup", "iteration"}
    assert [phase.normal_pages for phase in phases[2:6]] == [256] * 4
