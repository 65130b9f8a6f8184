"""The documentation says what is true: links lead somewhere, commands work, CI runs them."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from analyzer.checks import rule as register
from analyzer.checks.families import load
from benchmarks.throughput import runs_scripts
from tests.checks.case import Case, edited, verify
from tests.checks.craft import buffer

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "captures/MANIFEST.md"])
README = (ROOT / "README.md").read_text(encoding="utf-8")
MFSHARK = """\
import sys
from analyzer.cli import main
if __name__ == "__main__":  # --jobs imports it again
    sys.exit(main())
"""
OWN_FILES = ("configuration.md", "expectations.md")  # pages with tests of their own
SHOWING = [
    page
    for page in PAGES
    if page.name not in OWN_FILES and "\n```console\n" in page.read_text(encoding="utf-8")
]
SCRIPTED = shutil.which("tshark") is not None and runs_scripts()
COMMANDS = re.findall(r"^\$ mfshark (.*)$", README, re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    anchors = {
        re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")
        for title in re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    }
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith("#"):
            assert target[1:] in anchors, target
        elif not target.startswith("http"):
            assert (page.parent / target.partition("#")[0]).exists(), target


def test_the_rooms_of_floor_2_are_those_in_its_plan() -> None:
    page = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    plan = page.partition("\n## Floor 2")[2].partition("\n## ")[0]
    files = sorted(path.name for path in (ROOT / "analyzer/migration").glob("[!_]*.py"))
    assert sorted(re.findall(r"`(\w+\.py)`", plan)) == files


def test_ci_runs_the_tests_as_the_readme_does() -> None:
    command = "python -m pytest -n auto --dist worksteal"
    assert f"/{command}\n" in README
    assert f"\nstep {command}\n" in (ROOT / ".ci/run").read_text(encoding="utf-8")


def test_the_tour_works(tmp_path: Path) -> None:
    (tmp_path / "captures").symlink_to(ROOT / "captures")
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}
    for command in COMMANDS:
        run = subprocess.run(
            [sys.executable, "-c", MFSHARK, *shlex.split(command)],
            cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert run.returncode in (0, 1), run.stderr
        assert "Traceback" not in run.stderr, run.stderr
    assert (tmp_path / "state").is_dir()
    assert (tmp_path / "lost.pcap").is_file()


def shown(page: Path) -> list[tuple[str, str]]:
    """Commands of a page and what it says that they print; ``...`` stands for anything."""
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(r"^```console\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [
        (command, output)
        for block in blocks
        for command, output in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block, re.MULTILINE)
    ]


@pytest.mark.parametrize("page", SHOWING, ids=lambda page: str(page.relative_to(ROOT)))
def test_pages_show_what_commands_print(page: Path, tmp_path: Path) -> None:
    (tmp_path / "captures").symlink_to(ROOT / "captures")
    command_file = tmp_path / "bin" / "mfshark"
    command_file.parent.mkdir()
    command_file.write_text(f"#!{sys.executable}\n{MFSHARK}", encoding="utf-8")
    command_file.chmod(0o755)
    path = f"{command_file.parent}:/usr/bin:/bin"
    environment = {"PYTHONPATH": str(ROOT), "PATH": path, "LC_ALL": "C.UTF-8"}
    for command, output in shown(page):
        if command.startswith("tshark") and not SCRIPTED:
            continue
        run = subprocess.run(
            ["bash", "-c", command],
            cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        pattern = re.escape(output).replace(r"\.\.\.\n", ".*").replace(r"\.\.\.", ".*")
        printed = re.fullmatch(pattern, run.stdout, re.DOTALL)
        assert printed or not output, f"{command}\n{run.stdout}{run.stderr}"


def test_the_walk_to_a_rule_works() -> None:
    """The rule in CONTRIBUTING.md fires on its case, and on nothing else."""
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rule, case = (dedent(block) for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL))
    load()
    try:
        exec("from __future__ import annotations\n" + rule, dict(vars(register)))
        cases = eval("{" + case + "}", {"Case": Case, "edited": edited, "buffer": buffer})
        verify("MF499", cases["MF499"])
    finally:
        del register.BY_SLUG[register.RULES.pop("MF499").slug]
