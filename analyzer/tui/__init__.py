"""The terminal interface."""

from __future__ import annotations

import sys
from io import TextIOWrapper
from typing import TYPE_CHECKING

from analyzer.errors import UsageError

if TYPE_CHECKING:
    from analyzer.capture.growing import GrowingSource
    from analyzer.migration.settings import Settings

__all__ = ["run", "share_time"]

TURN = 0.001
"""Interpreter switch interval, seconds: how long a busy thread may keep another one waiting."""


def share_time() -> None:
    """Shorten thread turns, so that keys are answered while another thread reads the capture."""
    sys.setswitchinterval(TURN)


def run(path: str | None, settings: Settings, live: GrowingSource | None = None) -> int:
    """Open the interface on a capture, or let the user choose one; returns the exit status.

    ``live`` reads the bytes of the file at ``path`` while they are being written.  Raises
    :class:`UsageError` without a terminal.
    """
    if not all(stream and stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr)):
        raise UsageError("the interface needs a terminal; 'mfshark check' works without one")
    from analyzer.tui.app import MfsharkApp
    from analyzer.tui.filters import store_path

    share_time()
    if isinstance(sys.__stderr__, TextIOWrapper):  # where Textual draws
        sys.__stderr__.reconfigure(errors="replace")  # an escape would take more than one cell
    app = MfsharkApp(path, settings, store_path(), live)
    if app.console.color_system in ("standard", "windows"):
        app.theme = "ansi-dark"  # the terminal's own sixteen colours
    return app.run() or 0
