"""``mfshark packets``: one line per multifd packet."""

from __future__ import annotations

from contextlib import contextmanager

from analyzer.analysis import Analysis
from analyzer.checks.checker import Checker
from analyzer.commands.common import (
    BROKEN,
    CLEAN,
    Progress,
    complain,
    failure,
    follows,
    no_migration,
    open_capture,
    say_how_read,
    say_notes,
    settings_of,
    style_of,
)
from analyzer.commands.options import (
    add_follow_options,
    add_output_options,
    add_shown_options,
    add_wire_options,
)
from analyzer.commands.result_file import output, settle_format
from analyzer.errors import UsageError
from analyzer.migration.scan import Scan
from analyzer.migration.table import PacketTable
from analyzer.report.packets import LATE, Listing, chosen_fields
from dissectors.registry import field_lines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Iterable, Iterator
    from typing import IO

    from analyzer.capture.source import Source
    from analyzer.commands.watch import Watch
    from analyzer.filter.filter import Filter

__all__ = ["add_arguments", "run"]

FORMATS = ("text", "json", "jsonl", "csv")
NO_MULTIFD = "no multifd packets; mfshark records lists what main carries"


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the command's options."""
    parser.description = (
        "Lists multifd packets, as tshark lists frames, in the order in which they were complete. "
        "Frame and time are those of a packet's first byte."
    )
    add_wire_options(parser)
    add_shown_options(parser)
    parser.add_argument("capture", nargs="?", metavar="CAPTURE", help="pcap or pcapng, - for stdin")
    add_follow_options(parser)
    parser.add_argument("-Y", "--filter", metavar="FILTER", help="display filter")
    parser.add_argument(
        "-e",
        "--field",
        action="append",
        metavar="FIELD",
        help="print these fields (comma-separated, repeatable)",
    )
    parser.add_argument("-G", "--list-fields", action="store_true", help="list all fields")
    add_output_options(parser, FORMATS)


def run(options: Namespace) -> int:
    """Run it.  Exit status 2 if the capture is damaged or holds no migration.  Packets are printed
    as they are found, unless the severity of findings is requested, which is only known at the end.
    Raises :class:`UsageError` and :class:`analyzer.errors.CaptureError`.
    """
    settle_format(options, FORMATS)
    if options.list_fields:
        with output(options) as stream:
            stream.writelines(f"{line}\n" for line in field_lines())
        return CLEAN
    if options.capture is None:
        raise UsageError("packets needs a capture (or -G)")
    fields = chosen_fields(options.field or ())
    condition = _filter(options.filter)
    used = frozenset(fields) | (condition.fields if condition else frozenset())
    table = PacketTable()
    checker = Checker() if used & LATE else None
    with _opened(options) as (source, watch):
        watchers = (table,) if checker is None else (checker, table)
        scan = Scan(source, settings_of(options), watchers=watchers)
        if watch is not None:
            watch.scan = scan
        with output(options, live=options.follow, listing=True) as stream:
            listing = Listing(options.format, fields, style_of(options, stream))
            printer = _Printer(listing, stream, condition, options.follow)
            _list(scan, table, checker, printer, options)
    say_notes(scan, options)
    if scan.migrations and not options.quiet and not any(m.multifd for m in scan.migrations):
        complain(NO_MULTIFD)
    return _status(scan)


@contextmanager
def _opened(options: Namespace) -> Iterator[tuple[Source, Watch | None]]:
    """The capture, and the watch that says when to stop if it is followed."""
    if not follows(options):
        yield open_capture(options.capture), None
        return
    from analyzer.commands.watch import followed

    with followed(options.capture, options) as opened:
        yield opened


def _filter(text: str | None) -> Filter | None:
    if not text:
        return None
    from analyzer.filter.filter import Filter

    return Filter(text)


class _Printer:
    """Prints the rows of a table that match the filter."""

    def __init__(
        self, listing: Listing, stream: IO[str], condition: Filter | None, flush: bool
    ) -> None:
        self._listing = listing
        self._stream = stream
        self._filter = condition
        self._flush = flush
        self._write(listing.head())

    @property
    def on_terminal(self) -> bool:
        """Whether they appear on a terminal."""
        return self._stream.isatty()

    def rows(self, table: PacketTable) -> None:
        """Print all rows that the table has now."""
        rows: Iterable[int] = range(len(table))
        if self._filter is not None:
            rows = self._filter.rows(table).tolist()
        self._write(self._listing.rows(table, rows))
        if self._flush:
            self._stream.flush()

    def end(self) -> None:
        """There are no more rows."""
        self._stream.writelines(f"{line}\n" for line in self._listing.tail())

    def _write(self, lines: Iterable[str]) -> None:
        self._stream.writelines(line + self._listing.separator for line in lines)


def _list(
    scan: Scan,
    table: PacketTable,
    checker: Checker | None,
    printer: _Printer,
    options: Namespace,
) -> None:
    """Print the packets as they are found; with a ``checker``, at the end."""
    on_screen = printer.on_terminal and checker is None  # where rows are progress enough
    progress = Progress(options.capture, not (options.quiet or options.no_progress or on_screen))
    try:
        for fraction in scan.steps():
            progress(fraction, scan.file.frames)
            if len(table) and checker is None:
                table.start = scan.engine.first_time
                printer.rows(table)
                table.drop()
    finally:
        progress.done()
    say_how_read(scan)
    table.finish(scan.migrations, scan.engine.first_time)
    if checker is not None:
        table.mark(checker.findings(scan))
    printer.rows(table)
    printer.end()


def _status(scan: Scan) -> int:
    status = CLEAN
    if scan.file.damage is not None:
        complain(failure(scan.file.damage))
        status = BROKEN
    if not scan.migrations:
        complain(no_migration(Analysis(scan, [])))
        status = BROKEN
    return status
