"""``check`` of saved migrations."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.commands.run import mfshark
from tests.migration import main_streams as build
from tests.schemas import conform
from tests.shipped import CAPTURES, capture

if TYPE_CHECKING:
    from pathlib import Path

SAVED = sorted(CAPTURES.glob("*.mig.gz"))
PLAIN = CAPTURES / "10.0.13-file-plain.mig.gz"
MAPPED = CAPTURES / "10.0.13-file-mapped-ram.mig.gz"


def written(path: Path, stream: bytes) -> Path:
    path.write_bytes(stream)
    return path


def report(*words: object) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(mfshark("check", "--format", "json", *words).out)
    conform(loaded, "report-1")
    return loaded


def rules(entry: dict[str, Any]) -> dict[str, str]:
    return {finding["rule"]: finding["severity"] for finding in entry["findings"]}


@pytest.mark.parametrize("path", SAVED, ids=lambda path: path.name)
def test_real_files_are_clean(path: Path) -> None:
    ran = mfshark("check", "--fail-on", "info", path)
    lines = ran.out.splitlines()
    assert (ran.status, ran.err) == (0, "")
    assert lines[0].startswith("OK")
    assert "complete" in lines[0]
    assert "pc-q35-10.0" in lines[2]
    assert len(lines) <= 24


def test_verbose_leaves_nothing_out() -> None:
    assert "globalstate" not in mfshark("check", PLAIN).out
    assert "globalstate" in mfshark("check", "--verbose", PLAIN).out


def test_a_trace_log_has_nothing_to_be_compared_with() -> None:
    log = CAPTURES / "7.2-multifd-2ch.src.trace.log.gz"
    ran = mfshark("check", PLAIN, "--trace", log)
    assert (ran.status, ran.out) == (0, mfshark("check", PLAIN).out)
    told = "a saved migration has no packets that --trace could compare"
    assert ran.err == f"mfshark: {PLAIN}: {told}\n"


def test_quiet_is_the_verdict_alone() -> None:
    assert len(mfshark("check", "--quiet", PLAIN, MAPPED).out.splitlines()) == 2


@pytest.mark.parametrize("path", SAVED, ids=lambda path: path.name)
def test_the_json_report(path: Path) -> None:
    (entry,) = report(path)["captures"]
    saved = entry["saved_migration"]
    assert (entry["format"], entry["frames"], entry["migrations"]) == ("file", None, [])
    assert (saved["machine"], saved["page_size"]) == ("pc-q35-10.0", 4096)
    assert saved["complete"]
    assert saved["ram_blocks"][0]["name"] == "pc.ram"
    assert saved["ram_blocks"][0]["mapped"] == ("mapped" in path.name)
    assert len(saved["sections"]) == 30
    assert sum(section["bytes"] for section in saved["sections"]) < entry["bytes"]


def test_files_and_captures_together() -> None:
    entries = report(PLAIN, capture("10.0.13-alpha-8k-pages-2ch"))["captures"]
    assert [entry["format"] for entry in entries] == ["file", "pcapng"]
    assert "saved_migration" not in entries[1]


def test_devices_are_told(tmp_path: Path) -> None:
    path = written(tmp_path / "saved", build.with_vfio())
    (entry,) = report(path)["captures"]
    first, second = entry["saved_migration"]["devices"]
    assert (first["main_bytes"], first["complete"]) == (45, None)
    assert (second["main_bytes"], second["complete"]) == (9, True)
    assert second["config_bytes"] > 256
    assert "2 VFIO devices" in mfshark("check", path).out


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_file_that_was_cut_off(tmp_path: Path, pack: Any) -> None:
    path = written(tmp_path / "saved", pack(gzip.decompress(PLAIN.read_bytes())[:300_000]))
    ran = mfshark("check", path)
    assert ran.status == 1
    assert ran.out.startswith("ERROR")
    assert "INCOMPLETE" in ran.out.splitlines()[0]
    assert rules(report(path)["captures"][0]) == {"MF604": "error", "MF605": "info"}


def test_damaged_compression_is_no_fault_of_the_sender(tmp_path: Path) -> None:
    path = written(tmp_path / "saved.gz", PLAIN.read_bytes()[:40_000])
    ran = mfshark("check", path)
    assert ran.status == 2
    assert ran.out.startswith("WARNING")
    assert "damaged compression" in ran.err
    (entry,) = report(path)["captures"]
    assert rules(entry) == {"MF604": "info", "MF605": "info"}
    assert "cannot tell" in entry["findings"][0]["message"]
    assert entry["damage"]


@pytest.mark.parametrize(
    ("stream", "rule", "severity"),
    [
        (build.OPENING + build.RAM_START + build.CLOSING, "MF612", "error"),
        (b"QEVX" + build.plain()[4:], "MF601", "error"),
        (build.plain() + b"more", "MF606", "warning"),
        (build.plain()[:-1], "MF636", "error"),
        (build.OPENING + build.RAM_START, "MF605", "error"),
        (build.plain().replace(build.footer(build.CPU_ID), build.footer(99)), "MF611", "error"),
        (build.plain().replace(b'"size": 120', b'"size": 121'), "MF638", "warning"),
    ],
)
def test_damaged_files_give_findings(
    tmp_path: Path, stream: bytes, rule: str, severity: str
) -> None:
    (entry,) = report(written(tmp_path / "saved", stream))["captures"]
    assert rules(entry)[rule] == severity
    assert all(finding["frame"] is None for finding in entry["findings"])


def test_what_is_not_listed_is_counted(tmp_path: Path) -> None:
    zeros = b"".join(build.zero(page * build.PAGE, b"pc.ram", 7) for page in range(16)) * 5
    part = build.part(build.RAM_ID, zeros + build.EOS)
    stream = build.OPENING + build.RAM_START + part + build.end(build.RAM_ID, build.EOS)
    (entry,) = report(written(tmp_path / "saved", stream + build.CLOSING))["captures"]
    found = [f for f in entry["findings"] if f["rule"] == "MF624"]
    assert (len(found), found[-1]["repeats"]) == (50, 30)


def test_rules_can_be_chosen(tmp_path: Path) -> None:
    path = written(tmp_path / "saved", build.plain() + b"more")
    assert mfshark("check", "--fail-on", "warning", path).status == 1
    assert mfshark("check", "--fail-on", "warning", "--ignore", "MF606", path).status == 0
    assert mfshark("check", "--severity", "MF606=error", path).status == 1


@pytest.mark.parametrize("head", [b"QEVM", b"QEV", b"QEVM\0\0\0\3"])
def test_hardly_a_file(tmp_path: Path, head: bytes) -> None:
    ran = mfshark("check", written(tmp_path / "saved", head))
    assert ran.status in (1, 2)
    assert "Traceback" not in ran.err


@pytest.mark.parametrize("path", [PLAIN, capture("10.0.13-alpha-8k-pages-2ch")])
@pytest.mark.parametrize("unpack", [False, True])
def test_standard_input_and_pipes(path: Path, unpack: bool) -> None:
    """What comes through a pipe can be read once; its first bytes tell nevertheless."""
    data = path.read_bytes()
    if unpack and path.suffix == ".gz":
        data = gzip.decompress(data)
    for word in ("-", "/dev/stdin"):
        ran = subprocess.run(
            [sys.executable, "-m", "analyzer", "check", "-q", word],
            input=data,
            capture_output=True,
            check=False,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        assert ran.returncode == 0, ran.stderr
        assert ran.stdout.startswith(b"OK")


def test_names_from_the_file_do_no_harm(tmp_path: Path) -> None:
    evil = build.full(5, b"\x1b[31mred\xe2\x80\xaegnp", b"body")
    stream = build.OPENING + build.RAM_START + build.end(build.RAM_ID, build.EOS) + evil + b"\0"
    ran = mfshark("check", "--verbose", written(tmp_path / "saved", stream))
    assert "\x1b" not in ran.out
    assert "\u202e" not in ran.out
