"""The listing of packets in every format; names of a capture can do no harm in any."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analyzer.cli import main
from analyzer.errors import UsageError
from analyzer.migration.scan import Scan
from analyzer.migration.table import PacketTable
from analyzer.migration.table_fields import TABLE_FIELDS
from analyzer.report.packets import LATE, USUAL, Listing, chosen_fields, flags_text
from analyzer.report.style import Style
from analyzer.synth import build
from dissectors.registry import FIELDS
from tests.shipped import NAMES, capture

VFIO = str(capture("10.0.13-vfio-3dev-4ch"))


def run(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["packets", *words]) == 0
    return capsys.readouterr().out


def table_of(data: bytes) -> PacketTable:
    table = PacketTable()
    scan = Scan(data, watchers=(table,)).run()
    table.finish(scan.migrations, scan.engine.first_time)
    return table


def listed(table: PacketTable, format: str, fields: tuple[str, ...] = ()) -> str:  # noqa: A002
    listing = Listing(format, fields)
    rows = range(len(table))
    lines = [*listing.head(), *listing.rows(table, rows)]
    return "".join(line + listing.separator for line in lines) + "".join(listing.tail())


@pytest.mark.parametrize("name", NAMES)
def test_every_shipped_capture_in_every_format(name: str) -> None:
    path = capture(name)
    table = PacketTable()
    scan = Scan(path, watchers=(table,)).run()
    table.finish(scan.migrations, scan.engine.first_time)
    count = len(table)
    assert len(listed(table, "text").splitlines()) == count + 1
    objects = json.loads(listed(table, "json"))
    assert len(objects) == count
    assert [json.loads(line) for line in listed(table, "jsonl").splitlines()] == objects
    cells = list(csv.reader(io.StringIO(listed(table, "csv"))))
    assert {len(row) for row in cells} == {len(USUAL)}
    assert len(cells) == count + 1
    for entry, row in zip(objects, cells[1:], strict=True):
        assert list(entry) == cells[0]
        assert (row[0], row[1]) == (str(entry["number"]), str(entry["frame"]))


def test_text_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    lines = run(capsys, VFIO, "-Y", "vfio.idx == 5 || number in {1, 5, 6}").splitlines()
    cells = [line.split() for line in lines]
    assert cells[0][:6] == ["No.", "Frame", "Time", "Mig", "Chan", "Kind"]
    assert cells[1] == ["1", "16", "0.010175", "0", "2", "init", "64", "B"]
    assert cells[2][5:] == ["sync", "#0", "SYNC", "1.3", "KiB"]
    assert cells[3][5:] == ["ram", "pc.ram", "#4", "0+128z", "1.3", "KiB"]
    assert cells[4][5:] == [
        "device-state", "0000:00:02.0/vfio#0", "idx", "5", "CONFIG_STATE", "4.3", "KiB",
    ]  # fmt: skip
    assert len({line.index("KiB") for line in lines if "KiB" in line}) == 1


@pytest.mark.parametrize(
    ("device", "flags", "of_buffer", "told"),
    [
        (True, 0x40, 0, ""),
        (True, 0x10, 1, "CONFIG_STATE"),
        (True, 0x41, 3, "SYNC|CONFIG_STATE|0x2"),
        (False, 0x03, 0, "SYNC|ZLIB"),
        (False, 0x110, 0, "UADK|0x100"),
    ],
)
def test_flags_are_those_that_the_kind_does_not_imply(
    device: bool, flags: int, of_buffer: int, told: str
) -> None:
    assert flags_text(device, flags, of_buffer) == told


def test_a_row_notes_the_bytes_missing_or_the_uuid(capsys: pytest.CaptureFixture[str]) -> None:
    gaps = str(capture("10.0.13-vfio-gaps-2ch"))
    notes = [
        line.split("KiB", 1)[1].strip()
        for line in run(capsys, gaps, "-Y", "missing > 0").splitlines()[1:]
    ]
    assert len(notes) == 5
    assert all(note.endswith("bytes missing") for note in notes)
    uuid = str(capture("10.0.13-uuid-name-2ch"))
    out = run(capsys, uuid, "-Y", "kind == init")
    assert out.count("uuid 8f0c2a4e-1b3d-4c5f-9a7e-0123456789ab") == 2


def test_chosen_fields(capsys: pytest.CaptureFixture[str]) -> None:
    out = run(
        capsys, VFIO, "-Y", "vfio.flags.config_state", "-e", "device,vfio.idx",
        "-e", "multifd.flags", "-e", "vfio.flags.config_state", "-e", "multifd.packet_num",
        "-e", "time.span", "-e", "time",
    )  # fmt: skip
    rows = [line.split("\t") for line in out.splitlines()]
    assert [row[:6] for row in rows if row[0] == "0000:00:02.0/vfio#0"] == [
        ["0000:00:02.0/vfio#0", "5", "0x40", "1", "", "0.000000000"]
    ]
    assert rows[0][6].startswith("2026-")
    assert rows[0][6].endswith("Z")
    assert len(rows) == 3


def test_json_values(capsys: pytest.CaptureFixture[str]) -> None:
    fields = "kind,multifd.init.uuid,multifd.flags.sync,time.relative,multifd.ramblock,channel"
    out = run(capsys, VFIO, "-e", fields, "--format", "json", "-Y", "number in {1, 5}")
    assert json.loads(out) == [
        {
            "kind": "init",
            "multifd.init.uuid": "00000000-0000-0000-0000-000000000000",
            "multifd.flags.sync": None,
            "time.relative": 0.010175,
            "multifd.ramblock": None,
            "channel": 2,
        },
        {
            "kind": "sync",
            "multifd.init.uuid": None,
            "multifd.flags.sync": True,
            "time.relative": 0.016398,
            "multifd.ramblock": None,
            "channel": 0,
        },
    ]


def test_nothing_passes(capsys: pytest.CaptureFixture[str]) -> None:
    assert json.loads(run(capsys, VFIO, "-Y", "vfio.idx > 99", "--format", "json")) == []
    assert run(capsys, VFIO, "-Y", "vfio.idx > 99", "--format", "jsonl") == ""
    assert run(capsys, VFIO, "-Y", "vfio.idx > 99", "--format", "csv") == ",".join(USUAL) + "\n"


def test_a_capture_without_multifd_says_where_to_look(capsys: pytest.CaptureFixture[str]) -> None:
    plain = str(capture("7.2-plain-tcp-nomultifd"))
    for words, said in (([], "mfshark: no multifd packets; mfshark records lists"), (["-q"], "")):
        assert main(["packets", plain, *words]) == 0
        err = capsys.readouterr().err
        assert err.startswith(said)
        assert bool(err) == bool(said)


def test_severity_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    gaps = str(capture("10.0.13-vfio-gaps-2ch"))
    marked = run(capsys, gaps, "-Y", "severity >= warning", "-e", "severity,missing").splitlines()
    assert marked
    assert all(line.startswith("warning\t") for line in marked)
    assert "severity" not in json.loads(run(capsys, gaps, "--format", "jsonl").splitlines()[0])
    assert set(FIELDS) >= LATE


def test_streamed_and_waited_for_are_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    name = str(capture("11.1.3-vfio-2dev-8ch"))
    waited = run(capsys, name, "-Y", "severity == none || severity > none", "--format", "jsonl")
    assert run(capsys, name, "--format", "jsonl") == waited


def test_memory_does_not_grow_with_the_capture(
    monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    most = 0
    drop = PacketTable.drop

    def watched(table: PacketTable) -> None:
        nonlocal most
        most = max(most, len(table))
        drop(table)

    monkeypatch.setattr(PacketTable, "drop", watched)
    out = run(capsys, VFIO)
    assert 0 < most < len(out.splitlines()) - 1


def test_rows_with_findings_have_a_colour_where_it_is_wanted(
    capsys: pytest.CaptureFixture[str],
) -> None:
    gaps = str(capture("10.0.13-vfio-gaps-2ch"))
    assert "\x1b[33m" in run(capsys, gaps, "-Y", "severity > info", "--color", "always")
    assert "\x1b" not in run(capsys, gaps, "-Y", "severity > info", "--color", "never")


def test_list_of_fields(capsys: pytest.CaptureFixture[str]) -> None:
    out = run(capsys, "-G")
    assert [line.split("\t")[0] for line in out.splitlines()] == list(FIELDS)


def test_output_file(capsys: pytest.CaptureFixture[str], tmp_path: Any) -> None:
    target = tmp_path / "out.csv"
    assert run(capsys, VFIO, "--format", "csv", "-o", str(target)) == ""
    assert target.read_text().startswith("number,frame,")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([VFIO, "-Y", "vfio.indx"], "did you mean vfio.idx?"),
        ([VFIO, "-Y", "vfio.idx >"], "column 11"),
        ([VFIO, "-e", "vfio.indx"], "did you mean vfio.idx?"),
        ([VFIO, "-e", "zzzzzzz"], "packets -G"),
        ([], "needs a capture"),
        (["/nowhere/x.pcap"], "cannot be opened"),
    ],
)
def test_wrong_commands(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["packets", *words]) == 2
    captured = capsys.readouterr()
    assert said in captured.err
    assert "Traceback" not in captured.err


def test_damaged_and_foreign_captures(capsys: pytest.CaptureFixture[str], tmp_path: Any) -> None:
    foreign = tmp_path / "foreign.pcap"
    foreign.write_bytes(build({})[:24])
    assert main(["packets", str(foreign)]) == 2
    damaged = tmp_path / "damaged.pcap"
    data = build({})
    damaged.write_bytes(data[:60_000] + b"\xff" * 20_000)
    assert main(["packets", str(damaged), "--format", "json"]) == 2
    assert json.loads(capsys.readouterr().out.split("Notes\n", 1)[1])


def test_field_lists() -> None:
    assert chosen_fields(["frame, kind", "vfio.idx,"]) == ("frame", "kind", "vfio.idx")
    with pytest.raises(UsageError, match="no field"):
        chosen_fields(["frame,idx"])


HOSTILE = ["=1+1", "a\x1b[31mb", "x\u202ey", 'q",\n"', "\x00", "+cmd|' /C'!A0", "é", "\x9b2J", "@x"]


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("format", ["text", "csv", "json", "jsonl"])
@pytest.mark.parametrize("fields", [(), ("device", "multifd.ramblock")])
def test_hostile_names(name: str, format: str, fields: tuple[str, ...]) -> None:  # noqa: A002
    _harmless(name.encode(), format, fields)


@given(st.binary(max_size=40), st.sampled_from(["text", "csv", "json", "jsonl"]), st.booleans())
@settings(max_examples=150)
def test_any_name(name: bytes, format: str, chosen: bool) -> None:  # noqa: A002
    _harmless(name, format, ("device", "multifd.ramblock", "multifd.idstr") if chosen else ())


def _harmless(name: bytes, format: str, fields: tuple[str, ...]) -> None:  # noqa: A002
    table = PacketTable()
    number = table._name(name)
    table.devices.append((number, 0))
    for kind, device in ((0, 0), (2, 1)):
        values = {"kind": kind, "name": number, "device": device}
        table._append(values)
    out = listed(table, format, fields)
    assert all(char == "\n" or char == "\t" or char.isprintable() for char in out)
    if format == "csv":
        for row in csv.reader(io.StringIO(out)):
            assert not any(cell.startswith(("=", "+", "-", "@")) for cell in row if cell != "-1")
    if format == "json":
        assert len(json.loads(out)) == 2
    if format == "text":
        assert len(out.splitlines()) == 2 + (not fields)


def test_every_kind_of_value_of_every_field() -> None:
    """Each field in each format, for each row of a capture with everything in it."""
    table = table_of(build({"uuid": "8f0c2a4e-1b3d-4c5f-9a7e-0123456789ab"}))
    for format_ in ("text", "csv", "json", "jsonl"):
        assert listed(table, format_, tuple(TABLE_FIELDS))


def test_unknown_flags_and_missing_indexes_are_shown() -> None:
    table = PacketTable()
    ram = {"flags": 0x8001, "channel": -5}
    state = {"kind": 2, "device": 1}
    table.devices.append((0, 0))
    for values in (ram, state):
        table._append(values)
    lines = list(Listing(style=Style()).rows(table, range(2)))
    assert "SYNC|0x8000" in lines[0]
    assert " ? ram" in lines[0]
    assert "idx ?" in lines[1]
