"""The check of one file: a job that can be sent to another process, and the result it gives."""

from __future__ import annotations

from analyzer.analysis import Analysis, analyze, analyze_saved_file
from analyzer.capture.source import open_source
from analyzer.checks.rule import SEVERITIES
from analyzer.errors import CaptureError
from analyzer.migration.outcome import outcome_of
from analyzer.report.escape import terminal
from analyzer.report.result import DEVICES, LINES, REPORT, STATS, Result
from analyzer.report.style import Style
from analyzer.report.verdict import no_migration, verdict, verdict_text
from dissectors.main_stream import MAGIC_BYTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from analyzer.analysis import SavedAnalysis
    from analyzer.capture.source import Source
    from analyzer.checks.checker import Checker
    from analyzer.checks.selection import Selection
    from analyzer.migration.activity import Activity
    from analyzer.migration.framing import Settings
    from analyzer.migration.scan import Scan

    Progress = Callable[[float, int], None]
    Step = Callable[[Scan, Checker], None]

__all__ = ["Job", "run_job"]

CLEAN, FOUND, BROKEN = 0, 1, 2


class Job:
    """How one file is checked.

    ``path`` is opened, ``name`` is what it is called in every output.  ``settings`` and
    ``selection`` are the analysis's; ``digest`` takes digests of the devices.  ``fail_on`` is the
    lowest severity that gives status 1, ``allow_empty`` forgives a capture without migration.
    ``wants`` says what the result is to hold (see :class:`Result`); ``colour``, ``verbose`` and
    ``style`` (``full``, ``brief``: without tables, or ``verdict``: one line) concern its text.
    """

    __slots__ = (
        "allow_empty",
        "colour",
        "digest",
        "fail_on",
        "name",
        "path",
        "selection",
        "settings",
        "style",
        "verbose",
        "wants",
    )

    def __init__(
        self,
        path: str,
        settings: Settings,
        selection: Selection,
        *,
        name: str | None = None,
        digest: bool = False,
        fail_on: str = "error",
        allow_empty: bool = False,
        wants: Iterable[str] = (REPORT,),
        colour: bool = False,
        verbose: bool = False,
        style: str = "full",
    ) -> None:
        self.path = path
        self.name = path if name is None else name
        self.settings = settings
        self.selection = selection
        self.digest = digest
        self.fail_on = fail_on
        self.allow_empty = allow_empty
        self.wants = frozenset(wants)
        self.colour = colour
        self.verbose = verbose
        self.style = style


def run_job(
    job: Job,
    progress: Progress | None = None,
    source: Source | None = None,
    step: Step | None = None,
) -> Result:
    """Check one file.  What cannot be read is a result too.

    ``source`` gives its bytes if the path does not (a capture that is being written); ``step`` is
    called with what is at work after every step.
    """
    activity = None
    if STATS in job.wants:
        from analyzer.migration.activity import Activity

        activity = Activity()
    try:
        analysis = _analysis(job, activity, progress, source, step)
    except CaptureError as error:
        return Result.broken(job.name, terminal(str(error)))
    try:
        return _result(job, analysis, activity)
    finally:
        if isinstance(analysis, Analysis):
            analysis.scan.source.close()


def _analysis(
    job: Job,
    activity: Activity | None,
    progress: Progress | None,
    source: Source | None,
    step: Step | None,
) -> Analysis | SavedAnalysis:
    """A capture's or a saved migration's: the first bytes tell which it is."""
    if source is None:
        source = open_source(job.path)
        source.path = job.name if job.path != "-" else source.path
    if source.peek(len(MAGIC_BYTES)) == MAGIC_BYTES:
        return analyze_saved_file(source, job.selection)
    return analyze(
        source,
        job.settings,
        job.selection,
        digest=job.digest,
        watchers=() if activity is None else (activity,),
        progress=progress,
        step=step,
    )


def _result(job: Job, analysis: Analysis | SavedAnalysis, activity: Activity | None) -> Result:
    if isinstance(analysis, Analysis):
        word, sentence = verdict_text(analysis)
    else:
        from analyzer.report.saved_file import saved_verdict_text

        word, sentence = saved_verdict_text(analysis)
    result = Result(analysis.path, CLEAN, word, sentence)
    result.counts = {severity: analysis.count(severity) for severity in SEVERITIES}
    if isinstance(analysis, Analysis):
        scan = analysis.scan
        result.outcomes = [outcome_of(migration).name for migration in analysis.migrations]
        if scan.through and job.settings.via == "auto":
            how = f"{terminal(analysis.path)}: read through tshark: {terminal(scan.through)}"
            result.complaints.append(how)
    result.status = _status(job, analysis, result.complaints)
    if LINES in job.wants:
        result.lines = list(_lines(job, analysis))
    _add_documents(result, job, analysis, activity)
    return result


def _status(job: Job, analysis: Analysis | SavedAnalysis, complaints: list[str]) -> int:
    if analysis.damage is not None:
        complaints.append(terminal(str(analysis.damage)))
        return BROKEN
    if isinstance(analysis, Analysis) and not analysis.migrations and not job.allow_empty:
        complaints.append(no_migration(analysis))
        return BROKEN
    threshold = SEVERITIES.index(job.fail_on)
    return FOUND if any(f.rank >= threshold for f in analysis.findings) else CLEAN


def _lines(job: Job, analysis: Analysis | SavedAnalysis) -> Iterator[str]:
    style = Style(job.colour)
    if isinstance(analysis, Analysis):
        from analyzer.report.text import text_report

        if job.style == "full":
            yield from text_report(analysis, style, verbose=job.verbose)
            return
        yield verdict(analysis, style)
    else:
        from analyzer.report.saved_file import saved_text, saved_verdict

        if job.style == "full":
            yield from saved_text(analysis, style, verbose=job.verbose)
            return
        yield saved_verdict(analysis, style)
    if job.style == "brief":
        from analyzer.report.text import findings_lines

        yield from findings_lines(analysis, style, job.verbose)


def _add_documents(
    result: Result, job: Job, analysis: Analysis | SavedAnalysis, activity: Activity | None
) -> None:
    if REPORT in job.wants:
        from analyzer.report.model import file_report

        result.report = file_report(analysis)
    if not isinstance(analysis, Analysis):
        return
    if activity is not None:
        from analyzer.migration.statistics import statistics_of
        from analyzer.report.stats_json import stats_json

        engine = analysis.scan.engine
        figures = [statistics_of(m, activity.of(m), engine.pauses) for m in analysis.migrations]
        result.stats = stats_json(figures, analysis.path, engine.first_time)
    if DEVICES in job.wants:
        from analyzer.report.devices import devices_json

        result.devices = devices_json(analysis)
