"""``mfshark CAPTURE``: the terminal interface."""

from __future__ import annotations

import os
import stat
import tempfile

from analyzer.capture.growing import keep
from analyzer.capture.source import open_source
from analyzer.commands.common import settings_of
from analyzer.commands.options import add_wire_options
from analyzer.errors import CaptureError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from analyzer.migration.settings import Settings

__all__ = ["add_arguments", "run"]

STANDARD_INPUT = ("-", "/dev/stdin")


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the command's options."""
    parser.description = (
        "Opens the terminal interface on a capture, as 'mfshark CAPTURE' does: packets, devices, "
        "channels, the time line, findings, TCP streams and the main channel, a screen each. In "
        "it, '?' shows the keys."
    )
    add_wire_options(parser, "no effect here; accepted for consistency with other commands")
    parser.add_argument(
        "capture",
        nargs="?",
        metavar="CAPTURE",
        help="the capture, which may still arrive over a pipe (- is standard input); without one, "
        "or with a folder, choose from a list",
    )


def run(options: Namespace) -> int:
    """Run it.  Raises :class:`UsageError` and :class:`CaptureError`."""
    from analyzer.tui import run as run_application

    path, settings = options.capture, settings_of(options)
    if path in STANDARD_INPUT:
        given = _standard_input()
        if not stat.S_ISREG(os.fstat(given).st_mode):
            return _watch("<stdin>", given, settings)
        path = f"/dev/fd/{given}"
        if os.path.exists(named := os.path.realpath(path)):
            path = named
    elif path is not None and _is_pipe(path):
        try:
            pipe = os.open(
                path, os.O_RDONLY | os.O_NONBLOCK
            )  # it may not have been opened for writing yet
        except OSError as error:
            raise CaptureError(f"cannot be opened: {error.strerror}", path=path) from error
        return _watch(path, pipe, settings)
    if path is not None and not os.path.isdir(path):
        _readable(path)
    return run_application(path, settings)


def _readable(path: str) -> None:
    """Check that the file can be opened and is not empty.  Raises :class:`CaptureError` otherwise,
    before the terminal is needed.
    """
    open_source(path).close()
    if stat.S_ISREG((found := os.stat(path)).st_mode) and not found.st_size:
        raise CaptureError("is empty", path=path)


def _is_pipe(path: str) -> bool:
    try:
        return stat.S_ISFIFO(os.stat(path).st_mode)
    except (OSError, ValueError):
        return False


def _standard_input() -> int:
    """A descriptor for the data on standard input, which is then replaced by the keyboard."""
    if os.isatty(0):
        raise UsageError("standard input is the keyboard; pipe a capture into it")
    given = os.dup(0)
    try:
        terminal = os.open("/dev/tty", os.O_RDWR)
    except OSError:
        return given  # the interface reports that there is no terminal
    os.dup2(terminal, 0)
    os.close(terminal)
    return given


def _watch(name: str, pipe: int, settings: Settings) -> int:
    """Show a capture while it arrives over a pipe; it is kept in a file so that it can be read
    again.
    """
    from analyzer.tui import run as run_application

    with tempfile.TemporaryDirectory(prefix="mfshark-") as folder:
        file = os.path.join(folder, "stream.pcapng")
        source = keep(name, pipe, file)
        try:
            return run_application(file, settings, source)
        finally:
            source.close()
