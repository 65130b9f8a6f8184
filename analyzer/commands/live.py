"""``mfshark live``: capture on an interface, analyse migrations as they happen, report."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import time

from analyzer.capture.live import BUFFER, LiveCapture, interfaces
from analyzer.capture.tshark import find as find_tshark
from analyzer.commands.check import EPILOG, UNFINISHED, Check, add_report_options
from analyzer.commands.common import CLEAN, clear_progress, complain, settings_of, style_of
from analyzer.commands.help_text import RawHelpFormatter
from analyzer.commands.options import (
    REPORT_WHOLE,
    VERDICT_ONLY,
    add_shown_options,
    add_wire_options,
    inputs_of,
)
from analyzer.commands.standard_output import drop_output
from analyzer.commands.watch import Watch
from analyzer.errors import UsageError
from analyzer.migration.reading import THROUGH_TSHARK
from analyzer.report.escape import terminal
from analyzer.report.result_file import ResultFile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Iterator
    from typing import IO

    from analyzer.batch.job import Step
    from analyzer.capture.growing import GrowingSource
    from analyzer.checks.checker import Checker
    from analyzer.migration.migration import Migration
    from analyzer.migration.scan import Scan
    from analyzer.report.style import Style

__all__ = ["add_arguments", "run"]


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the command's options."""
    parser.description = (
        "Captures on an interface with dumpcap (only dumpcap needs privileges) and analyses the "
        "packets as they arrive. Ctrl-C stops the capture and prints the report of mfshark check."
    )
    parser.epilog = EPILOG
    parser.formatter_class = RawHelpFormatter
    add_wire_options(parser, VERDICT_ONLY)
    add_shown_options(parser, REPORT_WHOLE)
    group = parser.add_argument_group("capture")
    group.add_argument("-i", "--interface", metavar="IFACE", help="interface to capture on")
    group.add_argument(
        "-D", "--list-interfaces", action="store_true", help="list the available interfaces"
    )
    group.add_argument(
        "-f",
        "--capture-filter",
        metavar="FILTER",
        default="",
        help="libpcap capture filter, as in 'tcp port 49152'",
    )
    group.add_argument(
        "-w",
        "--write",
        metavar="FILE",
        help="write the capture to a file; otherwise it is discarded",
    )
    group.add_argument(
        "-B",
        "--buffer-size",
        type=int,
        default=BUFFER,
        metavar="MIB",
        help=f"size of the kernel's capture buffer; a larger one loses fewer packets "
        f"(default: {BUFFER})",
    )
    group.add_argument(
        "--promiscuous",
        action="store_true",
        help="promiscuous mode: also capture frames for other hosts, as on a mirror port",
    )
    group = parser.add_argument_group("end and output")
    group.add_argument("--duration", type=float, metavar="SECONDS", help="stop after this time")
    group.add_argument(
        "--until-ended",
        action="store_true",
        help="stop when all migrations that have begun have ended",
    )
    group.add_argument(
        "--each",
        action="store_true",
        help="print a verdict on each migration as soon as it has ended",
    )
    group.add_argument("--tui", action="store_true", help="watch in the terminal interface")
    add_report_options(parser)


def run(options: Namespace) -> int:
    """Run it.  Exit status as ``check``'s.

    Raises :class:`UsageError` and :class:`analyzer.errors.CaptureError`.
    """
    if options.list_interfaces:
        found = [(terminal(name), terminal(text)) for name, text in interfaces()]
        width = max(len(name) for name, _ in found)
        for name, text in found:
            print(f"{name:<{width}}  {text}".rstrip())
        return CLEAN
    if options.interface is None:
        raise UsageError("live needs an interface: -i IFACE; mfshark live -D lists them")
    if options.buffer_size < 1:
        raise UsageError("--buffer-size takes a number of MiB above 0")
    _check_target(options)
    if options.trace:
        raise UsageError(f"{UNFINISHED}: keep the capture with -w FILE, and check it afterwards")
    if options.tui and options.each:
        raise UsageError("--each is for the report; --tui shows migrations as they come")
    if options.keylog is not None or options.via in THROUGH_TSHARK:
        find_tshark()  # rather than after the migration
    watch = Watch(options.duration, until_ended=options.until_ended)
    # Refuses what makes no sense before a capture begins and replaces a file.
    check = Check(options, [options.write] if options.write else []) if not options.tui else None
    with _destination(options) as file, _capture(options, file) as capture:
        source = capture.source
        source.stops.append(watch)
        if file is not None and not options.write:
            source.path, source.file = f"<{options.interface}>", file  # a temporary one
        if check is not None:
            return _headless(options, check, source, watch)
        from analyzer.tui import run as run_application

        return run_application(file, settings_of(options), source)


def _check_target(options: Namespace) -> None:
    """Raise :class:`UsageError` if the capture cannot, or must not, be kept in the file."""
    if options.write is None:
        return
    if options.write in ("", "-"):
        raise UsageError("-w takes the name of a file; standard output is for the report")
    if os.path.exists(options.write) and not os.path.isfile(options.write):
        raise UsageError(f"{terminal(options.write)} is not a regular file; -w writes one")
    ResultFile(options.write, inputs_of(options))


@contextlib.contextmanager
def _destination(options: Namespace) -> Iterator[str | None]:
    """The file to capture to.

    If none was given it is a temporary one where bytes must be read again, or are read by tshark:
    that is too slow for a pipe, and the kernel would drop frames.
    """
    again = options.tui or options.keylog is not None or "SSLKEYLOGFILE" in os.environ
    if options.write or not (again or options.via in THROUGH_TSHARK):
        yield options.write
        return
    with tempfile.TemporaryDirectory(prefix="mfshark-") as folder:
        yield os.path.join(folder, "live.pcapng")


def _capture(options: Namespace, file: str | None) -> LiveCapture:
    return LiveCapture(
        options.interface,
        capture_filter=options.capture_filter,
        output=file,
        buffer=options.buffer_size,
        promiscuous=options.promiscuous,
    )


def _headless(options: Namespace, check: Check, source: GrowingSource, watch: Watch) -> int:
    if not options.quiet:
        kept = f", writing {options.write}" if options.write else ""
        complain(f"capturing on {terminal(options.interface)}{terminal(kept)}; Ctrl-C ends it")
    with watch.signals():
        told = sys.stdout if check.outputs.streams else sys.stderr
        each = _Each(watch, told, style_of(options, told)) if options.each else None
        step: Step = each.step if each is not None else watch.step
        result = check.result(source.path, source, step)
        if each is not None:
            each.finish()
        return check.report([result])


class _Each:
    """Prints a line for every migration that has ended."""

    def __init__(self, watch: Watch, stream: IO[str], style: Style) -> None:
        self._watch = watch
        self._stream = stream
        self._style = style
        self._told: set[Migration] = set()
        self._at_work: tuple[Scan, Checker] | None = None

    def step(self, scan: Scan, checker: Checker) -> None:
        """After every step of the analysis."""
        self._watch.step(scan, checker)
        self._at_work = scan, checker
        for migration in scan.migrations:
            # Connections that are decrypted at the end of the capture have known ends before known
            # bytes.
            flows = [channel.flow for channel in migration.channels]
            if not any(flow.decrypted or flow.unfinished for flow in flows):
                self._tell(scan, checker, migration)

    def finish(self) -> None:
        """After the last step."""
        if self._at_work is not None:
            scan, checker = self._at_work
            for migration in scan.migrations:
                self._tell(scan, checker, migration)

    def _tell(self, scan: Scan, checker: Checker, migration: Migration) -> None:
        from analyzer.report.verdict import migration_verdict

        if migration in self._told or not all(c.flow.closed for c in migration.channels):
            return
        self._told.add(migration)
        line = migration_verdict(scan, checker.findings(scan, migration), migration, self._style)
        clear_progress()
        try:
            print(f"{time.strftime('%H:%M:%S')}  {line}", file=self._stream, flush=True)
        except BrokenPipeError:  # nobody reads on: stop, with the status of what was captured
            drop_output()
            self._watch.interrupted = True
