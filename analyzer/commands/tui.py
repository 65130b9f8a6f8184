"""``mfshark CAPTURE``: the terminal interface."""

from __future__ import annotations

from analyzer.commands.common import settings_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace

__all__ = ["tui"]


def tui(options: Namespace) -> int:
    """Run it.  Raises :class:`CaptureError`."""
    from analyzer.tui import run

    return run(options.capture, settings_of(options))
