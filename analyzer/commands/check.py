"""``mfshark check``: verify captures and saved migrations, report, exit with a status."""

from __future__ import annotations

import argparse

from analyzer.batch.job import Job, run_job
from analyzer.commands.check_options import add_check_options, selection_of
from analyzer.commands.common import (
    CLEAN,
    Progress,
    complain,
    follows,
    settings_of,
)
from analyzer.commands.options import add_follow_options, add_shown_options, add_wire_options
from analyzer.commands.outputs import Outputs
from analyzer.errors import UsageError
from analyzer.report.formats import FORMATS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Iterable, Iterator

    from analyzer.batch.job import Step
    from analyzer.capture.source import Source
    from analyzer.report.result import Result

__all__ = ["EPILOG", "add_arguments", "add_report_options", "report_on", "result_of", "run"]

EPILOG = """\
exit status:
  0  nothing at or above the threshold   1  findings
  2  an input could not be analysed or held no migration, or the command was wrong
"""


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the command's options."""
    parser.description = (
        "Finds the migrations in captures, reassembles their device state, verifies "
        "every rule, and reports."
    )
    parser.epilog = EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add_wire_options(parser)
    add_shown_options(parser)
    parser.add_argument(
        "captures",
        nargs="+",
        metavar="CAPTURE",
        help="pcap or pcapng, - for stdin; or a saved migration (file:)",
    )
    add_follow_options(parser)
    add_report_options(parser)


def add_report_options(parser: ArgumentParser) -> None:
    """What is verified, how it is reported, and what gives which exit status."""
    parser.add_argument(
        "--format",
        choices=tuple(FORMATS),
        help="of standard output (default: text), or of a file whose name does not tell",
    )
    parser.add_argument(
        "-o",
        "--output",
        action="append",
        metavar="FILE",
        help="write a report to a file, as often as wanted; its ending tells the format: "
        + ", ".join(one.endings[0] for one in FORMATS.values() if one.endings)
        + "; - is standard output",
    )
    add_check_options(parser)


def run(options: Namespace) -> int:
    """Run it.  Exit status: 0 nothing at or above ``--fail-on``, 1 findings, 2 an input could not
    be analysed or held no migration.  Raises :class:`UsageError`.
    """
    if follows(options) and len(options.captures) > 1:
        raise UsageError("--follow takes one capture")
    outputs = Outputs(options)
    return report_on(_results(options, outputs), options, outputs)


def report_on(results: Iterable[Result], options: Namespace, outputs: Outputs) -> int:
    """Say what there is to say of each file; gives the exit status."""
    status = CLEAN
    for result in results:
        for complaint in result.complaints:
            complain(complaint)
        status = max(status, result.status)
        outputs.add(result)
    outputs.finish(options.fail_on)
    return status


def _results(options: Namespace, outputs: Outputs) -> Iterator[Result]:
    if options.follow:
        from analyzer.commands.watch import followed

        path = options.captures[0]
        with followed(path, options) as (source, watch):
            yield result_of(path, options, outputs, source, watch.step)
        return
    for path in options.captures:
        yield result_of(path, options, outputs)


def result_of(
    path: str,
    options: Namespace,
    outputs: Outputs,
    source: Source | None = None,
    step: Step | None = None,
) -> Result:
    """One file's, as the options and outputs want it; ``source`` gives its bytes if not the
    path does.  Raises :class:`UsageError`.
    """
    job = Job(
        path,
        settings_of(options),
        selection_of(options),
        digest=options.digest == "sha256",
        fail_on=options.fail_on,
        allow_empty=options.allow_empty,
        wants=outputs.wants,
        colour=outputs.colour,
        verbose=options.verbose,
        style="verdict" if options.quiet else "full",
    )
    progress = Progress(path, not (options.quiet or options.no_progress))
    try:
        return run_job(job, progress, source, step)
    finally:
        progress.done()
