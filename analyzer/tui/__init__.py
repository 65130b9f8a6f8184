"""The terminal interface."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from analyzer.migration.framing import Settings

__all__ = ["run"]


def run(path: str | None, settings: Settings) -> int:
    """Open the interface on a capture, or let the user choose one; gives the exit status."""
    import sys

    from analyzer.tui.app import MfsharkApp
    from analyzer.tui.filters import store_path

    sys.setswitchinterval(0.002)  # keys are answered while another thread reads the capture
    app = MfsharkApp(path, settings, store_path())
    if app.console.color_system in ("standard", "windows"):
        app.theme = "ansi-dark"  # sixteen colours, and those of the terminal
    return app.run() or 0
