"""The Python API: what docs/api.md names exists, what docs/recipes.md shows is printed."""

from __future__ import annotations

import gc
import json
import os
import re
import subprocess
import sys
from dataclasses import fields
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

import analyzer
from analyzer import testing
from analyzer.errors import CaptureError, UsageError
from analyzer.testing import Capture, check
from tests.shipped import CAPTURES, FILES, capture, stem

ROOT = CAPTURES.parent
RECIPES = re.findall(
    r"^## (.*?)\n.*?```python\n(.*?)```\n\n```text\n(.*?)```",
    (ROOT / "docs/recipes.md").read_text(encoding="utf-8"),
    re.DOTALL | re.MULTILINE,
)
TRUNCATED = capture("10.0.13-vfio-truncated-no-returnpath-2ch")


@pytest.mark.parametrize(("code", "printed"), [r[1:] for r in RECIPES], ids=[r[0] for r in RECIPES])
def test_every_recipe_prints_what_its_page_shows(code: str, printed: str, tmp_path: Path) -> None:
    (tmp_path / "captures").symlink_to(CAPTURES)
    ran = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
    )
    assert (ran.stdout, ran.stderr) == (printed, "")


def test_every_recipe_is_tried() -> None:
    page = (ROOT / "docs/recipes.md").read_text(encoding="utf-8")
    assert len(RECIPES) == page.count("```python") == page.count("\n## ")


@pytest.mark.parametrize("package", ["analyzer", "dissectors"])
def test_the_packages_are_typed(package: str) -> None:
    assert resources.files(package).joinpath("py.typed").is_file()


def test_objects_are_called_as_the_report_calls_them() -> None:
    schema = json.loads(
        resources.files("analyzer.report").joinpath("schema/report-1.json").read_text("utf-8")
    )["$defs"]
    kinds: dict[str, type[Any]] = {
        "migration": testing.Migration,
        "channel": testing.Channel,
        "device": testing.Device,
        "finding": testing.Finding,
    }
    for name, kind in kinds.items():
        assert {one.name for one in fields(kind)} <= set(schema[name]["properties"])
        assert set(schema[name]["required"]) <= {one.name for one in fields(kind)}


def test_what_the_page_names_exists() -> None:
    page = (ROOT / "docs/api.md").read_text(encoding="utf-8")
    listed = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", page, re.MULTILINE))
    for name in ("Capture", "Migration", "Channel", "Device", "Finding"):
        told = set(re.findall(r"`(\w+)(?:\(.*?\))?`", listed[name]))
        kind = getattr(testing, name)
        has = {one.name for one in fields(kind)} | {n for n in vars(kind) if n[0] != "_"}
        assert has - told <= {"path", "explanation"}
        assert {word for word in told if word.islower()} <= has


def test_what_a_capture_gives() -> None:
    found = check(capture("10.0.13-vfio-3dev-4ch"), digest=True)
    assert (found.verdict, found.outcome, found.damage) == ("OK", "completed", None)
    assert [channel.id for channel in found.migration.multifd] == [0, 1, 2, 3]
    assert len(found.channels) == 5
    assert len(found.devices) == 3
    device = found.device("0000:00:03.0/vfio#0")
    assert device == found.device("0000:00:03.0/vfio")
    assert (device.complete, device.buffers, device.missing) == (True, 5, [])
    assert device.state_digest is not None
    found.assert_clean("warning")
    assert str(found) == found.text.splitlines()[0]


def test_what_is_wrong_is_told() -> None:
    found = check(TRUNCATED)
    with pytest.raises(AssertionError, match=r"(?s)^ERROR .*\n  error MF506 .*\n  error MF203"):
        found.assert_clean()
    assert [f.rule for f in found.findings_of("vfio-idx-gap", "mf2")] == ["MF506", "MF203"]
    assert found.findings_of(at_least="error") == found.findings_of("MF506", "MF203")
    assert found.device("0000:00:03.0/vfio").missing == [[3, 3]]
    check(TRUNCATED, ignore=["MF506", "MF203"]).assert_clean("warning")
    assert {f.rule for f in check(TRUNCATED, select="MF506").findings} == {"MF506"}


@pytest.mark.parametrize("fail_on", ["error", "info"])
def test_nothing_is_not_clean(fail_on: str, tmp_path: Path) -> None:
    path = tmp_path / "empty.pcap"
    path.write_bytes(bytes.fromhex("d4c3b2a1020004000000000000000000ffff000001000000"))
    with pytest.raises(AssertionError, match="no migration"):
        check(path).assert_clean(fail_on)


def test_damage_is_not_clean(tmp_path: Path) -> None:
    path = tmp_path / "cut.pcapng.gz"
    path.write_bytes(FILES[stem(TRUNCATED)].read_bytes()[:-5000])
    found = check(path, select="MF5")
    assert found.damage is not None
    with pytest.raises(AssertionError, match=r"cut\.pcapng"):
        found.assert_clean()


def test_a_saved_migration() -> None:
    found = check(CAPTURES / "10.0.13-file-plain.mig.gz")
    found.assert_clean()
    with pytest.raises(LookupError, match="holds 0 migrations"):
        _ = found.migration


def test_questions_that_have_no_answer() -> None:
    with pytest.raises(UsageError, match="no dialect is called 'v9'"):
        analyzer.open(TRUNCATED, dialect="v9")
    with pytest.raises(UsageError, match="no rule is called 'MF0'"):
        check(TRUNCATED, select=["MF5", "MF0"])
    with pytest.raises(CaptureError):
        check(ROOT / "README.md")
    with pytest.raises(LookupError, match=r"there are: 0000:00:02\.0/vfio"):
        check(TRUNCATED).device("nowhere")
    with pytest.raises(LookupError, match="holds 2 migrations"):
        _ = check(capture("10.0.13-vfio-two-vms-2ch-3ch")).outcome


def test_trace_logs_are_held_against_the_capture() -> None:
    name = "10.0.13-vfio-3dev-4ch"
    logs = [CAPTURES / f"{name}.{side}.trace.log.gz" for side in ("src", "dst")]
    for trace, count in ((logs, 2), (logs[0], 1), (str(logs[1]), 1), ((), 0)):
        assert len(check(capture(name), trace=trace).findings_of("trace-compared")) == count
    with pytest.raises(CaptureError, match="nowhere"):
        analyzer.open(capture(name), trace="nowhere.log")


def test_the_table_is_kept_only_if_asked_for() -> None:
    assert analyzer.open(TRUNCATED).packets is None
    analysis = analyzer.open(TRUNCATED, packets=True)
    assert analysis.packets is not None
    counted = sum(1 + channel.packets for channel in analysis.migrations[0].multifd)
    assert len(analysis.packets) == counted + 1  # and the one that was cut off
    assert analysis.packets.start == analysis.scan.engine.first_time


def test_a_capture_is_shown_in_a_line_that_is_safe() -> None:
    found = check(TRUNCATED)
    evil = Capture(
        path="a\x1b[31m.pcap", verdict=found.verdict, sentence="s", text="", report={},
        damage=None, migrations=[], findings=[],
    )  # fmt: skip
    assert "\x1b" not in str(evil) + repr(evil)
    assert repr(found) == f"<Capture {TRUNCATED}: ERROR>"


def test_checkpoints_of_a_pair() -> None:
    pair = check(capture("11.1.3-colo-2ch"), select="MF9").migration
    assert pair.colo is not None
    assert [checkpoint["device_state_bytes"] for checkpoint in pair.colo["checkpoints"]] == [
        32546
    ] * 3
    assert check(capture("11.1.3-returnpath-2ch"), select="MF9").migration.colo is None


def test_a_capture_is_let_go_of() -> None:
    descriptors = Path("/proc/self/fd")
    if not descriptors.exists():
        pytest.skip("descriptors cannot be counted")
    gc.disable()
    try:
        before = len(list(descriptors.iterdir()))
        for _ in range(20):
            with analyzer.open(TRUNCATED) as analysis:
                assert len(analysis.migrations) == 1
        assert len(list(descriptors.iterdir())) == before
    finally:
        gc.enable()
