"""``mfshark records``: what main and the return path carry."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import re
from pathlib import Path
from threading import Thread

import pytest

from analyzer.analysis import analyze
from analyzer.report.records import COLUMNS
from analyzer.synth import records
from dissectors.main_stream import Command
from tests.checks.craft import HEADER, Craft, Tiny
from tests.commands.run import mfshark
from tests.migration.main_streams import (
    CLOSING,
    EOS,
    OPENING,
    PAGE,
    RAM_ID,
    RAM_START,
    command,
    end,
    u64,
)
from tests.schemas import conform
from tests.shipped import CAPTURES, NAMES, capture, stem

THREE = capture("10.0.13-vfio-3dev-4ch")
RETURNING = capture("11.1.3-returnpath-2ch")
SAVED = CAPTURES / "10.0.13-file-plain.mig.gz"


def test_pages_of_the_postcopy_channel_are_counted() -> None:
    told = "migration 1: the postcopy channel carries 323 pages and 0 zero pages, which are not"
    path = capture("8.2.2-preempt-recovered")
    assert told in mfshark("records", path).err
    assert mfshark("records", "--quiet", path).err == ""


def test_a_postcopy_channel_without_pages_is_not_worth_a_word(tmp_path: Path) -> None:
    """QEMU always opens it, and sends its EOS also if the switch to postcopy never came."""
    made, path = Craft(), tmp_path / "idle.pcap"
    main = made.connect(46000)
    main.send(OPENING + command(Command.POSTCOPY_ADVISE, u64(PAGE) + u64(PAGE)) + RAM_START)
    preempt = made.connect(46001)
    preempt.send(EOS)
    main.send(end(RAM_ID, EOS) + CLOSING)
    preempt.fin()
    main.fin()
    path.write_bytes(made.pcap())
    assert analyze(path).migrations[0].preempt_facts is not None
    assert mfshark("records", path).err == ""


def listed(path: Path, *words: str) -> list[dict[str, object]]:
    lines = mfshark("records", path, "--format", "jsonl", *words).out.splitlines()
    return [json.loads(line) for line in lines]


@pytest.mark.parametrize("name", NAMES)
def test_every_record_and_message_is_listed(name: str) -> None:
    path = capture(name)
    expected = 0
    for migration in analyze(path).migrations:
        facts, returned = migration.main_facts, migration.return_facts
        expected += len(facts.records) if facts is not None else 0
        expected += len(returned.messages) if returned is not None else 0
    found = listed(path)
    assert len(found) == expected
    times = [entry["time"] for entry in found]
    assert times == sorted(times)  # type: ignore[type-var]
    for entry in found:
        conform(entry, "record-1")


def test_all_formats_say_the_same() -> None:
    entries = listed(RETURNING)
    assert json.loads(mfshark("records", RETURNING, "--format", "json").out) == entries
    rows = list(csv.DictReader(io.StringIO(mfshark("records", RETURNING, "--format", "csv").out)))
    assert [(row["record"], int(row["offset"])) for row in rows] == [
        (entry["record"], entry["offset"]) for entry in entries
    ]
    assert list(rows[0]) == list(COLUMNS) == list(entries[0])
    text = mfshark("records", RETURNING).out.splitlines()[1:]
    assert len(text) == len(entries)
    assert any("<- SHUT" in line for line in text)


@pytest.mark.parametrize("path", [THREE, RETURNING, SAVED], ids=stem)
def test_fields_cover_every_record(path: Path) -> None:
    entries = listed(path, "-V")
    assert len(entries) > 30
    for entry in entries:
        conform(entry, "record-1")
        fields = entry["fields"]
        assert isinstance(fields, list)
        assert isinstance(entry["length"], int)
        assert fields[0]["offset"] == 0
        assert fields[-1]["offset"] + fields[-1]["size"] == min(entry["length"], 2 << 20)


def test_a_device_has_the_fields_of_its_description() -> None:
    ran = mfshark("records", SAVED, "-V", "--only", "timer")
    assert "      cpu_ticks_offset: " in ran.out
    assert ran.out.count("FULL") == 2  # the line, and the type


def test_fields_up_to_where_a_compressed_file_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "cut.mig.gz"
    path.write_bytes(SAVED.read_bytes()[:50_000])
    ran = mfshark("records", path, "-V", "--format", "jsonl")
    assert ran.status == 2
    assert "damaged compression" in ran.err
    entries = [json.loads(line) for line in ran.out.splitlines()]
    assert [entry["record"] for entry in entries][-2:] == ["SECTION_START", "SECTION_PART"]
    assert all(entry["fields"] for entry in entries)


def test_only_what_contains_a_text() -> None:
    assert {entry["record"] for entry in listed(THREE, "--only", "command")} == {"COMMAND"}
    found = listed(THREE, "--only", "VFIO")
    assert len(found) == sum("vfio" in str(entry["name"]) for entry in listed(THREE)) > 0
    assert all("vfio" in str(entry["name"]) for entry in found)
    assert mfshark("records", THREE, "--only", "nowhere", "--format", "json").out == "[]\n"


def test_names_are_harmless(tmp_path: Path) -> None:
    tiny = Tiny()
    evil = "=\x1b[31m,\u202e"
    tiny.main[0] = records.header() + records.configuration(evil)
    assert tiny.main[0] != HEADER
    path = tmp_path / "evil.pcap"
    path.write_bytes(tiny.pcap())
    text, table = (
        mfshark("records", path, "-V").out,
        mfshark("records", path, "--format", "csv").out,
    )
    assert "\x1b" not in text + table
    names = [row["name"] for row in csv.DictReader(io.StringIO(table))]
    assert any(name.startswith("'=") for name in names)


@pytest.mark.parametrize("path", [SAVED, THREE], ids=stem)
def test_fields_want_a_file_that_can_be_read_twice(path: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = Thread(target=lambda: pipe.write_bytes(path.read_bytes()))
    writer.start()
    ran = mfshark("records", pipe, "-V")
    writer.join()
    assert (ran.status, ran.out) == (2, "")
    told = "cannot be read a second time; save the capture to a file first"
    assert ran.err == f"mfshark: {pipe}: {told}\n"


def test_what_holds_none(tmp_path: Path) -> None:
    path = tmp_path / "none.pcap"
    path.write_bytes(Tiny().pcap()[:24])
    assert mfshark("records", path).status == 2
    broken = tmp_path / "cut.mig"
    broken.write_bytes(gzip.decompress(SAVED.read_bytes())[:1000])
    ran = mfshark("records", broken)
    assert "CONFIGURATION" in ran.out


def test_the_value_of_a_command_is_told_as_what_it_is() -> None:
    lines = mfshark("records", capture("11.1.3-postcopy-multifd-2ch"), "--only", "COMMAND").out
    told = {" ".join(line.split()[4:]) for line in lines.splitlines()}
    assert "PING 9 B value 0x1" in told
    assert any(re.fullmatch(r"PACKAGED 9 B [0-9.]+ KiB of records", text) for text in told)
    assert any(re.fullmatch(r"POSTCOPY_RAM_DISCARD \d+ B \d+ ranges?", text) for text in told)
