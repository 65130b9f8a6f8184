"""The documentation says what is true: links lead somewhere, commands work, CI runs them."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "captures/MANIFEST.md"])
README = (ROOT / "README.md").read_text(encoding="utf-8")
MFSHARK = "import sys; from analyzer.cli import main; sys.exit(main())"
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


def test_ci_runs_the_tests_as_the_readme_does() -> None:
    command = "python -m pytest -n auto"
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
