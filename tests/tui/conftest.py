"""Snapshots are compared only with the versions they were made with, as drawings differ.

Keys are pressed faster than by Textual's pilot: :func:`tests.tui.driving.settle` waits for what a
key causes, so the pilot's own sleeps while it waits for an idle processor can be short.
"""

from __future__ import annotations

import gc
import sys

import pytest
import textual
from textual import _wait

from analyzer.tui import gate, key_order

MADE_WITH = ((3, 11), "8.2.8")
"""Versions of Python and Textual."""

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
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key waits for the one before also where the machine has a lot to do."""
    monkeypatch.setattr(key_order, "PATIENCE", 20.0)


@pytest.fixture(autouse=True)
def frozen_by_pytest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave what pytest froze frozen: the program would look through it all for each capture."""
    for name in ("freeze", "unfreeze"):
        monkeypatch.setattr(gc, name, lambda: None)
    monkeypatch.setattr(gc, "get_freeze_count", lambda: 0)
    monkeypatch.setattr(gate, "USUAL", gc.get_threshold())
