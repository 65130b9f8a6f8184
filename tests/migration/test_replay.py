"""Re-reading: every packet's bytes come back, however the segments came and the file is packed."""

from __future__ import annotations

import gzip
import struct
from typing import TYPE_CHECKING, Any

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from analyzer.errors import CaptureError
from analyzer.migration.replay import Excerpt, Replay, read_packet
from analyzer.migration.scan import Scan
from analyzer.migration.table import PacketTable
from analyzer.synth import build
from dissectors.multifd import DEVICE_STATE, INIT, RAM
from tests.capture.files import Section, pcap
from tests.shipped import NAMES, capture
from tests.synth.capture_reader import records, streams

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from analyzer.migration.table import Row

WHOLE = 1 << 40
SMALL: dict[str, Any] = {"device": [{"size": 300_000, "buffer_size": 100_000}]}


def scanned(path: Any) -> tuple[Scan, PacketTable]:
    table = PacketTable()
    scan = Scan(path, watchers=(table,)).run()
    table.finish(scan.migrations)
    return scan, table


def everything(path: Any, replay: Any = None) -> list[tuple[Row, Excerpt]]:
    scan, table = scanned(path)
    reader = Replay(scan if replay is None else replay)
    found = [(table.row(i), reader.packet(table, i, WHOLE)) for i in range(len(table))]
    reader.close()
    return found


def check(row: Row, excerpt: Excerpt) -> None:
    """The bytes are those that the row was made from."""
    data = excerpt.data
    assert len(data) == row.length
    assert sum(end - first for first, end in excerpt.holes) == row.missing
    if row.kind == "init":
        init = INIT.values(data)
        assert (init["uuid"], init["id"]) == (row.uuid, row.channel)
    elif row.kind == "device-state":
        state = DEVICE_STATE.values(data)
        assert state["flags"] == row.flags
        assert state["instance_id"] == row.instance_id
        assert state["next_packet_size"] == row.next_packet_size
    else:
        ram = RAM.values(data)
        for name in ("flags", "packet_num", "normal_pages", "zero_pages", "pages_alloc"):
            assert ram[name] == getattr(row, name)


def test_an_excerpt_without_its_holes() -> None:
    assert Excerpt(b"ab\0\0cd\0e\0", [(2, 4), (6, 7), (8, 9)]).there == b"abcde"
    assert Excerpt(b"abc", []).there == b"abc"


@pytest.mark.parametrize("name", NAMES)
def test_every_packet_of_the_shipped_captures(name: str) -> None:
    path = capture(name)
    for row, excerpt in everything(path):
        check(row, excerpt)


def contents(data: bytes) -> dict[tuple[Any, ...], bytes]:
    found = {}
    for row, excerpt in everything(data):
        check(row, excerpt)
        found[row.stream, row.offset] = excerpt.data
    return found


SAID = contents(build(SMALL))


def test_the_bytes_are_those_of_the_streams() -> None:
    """Against a reader of captures that shares nothing with the project's."""
    data = build(SMALL)
    sent = streams(data)
    scan, table = scanned(data)
    replay = Replay(scan)
    for i in range(len(table)):
        row = table.row(i)
        ports = struct.unpack(">HH", table.flows[row.flow].key[-4:])
        assert replay.packet(table, i).data == sent[ports][row.offset : row.offset + row.length]


@given(
    seed=st.integers(0, 1 << 30),
    reorder=st.floats(0, 0.4),
    duplicate=st.floats(0, 0.2),
    loss=st.lists(  # of one segment again and again the scan loses patience
        st.tuples(st.integers(0, 1), st.integers(1, 200), st.integers(1, 40)),
        max_size=3,
        unique_by=lambda lost: lost[:2],
    ),
    isn=st.sampled_from([1, 0xFFFFF000, 0x80000000]),
)
@settings(max_examples=25)
def test_reordering_repetition_and_late_segments(
    seed: int, reorder: float, duplicate: float, loss: list[tuple[int, int, int]], isn: int
) -> None:
    faults: list[dict[str, Any]] = [
        {"kind": "tcp-netem", "reorder": reorder, "duplicate": duplicate},
        *({"kind": "tcp-loss", "channel": c, "at": a, "later": n} for c, a, n in loss),
    ]
    data = build({**SMALL, "seed": seed, "network": {"isn": isn}, "fault": faults})
    said = contents(build({**SMALL, "seed": seed}))
    found = contents(data)
    assert found == said


@given(seed=st.integers(0, 1 << 30), hole=st.floats(0.001, 0.05), reorder=st.floats(0, 0.1))
@settings(max_examples=25)
def test_holes_are_those_of_the_scan(seed: int, hole: float, reorder: float) -> None:
    fault = {"kind": "tcp-netem", "hole": hole, "reorder": reorder}
    data = build({**SMALL, "seed": seed, "fault": [fault]})
    said = contents(build({**SMALL, "seed": seed}))
    for row, excerpt in everything(data):
        check(row, excerpt)
        expected = bytearray(said[row.stream, row.offset])
        for first, end in excerpt.holes:
            expected[first:end] = bytes(end - first)
        assert excerpt.data == expected


# -- files ------------------------------------------------------------------------------------


def sections(data: bytes) -> bytes:
    """The capture as pcapng with three sections of different byte order, interfaces declared late,
    and enhanced, obsolete and simple packet blocks by turns.
    """
    frames = [(time * 1000, frame, wire) for time, frame, wire in records(data)]
    parts: list[bytes] = []
    third = len(frames) // 3 + 1
    for number, order in enumerate("<><"):
        section = Section(order)
        section.interface(link=1 if number != 1 else 113)
        for i, (time, frame, wire) in enumerate(frames[number * third : (number + 1) * third]):
            owner = 1 if number == 1 else i % 2
            if i == 1 or (number == 1 and i == 0):
                section.interface(link=1)
            if owner == 0 and i % 7 == 0:
                section.simple(frame, wire)
            elif i % 5 == 0:
                section.obsolete(time // 1000, frame, wire, owner)
            else:
                section.enhanced(time // 1000, frame, wire, owner)
        parts.append(bytes(section))
    return b"".join(parts)


PACKINGS: dict[str, Callable[[bytes], bytes]] = {
    "pcap": lambda data: data,
    "pcap.gz": lambda data: gzip.compress(data, 1),
    "pcap.zst": lambda data: zstandard.ZstdCompressor().compress(data),
    "big.pcap": lambda data: pcap([(t * 1000, f, w) for t, f, w in records(data)], ">", 1),
    "pcapng": sections,
    "pcapng.gz": lambda data: gzip.compress(sections(data), 1),
}


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("given_as", ["scan", "path", "bytes"])
def test_every_kind_of_file(packing: str, given_as: str, tmp_path: Path) -> None:
    data = PACKINGS[packing](build(SMALL))
    path = tmp_path / f"x.{packing}"
    path.write_bytes(data)
    sources = {"scan": None, "path": path, "bytes": data}
    found = everything(path, sources[given_as])
    assert {(row.stream, row.offset): e.data for row, e in found} == SAID


@pytest.mark.parametrize("packing", PACKINGS)
def test_any_order_of_reading(packing: str, tmp_path: Path) -> None:
    path = tmp_path / f"x.{packing}"
    path.write_bytes(PACKINGS[packing](build(SMALL)))
    scan, table = scanned(path)
    replay = Replay(scan)
    for i in [*range(0, len(table), 3), *range(len(table) - 1, -1, -5)]:
        row = table.row(i)
        assert replay.packet(table, i).data == SAID[row.stream, row.offset]


def test_reading_begins_where_the_packet_lies(tmp_path: Path) -> None:
    """The last packet of a plain file is read without what stands in front of it."""
    path = tmp_path / "x.pcap"
    data = build({"device": [{"size": 8_000_000}]})
    path.write_bytes(data)
    scan, table = scanned(path)
    row = int(table.view("pos").argmax())
    path.write_bytes(data[:24] + bytes(table.row(row).pos - 24) + data[table.row(row).pos :])
    check(table.row(row), Replay(scan).packet(table, row))


def test_limit_and_the_short_way() -> None:
    scan, table = scanned(capture("10.0.13-vfio-gaps-2ch"))
    whole = [excerpt for _, excerpt in everything(capture("10.0.13-vfio-gaps-2ch"))]
    for i in (*range(0, len(table), 7), int(table.view("missing").argmax())):
        assert read_packet(scan, table, i, 400) == whole[i].data[:400]
        assert read_packet(Replay(scan), table, i) == whole[i].data
    assert read_packet(scan, table, 0, 0) == b""


def test_a_long_range_comes_in_pieces() -> None:
    scan, table = scanned(capture("11.1.3-vfio-2dev-8ch"))
    flow = table.flows[0]
    rows = [table.row(i) for i in range(len(table)) if table.row(i).flow == 0]
    end = max(row.offset + row.length for row in rows)
    pieces = list(Replay(scan).stream_bytes(flow, 0, end, rows[0].pos))
    assert sum(size for _, size in pieces) == end
    assert max(size for _, size in pieces) < 1 << 17
    joined = b"".join(piece for piece, _ in pieces if piece is not None)
    for row in rows:
        packet = joined[row.offset : row.offset + row.length]
        assert packet.startswith(b"\x11\x22\x33\x44")


def test_what_cannot_be_read_twice(tmp_path: Path) -> None:
    for path in ("-", tmp_path, tmp_path / "none"):
        with pytest.raises(CaptureError, match="second time"):
            Replay(path)


def test_a_file_that_changed_gives_holes_not_errors(tmp_path: Path) -> None:
    path = tmp_path / "x.pcapng"
    data = sections(build(SMALL))
    path.write_bytes(data)
    scan, table = scanned(path)
    for changed in (data[: len(data) // 2], bytes(b ^ 0xFF for b in data[:300]) + data[300:], b""):
        path.write_bytes(changed)
        for i in range(0, len(table), 11):
            try:
                excerpt = Replay(scan).packet(table, i)
            except CaptureError:
                continue
            assert len(excerpt.data) == table.row(i).length


@pytest.mark.parametrize("name", ["pos", "offset", "length", "missing"])
def test_a_row_of_nonsense_is_harmless(name: str) -> None:
    scan, table = scanned(capture("10.0.13-alpha-8k-pages-2ch"))
    table.column(name)[3] = 1 << 40  # type: ignore[index]
    assert len(Replay(scan).packet(table, 3, 10_000).data) <= 10_000
