"""``mfshark expect``: what a capture shows, as an expectation for ``check --expect``."""

from __future__ import annotations

from analyzer.batch.job import Job, run_job
from analyzer.commands.check_options import add_check_options, selection_of
from analyzer.commands.common import BROKEN, CLEAN, Progress, complain, settings_of
from analyzer.commands.options import add_shown_options, add_wire_options
from analyzer.commands.result_file import output
from analyzer.report.escape import terminal
from analyzer.report.result import REPORT, STATS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

__all__ = ["add_arguments", "run"]


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the command's options."""
    parser.description = (
        "Writes what a capture or a saved migration shows (outcome, channels, devices, digests, "
        "phases, findings) as "
        'TOML. Edit values into bounds (">= 20", "10..20", "<= 300 ms", "any"), and check '
        "other captures against it: mfshark check --expect FILE CAPTURE."
    )
    add_wire_options(parser)
    add_shown_options(parser)
    parser.add_argument(
        "capture",
        metavar="CAPTURE",
        help="pcap or pcapng, or a saved migration (file:, virsh save), - for stdin",
    )
    parser.add_argument("-o", "--output", metavar="FILE", help="write to a file")
    add_check_options(parser, without=("fail-on", "allow-empty", "digest"))


def run(options: Namespace) -> int:
    """Run it.  Exit status 2 if the input is damaged or holds no migration.

    Raises :class:`analyzer.errors.UsageError`.
    """
    progress = Progress(options.capture, not (options.quiet or options.no_progress))
    job = Job(
        options.capture,
        settings_of(options),
        selection_of(options),
        digest=True,
        wants=(REPORT, STATS),
    )
    try:
        result = run_job(job, progress)
    finally:
        progress.done()
    for complaint in result.complaints:
        complain(complaint)
    report = result.report
    if report is None or not (report.get("migrations") or report.get("saved_migration")):
        return BROKEN
    if not options.quiet:
        for note in report["notes"]:
            complain(terminal(f"{result.path}: {note}"))
    from analyzer.report.expectation import facts_of, written

    with output(options) as stream:
        for line in written(facts_of(report, result.stats), result.path):
            print(line, file=stream)
    return BROKEN if result.status == BROKEN else CLEAN
