"""Filters select what they say; checked against plain Python over the rows."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzer.filter.filter import Filter
from analyzer.migration.scan import Scan
from analyzer.migration.table import COLUMNS, PacketTable
from analyzer.migration.table_fields import TABLE_FIELDS
from analyzer.synth import build
from dissectors.registry import FIELDS
from tests.filter.tables import table
from tests.shipped import capture

if TYPE_CHECKING:
    from collections.abc import Callable

    from analyzer.migration.table import Row


def passing(text: str) -> list[int]:
    return [int(row) for row in Filter(text).rows(table())]


def expected(test: Callable[[Row], object]) -> list[int]:
    return [i for i in range(len(table())) if test(table().row(i))]


def has(value: int | None, test: Callable[[int], bool]) -> bool:
    return value is not None and test(value)


def always(_row: Row) -> bool:
    return True


def never(_row: Row) -> bool:
    return False


MS = 10**6
CASES: dict[str, Callable[[Row], object]] = {
    "": always,
    "  ": always,
    "kind == sync": lambda r: r.kind == "sync",
    'kind == "device-state"': lambda r: r.kind == "device-state",
    "kind != ram": lambda r: r.kind != "ram",
    "kind in {ram, init}": lambda r: r.kind in ("ram", "init"),
    'kind contains "s"': lambda r: "s" in r.kind,
    "kind matches '^(ram|sync)$'": lambda r: r.kind in ("ram", "sync"),
    "multifd.flags.device_state": lambda r: r.kind == "device-state",
    "multifd.flags.sync": lambda r: has(r.flags, lambda v: bool(v & 1)),
    "multifd.flags.sync == false": lambda r: has(r.flags, lambda v: not v & 1),
    "multifd.flags.sync in {1}": lambda r: has(r.flags, lambda v: bool(v & 1)),
    "!multifd.flags.sync": lambda r: not has(r.flags, lambda v: bool(v & 1)),
    "multifd.flags & 0x41": lambda r: has(r.flags, lambda v: bool(v & 0x41)),
    "multifd.flags & 0x41 == 0x40": lambda r: has(r.flags, lambda v: v & 0x41 == 0x40),
    "multifd.flags & 0x41 in {1, 64}": lambda r: has(r.flags, lambda v: v & 0x41 in (1, 64)),
    "multifd.flags": lambda r: r.kind != "init",
    "vfio.idx": lambda r: r.idx is not None,
    "vfio.idx > 2": lambda r: has(r.idx, lambda v: v > 2),
    "vfio.idx gt 2": lambda r: has(r.idx, lambda v: v > 2),
    "2 < vfio.idx": lambda r: has(r.idx, lambda v: v > 2),
    "1 <= vfio.idx < 3": lambda r: has(r.idx, lambda v: 1 <= v < 3),
    "vfio.idx != 3": lambda r: has(r.idx, lambda v: v != 3),
    "!(vfio.idx == 3)": lambda r: r.idx != 3,
    "not vfio.idx eq 3": lambda r: r.idx != 3,
    "vfio.idx in {0, 2..4 6}": lambda r: r.idx in (0, 2, 3, 4, 6),
    "vfio.idx not in {0, 2..4}": lambda r: has(r.idx, lambda v: v not in (0, 2, 3, 4)),
    "vfio.idx in {-5, 1, 99999999999999999999999}": lambda r: r.idx == 1,
    "vfio.flags.config_state": lambda r: has(r.state_flags, lambda v: bool(v & 1)),
    "vfio.version == 0": lambda r: r.vfio_version == 0,
    "channel == 1": lambda r: r.channel == 1,
    "channel==-1": lambda r: r.channel == -1,
    "channel ne 1": lambda r: r.channel != 1,
    "tcp.stream >= 2": lambda r: r.stream >= 2,
    "migration == 0 and number <= 017": lambda r: r.number <= 15,
    "frame in {1..0x20}": lambda r: r.frame <= 32,
    "frame.number lt 50": lambda r: r.frame < 50,
    "frame == frame.last": lambda r: r.frame == r.end_frame,
    "multifd.zero_pages > multifd.normal_pages": lambda r: has(
        r.zero_pages, lambda v: v > (r.normal_pages or 0)
    ),
    "length > 40K": lambda r: r.length > 40 * 1024,
    "length >= 1.5k": lambda r: r.length >= 1536,
    "length < 1MiB && length > 60kB": lambda r: 60 * 1024 < r.length < 1 << 20,
    "offset == 0": lambda r: r.offset == 0,
    "missing > 0": lambda r: r.missing > 0,
    "time.relative < 5ms": lambda r: r.time - table().start < 5 * MS,
    "time.relative ge 0.005": lambda r: r.time - table().start >= 5 * MS,
    "time.relative <= 5000us": lambda r: r.time - table().start <= 5 * MS,
    "time.span > 100us": lambda r: r.end_time - r.time > 100_000,
    "time > 2000-01-01": always,
    "time > '2100-01-01 10:00:00.5'": never,
    "multifd.packet_num <= 3": lambda r: has(r.packet_num, lambda v: v <= 3),
    "multifd.packet_num > -1": lambda r: r.packet_num is not None,
    "multifd.packet_num < 99999999999999999999999": lambda r: r.packet_num is not None,
    "multifd.packet_num == 18446744073709551615": never,
    "multifd.ramblock": lambda r: r.ramblock is not None,
    "multifd.ramblock == pc.ram": lambda r: r.ramblock == "pc.ram",
    'multifd.ramblock != "pc.ram"': lambda r: r.ramblock not in (None, "pc.ram"),
    r'multifd.ramblock == "\x70c\x2eram"': lambda r: r.ramblock == "pc.ram",
    'multifd.ramblock contains "ram"': lambda r: "ram" in (r.ramblock or ""),
    'device == "0000:00:02.0/vfio#0"': lambda r: r.device == "0000:00:02.0/vfio#0",
    "device == 0000:00:03.0/vfio#2": lambda r: r.device == "0000:00:03.0/vfio#2",
    "device == 0000:00:03.0/vfio": lambda r: r.device == "0000:00:03.0/vfio#2",
    'device != "0000:00:03.0/vfio"': lambda r: r.device == "0000:00:02.0/vfio#0",
    'device in {"0000:00:03.0/vfio", "x"}': lambda r: r.device == "0000:00:03.0/vfio#2",
    'device not in {"0000:00:03.0/vfio"}': lambda r: r.device == "0000:00:02.0/vfio#0",
    "device == 0000:00:03.0/vfio#0": never,
    "device == 0000:00:03.0": never,
    r'device ~ r"03\.\d"': lambda r: "03.0" in (r.device or ""),
    'device matches "VFIO"': lambda r: r.device is not None,
    'device in {"0000:00:02.0/vfio#0", "x"}': lambda r: r.device == "0000:00:02.0/vfio#0",
    'device not in {"0000:00:02.0/vfio#0"}': lambda r: r.device == "0000:00:03.0/vfio#2",
    'multifd.idstr contains "03"': lambda r: "03" in (r.idstr or ""),
    "multifd.instance_id == 2": lambda r: r.instance_id == 2,
    "multifd.init.id == 1": lambda r: r.kind == "init" and r.channel == 1,
    "multifd.init.uuid": lambda r: r.uuid is not None,
    "multifd.init.uuid == 00000000-0000-0000-0000-000000000000": lambda r: r.uuid == bytes(16),
    "severity >= info": never,
    "severity == none || severity > error": always,
    "kind == ram && channel == 1 || kind == sync": lambda r: (
        (r.kind == "ram" and r.channel == 1) or r.kind == "sync"
    ),
    "kind == ram and (channel == 1 or kind == sync)": lambda r: r.kind == "ram" and r.channel == 1,
    "!kind == ram && !!(channel == 1)": lambda r: r.kind != "ram" and r.channel == 1,
    "\tkind\n==\rram ": lambda r: r.kind == "ram",
}


@pytest.mark.parametrize("text", CASES)
def test_what_passes(text: str) -> None:
    assert passing(text) == expected(CASES[text])


def test_the_table_of_these_tests_has_everything() -> None:
    kinds = {table().row(i).kind for i in range(len(table()))}
    assert kinds == {"init", "ram", "sync", "device-state"}
    assert passing("missing > 0")
    assert len(passing("device")) > 5


@pytest.mark.parametrize("name", FIELDS)
def test_masks_agree_with_single_values(name: str) -> None:
    """Presence and value of every field: the vector's way and the row's."""
    field, place = FIELDS[name], TABLE_FIELDS[name]
    values = [place.value(table(), row) for row in range(len(table()))]
    if field.type == "bool":
        assert passing(name) == [i for i, v in enumerate(values) if v]
        return
    assert passing(name) == [i for i, v in enumerate(values) if v is not None]
    if field.type in ("uint", "int"):
        for wanted in {v for v in values if isinstance(v, int)}:
            assert passing(f"{name} == {wanted}") == [
                i for i, v in enumerate(values) if v == wanted
            ]


@given(st.integers(-(1 << 70), 1 << 70), st.sampled_from(["==", "!=", "<", "<=", ">", ">="]))
def test_any_number_compares_like_python(value: int, sign: str) -> None:
    compare = {
        "==": lambda v: v == value,
        "!=": lambda v: v != value,
        "<": lambda v: v < value,
        "<=": lambda v: v <= value,
        ">": lambda v: v > value,
        ">=": lambda v: v >= value,
    }[sign]
    for name, attribute in (("multifd.packet_num", "packet_num"), ("channel", "channel")):
        wanted = expected(lambda r, a=attribute: has(getattr(r, a), compare))  # type: ignore[misc]
        assert passing(f"{name} {sign} {value}") == wanted


def test_bit_4_of_the_first_revisions_is_device_state() -> None:
    found = PacketTable()
    Scan(build({"dialect": "v1"}), watchers=(found,)).run()
    assert Filter("multifd.flags & 0x10").rows(found).size
    assert not Filter("multifd.flags.uadk").rows(found).size
    assert (
        Filter("multifd.flags.device_state").rows(found).tolist()
        == Filter("kind == device-state").rows(found).tolist()
    )


def test_part_of_the_rows() -> None:
    condition = Filter("kind == ram")
    whole = condition.rows(table()).tolist()
    parts = [condition.rows(table(), at, at + 7) for at in range(0, len(table()), 7)]
    assert [int(row) for part in parts for row in part] == whole
    assert condition.mask(table(), 10_000).size == 0
    assert Filter("number > 5").rows(table(), 3).tolist() == list(range(5, len(table())))


def test_a_growing_table() -> None:
    """New names are met as they come; nothing that was kept hinders appending."""
    found = PacketTable()
    scan = Scan(
        build({"device": [{"idstr": f"d{i}", "size": 9} for i in range(9)]}), watchers=(found,)
    )
    condition = Filter('device contains "d" || multifd.ramblock contains "ram" || number > 3')
    masks = [condition.mask(found) for _ in scan.steps()]
    masks.append(condition.mask(found))
    whole = masks[-1]
    assert whole.size > 20
    for mask in masks:
        assert (mask == whole[: mask.size]).all()


def test_one_filter_for_two_tables() -> None:
    condition = Filter("multifd.ramblock == pc.ram")
    other = PacketTable()
    Scan(capture("10.0.13-numa-two-ramblocks-3ch"), watchers=(other,)).run()
    for _ in range(2):
        assert condition.rows(table()).tolist() == passing("multifd.ramblock == pc.ram")
        assert not condition.rows(other).size


def test_fields_that_a_filter_uses() -> None:
    assert Filter("severity > info && frame < frame.last").fields == {
        "severity",
        "frame",
        "frame.last",
    }


def test_a_long_chain_is_no_depth() -> None:
    text = " || ".join(f"frame == {i}" for i in range(400))
    assert passing(text) == expected(lambda r: r.frame < 400)


def test_rows_are_filtered_without_a_loop_over_them() -> None:
    def lines(rows: int) -> int:
        """Lines that run for so many rows."""
        found = PacketTable()
        for name in ("idx", "kind", "flags"):
            code = {c[0]: c[1] for c in COLUMNS}[name]
            found._columns[name].frombytes(np.full(rows, 2, code).tobytes())
        found._count = rows
        found.finished = True
        condition = Filter("vfio.idx > 10")
        count = 0

        def tracer(_frame: object, _event: str, _argument: object) -> Any:
            nonlocal count
            count += 1
            return tracer

        before = sys.gettrace()
        sys.settrace(tracer)
        try:
            condition.mask(found)
        finally:
            sys.settrace(before)
        return count

    lines(1)  # what is made once
    assert lines(100_000) == lines(1000)


def test_lark_and_numpy_come_only_with_filters() -> None:
    import subprocess

    code = (
        "import sys, analyzer.migration.table, analyzer.migration.replay, dissectors.registry\n"
        "import analyzer.migration.table_fields, analyzer.commands.packets\n"
        "sys.exit('lark' in sys.modules or 'numpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
