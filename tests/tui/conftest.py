"""Snapshots are compared only with the versions they were made with, as drawings differ.

Keys are pressed faster than by Textual's pilot: :func:`tests.tui.driving.settle` waits for what a
key causes, so the pilot's own sleeps while it waits for an idle processor can be short.
"""

from __future__ import annotations

import gc
import sys
from typing import TYPE_CHECKING, Any

import pytest
import textual
from textual import _wait
from textual._compositor import Compositor

from analyzer.tui import gate, key_order

if TYPE_CHECKING:
    from rich.console import RenderableType
    from textual.screen import Screen

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
def unseen(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw what a test looks at, and how it leaves the screen, but not every state between: that
    takes a third of the time.  Tests marked ``drawn`` draw everything, as a terminal would get it.
    """
    if request.node.get_closest_marker("drawn") is not None:
        return
    draw = Compositor.render_update

    def not_unless_full(
        self: Compositor,
        full: bool = False,
        screen_stack: list[Screen[Any]] | None = None,
        simplify: bool = False,
    ) -> RenderableType | None:
        if full:
            return draw(self, full, screen_stack, simplify)
        self._dirty_regions.clear()
        return None

    monkeypatch.setattr(Compositor, "render_update", not_unless_full)


@pytest.fixture(autouse=True)
def frozen_by_pytest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave what pytest froze frozen: the program would look through it all for each capture."""
    for name in ("freeze", "unfreeze"):
        monkeypatch.setattr(gc, name, lambda: None)
    monkeypatch.setattr(gc, "get_freeze_count", lambda: 0)
    monkeypatch.setattr(gate, "USUAL", gc.get_threshold())
