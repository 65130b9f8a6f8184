from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests import shipped
from tests.checks.craft import Tiny
from tests.commands.run import mfshark, on_terminal
from tests.schemas import conform

CLEAN = shipped.capture("10.0.13-vfio-3dev-4ch")
TRUNCATED = shipped.capture("10.0.13-vfio-truncated-no-returnpath-2ch")
KILLED = shipped.capture("10.0.13-vfio-destination-killed-2ch")
SAVED = shipped.CAPTURES / "10.0.13-file-plain.mig.gz"
TLS = shipped.capture("10.0.13-tls13-x509-2ch-nokeys")


def report(*words: object) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(mfshark("check", "--format", "json", *words).out)
    return loaded


def test_a_clean_capture_is_a_screen_that_begins_with_ok() -> None:
    ran = mfshark("check", CLEAN)
    lines = ran.out.splitlines()
    assert ran.status == 0
    assert lines[0].startswith("OK")
    assert "3 devices complete (17 buffers" in lines[0]
    assert len(lines) <= 24
    assert ran.err == ""


def test_many_channels_still_are_a_screen() -> None:
    ran = mfshark("check", shipped.capture("10.0.13-multifd-64ch"))
    assert ran.status == 0
    assert len(ran.out.splitlines()) <= 24
    assert "more" in ran.out
    everything = mfshark("check", "--verbose", shipped.capture("10.0.13-multifd-64ch"))
    assert "multifd 63" in everything.out


def test_the_first_line_names_the_state_that_was_cut_off() -> None:
    ran = mfshark("check", TRUNCATED)
    first = ran.out.splitlines()[0]
    assert ran.status == 1
    assert first.startswith("ERROR")
    assert "no return path" in first
    assert "0000:00:03.0/vfio" in first
    assert "INCOMPLETE" in first


def test_quiet_is_the_verdict_alone() -> None:
    assert len(mfshark("check", "--quiet", CLEAN).out.splitlines()) == 1


@pytest.mark.parametrize("name", shipped.NAMES)
def test_json_validates_against_the_shipped_schema(name: str) -> None:
    path = shipped.capture(name)
    conform(report("--digest", "sha256", path), "report-1")


def test_json_is_the_same_every_time() -> None:
    ran = mfshark("check", "--format", "json", CLEAN)
    assert ran == mfshark("check", "--format", "json", CLEAN)


def test_several_captures_and_a_broken_one(tmp_path: Path) -> None:
    broken = tmp_path / "broken.pcap"
    broken.write_bytes(b"no capture at all")
    ran = mfshark("check", "--format", "json", CLEAN, broken, TRUNCATED)
    loaded = json.loads(ran.out)
    conform(loaded, "report-1")
    assert ran.status == 2
    assert "broken.pcap" in ran.err
    assert [("error" in entry) for entry in loaded["captures"]] == [False, True, False]
    assert loaded["summary"]["error"] >= 2


def test_no_migration_is_never_a_silent_pass() -> None:
    ran = mfshark("check", TLS)
    assert ran.status == 2
    assert "TLS" in ran.out
    assert mfshark("check", "--allow-empty", TLS).status == 0


def test_threshold_selection_and_severities() -> None:
    assert mfshark("check", "--ignore", "MF203,vfio-idx-gap,MF509", TRUNCATED).status == 0
    assert mfshark("check", "--select", "MF9", TRUNCATED).status == 0
    assert mfshark("check", "--select", "MF506", TRUNCATED).status == 1
    assert mfshark("check", "--fail-on", "info", CLEAN).status == 1
    assert mfshark("check", "--severity", "MF105=error", CLEAN).status == 1
    lowered = mfshark("check", "--severity", "MF506=info", "--severity", "MF203=info", TRUNCATED)
    assert lowered.status == 0


@pytest.mark.parametrize(
    "words",
    [
        ("--select", "MF9999"),
        ("--severity", "MF506=fatal"),
        ("--decode-as", "http"),
        ("--limit", "speed=3"),
        ("--limit", "downtime=long"),
        ("--destination-version", "ten"),
        ("--dialect", "v9"),
        ("--no-such-option",),
    ],
)
def test_a_wrong_command_says_so(words: tuple[str, ...]) -> None:
    ran = mfshark("check", *words, CLEAN)
    assert ran.status == 2
    assert ran.err
    assert ran.out == ""


def test_a_limit_without_a_value_says_what_it_takes() -> None:
    ran = mfshark("check", "--limit", "downtime", CLEAN)
    assert (ran.status, ran.err) == (2, "mfshark: --limit: takes RULE=VALUE, not 'downtime'\n")


@pytest.mark.parametrize(
    ("words", "lacking"),
    [
        (("--select", "MF8"), ": it needs --deep"),
        (("--select", "MF97"), ": it needs --trace"),
        (("--select", "expectation-unmet"), ": it needs --expect"),
        (("--select", "not-completed"), ": it needs --require"),
        (("--select", "MF5", "--ignore", "MF5", "--max-queued-bytes", "1M"), ""),
    ],
)
def test_a_selection_that_verifies_nothing_is_no_success(
    words: tuple[str, ...], lacking: str
) -> None:
    ran = mfshark("check", *words, TRUNCATED)
    assert (ran.status, ran.out) == (2, "")
    assert ran.err == f"mfshark: --select leaves no rule to verify{lacking}\n"


@pytest.mark.parametrize("option", ["--config", "--expect", "--baseline"])
def test_a_file_that_cannot_be_read_is_named_once(option: str, tmp_path: Path) -> None:
    ran = mfshark("check", CLEAN, option, tmp_path)
    assert (ran.status, ran.err) == (2, f"mfshark: {tmp_path} cannot be read: Is a directory\n")


def test_output_goes_to_a_file(tmp_path: Path) -> None:
    target = tmp_path / "report.json"
    ran = mfshark("check", "--format", "json", "-o", target, CLEAN)
    assert (ran.status, ran.out) == (0, "")
    conform(json.loads(target.read_text("utf-8")), "report-1")


@pytest.mark.parametrize(
    ("name", "told", "row"),
    [
        (
            "11.1.3-vfio-mixed-on-off-4ch",
            "1 device complete (4 buffers, 2.4 MiB), 1 more complete over main (1.8 MiB)",
            "  0000:00:03.0/vfio  complete                    1.8 MiB",
        ),
        (
            "10.0.13-vfio-transfer-off-2ch",
            "1 device complete over main (2.4 MiB)",
            "  0000:00:02.0/vfio  complete  2.4 MiB",
        ),
        (
            "10.0.13-vfio-snaplen256-2ch",
            "1 device, completeness cannot be told (48 B on main); 1 warning",
            "  0000:00:02.0/vfio  cannot tell     48 B",
        ),
    ],
)
def test_devices_whose_state_went_over_main_are_told_too(name: str, told: str, row: str) -> None:
    lines = mfshark("check", shipped.capture(name)).out.splitlines()
    assert f", {told}" in lines[0]
    assert row in lines


def test_the_first_complaint_says_what_it_is_about() -> None:
    first = mfshark("check", shipped.capture("10.0.13-vfio-gaps-2ch")).out.splitlines()[0]
    assert "first MF901 tcp-hole on multifd 0: 1448 bytes missing" in first
    first = mfshark("check", TRUNCATED).out.splitlines()[0]
    assert "first MF506 vfio-idx-gap of 0000:00:03.0/vfio#0: idx 3 is missing" in first


def test_colour_only_when_asked() -> None:
    assert "\x1b[" not in mfshark("check", CLEAN).out
    assert "\x1b[" in mfshark("check", "--color", "always", CLEAN).out


def test_a_missing_file_is_named() -> None:
    ran = mfshark("check", "/nonexistent/a.pcap")
    assert ran.status == 2
    assert "/nonexistent/a.pcap" in ran.err


def test_limits_turn_measures_into_warnings() -> None:
    assert mfshark("check", "--fail-on", "warning", CLEAN).status == 0
    ran = mfshark("check", "--fail-on", "warning", "--limit", "downtime=0.001", CLEAN)
    assert ran.status == 1
    assert "MF954" in ran.out
    queued = mfshark("check", "--fail-on", "warning", "--max-queued-bytes", "1000", CLEAN)
    assert "MF519" in queued.out


def test_a_limit_of_0_is_a_limit() -> None:
    ran = mfshark("check", "--select", "MF519", "--max-queued-bytes", "0", CLEAN)
    assert (ran.status, ran.err) == (0, "")
    assert "the limit is 0" in ran.out


def test_what_is_required_gives_the_exit_status(tmp_path: Path) -> None:
    path = shipped.capture("10.0.13-cancelled-2ch")
    junit, sarif = tmp_path / "r.xml", tmp_path / "r.sarif"
    assert mfshark("check", path, "-o", junit).status == 0
    assert "not-completed" not in junit.read_text(encoding="utf-8"), "what is not judged is no case"
    words = ("--require", "completed", "-o", junit, "-o", sarif, "-o", "-")
    ran = mfshark("check", path, *words)
    assert ran.status == 1
    assert ran.out.startswith("ERROR")
    assert 'name="MF963 not-completed"' in junit.read_text(encoding="utf-8")
    assert "MF963" in sarif.read_text(encoding="utf-8")
    assert mfshark("check", CLEAN, "--require", "completed").status == 0


def test_a_failed_migration_outranks_warnings() -> None:
    ran = mfshark("check", KILLED, "--severity", "uuid-zero=warning")
    assert ran.status == 0
    assert ran.out.startswith("FAILED")
    assert "; 1 warning, first MF105" in ran.out
    assert mfshark("check", CLEAN, "--severity", "uuid-zero=warning").out.startswith("WARNING")


def test_failed_migrations_of_many_are_described(tmp_path: Path) -> None:
    for path in (KILLED, CLEAN):
        (tmp_path / path.name).symlink_to(path)
    ran = mfshark("check", tmp_path)
    assert ran.status == 0
    first = ran.out.splitlines()[0]
    assert first.startswith("FAILED")
    assert "the destination reset multifd 1" in first
    assert "INCOMPLETE: 0000:00:02.0/vfio#0" in first
    assert ran.out.count("completed") == 1


def test_digests_are_printed_where_they_are_asked_for() -> None:
    assert "sha256" not in mfshark("check", CLEAN).out
    ran = mfshark("check", "--digest", "sha256", CLEAN)
    for device in shipped.truth("10.0.13-vfio-3dev-4ch")["devices"]:
        assert f"  {device['idstr']}  {device['kernel_saved']['sha256']}\n" in ran.out
    lost = mfshark("check", "--digest", "sha256", TRUNCATED).out
    assert "  0000:00:03.0/vfio  not known: bytes are missing\n" in lost


def test_what_an_outcome_explains_is_not_counted() -> None:
    assert "[not counted: the migration failed]" in mfshark("check", "-v", KILLED).out
    cancelled = mfshark("check", "-v", shipped.capture("10.0.13-cancelled-2ch")).out
    assert "[not counted: the migration was cancelled]" in cancelled


def test_help_fits_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    for command in ("check", "live"):
        assert max(map(len, mfshark(command, "--help").out.splitlines())) <= 80


def test_help_has_a_line_for_each_reader() -> None:
    lines = [line.strip() for line in mfshark("check", "--help").out.splitlines()]
    assert "native: only mfshark" in lines
    assert "limits, and facts about the destination:" in lines
    assert "expectations and baselines:" in lines


def test_of_many_migrations_the_report_is_a_table_and_the_worst(tmp_path: Path) -> None:
    made = None
    for number in range(30):
        one = Tiny()
        one.server_port = 5000 + number
        if number in (7, 20):
            del one.multifd[0][-2]  # buffer 0
        made = one.craft(made)
    assert made is not None
    path = tmp_path / "many.pcap"
    path.write_bytes(made.pcap())
    lines = mfshark("check", path).out.splitlines()
    assert lines[2].split()[:5] == ["migration", "source", "destination", "outcome", "channels"]
    assert [line.split()[0] for line in lines[3:7]] == ["7", "20", "0", "1"]
    assert lines[19:22] == [
        "  14 more",
        "",
        "the details of 28 migrations are left out; --verbose shows all",
    ]
    parts = [line.split()[1] for line in lines if line.startswith("Migration ")]
    assert parts == ["7", "20"]
    whole = mfshark("check", "--verbose", path).out
    assert sum(line.startswith("Migration ") for line in whole.splitlines()) == 30


@pytest.mark.parametrize("path", [TRUNCATED, SAVED], ids=lambda path: path.name)
def test_on_a_terminal_no_line_is_wider_than_it(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(path.parent)
    shown = on_terminal(72, monkeypatch, "check", "--verbose", path.name).splitlines()
    assert max(map(len, shown)) <= 72 < len(mfshark("check", path.name).out.splitlines()[0])
    assert shown[1].startswith("  ")
