"""``mfshark check``: verify captures and saved migrations, report the findings, set the exit
status.
"""

from __future__ import annotations

import os

from analyzer.batch.find import captures_in
from analyzer.batch.job import Job, run_job
from analyzer.checks.wording import counted
from analyzer.commands.check_options import (
    add_check_options,
    add_known_options,
    baseline_of,
    compare,
    expectation_of,
    selection_of,
)
from analyzer.commands.common import (
    CLEAN,
    Progress,
    complain,
    cores,
    follows,
    settings_of,
)
from analyzer.commands.help_text import RawHelpFormatter
from analyzer.commands.options import (
    REPORT_WHOLE,
    VERDICT_ONLY,
    add_follow_options,
    add_shown_options,
    add_wire_options,
    inputs_of,
)
from analyzer.commands.outputs import Outputs
from analyzer.errors import UsageError
from analyzer.report.formats import FORMATS
from analyzer.report.result import REPORT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Iterable, Iterator

    from analyzer.batch.job import Step
    from analyzer.capture.source import Source
    from analyzer.checks.selection import Selection
    from analyzer.migration.settings import Settings
    from analyzer.report.expectation import Expectation
    from analyzer.report.result import Result

__all__ = ["EPILOG", "UNFINISHED", "Check", "add_arguments", "add_report_options", "run"]

EPILOG = """\
exit status:
  0  nothing at or above the threshold
  1  findings
  2  an input not analysed or without a migration, or a wrong command

A migration that FAILED, was CANCELLED or is INCOMPLETE breaks no rule by that
alone: without findings the status is 0, with --require completed it is 1.
"""

UNFINISHED = "--trace takes complete logs"


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the command's options."""
    parser.description = (
        "Finds the migrations in captures, reassembles their device state, checks every "
        "rule, and reports the findings."
    )
    parser.epilog = EPILOG
    parser.formatter_class = RawHelpFormatter
    add_wire_options(parser, VERDICT_ONLY)
    add_shown_options(parser, REPORT_WHOLE)
    parser.add_argument(
        "captures",
        nargs="+",
        metavar="CAPTURE",
        help="pcap or pcapng, - for stdin; a saved migration (file:, virsh save); or a folder of "
        "them",
    )
    parser.add_argument(
        "-j",
        "--jobs",
        type=int,
        metavar="N",
        help="check N captures in parallel; 0: one per CPU core",
    )
    parser.add_argument(
        "--dask",
        metavar="ADDRESS",
        help="check them on the Dask cluster with this scheduler address; its workers must have "
        "access to the files",
    )
    add_follow_options(parser)
    add_report_options(parser)


def add_report_options(parser: ArgumentParser) -> None:
    """Options for what is verified, how it is reported, and the exit status."""
    parser.add_argument(
        "--format",
        choices=tuple(FORMATS),
        help="format of standard output (default: text), of a single output file, or of files "
        "whose suffix does not imply one",
    )
    parser.add_argument(
        "-o",
        "--output",
        action="append",
        metavar="[FORMAT:]FILE",
        help="write a report to a file (repeatable); the suffix selects the format: "
        + ", ".join(one.endings[0] for one in FORMATS.values() if one.endings)
        + "; - is standard output",
    )
    add_check_options(parser)
    add_known_options(parser)


def run(options: Namespace) -> int:
    """Run it.  Exit status: 0 nothing at or above ``--fail-on``, 1 findings, 2 an input could not
    be analysed or held no migration.  Raises :class:`UsageError`.
    """
    paths = captures_in(options.captures)
    at_once = options.jobs is not None or options.dask is not None
    many = len(paths) > 1 and (at_once or paths != options.captures)
    _refuse_nonsense(options, paths, many)
    if options.dask is not None:
        # Its workers have other working directories.
        paths = [os.path.abspath(path) for path in paths]
    check = Check(options, paths, style="brief" if many else "full")
    return check.report(_results(check, paths, options))


def _refuse_nonsense(options: Namespace, paths: list[str], many: bool) -> None:
    """Reject options that cannot be combined.  Raises :class:`UsageError`."""
    if follows(options) and (len(paths) > 1 or options.dask is not None):
        raise UsageError("--follow takes one capture, on this machine")
    if options.follow and options.trace:
        raise UsageError(f"{UNFINISHED}: check the capture afterwards, without --follow")
    if options.jobs is not None and options.jobs < 0:
        raise UsageError("--jobs takes a number of processes, 0 for one per CPU core")
    if options.jobs is not None and options.dask is not None:
        raise UsageError("--jobs is for this machine; it cannot be combined with --dask")
    if "-" in paths and (many or options.dask is not None):
        raise UsageError("standard input must be the only input, without --jobs or --dask")


def _results(check: Check, paths: list[str], options: Namespace) -> Iterator[Result]:
    if options.follow:
        from analyzer.commands.watch import followed

        with followed(paths[0], options) as (source, watch):
            yield check.result(paths[0], source, watch.step)
    elif options.dask is not None:
        from analyzer.batch.cluster import run_on_cluster

        jobs = [check.job(path) for path in paths]
        for settings in {job.settings for job in jobs}:
            if settings.keylog is not None:
                settings.keylog = os.path.abspath(settings.keylog)
        yield from run_on_cluster(jobs, options.dask)
    elif paths == ["-"]:
        from analyzer.commands.watch import piped

        with piped():
            result = check.result("-")
        yield result
    elif options.jobs is None or len(paths) == 1:
        for path in paths:
            yield check.result(path)
    else:
        from analyzer.batch.pool import run_jobs

        progress = check.progress(counted(len(paths), "capture"))
        jobs = [check.job(path) for path in paths]
        for result in run_jobs(jobs, options.jobs or cores(), progress):
            progress.done()
            yield result


class Check:
    """One run: the checks that the options request for every file, and the outputs.

    ``paths`` are the files, ``style`` is the style of the text, see :class:`Job`.  Raises
    :class:`UsageError`.
    """

    def __init__(self, options: Namespace, paths: Iterable[str], style: str = "full") -> None:
        self._options = options
        self.outputs = Outputs(options, [*inputs_of(options), *paths])
        self._baseline = baseline_of(options)
        self._judged: dict[int, tuple[Settings, Selection, Expectation | None]] = {}
        self._judgement(options)
        self._style = style
        if options.verbose:
            self._style = "full"
        if options.quiet:
            self._style = "verdict"

    def job(self, path: str) -> Job:
        """The job for one file, according to its configuration.  Raises :class:`UsageError`."""
        options = self._options.configuration.options(path)
        settings, selection, expectation = self._judgement(options)
        baseline, wants = self._baseline, self.outputs.wants
        return Job(
            path,
            settings,
            selection,
            digest=options.digest == "sha256" or expectation is not None,
            fail_on=self._options.fail_on,
            allow_empty=options.allow_empty,
            wants=wants if baseline is None else {*wants, REPORT},
            colour=self.outputs.style.colour,
            width=self.outputs.style.width,
            verbose=options.verbose,
            style=self._style,
            known=baseline.known(path) if baseline is not None else frozenset(),
            known_as=baseline.name(path) if baseline is not None else "",
            expectation=expectation,
        )

    def _judgement(self, options: Namespace) -> tuple[Settings, Selection, Expectation | None]:
        """The selection, baseline and so on that the options define; read once for all captures.

        Raises :class:`UsageError`.
        """
        made = self._judged.get(id(options))
        if made is None:
            made = settings_of(options), selection_of(options), expectation_of(options)
            self._judged[id(options)] = made
        return made

    def result(self, path: str, source: Source | None = None, step: Step | None = None) -> Result:
        """The result of one file; ``source`` provides its bytes if the path does not."""
        progress = self.progress(path)
        try:
            return run_job(self.job(path), progress, source, step)
        finally:
            progress.done()

    def progress(self, what: str) -> Progress:
        """A progress line, if wanted."""
        return Progress(what, not (self._options.quiet or self._options.no_progress))

    def report(self, results: Iterable[Result]) -> int:
        """Report each file; returns the exit status."""
        status = CLEAN
        told: list[Result] = []
        for result in results:
            for complaint in result.complaints:
                complain(complaint)
            status = max(status, result.status)
            self.outputs.add(result)
            if self._baseline is not None:
                told.append(result)
        self.outputs.finish(self._options.fail_on)
        if self._baseline is not None:
            compare(self._baseline, told, update=self._options.update_baseline)
        return status
