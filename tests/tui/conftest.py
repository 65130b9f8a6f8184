"""Snapshots are compared only where they were made: drawings differ between versions."""

from __future__ import annotations

import sys

import pytest
import textual

MADE_WITH = ((3, 11), "8.2.8")
"""Python and Textual."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if (sys.version_info[:2], textual.__version__) == MADE_WITH:
        return
    (major, minor), version = MADE_WITH
    skip = pytest.mark.skip(reason=f"snapshots are of Python {major}.{minor}, Textual {version}")
    for item in items:
        if "snap_compare" in getattr(item, "fixturenames", ()):
            item.add_marker(skip)
