"""The walk of a main channel: its facts, and that no input upsets it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analyzer.migration import main_channel
from analyzer.migration.main_channel import RECORDS_KEPT, MainFacts, Record
from dissectors.main_stream import Command
from tests.migration import main_streams as build
from tests.migration.main_streams import STREAMS, slugs, summary, walk

if TYPE_CHECKING:
    from analyzer.tcp.requests import Sink

WHOLE = {name: make() for name, make in STREAMS.items()}
NAMES = sorted(WHOLE)


@pytest.mark.parametrize("name", NAMES)
def test_clean_streams_are_understood_to_the_last_byte(name: str) -> None:
    main = walk(WHOLE[name])
    assert not main.anomalies
    assert (main.decoded, main.skipped) == (len(WHOLE[name]), 0)
    assert main.eof is not None
    assert main.truncated is None
    top = [record for record in main.records if not record.depth]
    offsets = [record.offset for record in top]
    packaged = sum(record.length for record in main.records if record.depth)
    assert offsets == sorted(offsets)
    assert sum(record.length for record in top) + packaged == len(WHOLE[name])


def test_facts_of_a_plain_migration() -> None:
    main = walk(WHOLE["plain"])
    assert main.machine == "pc-q35-10.0"
    assert main.header_version == 3
    assert {name: block.used_length for name, block in main.ram.blocks.items()} == build.BLOCKS
    ram = main.ram
    assert (ram.normal_pages, ram.zero_pages, ram.flush_count) == (4, 4, 0)
    assert main.ram.blocks[b"vga.vram"].normal_pages == 1
    assert [(i.pages, i.zero_pages, i.reason) for i in main.ram.iterations] == [
        (2, 2, "wrap"),
        (2, 1, "wrap"),
        (0, 1, "end"),
    ]
    assert len(main.ram.section_ends) == 4
    assert main.switchover_start is not None
    assert main.description_complete
    assert [section.text for section in main.sections.values()] == ["ram", "cpu", "i8259#1"]
    assert not main.unfinished_sections


@pytest.mark.parametrize(
    ("last", "first"),
    [
        (build.page(build.PAGE, b"pc.ram"), build.page(0, b"pc.ram")),
        (build.page(0, b"vga.vram"), build.page(0, b"pc.ram")),
        (build.page(build.PAGE, b"pc.ram") + build.page(2 * build.PAGE), build.page(0)),
    ],
    ids=["same block", "another block", "no name"],
)
def test_a_scan_ends_where_the_first_record_of_the_next_one_begins(
    last: bytes, first: bytes
) -> None:
    before = build.OPENING + build.RAM_START
    records = build.part(build.RAM_ID, last + first + build.EOS)
    main = walk(before + records + build.end(build.RAM_ID, build.EOS))
    at = len(before) + records.index(last) + len(last)
    scan, following = main.ram.iterations
    assert scan.end is not None
    assert (scan.reason, scan.end.offset, following.start.offset) == ("wrap", at, at)


@pytest.mark.parametrize("described", [True, False])
def test_machine_types_without_footers(described: bool) -> None:
    """Up to 2.3; those before it have no description either."""
    sections = [
        build.start(build.RAM_ID, b"ram", build.mem_size(build.BLOCKS) + build.EOS),
        build.part(build.RAM_ID, build.page(0, b"pc.ram") + build.EOS),
        build.end(build.RAM_ID, build.EOS),
        build.full(build.CPU_ID, b"cpu", build.CPU_BODY + build.footer(build.CPU_ID)[1:]),
        build.PIC,
    ]
    description = build.vmdescription([build.buffer_device("cpu", 4 + len(build.CPU_BODY))])
    stream = build.header() + b"".join(section[: -len(build.footer(0))] for section in sections)
    main = walk(stream + b"\0" + description * described)
    assert slugs(main.anomalies) == {"main-no-configuration"}
    assert main.skipped == 0
    bodies = [record.body for record in main.records if record.kind == "SECTION_FULL"]
    assert bodies == [build.CPU_BODY + build.u32(build.CPU_ID), build.PIC_BODY]
    assert main.eof is not None
    assert main.description_complete is described


def test_no_configuration_but_footers() -> None:
    stream = build.header() + build.RAM_START + build.CLOSING
    main = walk(stream.replace(build.CPU, build.CPU[:-5]))
    assert slugs(main.anomalies) == {"main-no-configuration", "footer-missing"}


def test_facts_of_vfio_devices() -> None:
    main = walk(WHOLE["vfio"])
    on = main.devices[build.VFIO, 0]
    off = main.devices[b"0000:00:03.0/vfio", 0]
    assert (on.announced, on.main_bytes, on.late_bytes, on.data_blocks) == ("multifd", 45, 0, 1)
    assert (off.announced, off.main_bytes, off.late_bytes) == ("main", 9, 9)
    assert len(off.init_data_sent) == 1
    assert on.data_ended is not None
    assert off.config_bytes == len(build.config_state()) - 8
    assert len(main.ram.flushes) == 3
    assert [value for value, _mark in main.pings] == [1]
    assert main.opened_return_path is not None


def test_devices_beyond_some_are_not_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(main_channel, "DEVICES_MAX", 3)
    first, last = build.VFIO_ID, build.VFIO_ID + 8
    full = [build.full(first + n, build.VFIO, build.END_OF_STATE, n) for n in range(9)]
    ends = [build.end(last, build.data_state(b"x") + build.END_OF_STATE)] * 2
    got: dict[tuple[bytes, int], int] = {}

    def data_of(key: tuple[bytes, int]) -> Sink:
        got[key] = 0

        def sink(_piece: bytes | memoryview | None, size: int) -> None:
            got[key] += size

        return sink

    main = walk(build.OPENING + build.RAM_START + b"".join(full + ends), device_data=data_of)
    keys = [(build.VFIO, 0), (build.VFIO, 1), (build.VFIO, 2), main_channel.OTHER_DEVICES]
    assert list(main.devices) == keys
    assert list(got.values()) == [0, 0, 0, 2]
    assert main.devices[main_channel.OTHER_DEVICES].data_blocks == 2


def test_device_data_goes_to_the_sink_of_its_device() -> None:
    got: dict[tuple[bytes, int], bytes] = {}

    def sink_of(key: tuple[bytes, int]) -> object:
        def sink(piece: bytes | memoryview | None, count: int) -> None:
            got[key] = got.get(key, b"") + (b"?" * count if piece is None else bytes(piece))

        return sink

    stream = WHOLE["vfio"]
    at = stream.index(b"early" * 9) + 5
    walk(stream[:at], 10, stream[at + 10 :], device_data=sink_of)
    assert got[build.VFIO, 0] == b"early" + b"?" * 10 + b"early" * 6
    assert got[b"0000:00:03.0/vfio", 0] == b"latestate"


def test_facts_of_postcopy() -> None:
    main = walk(WHOLE["postcopy"])
    assert main.postcopy_advise is not None
    assert main.postcopy_listen is not None
    assert main.postcopy_run is not None
    assert main.packaged is not None
    ranges = [r.value for r in main.records if r.name == "POSTCOPY_RAM_DISCARD"]
    assert sum(filter(None, ranges)) == 2
    assert [value for value, _mark in main.pings] == [1, 2, 3, 4]
    inside = [record.name for record in main.records if record.depth]
    assert inside == ["POSTCOPY_LISTEN", "cpu", "i8259#1", "PING", "POSTCOPY_RUN"]
    assert main.ram.page_size == build.PAGE


def test_a_block_name_longer_than_its_command_leaves_no_range() -> None:
    main = walk(WHOLE["postcopy"].replace(b"\0\x06pc.ram\0", b"\0\xffpc.ram\0"))
    assert [r.value for r in main.records if r.name == "POSTCOPY_RAM_DISCARD"] == [0]


def test_marks_say_where_and_when() -> None:
    stream = WHOLE["plain"]
    at = stream.index(build.command(Command.SWITCHOVER_START))
    main = walk(stream[:at], stream[at : at + 1], stream[at + 1 :])
    mark = main.switchover_start
    assert mark is not None
    assert (mark.offset, mark.frame, mark.time) == (at, 2, 2000)


def test_rows_are_handed_out_and_capped() -> None:
    rows: list[Record] = []
    records = [build.command(Command.OPEN_RETURN_PATH)] * (RECORDS_KEPT + 5)
    main = walk(build.OPENING + b"".join(records), record_sink=rows.append)
    assert len(main.records) == RECORDS_KEPT
    assert main.records_dropped == 7
    assert len(rows) == RECORDS_KEPT + 7


@pytest.mark.parametrize("name", NAMES)
def test_pieces_make_no_difference(name: str) -> None:
    stream = WHOLE[name]
    expected = summary(walk(stream))
    assert summary(walk(*(stream[i : i + 1] for i in range(len(stream))))) == expected
    step = max(1, len(stream) // 400)
    for at in [*range(1, 200), *range(200, len(stream), step)]:
        assert summary(walk(stream[:at], stream[at:])) == expected


@pytest.mark.parametrize("name", NAMES)
def test_truncated_anywhere(name: str) -> None:
    stream = WHOLE[name]
    step = max(1, len(stream) // 600)
    for size in [*range(300), *range(300, len(stream), step)]:
        main = walk(stream[:size])
        assert slugs(main.anomalies) <= {"main-truncated", "vmdesc-length", "postcopy-order"}
        assert main.skipped == 0
        cut = {"main-truncated", "vmdesc-length"} & set(main.anomalies.counts)
        assert len(cut) == (main.truncated is not None)


@given(name=st.sampled_from(NAMES), data=st.data())
@settings(max_examples=300)
def test_a_hole_is_no_fault(name: str, data: st.DataObject) -> None:
    stream = WHOLE[name]
    first = data.draw(st.integers(0, len(stream) - 1))
    size = data.draw(st.integers(1, len(stream) - first))
    main = walk(stream[:first], size, stream[first + size :])
    assert slugs(main.anomalies) <= {"main-truncated"}


@given(name=st.sampled_from(NAMES), data=st.data())
@settings(max_examples=300)
def test_changed_bytes_never_upset_it(name: str, data: st.DataObject) -> None:
    stream = bytearray(WHOLE[name])
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(stream) - 1))
        stream[at] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(stream)))
    main = walk(bytes(stream[:cut]), bytes(stream[cut:]))
    for record in main.records:
        assert 0 <= record.offset <= record.offset + record.length <= len(stream)


@given(pieces=st.lists(st.binary(max_size=60) | st.integers(1, 50), max_size=12))
@settings(max_examples=300)
def test_every_byte_of_garbage_is_accounted_for(pieces: list[bytes | int]) -> None:
    walk(*pieces)
    walk(*pieces, midstream=True)
    walk(build.OPENING, build.RAM_START, *pieces)


@pytest.mark.parametrize("name", ["plain", "vfio"])
def test_a_stream_without_its_beginning_is_understood_to_its_end(name: str) -> None:
    stream = WHOLE[name]
    for at in range(100, len(stream) - len(build.CLOSING), 17):
        main = walk(stream[at:], midstream=True)
        assert not main.anomalies
        assert main.began_late
        assert main.eof is not None
        assert main.description_complete


def test_midstream_devices_get_their_name_from_the_full_section() -> None:
    stream = WHOLE["vfio"]
    at = stream.index(build.part(build.VFIO_ID, b"")[:5])
    main = walk(stream[at - 5 :], midstream=True)
    assert set(main.devices) == {(build.VFIO, 0), (b"0000:00:03.0/vfio", 0)}
    assert main.devices[build.VFIO, 0].main_bytes == 45
    assert main.devices[build.VFIO, 0].announced == "multifd"


def test_a_device_whose_name_is_lost_is_called_by_its_section() -> None:
    """``vfio`` would be the name of a device that has no id."""
    stream = WHOLE["vfio"]
    at = stream.index(build.part(build.VFIO_ID, b"")[:5])
    end = stream.index(build.CPU)
    main = walk(stream[at - 5 : end], midstream=True)
    assert (f"section {build.VFIO_ID}/vfio".encode(), 0) in main.devices


def test_a_recovered_postcopy_begins_with_a_command() -> None:
    stream = (
        build.command(Command.OPEN_RETURN_PATH)
        + build.command(Command.PING, build.u32(1))
        + build.command(Command.POSTCOPY_RESUME)
        + build.part(build.RAM_ID, build.page(0, b"pc.ram") + build.EOS)
        + build.end(build.RAM_ID, build.EOS)
        + b"\0"
    )
    main = walk(stream, midstream=True)
    assert not main.anomalies
    assert main.skipped == 0
    assert main.ram.normal_pages == 1


def test_anomalies_of_one_kind_are_counted_not_kept() -> None:
    pages = b"".join(build.zero(i * build.PAGE, fill=1) for i in range(1, 16))
    body = build.zero(0, b"pc.ram") + pages * 10 + build.EOS
    main = walk(build.OPENING + build.RAM_START + build.part(build.RAM_ID, body))
    assert main.anomalies.counts == {"ram-zero-value": 150}
    assert len(main.anomalies) < 100


def test_a_fresh_channel_has_no_facts() -> None:
    main = MainFacts()
    assert main.ram.blocks == {}
    assert not main.interrupted
    assert main.description_bytes() == b""
