"""Many captures at a time: in order, and none stops the others."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
from multiprocessing import active_children
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, cast

import pytest

from analyzer.batch import pool
from analyzer.batch.find import captures_in
from analyzer.batch.job import Job
from analyzer.checks.selection import Selection
from analyzer.errors import DEBUG, UsageError
from analyzer.migration.settings import Settings
from analyzer.report.formats import FORMATS
from tests.commands.run import mfshark
from tests.shipped import capture

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("7.2-multifd-2ch", "10.0.13-vlan-2ch", "10.0.13-vfio-truncated-no-returnpath-2ch")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three captures, one of them below; a broken one; a pipe; and what is none."""
    inner = tmp_path / "captures" / "inner"
    inner.mkdir(parents=True)
    for name, place in zip(NAMES, (inner.parent, inner.parent, inner), strict=True):
        shutil.copy(capture(name), place)
    (inner / "broken.pcap").write_bytes(b"no capture")
    (inner / "notes.txt").write_bytes(b"nothing")
    os.mkfifo(inner / "pipe.pcap")
    return inner.parent


def test_folders_are_searched(folder: Path, tmp_path: Path) -> None:
    found = captures_in([str(folder), "other.pcap"])
    assert [Path(path).name[:12] for path in found] == [
        "10.0.13-vlan", "7.2-multifd-", "10.0.13-vfio", "broken.pcap", "other.pcap",
    ]  # fmt: skip
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / ".hidden.pcap").write_bytes(b"")
    with pytest.raises(UsageError, match=r"their names end in \.pcap, "):
        captures_in([str(tmp_path / "empty")])


def test_hidden_files_and_folders_are_left_out_unless_they_are_named(tmp_path: Path) -> None:
    shown, hidden = tmp_path / "a.pcap", tmp_path / ".git" / "b.pcap"
    hidden.parent.mkdir()
    for path in (shown, hidden, tmp_path / "._a.pcap"):
        path.write_bytes(b"")
    assert captures_in([str(tmp_path)]) == [str(shown)]
    assert captures_in([str(hidden.parent), str(hidden)]) == [str(hidden), str(hidden)]


def test_a_folder_that_cannot_be_read_stops_no_other(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = folder / "lost+found"
    secret.mkdir()
    usual: Callable[[str], object] = os.scandir

    def refuse(path: str) -> object:
        if path == str(secret):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return usual(path)

    monkeypatch.setattr(os, "scandir", refuse)
    ran = mfshark("check", folder)
    assert ran.status == 2
    assert f"mfshark: {secret}: cannot be opened: " in ran.err
    assert "5 captures: " in ran.out


def test_every_finding_that_fails_is_told(folder: Path) -> None:
    told = "info    MF105 uuid-zero"
    assert told not in mfshark("check", folder).out
    assert told in mfshark("check", folder, "--fail-on", "info").out


def test_minus_is_standard_input_beside_a_folder_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "-").mkdir()
    monkeypatch.chdir(tmp_path)
    assert captures_in(["-"]) == ["-"]


def test_many_at_a_time_give_the_same_in_the_same_order(folder: Path) -> None:
    one = mfshark("check", folder, "--jobs", 1)
    many = mfshark("check", folder, "--jobs", 3)
    assert one.out == many.out
    assert one.err == many.err
    assert one.status == many.status == 2
    assert "inner/broken.pcap" in many.out
    assert "notes.txt" not in many.out + many.err
    assert "4 captures: 2 OK, 1 ERROR, 1 BROKEN" in many.out


def test_every_format_is_the_same_whoever_read_the_captures(folder: Path) -> None:
    """In a process of its own: this one has loaded all rules for other tests."""
    endings = [one.endings[0] for one in FORMATS.values() if one.endings and not one.folder]
    for name, words in (("one", ()), ("many", ("--jobs", "2"))):
        files = [word for ending in endings for word in ("-o", folder.parent / (name + ending))]
        ran = subprocess.run(
            [sys.executable, "-m", "analyzer", "check", "captures", *words, *files],
            cwd=folder.parent, env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert (ran.returncode, ran.stdout) == (2, "")
        assert "internal error" not in ran.stderr
    for ending in endings:
        one, many = ((folder.parent / (name + ending)).read_bytes() for name in ("one", "many"))
        assert one == many, ending


class Deadly:
    """Ends the process to which it is sent."""

    def __reduce__(self) -> tuple[object, tuple[int]]:
        return os._exit, (9,)


def test_a_process_that_dies_costs_one_capture() -> None:
    jobs = [Job(str(capture(name)), Settings(), Selection()) for name in (*NAMES, *NAMES)]
    jobs[1].style = cast("str", Deadly())
    told: list[tuple[float, int]] = []
    results = list(pool.run_jobs(jobs, 2, lambda *reached: told.append(reached)))
    assert [result.word for result in results] == ["OK", "BROKEN", "ERROR", "OK", "OK", "ERROR"]
    assert "died" in results[1].sentence
    assert [reached for reached, _ in told] == sorted(reached for reached, _ in told)
    assert told[-1][0] == 1
    assert told[-1][1] > 1000
    assert not active_children()


def test_an_internal_error_costs_one_capture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(DEBUG)
    jobs = [Job(str(capture(name)), Settings(), Selection()) for name in NAMES]
    jobs[0].selection = cast("Selection", "none")
    results = list(pool.run_jobs(jobs, 1))
    assert [result.word for result in results] == ["BROKEN", "OK", "ERROR"]
    assert f"{jobs[0].path}: internal error: AttributeError: " in results[0].sentence


def heed_ctrl_c() -> None:
    """A shell without a terminal has what it starts in the background ignore it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_ctrl_c_ends_it_and_all_its_processes(tmp_path: Path) -> None:
    pipes = [tmp_path / "one.pcap", tmp_path / "two.pcap"]
    for pipe in pipes:
        os.mkfifo(pipe)
    ran = subprocess.Popen(
        [sys.executable, "-m", "analyzer", "check", "--jobs", "2", *pipes],
        stderr=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)},
        start_new_session=True, preexec_fn=heed_ctrl_c,
    )  # fmt: skip
    ends = [pipe.open("wb") for pipe in pipes]  # Waits until both are being read.
    os.killpg(ran.pid, signal.SIGINT)
    assert ran.communicate(timeout=20)[1] == b""
    assert ran.returncode == 130
    with pytest.raises(BrokenPipeError):  # Nobody reads it any more.
        os.write(ends[0].fileno(), b"x")
    for end in ends:
        end.close()


def test_no_wait_is_so_long_that_ctrl_c_is_lost_in_it(tmp_path: Path) -> None:
    """A signal that comes between a look for signals and the wait wakes nobody."""
    silent = tmp_path / "silent.pcap"
    os.mkfifo(silent)
    waits = pool._Pool([Job(str(silent), Settings(), Selection())], None)
    try:
        waits._start()
        step = Thread(target=waits._step, daemon=True)
        step.start()
        step.join(10)
        assert not step.is_alive()
    finally:
        waits.stop()


def test_standard_input_goes_alone() -> None:
    ran = mfshark("check", "--jobs", 2, "-", capture(NAMES[0]))
    assert ran.status == 2
    assert "the only input" in ran.err
