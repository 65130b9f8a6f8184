"""Baselines: known findings do not count, new ones do, and those that are gone are told."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

import pytest

from tests.commands.run import mfshark
from tests.shipped import capture

if TYPE_CHECKING:
    from pathlib import Path

LOST = capture("10.0.13-vfio-truncated-no-returnpath-2ch")
CLEAN = capture("10.0.13-vfio-3dev-4ch")


def test_known_findings_do_not_count(tmp_path: Path) -> None:
    file = tmp_path / "known.json"
    ran = mfshark("check", "--baseline", file, "--update-baseline", LOST)
    assert ran.status == 1
    assert "baseline: 2 new, 0 fixed, 0 unchanged" in ran.err
    ran = mfshark("check", "--baseline", file, LOST, CLEAN)
    assert ran.status == 0
    assert "baseline: 0 new, 0 fixed, 2 unchanged" in ran.err
    assert "MF506" not in ran.out
    assert "2 known or expected findings left out" in ran.out
    report = json.loads(mfshark("check", "--baseline", file, LOST, "--format", "json").out)
    known = [f["rule"] for f in report["captures"][0]["findings"] if f.get("known")]
    assert known == ["MF506", "MF203"]
    assert report["summary"]["error"] == 0


def test_standard_input_is_the_same_capture_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "known.json"
    for options, status in ((("--update-baseline",), 1), ((), 0)):
        with LOST.open("rb") as stream:
            monkeypatch.setattr("sys.stdin", io.TextIOWrapper(stream))
            assert mfshark("check", "--baseline", file, *options, "-").status == status
    assert list(json.loads(file.read_text("utf-8"))["captures"]) == ["<stdin>"]


def test_what_an_expectation_expects_is_not_known_to_the_baseline(tmp_path: Path) -> None:
    expected, file = tmp_path / "expect.toml", tmp_path / "known.json"
    mfshark("expect", LOST, "-o", expected)
    file.write_text('{"schema": "mfshark/baseline/1", "captures": {}}', encoding="utf-8")
    ran = mfshark("check", "--baseline", file, "--expect", expected, LOST)
    assert (ran.status, ran.err) == (0, "mfshark: baseline: 0 new, 0 fixed, 0 unchanged\n")


def test_what_an_expectation_expects_is_not_written_to_the_baseline(tmp_path: Path) -> None:
    expected, file = tmp_path / "expect.toml", tmp_path / "known.json"
    mfshark("expect", LOST, "-o", expected)
    text = expected.read_text("utf-8")
    options = ("check", "--baseline", file, "--update-baseline", LOST)
    mfshark(*options, "--expect", expected)
    assert json.loads(file.read_text("utf-8"))["captures"] == {}
    expected.write_text(text.replace("MF506 = 1", ""), "utf-8")
    mfshark(*options, "--expect", expected)
    (marks,) = json.loads(file.read_text("utf-8"))["captures"].values()
    assert {told[:5] for told in marks.values()} == {"MF506", "MF961"}
    assert "baseline: 0 new, 0 fixed, 2 unchanged" in mfshark(*options, "--expect", expected).err
    mfshark(*options)
    (marks,) = json.loads(file.read_text("utf-8"))["captures"].values()
    assert {told[:5] for told in marks.values()} == {"MF506", "MF203"}


def test_a_baseline_that_cannot_be_written_is_told_before_any_check(tmp_path: Path) -> None:
    file = tmp_path / "no such folder" / "known.json"
    ran = mfshark("check", "--baseline", file, "--update-baseline", LOST)
    assert (ran.status, ran.out) == (2, "")
    assert f"{file} cannot be written" in ran.err


def test_new_and_fixed_are_told(tmp_path: Path) -> None:
    file = tmp_path / "known.json"
    mfshark("check", "--baseline", file, "--update-baseline", LOST)
    document = json.loads(file.read_text(encoding="utf-8"))
    (marks,) = document["captures"].values()
    first = next(iter(marks))
    marks["00ff"] = marks.pop(first)
    file.write_text(json.dumps(document), encoding="utf-8")
    ran = mfshark("check", "--baseline", file, LOST)
    assert ran.status == 1
    assert "baseline: 1 new, 1 fixed, 1 unchanged" in ran.err
    assert "fixed: MF506" in ran.err


def test_known_findings_fail_no_format(tmp_path: Path) -> None:
    file = tmp_path / "known.json"
    mfshark("check", "--baseline", file, "--update-baseline", LOST)
    shown = {
        name: mfshark("check", "--baseline", file, LOST, "--format", name).out
        for name in ("junit", "github", "gitlab", "sarif", "csv", "html")
    }
    assert 'failures="0"' in shown["junit"]
    assert "::error" not in shown["github"]
    assert "MF506" not in shown["gitlab"]
    results = json.loads(shown["sarif"])["runs"][0]["results"]
    assert [r["ruleId"] for r in results if r.get("suppressions")] == ["MF506", "MF203"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "[" * 100_000,
        '{"schema": "mfshark/baseline/1", "captures": 3}',
        '{"schema": "mfshark/baseline/1", "captures": {"a": 3}}',
        '{"schema": "mfshark/baseline/1", "captures": {"a": {"00": 3}}}',
    ],
    ids=lambda text: text[:60],
)
def test_what_is_no_baseline_is_refused(text: str, tmp_path: Path) -> None:
    file = tmp_path / "known.json"
    file.write_text(text, encoding="utf-8")
    ran = mfshark("check", "--baseline", file, CLEAN)
    assert ran.status == 2
    assert "known.json" in ran.err


def test_a_baseline_that_is_not_there_is_refused(tmp_path: Path) -> None:
    assert mfshark("check", "--baseline", tmp_path / "none.json", CLEAN).status == 2
    assert mfshark("check", "--update-baseline", CLEAN).status == 2
