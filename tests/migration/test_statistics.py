"""Figures against QEMU's own account, and how the downtime is shared out."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import pytest

from analyzer.migration import downtime
from analyzer.migration.activity import Activity
from analyzer.migration.intervals import total
from analyzer.migration.outcome import outcome_of
from analyzer.migration.scan import Scan
from analyzer.migration.statistics import Statistics, figures_of
from analyzer.synth.builder import build
from tests.checks.craft import Tiny
from tests.shipped import NAMES, capture, stem, truth
from tests.truth import SENT_AGAIN

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from analyzer.migration.main_channel import MainFacts, Record
    from analyzer.migration.migration import Migration
    from analyzer.migration.switchover import Switchover

LOSSY = ("gap", "snaplen", "midstream")
SEVERAL = ("two-vms",)


@cache
def figures(path: Path | bytes) -> list[Statistics]:
    activity = Activity()
    scan = Scan(path, watchers=(activity,)).run()
    return figures_of(scan, activity)


def only(name: str) -> Statistics:
    return figures(capture(name))[-1]


def whole_runs() -> list[Path]:
    """Captures with all bytes of one completed migration."""
    names = [name for name in NAMES if not any(word in name for word in LOSSY + SEVERAL)]
    found = []
    for name in names:
        asked = truth(name).get("query_migrate_source") or {}
        whole = not any(word in name for word in ("truncated", "recovered"))
        if asked.get("status") == "completed" and whole:
            found.append(capture(name))
    return found


def counted_twice(main: MainFacts, entry: Statistics) -> int:
    """What QEMU's ``transferred`` counts a second time: it is written to memory first."""
    config = sum(device.config.size for device in entry.migration.devices.values() if device.config)
    if main.is_background_snapshot:
        assert main.first_full is not None
        assert main.eof is not None
        # The state, and a description of as many bytes without its header's.
        return main.eof.offset - main.first_full.offset + main.description_length + 6
    return config + sum(record.length for record in main.records if record.depth)


@pytest.mark.parametrize("path", whole_runs(), ids=stem)
def test_totals_are_those_of_qemu(path: Path) -> None:
    entries = figures(path)
    if not entries:
        assert "tls" in path.name
        return
    entry = entries[-1]
    asked: dict[str, Any] = truth(stem(path))["query_migrate_source"]["ram"]
    migration, main = entry.migration, entry.migration.main_facts
    assert main is not None
    assert migration.main is not None
    channels = migration.multifd
    normal = main.ram.normal_pages + sum(channel.normal_pages for channel in channels)
    zero = main.ram.zero_pages + sum(channel.zero_pages for channel in channels)
    version = path.name.split("-", maxsplit=1)[0]
    assert zero == asked["duplicate"]
    assert 0 <= normal - asked["normal"] <= SENT_AGAIN.get(version, 0)
    multifd = sum(channel.length for channel in channels)
    if version == "4.2":
        return  # it does not count what it sends again
    if version in SENT_AGAIN:
        # These count neither initial packets nor, on main, anything but the RAM of PART sections;
        # compressed pages they count uncompressed.
        if "zlib" not in path.name and "zstd" not in path.name:
            multifd -= 64 * len(channels)
            assert asked["multifd-bytes"] == multifd
        parts = [r for r in main.records if (r.kind, r.name) == ("SECTION_PART", "ram")]
        ram = sum(record.body_length for record in parts)
        assert asked["transferred"] == asked["multifd-bytes"] + ram
        return
    assert asked["multifd-bytes"] == multifd
    twice = counted_twice(main, entry)
    assert asked["transferred"] == multifd + migration.main.length + twice


@pytest.mark.parametrize("path", whole_runs(), ids=stem)
def test_iterations_and_downtime_fit_what_qemu_says(path: Path) -> None:
    asked = truth(stem(path))["query_migrate_source"]
    for entry in figures(path)[-1:]:
        syncs = asked["ram"]["dirty-sync-count"]
        scans = [phase for phase in entry.phases if phase.name == "iteration"]
        full = [scan for scan in scans if scan.normal_pages or scan.zero_pages]
        again = path.name.startswith("4.2")  # a SYNC repeats pages
        assert len(full) == len(scans) == entry.iterations
        if "background-snapshot" in path.name:
            assert entry.iterations == syncs
            continue  # the guest stopped before its memory was sent
        assert entry.iterations < syncs + again  # one more for the switchover
        assert entry.wire_downtime is not None
        if entry.migration.return_path is not None:
            # Asked in whole ms, the guest stopped before the first and ran after the last sign.
            assert entry.wire_downtime / 1e6 <= asked["downtime"] + 1


def test_bytes_of_every_channel_and_device_are_those_of_the_walkers() -> None:
    entry = only("10.0.13-vfio-3dev-4ch")
    assert [found.role for found in entry.channels] == [
        "both", "both", "device-state", "device-state",
    ]  # fmt: skip
    devices = {device["idstr"]: device for device in truth("10.0.13-vfio-3dev-4ch")["devices"]}
    for found in entry.devices:
        saved = devices[found.idstr.decode()]["kernel_saved"]["bytes"]
        main = entry.migration.main_facts
        assert main is not None
        precopy = main.devices[found.idstr, 0].main_bytes
        config = entry.migration.devices[found.idstr, 0].config
        assert config is not None
        assert found.bytes == saved - precopy + config.size


def test_the_time_of_the_switchover_is_shared_out() -> None:
    entry = only("10.0.13-vfio-3dev-4ch")
    downtime = entry.downtime
    assert downtime is not None
    assert downtime.duration == entry.wire_downtime == 198_091_000
    uses = {use.name: use for use in downtime.uses}
    assert uses["ram"].busy == 69_181_000
    assert uses["device-state"].busy == 160_650_000
    assert downtime.both == 40_025_000
    alone = sum(use.alone for use in downtime.uses)
    assert alone + total(downtime.idle) <= downtime.duration
    assert uses["ram"].busy + uses["device-state"].busy - downtime.both <= downtime.duration
    assert [b - a >= 10_000_000 for a, b in downtime.silence] == [True] * 3
    assert total(downtime.waits) == 80_952_000


def test_a_packet_that_was_cut_off_was_on_its_way_too() -> None:
    entry = only("10.0.13-vfio-truncated-no-returnpath-2ch")
    assert entry.downtime is not None
    assert entry.window is not None
    assert total(entry.downtime.idle) == 0
    assert entry.downtime.uses[1].spans[-1][1] == entry.window.end
    whole, cut = entry.devices
    assert (whole.cut, cut.cut) == (0, 1)
    device = entry.migration.devices[b"0000:00:03.0/vfio", 0]
    assert cut.buffers == len(device.buffers)
    assert cut.bytes == device.bytes + 752_736 - 276 - 12
    assert cut.end == entry.window.end


def test_a_channel_with_nothing_but_a_cut_packet_carried_that() -> None:
    tiny = Tiny(return_path=False)
    packet = tiny.multifd[1].pop()
    assert tiny.multifd[1][-1].startswith(b"\x11\x22\x33\x44\0\0\0\1\0\0\0\1")  # a SYNC
    tiny.multifd[1].append(packet[:-2])
    activity = Activity()
    (migration,) = Scan(tiny.pcap(), watchers=(activity,)).run().migrations
    entry = Statistics(migration, activity.of(migration))
    found = entry.channels[1]
    assert (found.channel.device_packets, found.channel.cut_bytes) == (0, len(packet) - 2)
    assert found.channel.device_bytes == len(packet) - 2
    assert found.state
    assert found.role == "device-state"
    assert entry.devices[0].cut == 1


def test_a_device_whose_state_went_over_main_is_told_too() -> None:
    entry = only("10.0.13-vfio-transfer-off-2ch")
    assert [(found.on_main, found.queue) for found in entry.devices] == [(True, None)]
    assert entry.devices[0].bytes > 0
    assert entry.downtime is not None
    uses = {use.name: use.busy for use in entry.downtime.uses}
    assert uses["device-state"] == total(entry.devices[0].spans)
    assert entry.fairness_state is None


def test_devices_over_main_of_a_machine_type_without_switchover_start() -> None:
    device = {"transfer": False, "size": 100}
    (entry,) = figures(build({"ram": {"era": "9.0"}, "device": [device]}))
    assert entry.window is not None
    assert entry.window.began_by == "the first SECTION_END"
    assert [(found.on_main, found.bytes) for found in entry.devices] == [(True, 100)]


def test_records_are_looked_at_once_however_many_devices_went_over_main(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looked = []
    late_records = downtime._late_records

    def noted(migration: Migration, window: Switchover) -> Iterator[Record]:
        for record in late_records(migration, window):
            looked.append(record)
            yield record

    monkeypatch.setattr(downtime, "_late_records", noted)
    device = {"transfer": False, "size": 100}
    devices = [{**device, "idstr": f"0000:00:{n:02x}.0/vfio"} for n in range(32)]
    (entry,) = figures(build({"device": devices}))
    assert [found.bytes for found in entry.devices] == [100] * 32
    assert all(found.on_main for found in entry.devices)
    assert entry.migration.main_facts is not None
    assert len(looked) < 3 * len(entry.migration.main_facts.records)


def test_devices_on_both_ways_side_by_side() -> None:
    entry = only("11.1.3-vfio-mixed-on-off-4ch")
    assert [found.on_main for found in entry.devices] == [False, True]
    assert entry.devices[0].exclusive < total(entry.devices[0].spans)


def test_exclusive_times_and_gaps() -> None:
    entry = only("10.0.13-vfio-3dev-4ch")
    first, second, third = entry.devices
    assert (third.exclusive, first.exclusive) == (0, 1_820_000)
    assert second.longest_gap == 35_634_000
    for found in entry.devices:
        assert found.exclusive <= total(found.spans) <= found.end - found.start
        assert found.queue is not None
        assert found.queue.longest_wait in [b - a for a, b in found.queue.waits]


def test_few_channels_of_many_did_the_work() -> None:
    entry = only("10.0.13-multifd-64ch")
    assert entry.fairness_ram == pytest.approx(0.10, abs=0.01)
    assert entry.runs_ram.again == 0
    assert [found.role for found in entry.channels].count("ram") == 2


def test_without_an_end_there_is_a_window_but_no_downtime() -> None:
    entry = only("10.0.13-vfio-destination-killed-2ch")
    assert entry.wire_downtime is None
    assert entry.window is not None
    assert not entry.window.finished
    assert entry.downtime is not None
    assert outcome_of(entry.migration).name == "failed"
