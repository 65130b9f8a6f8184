"""Many captures on a Dask cluster: a local one, of two processes."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, cast

import pytest

from analyzer.batch import cluster
from analyzer.batch.job import Job
from analyzer.checks.selection import Selection
from analyzer.migration.settings import Settings
from tests.commands.run import mfshark
from tests.shipped import capture

if TYPE_CHECKING:
    from collections.abc import Iterator

distributed = pytest.importorskip("distributed")

LOST = capture("10.0.13-vfio-truncated-no-returnpath-2ch")
CLEAN = capture("7.2-multifd-2ch")


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """That of the cluster's scheduler."""
    import dask

    few = {"distributed.scheduler.allowed-failures": 0}  # Each one costs a worker's start.
    with (
        dask.config.set(few),
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
        ) as local,
    ):
        yield local.scheduler_address


def test_a_cluster_gives_what_one_process_gives(address: str) -> None:
    missing = CLEAN.with_name("none.pcap")
    files = [LOST, missing, CLEAN]
    here = mfshark("check", "-j1", *files)
    there = mfshark("check", "--dask", address, *files)
    assert there.status == here.status == 2
    assert there.out == here.out
    assert there.err == here.err
    assert "3 captures: 1 ERROR, 1 BROKEN, 1 OK" in there.out


class Deadly:
    """Ends the process to which it is sent, unless that is this one, where the scheduler is."""

    def __reduce__(self) -> tuple[object, tuple[int]]:
        return _deadly, (os.getpid(),)


def _deadly(survivor: int) -> Deadly:
    if os.getpid() != survivor:
        os._exit(9)
    return Deadly()


def test_a_worker_that_dies_costs_its_capture(address: str) -> None:
    jobs = [Job(str(path), Settings(), Selection()) for path in (CLEAN, LOST, CLEAN)]
    jobs[2].style = cast("str", Deadly())
    results = list(cluster.run_on_cluster(jobs, address))
    assert [r.word for r in results] == ["OK", "ERROR", "BROKEN"], [r.sentence for r in results]
    assert "the cluster could not check it" in results[2].sentence


def test_no_cluster_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 0.3)
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        ran = mfshark("check", "--dask", f"tcp://127.0.0.1:{nobody.getsockname()[1]}", CLEAN)
    assert ran.status == 2
    assert "no Dask scheduler answers" in ran.err
    assert mfshark("check", "--dask", "nonsense://x", CLEAN).status == 2
    assert mfshark("check", "--dask", "127.0.0.1:1", "-j2", CLEAN).status == 2
