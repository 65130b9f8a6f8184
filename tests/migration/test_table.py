"""The packet table: its rows say what the truth files say, and reading never disturbs growing."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from analyzer.checks.checker import Checker
from analyzer.migration.replay import Replay
from analyzer.migration.scan import Scan
from analyzer.migration.table import (
    COLUMNS,
    KINDS,
    NO_NUMBER,
    SEVERITIES,
    PacketTable,
)
from analyzer.synth import build
from tests.shipped import NAMES, capture, truth


def table_of(path: Any) -> PacketTable:
    table = PacketTable()
    scan = Scan(path, watchers=(table,)).run()
    table.finish(scan.migrations, scan.engine.first_time)
    return table


@pytest.mark.parametrize("name", NAMES)
def test_one_row_a_packet(name: str) -> None:
    path = capture(name)
    table = PacketTable()
    scan = Scan(path, watchers=(table,)).run()
    table.finish(scan.migrations)
    names = ("kind", "channel", "migration", "offset", "length", "missing", "cut")
    columns = [table.view(name).tolist() for name in names]
    lengths = {(m.number, chan.id): chan.length for m in scan.migrations for chan in m.multifd}
    rows: list[tuple[int, int, int]] = []
    cut: list[tuple[int, int, int]] = []
    for kind, channel, migration, offset, length, missing, lost in zip(*columns, strict=True):
        assert lost == max(0, offset + length - lengths[migration, channel])
        assert missing >= lost
        (cut if lost > 0 else rows).append((migration, channel, kind))
    assert len({row[:2] for row in cut}) == len(cut)  # a stream ends once
    for found in scan.migrations:
        for chan in found.multifd:
            assert chan.cut_in == "payload" or (found.number, chan.id) not in {c[:2] for c in cut}
            counts = [rows.count((found.number, chan.id, number)) for number in range(len(KINDS))]
            assert counts == [
                chan.ram_packets,
                chan.sync_packets,
                chan.device_packets,
                int(chan.init is not None),
            ]
    assert len(rows) == sum(
        chan.packets + (chan.init is not None) for m in scan.migrations for chan in m.multifd
    )


def test_what_there_is_of_a_packet_that_was_cut_off() -> None:
    path = capture("10.0.13-vfio-truncated-no-returnpath-2ch")
    table = table_of(path)
    (row,) = np.flatnonzero(table.view("cut")).tolist()
    length, cut = table.column("length")[row], table.column("cut")[row]
    assert (table.row(row).idx, length - cut) == (3, 752_736)
    excerpt = Replay(path).packet(table, row)
    assert excerpt.holes == [(length - cut, length)]
    assert len(excerpt.data) == length
    assert any(excerpt.data[length - cut - 1000 : length - cut])
    assert excerpt.there == excerpt.data[: length - cut]


def test_rows_agree_with_the_truth() -> None:
    name = "10.0.13-vfio-3dev-4ch"
    table, told = table_of(capture(name)), truth(name)
    arrived = told["trace_dst"]["device_buffers_in_arrival_order_idx_channel"]
    rows = [table.row(i) for i in range(len(table))]
    for device in told["devices"]:
        own = [row for row in rows if row.idstr == device["idstr"]]
        found = sorted((row.idx, row.channel) for row in own if row.idx is not None)
        assert found == sorted(map(tuple, arrived[device["destination_uuid"]]))
        assert {row.device for row in own} == {device["idstr"] + "#0"}


def test_row_says_none_for_what_a_kind_does_not_have() -> None:
    table = table_of(build({}))
    by_kind = {table.row(i).kind: table.row(i) for i in range(len(table))}
    init, ram, device = by_kind["init"], by_kind["ram"], by_kind["device-state"]
    assert init.flags is None
    assert init.packet_num is None
    assert init.ramblock is None
    assert init.uuid is not None
    assert len(init.uuid) == 16
    assert ram.uuid is None
    assert ram.idx is None
    assert ram.instance_id is None
    assert ram.ramblock == "pc.ram"
    assert device.packet_num is None
    assert device.normal_pages is None
    assert device.ramblock is None
    assert device.idx is not None
    assert device.as_dict()["idstr"] == device.idstr
    with pytest.raises(IndexError):
        table.row(len(table))


def test_every_column_is_declared_once_and_small() -> None:
    table = table_of(build({}))
    names = [name for name, _, _ in COLUMNS]
    assert len(set(names)) == len(names)
    for name, code, meaning in COLUMNS:
        assert meaning
        assert len(table.view(name)) == len(table)
        assert table.view(name).dtype == np.dtype(code)
    assert sum(np.dtype(code).itemsize for _, code, _ in COLUMNS) <= 150


def test_views_of_a_finished_table_share_its_memory_and_cannot_be_written() -> None:
    table = table_of(build({}))
    assert np.shares_memory(table.view("time"), table.view("time", 3))
    with pytest.raises(ValueError, match="read-only"):
        table.view("time")[0] = 1
    assert table.view("time", 5, 5).size == 0
    assert table.view("time", 3, 10_000).size == len(table) - 3


def test_reading_while_the_table_grows() -> None:
    """A reader keeps views for ever, a writer appends: neither is in the other's way."""
    table = PacketTable()
    scan = Scan(capture("10.0.13-vfio-many-small-buffers-4ch"), watchers=(table,))
    kept: list[Any] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            count = len(table)
            views = [table.view(name, 0, count) for name, _, _ in COLUMNS]
            assert {len(view) for view in views} == {count}
            if count:
                assert table.row(count - 1).length > 0
            kept.append(views[0])

    reader = threading.Thread(target=read)
    reader.start()
    scan.run()
    done.set()
    reader.join()
    assert len(table) > 900
    assert all((view <= len(KINDS)).all() for view in kept)


def test_numbers_go_on_when_rows_are_dropped() -> None:
    whole, piecewise = table_of(capture("10.0.13-vfio-two-vms-2ch-3ch")), PacketTable()
    scan = Scan(capture("10.0.13-vfio-two-vms-2ch-3ch"), watchers=(piecewise,))
    seen: list[dict[str, Any]] = []
    for _ in scan.steps():
        seen += [piecewise.row(i).as_dict() for i in range(len(piecewise))]
        piecewise.drop()
    assert seen == [whole.row(i).as_dict() for i in range(len(whole))]


def test_severity_of_findings() -> None:
    data = build({"fault": [{"kind": "packet-version", "channel": 0, "at": 2}]})
    table, checker = PacketTable(), Checker()
    scan = Scan(data, watchers=(checker, table)).run()
    table.finish(scan.migrations)
    table.mark(checker.findings(scan))
    marked = [table.row(i) for i in range(len(table)) if table.row(i).severity == "error"]
    assert [row.channel for row in marked] == [0]


@pytest.mark.parametrize(
    ("offset", "frame", "expected"),
    [(64, None, [0, 2, 0]), (99, None, [0, 2, 0]), (164, None, [0, 0, 2]), (None, 7, [2, 0, 0])],
)
def test_mark_finds_the_packet(offset: int | None, frame: int | None, expected: list[int]) -> None:
    table = PacketTable()
    for first, length, number in ((0, 64, 7), (64, 100, 8), (164, 10, 9)):
        values = {"stream": 5, "offset": first, "length": length, "frame": number}
        table._append(values)
    spot = SimpleNamespace(channel=SimpleNamespace(stream=5), offset=offset, frame=frame)
    other = SimpleNamespace(channel=SimpleNamespace(stream=6), offset=0, frame=7)
    table.mark(
        [
            SimpleNamespace(rank=1, spot=spot),
            SimpleNamespace(rank=0, spot=spot),
            SimpleNamespace(rank=2, spot=other),
            SimpleNamespace(rank=2, spot=SimpleNamespace(channel=None)),
        ]
    )
    assert table.view("severity").tolist() == expected
    assert SEVERITIES[2] == "warning"


def test_packet_num_keeps_all_64_bits() -> None:
    table = PacketTable()
    table._append({"packet_num": 1 << 63})
    assert table.row(0).packet_num == 1 << 63
    assert NO_NUMBER > 1 << 63
