"""How the program starts and ends: starting is most of a small check's time."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests import shipped

ROOT = Path(__file__).resolve().parent.parent

HEAVY = (
    "scapy", "numpy", "textual", "rich", "pyshark", "lark", "zstandard", "tomllib", "typing",
    "dataclasses", "inspect", "hashlib", "argcomplete", "contextlib", "dissectors.vfio_config",
)  # fmt: skip


def test_check_loads_none_of_the_heavy_libraries() -> None:
    script = (
        "import argparse, sys\n"
        "argparse.ArgumentParser()\n"
        "before = set(sys.modules)\n"  # what Python loads of itself, as 3.14 does for colours
        "from analyzer.cli import main\n"
        f"status = main(['check', {str(shipped.capture('10.0.13-alpha-8k-pages-2ch'))!r}])\n"
        f"print(status, set({HEAVY!r}) & (set(sys.modules) - before))\n"
    )
    ran = subprocess.run(
        [sys.executable, "-S", "-c", f"import sys; sys.path[:0] = {sys.path!r}\n{script}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout.splitlines()[-1] == "0 set()"


@pytest.mark.parametrize(
    "words",
    [
        ("check", "CAPTURE", "--format", "html"),
        ("packets", "CAPTURE"),
        ("records", "CAPTURE"),
        ("devices", "CAPTURE"),
        ("stats", "CAPTURE"),
        ("extract", "CAPTURE", "-o", "state"),
        ("extract", "CAPTURE", "-o", "memory", "--ram", "pc.ram"),
        ("diff", "CAPTURE", "CAPTURE"),
        ("diff", "CAPTURE", "CAPTURE", "--same-migration"),
        ("expect", "CAPTURE"),
        ("scrub", "CAPTURE", "copy.pcapng"),
    ],
    ids=" ".join,
)
def test_no_command_loads_large_libraries_in_vain(words: tuple[str, ...], tmp_path: Path) -> None:
    """Loading one of these takes longer than reading a small capture."""
    capture = str(shipped.capture("11.1.3-vfio-config-after-iter-2ch"))
    given = [capture if word == "CAPTURE" else word for word in words]
    script = (
        "import sys\n"
        "from analyzer.cli import main\n"
        f"status = main({given!r})\n"
        "print(status, {'scapy', 'numpy', 'textual', 'rich', 'lark'} & set(sys.modules))\n"
    )
    ran = subprocess.run(
        [sys.executable, "-S", "-c", f"import sys; sys.path[:0] = {sys.path!r}\n{script}"],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    assert ran.stdout.splitlines()[-1] == "0 set()"


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
@pytest.mark.parametrize("words", [(), ("--via", "tshark"), ("--deep",)])
def test_nothing_is_left_behind(words: tuple[str, ...], tmp_path: Path) -> None:
    """Also of a program that was given a pipe, and of what tshark was told."""
    path = shipped.capture("10.0.13-tls13-x509-2ch-secrets-embedded")
    ran = subprocess.run(
        [sys.executable, "-m", "analyzer", "check", *words, "-"],
        input=path.read_bytes(),
        env={**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": str(ROOT)},
        capture_output=True,
    )
    assert ran.returncode == 0, ran.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no full device")
@pytest.mark.parametrize("format_", ["text", "json"])
def test_a_full_disk_behind_standard_output_is_told(format_: str) -> None:
    path = shipped.capture("10.0.13-vlan-2ch")
    with Path("/dev/full").open("wb") as full:
        ran = subprocess.run(
            [sys.executable, "-m", "analyzer", "check", "--format", format_, str(path)],
            stdout=full,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            text=True,
        )
    assert ran.returncode == 2
    assert ran.stderr == "mfshark: output: No space left on device\n"


LOST = shipped.capture("10.0.13-vfio-truncated-no-returnpath-2ch")
CLEAN = shipped.capture("10.0.13-vlan-2ch")
ENCRYPTED = shipped.capture("10.0.13-tls13-x509-2ch-nokeys")


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (("check", LOST), 1),
        (("check", LOST, CLEAN), 1),
        (("check", LOST, "--format", "json"), 1),
        (("diff", LOST, CLEAN), 1),
        (("diff", LOST, CLEAN, "--same-migration"), 1),
        (("extract", LOST, "-o", "state"), 2),
        (("scrub", ENCRYPTED, "copy.pcapng"), 2),
        (("packets", LOST), 0),
        (("rule",), 0),
    ],
)
def test_a_reader_that_has_seen_enough_changes_no_verdict(
    words: tuple[str | Path, ...], status: int, tmp_path: Path
) -> None:
    """As in ``check | head``, in a shell with pipefail."""
    reading, writing = os.pipe()
    os.close(reading)
    ran = subprocess.run(
        [sys.executable, "-m", "analyzer", *map(str, words)],
        stdout=writing,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        text=True,
    )
    os.close(writing)
    assert ran.returncode == status, ran.stderr
    assert "no migration" not in ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize(
    ("words", "status", "told"),
    [
        (("check", LOST), 1, "idx 3 is missing"),
        (("check", LOST, "--format", "html"), 1, "python -OO"),
        (("rule", "MF506"), 0, "python -OO"),
        (("synth", shipped.CAPTURES / "scenarios/lost-buffer.toml", "-o", "lost.pcap"), 0, ""),
    ],
)
def test_docstrings_and_assertions_may_be_left_out(
    words: tuple[str | Path, ...], status: int, told: str, tmp_path: Path
) -> None:
    ran = subprocess.run(
        [sys.executable, "-OO", "-m", "analyzer", *map(str, words)],
        capture_output=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        text=True,
    )
    assert (ran.returncode, ran.stderr) == (status, "")
    assert told in ran.stdout


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (("check", LOST, "--deep", "--digest", "sha256", "--format", "sarif"), 1),
        (("check", CLEAN, LOST, "--jobs", "2", "--quiet"), 1),
        (("packets", CLEAN, "-Y", "frame < 100"), 0),
        (("records", CLEAN, "-V"), 0),
        (("devices", LOST), 0),
        (("stats", CLEAN, "--format", "html"), 0),
        (("extract", CLEAN, "-o", "memory", "--ram", "pc.ram"), 0),
        (("diff", CLEAN, LOST), 1),
        (("diff", CLEAN, CLEAN, "--same-migration"), 0),
        (("expect", CLEAN), 0),
        (("scrub", CLEAN, "copy.pcapng.gz"), 0),
    ],
)
def test_every_file_is_closed(words: tuple[str | Path, ...], status: int, tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-W", "default::ResourceWarning", "-m", "analyzer", *map(str, words)],
        capture_output=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        text=True,
    )
    assert (ran.returncode, ran.stderr) == (status, "")


@pytest.mark.parametrize("encoding", ["ascii", "utf-8:strict"])
@pytest.mark.parametrize("name", ["\xe9.pcap", "\udce9.pcap"])
def test_a_name_need_not_fit_the_encoding(encoding: str, name: str, tmp_path: Path) -> None:
    (tmp_path / name).symlink_to(LOST)
    for words in (["check", name], ["records", name], ["extract", name, "-o", f"{name}.d"]):
        ran = subprocess.run(
            [sys.executable, "-c", "from analyzer.cli import script; exit(script())", *words],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": encoding},
            capture_output=True,
            text=True,
        )
        assert ran.stdout
        assert "internal error" not in ran.stderr


@pytest.mark.parametrize(
    ("closed", "status", "told"),
    [
        ("<&-", 0, "OK "),
        (">&-", 0, ""),
        ("2>&-", 0, "OK "),
        ("<&- >&- 2>&-", 0, ""),
    ],
)
def test_streams_may_be_closed(closed: str, status: int, told: str) -> None:
    path = shipped.capture("10.0.13-vlan-2ch")
    ran = _in_a_shell(f"{sys.executable} -m analyzer check {path} {closed}", ROOT)
    assert ran.returncode == status, ran.stderr
    assert ran.stdout[:3] == told
    assert "Traceback" not in ran.stderr


def test_the_current_directory_may_be_gone(tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    path = shipped.capture("10.0.13-vlan-2ch")
    ran = _in_a_shell(f"rmdir {folder}; {sys.executable} -m analyzer check {path}", folder)
    assert ran.returncode == 0, ran.stderr


def _in_a_shell(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", "-c", command],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
