"""``mfshark stats -Y``: figures about the packets that pass a filter."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import analyzer
from analyzer.migration.scan import Scan
from analyzer.migration.table import PacketTable, Row
from analyzer.report.stats_filtered import Sums, filtered_json, filtered_text, sums_by
from analyzer.report.style import Style
from analyzer.synth import build
from tests.commands.run import mfshark
from tests.filter.tables import table
from tests.schemas import conform
from tests.shipped import capture

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

THREE = "10.0.13-vfio-3dev-4ch"
TWO_VMS = "10.0.13-vfio-two-vms-2ch-3ch"
NAMES: dict[str, Callable[[Row], str | None]] = {
    "": lambda _row: "all",
    "kind": lambda row: row.kind,
    "channel": lambda row: f"multifd {row.channel}",
    "device": lambda row: row.device,
}


def by_hand(rows: Sequence[Row], what: str) -> dict[str, tuple[int, ...]]:
    """The same figures, added one by one."""
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        name = NAMES[what](row)
        if name is not None:
            groups[name].append(row)
    return {
        name: (
            len(group),
            sum(row.length - row.cut for row in group),
            sum(row.normal_pages or 0 for row in group),
            sum(row.zero_pages or 0 for row in group),
            min(row.time for row in group),
            max(row.end_time for row in group),
        )
        for name, group in groups.items()
    }


def figures(sums: Sums) -> tuple[int, ...]:
    return (
        sums.packets, sums.bytes, sums.normal_pages, sums.zero_pages, sums.first, sums.last,
    )  # fmt: skip


@pytest.mark.parametrize("what", NAMES)
@given(data=st.data())
def test_sums_are_those_added_one_by_one(what: str, data: st.DataObject) -> None:
    packets = table()
    numbers = st.integers(0, len(packets) - 1)
    rows = sorted(data.draw(st.sets(numbers, min_size=1), label="rows"))
    found = {one.name: figures(one) for one in sums_by(packets, np.array(rows), what)}
    assert found == by_hand([packets.row(row) for row in rows], what)


def evil_table(name: str) -> PacketTable:
    """That of a migration with a device of a name."""
    found = PacketTable()
    device = {"idstr": name, "size": 1000, "buffer_size": 1000}
    scan = Scan(build({"device": [device]}), watchers=(found,)).run()
    found.finish(scan.migrations, scan.engine.first_time)
    return found


def test_no_rate_without_a_span() -> None:
    assert Sums("one frame", (1, 100, 0, 0, 5, 5)).rate is None
    assert Sums("half a second", (1, 100, 0, 0, 0, 500_000_000)).rate == 200


def report(name: str, condition: str) -> Any:
    ran = mfshark("stats", "-Y", condition, "--format", "json", capture(name))
    assert ran.status == 0
    loaded = json.loads(ran.out)
    conform(loaded, "filtered-stats-1")
    return loaded


@pytest.mark.parametrize(
    ("condition", "part"),
    [("kind == device-state", "multifd_device_state"), ("kind in {ram, sync}", "multifd_ram")],
)
def test_the_same_bytes_as_without_a_filter(condition: str, part: str) -> None:
    whole = json.loads(mfshark("stats", "--format", "json", capture(THREE)).out)
    found = report(THREE, condition)
    (migration,) = whole["migrations"]
    for group in ("all", "by_kind", "by_channel"):
        assert sum(one["bytes"] for one in found[group]) == migration["bytes"][part]
    assert sum(one["packets"] for one in found["by_channel"]) == found["passed"]


def test_every_buffer_of_a_device_counts() -> None:
    found = report(THREE, "vfio.idx >= 0")
    devices = json.loads(mfshark("devices", "--format", "json", capture(THREE)).out)
    buffers = {
        f"{device['idstr']}#{device['instance_id']}": device["buffers"]
        for device in devices["migrations"][0]["devices"]
    }
    assert {one["name"]: one["packets"] for one in found["by_device"]} == buffers


def test_what_was_never_sent_does_not_count() -> None:
    found = analyzer.open(capture("10.0.13-vfio-truncated-no-returnpath-2ch"), packets=True)
    assert found.packets is not None
    rows = np.arange(len(found.packets))
    channels = found.migrations[0].multifd
    whole = sum(channel.length for channel in channels)
    assert sum(one.bytes for one in sums_by(found.packets, rows, "channel")) == whole


def test_migrations_are_told_apart() -> None:
    names = [one["name"] for one in report(TWO_VMS, "kind == ram")["by_channel"]]
    assert names == [
        "migration 0: multifd 0",
        "migration 0: multifd 1",
        "migration 1: multifd 0",
        "migration 1: multifd 1",
        "migration 1: multifd 2",
    ]


def test_the_text_tells_how_many_packets_pass_the_filter() -> None:
    ran = mfshark("stats", "-Y", "vfio.idx == 0", "--color", "never", capture(THREE))
    first, *rest = ran.out.splitlines()
    assert ran.status == 0
    assert first.endswith("3 of 134 packets match vfio.idx == 0")
    assert [line.split()[0] for line in rest if line.startswith("  0000:")] == [
        "0000:00:03.0/vfio#0", "0000:00:02.0/vfio#0", "0000:00:04.0/vfio#0",
    ]  # fmt: skip


def test_nothing_passes() -> None:
    ran = mfshark("stats", "-Y", "channel == 99", "--color", "never", capture(THREE))
    assert ran.status == 0
    assert ran.out.endswith(": 0 of 134 packets match channel == 99\n")
    assert report(THREE, "channel == 99")["by_device"] == []


@pytest.mark.parametrize("words", [("-Y", "vfio.idx =="), ("-Y", "channel", "--format", "html")])
def test_wrong_use(words: tuple[str, ...]) -> None:
    ran = mfshark("stats", *words, capture(THREE))
    assert (ran.status, ran.out) == (2, "")


def test_a_capture_without_a_migration() -> None:
    ran = mfshark("stats", "-Y", "channel", capture("10.0.13-tls13-x509-2ch-nokeys"))
    assert ran.status == 2
    assert "no migration" in ran.err


def test_names_from_a_capture_control_no_terminal() -> None:
    evil = "\x1b[31m\r\n\u202e"
    packets = evil_table(evil)
    rows = np.arange(len(packets))
    lines = list(filtered_text(packets, rows, evil, evil, Style()))
    assert "".join(lines).isprintable()
    found = filtered_json(packets, rows, evil, evil)
    assert found["by_device"][0]["name"] == f"{evil}#0"
