"""Errors that are mfshark's own: one capture's, told as such, and let through on demand."""

from __future__ import annotations

import errno
import json
from typing import TYPE_CHECKING

import pytest

from analyzer.checks.families import load
from analyzer.checks.rule import RULES
from analyzer.commands import standard_output
from analyzer.errors import DEBUG
from tests.commands.run import mfshark
from tests.shipped import capture

if TYPE_CHECKING:
    from pathlib import Path

    from analyzer.migration.migration import Migration

ODD, OTHER = capture("10.0.13-vfio-truncated-no-returnpath-2ch"), capture("10.0.13-vlan-2ch")


@pytest.fixture
def faulty(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rule fails at migrations with devices."""

    def fail(migration: Migration, *_: object) -> list[object]:
        if migration.devices:
            raise ZeroDivisionError("of\x1b[31m all things")
        return []

    load()
    monkeypatch.delenv(DEBUG)
    monkeypatch.setattr(RULES["MF962"], "test", fail)


@pytest.mark.usefixtures("faulty")
def test_the_other_captures_are_checked(tmp_path: Path) -> None:
    file = tmp_path / "r.json"
    ran = mfshark("check", ODD, OTHER, "-o", "-", "-o", file)
    assert ran.status == 2
    told = "internal error: ZeroDivisionError: of\\x1b[31m all things; please report it"
    assert f"mfshark: {ODD}: {told} (run with --debug for the traceback)" in ran.err
    assert "2 captures: 1 BROKEN, 1 OK" in ran.out
    broken, right = json.loads(file.read_text(encoding="utf-8"))["captures"]
    assert told in broken["error"]
    assert right["migrations"][0]["outcome"] == "completed"


@pytest.mark.usefixtures("faulty")
def test_other_commands_say_so_too() -> None:
    ran = mfshark("stats", ODD)
    assert (ran.status, ran.out) == (2, "")
    assert ran.err.startswith("mfshark: internal error: ZeroDivisionError: ")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError(errno.ENOSPC, "No space left", "a\x1b[31m"), "a\\x1b[31m: No space left"),
        (OSError("gone\x07"), "output: gone\\x07"),
    ],
    ids=["with a name", "without"],
)
def test_what_the_system_says_is_escaped(
    error: OSError, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise error

    load()
    monkeypatch.setattr(RULES["MF962"], "test", fail)
    monkeypatch.setattr(standard_output, "drop_output", lambda: None)
    assert mfshark("stats", ODD).err == f"mfshark: {told}\n"


@pytest.mark.usefixtures("faulty")
@pytest.mark.parametrize("command", ["check", "stats"])
def test_debugging_lets_it_through(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DEBUG, "")
    with pytest.raises(ZeroDivisionError):
        mfshark(command, "--debug", ODD)


def test_ctrl_c_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    load()
    monkeypatch.delenv(DEBUG)
    monkeypatch.setattr(RULES["MF962"], "test", interrupted)
    assert mfshark("check", OTHER).status == 130
