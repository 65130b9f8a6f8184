"""``mfshark CAPTURE``: the terminal interface."""

from __future__ import annotations

from analyzer.commands.common import settings_of
from analyzer.commands.options import add_wire_options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

__all__ = ["add_arguments", "run"]


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the command's options."""
    add_wire_options(parser)
    parser.add_argument(
        "capture",
        nargs="?",
        metavar="CAPTURE",
        help="the capture; without one, or of a folder, choose",
    )


def run(options: Namespace) -> int:
    """Run it.  Raises :class:`CaptureError`."""
    from analyzer.tui import run as run_application

    return run_application(options.capture, settings_of(options))
