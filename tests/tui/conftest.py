"""Snapshots are compared only where they were made: drawings differ between versions.

Keys are pressed faster than Textual's pilot does: what a key sets in motion is waited for by
:func:`tests.tui.driving.settle`, so that its sleeps between looks at the processor can be short.
"""

from __future__ import annotations

import gc
import sys
from typing import TYPE_CHECKING

import pytest
import textual
from textual import _wait

if TYPE_CHECKING:
    from collections.abc import Iterator

MADE_WITH = ((3, 11), "8.2.8")
"""Python and Textual."""

_wait.SLEEP_GRANULARITY, _wait.SLEEP_IDLE = 0.004, 0.001  # seconds, and seconds of work in them


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if (sys.version_info[:2], textual.__version__) == MADE_WITH:
        return
    (major, minor), version = MADE_WITH
    skip = pytest.mark.skip(reason=f"snapshots are of Python {major}.{minor}, Textual {version}")
    for item in items:
        if "snap_compare" in getattr(item, "fixturenames", ()):
            item.add_marker(skip)


@pytest.fixture(autouse=True)
def nothing_frozen() -> Iterator[None]:
    """Each test begins like a new process, in which no capture was read before: the program would
    search everything that pytest holds for what is left of it, which takes as long as the test.
    """
    yield
    gc.unfreeze()
