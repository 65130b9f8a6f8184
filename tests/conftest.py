"""Settings for all tests: an internal error fails the test instead of becoming a message."""

from __future__ import annotations

import os

import pytest

from analyzer.errors import DEBUG

os.environ[DEBUG] = "1"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One worker more than there are cores: many tests wait for tshark, QEMU or the interface."""
    return len(os.sched_getaffinity(0)) + 1
