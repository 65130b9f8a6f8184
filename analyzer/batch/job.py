"""The check of one file: a job that can be sent to another process, and its result."""

from __future__ import annotations

import sys

from analyzer.analysis import Analysis, analyze, analyze_saved_file, is_saved
from analyzer.capture.source import open_source
from analyzer.checks.rule import INFO, RULES, SEVERITIES
from analyzer.checks.selection import REQUIRED
from analyzer.checks.wording import counted
from analyzer.errors import CaptureError, UsageError, unforeseen
from analyzer.migration.outcome import outcome_of
from analyzer.report.escape import terminal
from analyzer.report.result import (
    BROKEN,
    CLEAN,
    DEVICES,
    FIGURES,
    FOUND,
    LINES,
    PLACES,
    REPORT,
    STATS,
    TABLES,
    Result,
)
from analyzer.report.style import Style
from analyzer.report.verdict import led, no_migration, verdict_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from analyzer.analysis import SavedAnalysis
    from analyzer.capture.source import Source
    from analyzer.checks.checker import Checker
    from analyzer.checks.rule import Rule
    from analyzer.checks.selection import Selection
    from analyzer.migration.activity import Activity
    from analyzer.migration.channel import Channel
    from analyzer.migration.scan import Scan
    from analyzer.migration.settings import Settings
    from analyzer.migration.statistics import Statistics
    from analyzer.report.expectation import Expectation
    from analyzer.report.parts import Json

    Progress = Callable[[float, int], None]
    Step = Callable[[Scan, Checker], None]

__all__ = ["Job", "run_job"]

NO_PACKETS = "a saved migration has no packets that --trace could compare"


class Job:
    """How one file is checked.

    ``path`` is opened; ``settings`` and ``selection`` are those of the analysis; ``digest``
    computes digests of the devices.  ``fail_on`` is the lowest severity that gives status 1,
    ``allow_empty`` accepts a capture without a migration.  ``wants`` says what the result must
    contain (see :class:`Result`); ``colour``, ``width``, ``verbose`` and ``style`` (``full``,
    ``brief``: errors, warnings and what fails, or ``verdict``: one line) concern its text.
    ``known`` are fingerprints of findings that do not count, for the capture named ``known_as``;
    ``expectation`` is what the capture must meet, including expected findings.
    """

    __slots__ = (
        "allow_empty",
        "colour",
        "digest",
        "expectation",
        "fail_on",
        "known",
        "known_as",
        "path",
        "selection",
        "settings",
        "style",
        "verbose",
        "wants",
        "width",
    )

    def __init__(
        self,
        path: str,
        settings: Settings,
        selection: Selection,
        *,
        digest: bool = False,
        fail_on: str = "error",
        allow_empty: bool = False,
        wants: Iterable[str] = (REPORT,),
        colour: bool = False,
        width: int = sys.maxsize,
        verbose: bool = False,
        style: str = "full",
        known: frozenset[str] = frozenset(),
        known_as: str = "",
        expectation: Expectation | None = None,
    ) -> None:
        self.path = path
        self.settings = settings
        self.selection = selection
        self.digest = digest
        self.fail_on = fail_on
        self.allow_empty = allow_empty
        self.wants = frozenset(wants)
        self.colour = colour
        self.width = width
        self.verbose = verbose
        self.style = style
        self.known = known
        self.known_as = known_as
        self.expectation = expectation


def run_job(
    job: Job,
    progress: Progress | None = None,
    source: Source | None = None,
    step: Step | None = None,
) -> Result:
    """Check one file.  A file that cannot be read or an internal error also gives a result.
    ``source`` provides the bytes if the path does not (a capture that is being written); ``step``
    is called with the scan and the checker after every step.
    """
    try:
        return _checked(job, progress, source, step)
    except CaptureError as error:
        return Result.broken(job.path, terminal(str(error)))
    except (UsageError, BrokenPipeError):
        raise
    except Exception as error:
        return Result.broken(job.path, terminal(f"{job.path}: {unforeseen(error)}"))


def _checked(
    job: Job, progress: Progress | None, source: Source | None, step: Step | None
) -> Result:
    extras = _Extras(job)
    analysis = _analysis(job, extras, progress, source, step)
    try:
        return _result(job, analysis, extras)
    finally:
        if isinstance(analysis, Analysis):
            analysis.close()


class _Extras:
    """What the wanted parts of the result need of the scan besides its findings: the table of all
    ``packets``, and the ``figures`` of each migration.
    """

    def __init__(self, job: Job) -> None:
        expected = job.expectation
        self.packets = TABLES in job.wants or (expected is not None and expected.needs_packets)
        self.activity: Activity | None = None
        self.figures: list[Statistics] = []
        if job.wants & {STATS, FIGURES} or expected is not None:
            from analyzer.migration.activity import Activity

            self.activity = Activity()

    def finish(self, analysis: Analysis) -> None:
        """The whole capture has been read."""
        if self.activity is not None:
            from analyzer.migration.statistics import figures_of

            self.figures = figures_of(analysis.scan, self.activity)


def _analysis(
    job: Job,
    extras: _Extras,
    progress: Progress | None,
    source: Source | None,
    step: Step | None,
) -> Analysis | SavedAnalysis:
    """The analysis of a capture or a saved migration, detected from the first bytes."""
    if source is None:
        source = open_source(job.path)
    if is_saved(source):
        return analyze_saved_file(source, job.selection)
    return analyze(
        source,
        job.settings,
        job.selection,
        digest=job.digest,
        packets=extras.packets,
        watchers=(extras.activity,) if extras.activity is not None else (),
        progress=progress,
        step=step,
    )


def _result(job: Job, analysis: Analysis | SavedAnalysis, extras: _Extras) -> Result:
    if isinstance(analysis, Analysis):
        extras.finish(analysis)
    if job.expectation is not None:
        _expect(job.expectation, job.selection, analysis, extras)
    report = _report(job, analysis)
    known = _leave_out_known(job, analysis, report)
    if isinstance(analysis, Analysis):
        word, sentence = verdict_text(analysis)
    else:
        from analyzer.report.saved_file import saved_verdict_text

        word, sentence = saved_verdict_text(analysis)
    result = Result(analysis.path, CLEAN, word, sentence)
    result.known = known
    result.counts = {severity: analysis.count(severity) for severity in SEVERITIES}
    if isinstance(analysis, Analysis):
        scan = analysis.scan
        result.outcomes = [outcome_of(migration).name for migration in analysis.migrations]
        channels = [channel for migration in analysis.migrations for channel in migration.streams]
        result.begun_before = _connections(c for c in channels if c.midstream)
        result.still_open = _connections(c for c in channels if not c.flow.closed)
        if scan.detour:
            result.complaints.append(f"{terminal(analysis.path)}: {terminal(scan.detour)}")
    elif job.selection.traces:
        result.complaints.append(f"{terminal(analysis.path)}: {NO_PACKETS}")
    result.damaged = analysis.damage is not None
    result.status = _status(job, analysis, result.complaints)
    if LINES in job.wants:
        style = Style(job.colour, job.width)
        lines = _lines(job, analysis, result, style)
        result.lines = [part for line in lines for part in style.folded(line)]
        if known and job.style == "full":
            result.lines += "", f"{counted(known, 'known or expected finding')} left out"
    if REPORT in job.wants:
        result.report = report
        result.rules = sorted(_verified(job, analysis))
    if isinstance(analysis, Analysis):
        _add_documents(result, job, analysis, extras)
    return result


def _connections(channels: Iterable[Channel]) -> frozenset[tuple[str, str]]:
    return frozenset((channel.client, channel.server) for channel in channels)


def _verified(job: Job, analysis: Analysis | SavedAnalysis) -> set[str]:
    """Ids of the rules that had something to check, and of those with findings."""
    asked = [rule for rule in RULES.values() if job.selection.asks(rule)]
    if not isinstance(analysis, Analysis):
        asked = [rule for rule in asked if _is_about_saved(rule)]
    elif not analysis.migrations:
        tls = analysis.scan.grouper.tls
        asked = [rule for rule in asked if rule.subject == "capture" and tls]
    return {rule.id for rule in asked} | {finding.rule.id for finding in analysis.findings}


def _is_about_saved(rule: Rule) -> bool:
    """Whether the rule applies to a saved migration, which only has main, pages and an end."""
    if rule.subject == "walker":
        return rule.id.startswith(("MF6", "MF8"))
    return rule.subject == "main" or rule.slug == REQUIRED


def _expect(
    expectation: Expectation,
    selection: Selection,
    analysis: Analysis | SavedAnalysis,
    extras: _Extras,
) -> None:
    """Turn every difference from the expectation into a finding."""
    from analyzer.checks.expected import unmet
    from analyzer.report.expectation import facts_of
    from analyzer.report.model import file_report

    figures = table = None
    if isinstance(analysis, Analysis):
        from analyzer.report.stats_json import stats_json

        figures = stats_json(extras.figures, analysis.path, analysis.scan.engine.first_time)
        table = analysis.packets
    facts = facts_of(file_report(analysis), figures)
    found = [unmet(text, selection) for text in expectation.differences(facts, table)]
    analysis.findings[:0] = found
    analysis.findings.sort(key=lambda finding: -finding.rank)  # of equal rank, these come first


def _report(job: Job, analysis: Analysis | SavedAnalysis) -> Json | None:
    """The report with all findings; also needed if only their fingerprints are wanted."""
    if REPORT not in job.wants and not job.known:
        return None
    from analyzer.report.model import file_report

    return file_report(analysis)


def _leave_out_known(job: Job, analysis: Analysis | SavedAnalysis, report: Json | None) -> int:
    """Remove known and expected findings from the count and mark them in the report; returns their
    number.
    """
    known: set[int] = set()
    if job.known and report is not None:
        from analyzer.report.fingerprint import fingerprints

        marks = fingerprints(report["findings"], job.known_as)
        known |= {number for number, mark in enumerate(marks) if mark in job.known}
    if job.expectation is not None:
        ids = enumerate(finding.rule.id for finding in analysis.findings)
        known |= {number for number, rule in ids if job.expectation.knows(rule)}
    if report is not None:
        for number in known:
            report["findings"][number]["known"] = True
    count = sum(1 + analysis.findings[number].repeats for number in known)
    analysis.findings = [f for n, f in enumerate(analysis.findings) if n not in known]
    return count


def _status(job: Job, analysis: Analysis | SavedAnalysis, complaints: list[str]) -> int:
    if analysis.damage is not None:
        complaints.append(terminal(str(analysis.damage)))
        return BROKEN
    if isinstance(analysis, Analysis) and not analysis.migrations and not job.allow_empty:
        complaints.append(no_migration(analysis))
        return BROKEN
    threshold = SEVERITIES.index(job.fail_on)
    return FOUND if any(f.rank >= threshold for f in analysis.findings) else CLEAN


def _lines(
    job: Job, analysis: Analysis | SavedAnalysis, result: Result, style: Style
) -> Iterator[str]:
    if job.style == "full":
        if isinstance(analysis, Analysis):
            from analyzer.report.text import text_report

            yield from text_report(analysis, style, verbose=job.verbose)
        else:
            from analyzer.report.saved_file import saved_text

            yield from saved_text(analysis, style, verbose=job.verbose)
        return
    told = [f for f in analysis.findings if f.severity != INFO or job.fail_on == INFO]
    if told or result.word == "FAILED" or job.style == "verdict":
        yield led(result.word, result.sentence, result.path, style)
    if job.style == "brief":
        from analyzer.report.text import first_findings

        yield from first_findings(told, style)


def _add_documents(result: Result, job: Job, analysis: Analysis, extras: _Extras) -> None:
    """Add the parts that only captures have."""
    begin = analysis.scan.engine.first_time
    if STATS in job.wants:
        from analyzer.report.stats_json import stats_json

        result.stats = stats_json(extras.figures, analysis.path, begin)
    if FIGURES in job.wants:
        from analyzer.report.stats_html import first_figures

        result.figures = "".join(first_figures(extras.figures, begin))
    if DEVICES in job.wants:
        from analyzer.report.devices import devices_json

        result.devices = devices_json(analysis)
    if TABLES in job.wants and analysis.packets is not None:
        from analyzer.report.columns import packet_columns

        result.tables = {"packets": packet_columns(analysis.packets)}
    if PLACES in job.wants:
        from analyzer.migration.replay import frame_places

        frames = {finding.spot.frame for finding in analysis.findings if finding.spot.frame}
        result.places = frame_places(analysis.scan, frames)
