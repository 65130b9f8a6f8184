"""The terminal interface."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from analyzer.migration.framing import Settings

__all__ = ["run"]


def run(path: str | None, settings: Settings) -> int:
    """Open the interface on a capture, or let the user choose one; gives the exit status."""
    from analyzer.tui.app import MfsharkApp

    return MfsharkApp(path, settings).run() or 0
