"""Many captures at a time: in order, and none stops the others."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest

from analyzer.batch import pool
from analyzer.batch.find import captures_in
from analyzer.batch.job import Job, run_job
from analyzer.checks.selection import Selection
from analyzer.errors import UsageError
from analyzer.migration.framing import Settings
from analyzer.report.result import Result
from tests.commands.run import mfshark
from tests.shipped import capture

NAMES = ("7.2-multifd-2ch", "10.0.13-vlan-2ch", "10.0.13-vfio-truncated-no-returnpath-2ch")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three captures, one of them below; a broken one; and what is none."""
    inner = tmp_path / "captures" / "inner"
    inner.mkdir(parents=True)
    for name, place in zip(NAMES, (inner.parent, inner.parent, inner), strict=True):
        shutil.copy(capture(name), place)
    (inner / "broken.pcap").write_bytes(b"no capture")
    (inner / "notes.txt").write_bytes(b"nothing")
    return inner.parent


def test_folders_are_searched(folder: Path, tmp_path: Path) -> None:
    found = captures_in([str(folder), "other.pcap"])
    assert [Path(path).name[:12] for path in found] == [
        "10.0.13-vlan", "7.2-multifd-", "10.0.13-vfio", "broken.pcap", "other.pcap",
    ]  # fmt: skip
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError):
        captures_in([str(tmp_path / "empty")])


def test_many_at_a_time_give_the_same_in_the_same_order(folder: Path) -> None:
    one = mfshark("check", folder, "--jobs", 1)
    many = mfshark("check", folder, "--jobs", 3)
    assert one.out == many.out
    assert one.err == many.err
    assert one.status == many.status == 2
    assert "5 captures" not in many.out
    assert "4 captures: 2 OK, 1 ERROR, 1 BROKEN" in many.out


def killed(job: Job) -> Result:
    """As run_job, but for a capture whose reader is killed."""
    if "vlan" in job.path:
        os.kill(os.getpid(), signal.SIGKILL)
    return run_job(job)


def test_a_process_that_dies_costs_one_capture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "run_job", killed)
    jobs = [Job(str(capture(name)), Settings(), Selection()) for name in NAMES]
    results = list(pool.run_jobs(jobs, 2))
    assert [result.word for result in results] == ["OK", "BROKEN", "ERROR"]
    assert "died" in results[1].sentence
