"""Settings for all tests.

An internal error fails the test instead of becoming a message; no generated case fails for being
slow.
"""

from __future__ import annotations

import gc
import mmap
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from analyzer.errors import DEBUG
from tests.shipped import UNPACKED

os.environ[DEBUG] = "1"

# How long an example takes says nothing where workers outnumber the cores.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

GROWTH = 128 << 20
kept = 0  # memory in use after the last look for garbage


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One worker more than there are cores: many tests wait for tshark, QEMU or the interface."""
    return len(os.sched_getaffinity(0)) + 1


def pytest_configure(config: pytest.Config) -> None:
    """Make the folder of unpacked captures, and remove it at the end; workers inherit its name."""
    if UNPACKED not in os.environ:
        folder = tempfile.TemporaryDirectory(prefix="mfshark-")
        os.environ[UNPACKED] = folder.name
        config.add_cleanup(folder.cleanup)


def pytest_collection_finish() -> None:
    """Do not look for garbage in thousands of collected tests, and less often in what libraries
    keep.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 10, 50)


def pytest_runtest_logfinish() -> None:
    """Look for garbage where a few tests have left much: a few objects may hold whole captures."""
    global kept
    if resident() > kept + GROWTH:
        gc.collect()
        kept = resident()


def resident() -> int:
    """Bytes of memory in use."""
    with Path("/proc/self/statm").open(encoding="ascii") as file:
        return int(file.read().split()[1]) * mmap.PAGESIZE
