"""The pytest plugin, as tests in other projects meet it."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from importlib import import_module, resources

import jsonschema
import pytest

from tests.shipped import CAPTURES, capture

pytest_plugins = ["pytester"]

GOOD = capture("10.0.13-vfio-3dev-4ch")
BAD = capture("10.0.13-vfio-truncated-no-returnpath-2ch")


@pytest.fixture(autouse=True)
def only_the_plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether mfshark is installed or not: the plugin is loaded by its name."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    monkeypatch.setenv("PYTHONPATH", str(CAPTURES.parent))


def runpytest(pytester: pytest.Pytester, *words: str) -> pytest.RunResult:
    """In a process of its own, because rules register when they are loaded, once."""
    return pytester.runpytest_subprocess("-p", "analyzer.pytest_plugin", *words)


def run(pytester: pytest.Pytester, body: str, *words: str) -> pytest.RunResult:
    lines = "\n    ".join(body.strip().splitlines())
    head = f"GOOD, BAD = {str(GOOD)!r}, {str(BAD)!r}\n\n"
    pytester.makepyfile(f"{head}def test_it(mfshark):\n    {lines}\n")
    return runpytest(pytester, *words)


def test_a_good_migration(pytester: pytest.Pytester) -> None:
    ran = run(
        pytester,
        """
migration = mfshark(GOOD)
migration.assert_clean("warning")
assert migration.verdict == "OK" and migration.outcome == "completed"
assert len(migration.migration.multifd) == 4
device = migration.device("0000:00:03.0/vfio")
assert device.complete and device.buffers == 5 and device.state_digest
assert mfshark(GOOD, digest=False, select="MF5").devices[0].state_digest is None
""",
    )
    ran.assert_outcomes(passed=1)
    assert not list(pytester.path.rglob("*.json"))


def test_a_failure_says_what_is_wrong(pytester: pytest.Pytester) -> None:
    ran = run(pytester, "mfshark(BAD).assert_clean()", "--tb=short")
    ran.assert_outcomes(failed=1)
    ran.stdout.fnmatch_lines(
        [
            "E   AssertionError: ERROR  *truncated*: migration failed (*",
            "E     error MF506 vfio-idx-gap: idx 3 is missing*(frame 9343)",
            "E     error MF203 packet-truncated: *",
            "*- mfshark *truncated*",
            "ERROR  *truncated*: migration failed (*",
            "*channel*stream*client*",
            "kept: *.txt",
            "      *.json",
        ]
    )
    assert "testing.py" not in ran.stdout.str()  # the trace ends in the test


def test_a_verdict_explains_itself(pytester: pytest.Pytester) -> None:
    ran = run(pytester, 'assert mfshark(BAD).verdict == "OK"')
    ran.stdout.fnmatch_lines(
        ["E *assert 'ERROR' == 'OK'", "E *ERROR  *: migration failed*", "E *error MF506 *"]
    )


def test_findings_are_shown_one_a_line(pytester: pytest.Pytester) -> None:
    ran = run(pytester, 'assert mfshark(BAD).findings_of(at_least="error") == []')
    ran.stdout.fnmatch_lines(
        ["E *assert findings == expected", "E *  error MF506 *", "E *  error MF203 *",
         "E *expected:", "E *  none"]
    )  # fmt: skip


def test_other_comparisons_are_left_alone(pytester: pytest.Pytester) -> None:
    ran = run(pytester, "mfshark(GOOD)\nassert [1] == [2]")
    ran.stdout.fnmatch_lines(["E *assert [[]1[]] == [[]2[]]"])


def test_reports_are_kept_on_failure(pytester: pytest.Pytester) -> None:
    run(pytester, "mfshark(GOOD)\nmfshark(BAD)\nassert False", "--mfshark-reports", "kept")
    (folder,) = (pytester.path / "kept").iterdir()
    assert folder.name.startswith("test_reports_are_kept_on_failure.py__test_it-")
    assert sorted(path.name for path in folder.iterdir()) == [
        f"{number}-{path.name}.{kind}"
        for number, path in ((1, GOOD), (2, BAD))
        for kind in ("json", "txt")
    ]
    whole = json.loads((folder / f"2-{BAD.name}.json").read_text("utf-8"))
    schema = resources.files("analyzer.report").joinpath("schema/report-1.json").read_text("utf-8")
    jsonschema.validate(whole, json.loads(schema))
    assert whole["summary"]["error"] == 2
    assert (folder / f"1-{GOOD.name}.txt").read_text("utf-8").startswith("OK  ")


def test_reports_stay_in_the_temporary_folder_otherwise(pytester: pytest.Pytester) -> None:
    base = pytester.path / "base"
    run(pytester, "mfshark(BAD).assert_clean()", f"--basetemp={base}")
    assert [path.name for path in sorted(base.rglob("*.txt"))] == [f"1-{BAD.name}.txt"]
    assert list(base.rglob("mfshark/*.json"))


def test_a_failing_fixture_is_a_failure_too(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(
        "import pytest\n@pytest.fixture\ndef migration(mfshark):\n"
        f"    found = mfshark({str(BAD)!r})\n    found.assert_clean()\n    return found\n"
    )
    pytester.makepyfile("def test_it(migration):\n    pass\n")
    ran = runpytest(pytester)
    ran.assert_outcomes(errors=1)
    ran.stdout.fnmatch_lines(["*- mfshark *", "kept: *"])


def test_what_cannot_be_read_says_why(pytester: pytest.Pytester) -> None:
    pytester.makefile(".pcap", hostile="this is no capture\x1b[31m")
    ran = run(pytester, 'mfshark("hostile.pcap")')
    ran.stdout.fnmatch_lines(["E *CaptureError: hostile.pcap: *"])
    ran.stdout.no_fnmatch_line("*kept:*")


def test_the_page_works(pytester: pytest.Pytester) -> None:
    page = (CAPTURES.parent / "docs/pytest.md").read_text("utf-8")
    code = page.split("```python\n")[1].split("```")[0]
    (pytester.path / "captures").symlink_to(CAPTURES)
    pytester.makepyfile(code)
    ran = runpytest(pytester)
    ran.assert_outcomes(passed=code.count("def test_"))


def test_pytest_finds_it_and_loads_nothing_more() -> None:
    project = tomllib.loads((CAPTURES.parent / "pyproject.toml").read_text("utf-8"))["project"]
    (name,) = project["entry-points"]["pytest11"].values()
    assert callable(import_module(name).MFShark)
    script = (
        f"import sys, pytest; sys.path.insert(0, {str(CAPTURES.parent)!r}); import {name}\n"
        "print([m for m in sys.modules if m.split('.')[0] in ('analyzer', 'dissectors')])"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == f"['analyzer', '{name}']"


def test_long_names_of_tests_do_not_meet(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        "import pytest\n"
        '@pytest.mark.parametrize("end", ["a", "b"])\n'
        '@pytest.mark.parametrize("name", ["x" * 120])\n'
        f"def test_it(mfshark, name, end):\n    mfshark({str(BAD)!r}).assert_clean()\n"
    )
    runpytest(pytester, "--mfshark-reports=kept")
    assert len(list((pytester.path / "kept").iterdir())) == 2
