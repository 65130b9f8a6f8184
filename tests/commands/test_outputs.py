"""Several outputs at once, and what each is."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from analyzer.cli import main
from tests.capture.files import pcap
from tests.checks.craft import Tiny
from tests.commands.run import mfshark, on_terminal
from tests.lossy import frames_of
from tests.shipped import FILES, capture

LOST = capture("10.0.13-vfio-truncated-no-returnpath-2ch")


def test_several_outputs_at_once(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("r.sarif", "r.xml", "r.txt")]
    words = [word for path in files for word in ("-o", path)]
    ran = mfshark("check", LOST, LOST, "-o", "-", *words)
    assert ran.status == 1
    assert ran.out.endswith("\n\n2 captures: 2 ERROR\n")
    assert ran.out == files[2].read_text(encoding="utf-8")
    assert json.loads(files[0].read_text(encoding="utf-8"))["version"] == "2.1.0"
    assert files[1].read_text(encoding="utf-8").startswith("<?xml")


def test_tables_fit_the_terminal_but_not_in_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wide = mfshark("check", LOST).out
    shown = on_terminal(60, monkeypatch, "check", LOST)
    tables = [line for line in shown.splitlines() if line.startswith("  0000:")]
    assert max(map(len, tables)) <= 60
    assert len(tables) > len([line for line in wide.splitlines() if line.startswith("  0000:")])
    assert set(wide.split()) == set(shown.split())
    on_terminal(60, monkeypatch, "check", LOST, "-o", "-", "-o", tmp_path / "r.txt")
    assert (tmp_path / "r.txt").read_text(encoding="utf-8") == wide


def test_the_table_tells_captures_that_are_damaged(tmp_path: Path) -> None:
    whole = FILES["11.1.3-vfio-config-after-iter-2ch"].read_bytes()
    (tmp_path / "cut.pcapng.gz").write_bytes(whole[:-8])  # all frames, but not the checksum
    (tmp_path / "whole.pcapng.gz").write_bytes(whole)
    page = tmp_path / "r.html"
    ran = mfshark("check", tmp_path, "-o", "-", "-o", page)
    assert ran.status == 2
    assert ran.out.endswith("\n\n2 captures: 1 OK (damaged), 1 OK\n")
    assert page.read_text(encoding="utf-8").count('<span class="error">OK (damaged)</span>') == 2


def test_parts_of_one_capture_are_told(tmp_path: Path) -> None:
    frames, link = frames_of(LOST)
    third = len(frames) // 3
    for number in range(3):
        part = frames[number * third : (number + 1) * third]
        (tmp_path / f"ring{number}.pcap").write_bytes(pcap(part, link=link))
    (tmp_path / "a.pcap").write_bytes(pcap(frames, link=link))
    ran = mfshark("check", tmp_path, "-j2")
    told = [line for line in ran.out.splitlines() if "mergecap" in line]
    assert len(told) == 1
    assert told[0].startswith(f"{tmp_path}/ring0.pcap and the 2 after it: each goes on where")
    (tmp_path / "ring1.pcap").unlink()
    assert "mergecap" not in mfshark("check", *sorted(tmp_path.iterdir())[:2]).out


def test_format_is_that_of_standard_output_where_files_have_endings(tmp_path: Path) -> None:
    file = tmp_path / "r.sarif"
    ran = mfshark("check", LOST, "--format", "github", "-o", "-", "-o", file)
    assert ran.out.startswith("::error ")
    assert json.loads(file.read_text(encoding="utf-8"))["version"] == "2.1.0"


def test_format_decides_for_a_single_file(tmp_path: Path) -> None:
    file = tmp_path / "report.txt"
    ran = mfshark("check", LOST, "--format", "json", "-o", file)
    assert (ran.status, ran.out) == (1, "")
    assert json.loads(file.read_text(encoding="utf-8"))["schema"] == "mfshark/report/1"


def test_a_prefix_names_the_format(tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    mfshark("check", LOST, "-o", f"gitlab:{file}")
    assert json.loads(file.read_text(encoding="utf-8"))[0]["check_name"] == "MF506 vfio-idx-gap"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("-o", "x.docx"), "no format has this suffix; name one, as in -o json:x.docx"),
        (("--format", "parquet"), "-o FOLDER says where"),
        (("-o", "parquet:-"), "-o FOLDER says where"),
        (("-o", "no/such/folder/x.json"), "cannot be written: No such file or directory"),
        (("-o", "x.json", "-o", "sarif:x.json"), "x.json is given twice"),
        (("-o", "x.json", "-o", "./x.json"), "./x.json is given twice"),
        (("-o", "x.parquet", "-o", "x.parquet/"), "x.parquet/ is given twice"),
        (("-o", "new/"), "new/ cannot be written: it names a folder"),
        (("-o", "x.json/"), "x.json/ cannot be written: it names a folder"),
    ],
    ids=lambda value: "" if isinstance(value, tuple) else value,
)
def test_what_cannot_be_is_refused_before_any_work(
    words: tuple[str, ...], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = mfshark("check", "no such capture", *words)
    assert ran.status == 2
    assert told in ran.err
    assert "no such capture" not in ran.err
    assert list(tmp_path.iterdir()) == []


def test_a_symbolic_link_is_another_name_of_an_output(tmp_path: Path) -> None:
    file, link = tmp_path / "x.json", tmp_path / "link.json"
    link.symlink_to(file)
    ran = mfshark("check", "no such capture", "-o", file, "-o", link)
    assert (ran.status, file.exists()) == (2, False)
    assert f"{link} is given twice" in ran.err


def test_a_full_disk_is_told() -> None:
    ran = mfshark("check", LOST, "-o", "json:/dev/full")
    assert ran.status == 2
    assert "/dev/full cannot be written: No space left on device" in ran.err


@pytest.mark.parametrize(
    "words",
    [
        ("packets", "own.pcapng", "-o", "own.pcapng"),
        ("check", "own.pcapng", "-o", "text:own.pcapng"),
        ("check", ".", "-o", "text:./own.pcapng"),
        ("stats", "own.pcapng", "-o", "own.pcapng"),
        ("diff", "other.pcapng", "own.pcapng", "-o", "own.pcapng"),
        ("scrub", "other.pcapng", "own.pcapng", "--digests", "own.pcapng"),
        ("synth", "own.pcapng", "-o", "own.pcapng"),
    ],
    ids=" ".join,
)
def test_no_command_overwrites_what_it_reads(
    words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if words[0] == "scrub":
        words = (*words, "--force")
    original = capture("10.0.13-alpha-8k-pages-2ch").read_bytes()
    for name in ("own.pcapng", "other.pcapng"):
        Path(name).write_bytes(original)
    if words[0] == "synth":
        original = b"seed = 1\n"
        Path("own.pcapng").write_bytes(original)
    ran = mfshark(*words)
    assert ran.status == 2
    assert "own.pcapng is an input" in ran.err
    assert Path("own.pcapng").read_bytes() == original


@pytest.mark.parametrize(
    "words",
    [
        ("scrub", LOST, "-"),
        ("scrub", LOST, "copy.pcapng", "--digests", "-"),
        ("extract", LOST, "-o", "-"),
        ("check", LOST, "--baseline", "-", "--update-baseline"),
    ],
    ids=lambda words: words[0],
)
def test_what_needs_a_file_does_not_make_one_called_minus(
    words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = mfshark(*words)
    assert ran.status == 2
    assert "standard output" in ran.err
    assert list(tmp_path.iterdir()) == []


def test_a_report_stays_where_a_run_is_broken_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    file = tmp_path / "r.json"
    file.write_text("before", encoding="utf-8")
    monkeypatch.setattr("analyzer.commands.check.run_job", interrupted)
    assert mfshark("check", LOST, "-o", file).status == 130
    assert file.read_text(encoding="utf-8") == "before"
    assert list(tmp_path.iterdir()) == [file]


def test_a_made_capture_goes_to_standard_output(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    scenario, file = tmp_path / "s.toml", tmp_path / "s.pcap"
    scenario.write_text("seed = 1\n", encoding="utf-8")
    assert main(["synth", str(scenario), "-o", "-"]) == 0
    assert main(["synth", str(scenario), "-o", str(file)]) == 0
    assert capfdbinary.readouterr().out == file.read_bytes()


@pytest.mark.parametrize("ending", ["", "/"])
def test_tables_in_a_folder(ending: str, tmp_path: Path) -> None:
    folder = tmp_path / "run.parquet"
    assert mfshark("check", LOST, "-o", f"{folder}{ending}").status == 1
    names = {path.name for path in folder.iterdir()}
    assert names == {"packets.parquet", "buffers.parquet", "findings.parquet"}


@pytest.mark.parametrize(
    ("command", "name", "begins"),
    [
        ("packets", "p.csv", "number,"),
        ("packets", "p.jsonl", '{"number"'),
        ("packets", "p.JSON", "[\n"),
        ("packets", "p.out", "    No. "),
        ("stats", "s.html", "<!DOCTYPE html>"),
        ("stats", "s.json", '{\n "schema": "mfshark/stats/1"'),
        ("devices", "d.json", '{\n "schema": "mfshark/devices/1"'),
        ("devices", "d.txt", "0000:00:"),
    ],
)
def test_endings_tell_the_format(command: str, name: str, begins: str, tmp_path: Path) -> None:
    file = tmp_path / name
    assert mfshark(command, LOST, "-o", file).status == 0
    written = file.read_text(encoding="utf-8")
    assert written.startswith(begins), written[:60]


def test_formats_of_other_commands_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "p.html"
    ran = mfshark("packets", LOST, "-o", file)
    assert ran.status == 2
    told = "packets writes text, json, jsonl, csv, not html; choose one with --format"
    assert ran.err == f"mfshark: {file}: {told}\n"
    assert not file.exists()
    assert mfshark("packets", LOST, "--format", "csv", "-o", file).status == 0
    assert mfshark("diff", LOST, LOST, "-o", tmp_path / "d.sarif").status == 2


@pytest.mark.parametrize(
    "words",
    [
        ("check", "--format", "json"),
        ("check", "--format", "gitlab", "--fail-on", "info"),
        ("check", "--format", "sarif"),
        ("devices", "--format", "json"),
        ("stats", "--format", "json"),
        ("stats", "-Y", "frame > 0", "--format", "json"),
    ],
    ids=" ".join,
)
def test_names_that_are_no_utf_8_are_escaped(words: tuple[str, ...], tmp_path: Path) -> None:
    """As in the text report: half a surrogate pair is no Unicode, and many readers refuse it."""
    path = os.path.join(os.fsencode(tmp_path), b"\xff.pcap")  # noqa: PTH118 - of bytes
    with open(path, "wb") as file:  # noqa: PTH123
        file.write(Tiny().pcap())
    ran = mfshark(words[0], os.fsdecode(path), *words[1:])
    json.dumps(json.loads(ran.out), ensure_ascii=False).encode("utf-8")
    assert ("%FF.pcap" if "sarif" in words else "/\\\\udcff.pcap") in ran.out
