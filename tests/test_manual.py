"""The manual page says what the command line takes, and man understands it."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from analyzer.cli import COMMANDS
from analyzer.manual import PAGE, manual
from tests.commands.run import mfshark

ROOT = Path(__file__).resolve().parent.parent
SHIPPED = ROOT / "docs" / PAGE


def test_the_page_is_current() -> None:
    anew = "it is old: python -m analyzer.manual docs"
    assert SHIPPED.read_text(encoding="utf-8") == manual(), anew


@pytest.mark.parametrize("command", COMMANDS)
def test_all_options_are_in_it(command: str) -> None:
    section = re.search(
        rf'^\.SS "mfshark {command}"\n(.*?)^\.S[SH] ',
        manual().replace("\\-", "-"),
        re.MULTILINE | re.DOTALL,
    )
    assert section
    for option in re.findall(r"^ +(-[\w-]+)", mfshark(command, "--help").out, re.MULTILINE):
        assert option == "-h" or option in section[1], option


def test_nothing_in_a_text_is_a_request() -> None:
    requests = {".TH", ".SH", ".SS", ".TP", ".PP", ".B", ".BR", ".I", ".br", '.\\"'}
    for line in manual().splitlines():
        assert line, "man shows empty lines"
        assert not line.startswith("'")
        assert not line.startswith(".") or line.split(" ")[0] in requests, line


@pytest.mark.skipif(shutil.which("groff") is None, reason="groff is not installed")
def test_groff_has_nothing_to_warn_of() -> None:
    ran = subprocess.run(
        ["groff", "-man", "-ww", "-Tutf8", str(SHIPPED)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stderr == ""
    assert "mfshark check" in ran.stdout


def test_the_wheel_installs_it() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    shared = project["tool"]["hatch"]["build"]["targets"]["wheel"]["shared-data"]
    assert shared == {f"docs/{PAGE}": f"share/man/man1/{PAGE}"}
