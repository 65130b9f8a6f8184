"""What ``check`` verifies and how severe it is: the options, and the selection they define."""

from __future__ import annotations

from analyzer.checks.rule import RULES, SEVERITIES
from analyzer.checks.selection import Selection, names_rule
from analyzer.commands.common import complain
from analyzer.commands.options import add_settings, reported
from analyzer.config.settings import LIMIT, SETTINGS, in_section
from analyzer.errors import UsageError, did_you_mean, reason_of
from analyzer.report.escape import terminal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from analyzer.capture.trace_log import TraceRun
    from analyzer.report.baseline import Baseline
    from analyzer.report.expectation import Expectation
    from analyzer.report.result import Result

__all__ = [
    "add_check_options",
    "add_known_options",
    "baseline_of",
    "compare",
    "expectation_of",
    "selection_of",
]

KNOWN = ("expect", "baseline")


def add_check_options(parser: ArgumentParser, without: tuple[str, ...] = ()) -> None:
    """Declare the options, except those of the settings in ``without``."""
    others = KNOWN + without
    judged = (setting for setting in in_section("") if setting.name not in others)
    add_settings(parser, [*judged, SETTINGS["severity.*"]])
    parser.add_argument(
        "--trace",
        action="append",
        metavar="FILE",
        help="a trace log of the source's or the destination's QEMU, to compare with a finished "
        "capture (rules MF97)",
    )
    group = parser.add_argument_group("limits, and facts about the destination")
    add_settings(group, (setting for setting in in_section("limits") if setting.option != LIMIT))
    group.add_argument(
        LIMIT,
        action="extend",
        type=reported(LIMIT, _limit),
        metavar="RULE=VALUE",
        help="warn if a measure (share, time or count; MF909, MF951 to MF958) is beyond a value, "
        "as in downtime=0.3 or 'downtime=300 ms'",
    )
    add_settings(group, in_section("destination"))


def add_known_options(parser: ArgumentParser) -> None:
    """Options for expectations and known findings."""
    group = parser.add_argument_group("expectations and baselines")
    add_settings(group, (SETTINGS[name] for name in KNOWN))
    group.add_argument(
        "--update-baseline", action="store_true", help="write the current findings to the baseline"
    )


def expectation_of(options: Namespace) -> Expectation | None:
    """The expectation.  Raises :class:`UsageError` for a file that cannot be read or is invalid."""
    if options.expect is None:
        return None
    from analyzer.report.expectation import Expectation

    try:
        with open(options.expect, encoding="utf-8") as file:
            text = file.read()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{options.expect} cannot be read: {reason_of(error)}") from None
    return Expectation(text, options.expect)


def baseline_of(options: Namespace) -> Baseline | None:
    """The baseline.  Raises :class:`UsageError` for a file that cannot be read or is not a
    baseline, and for one that cannot be written if it is to be updated.
    """
    if options.baseline is None:
        if options.update_baseline:
            raise UsageError("--update-baseline needs --baseline FILE")
        return None
    from analyzer.report.baseline import Baseline

    baseline = Baseline(options.baseline, missing_ok=options.update_baseline)
    if options.update_baseline:
        from analyzer.report.result_file import ResultFile

        ResultFile(options.baseline)  # before checks are made that could not be kept
    return baseline


def compare(baseline: Baseline, results: list[Result], *, update: bool) -> None:
    """Report on standard error what is new, fixed and unchanged, and update the baseline if
    requested.
    """
    new = sum(sum(result.counts[name] for name in SEVERITIES[1:]) for result in results)
    unchanged = sum(map(baseline.unchanged, results))
    fixed = [(result.path, text) for result in results for text in baseline.fixed(result)]
    for path, text in fixed:
        complain(f"{terminal(path)}: fixed: {terminal(text)}")
    complain(f"baseline: {new} new, {len(fixed)} fixed, {unchanged} unchanged")
    if update:
        baseline.update(results)


def selection_of(options: Namespace) -> Selection:
    """Which rules run, and their limits.  Raises :class:`UsageError`."""
    selection = Selection(
        tuple(options.select or ()),
        tuple(options.ignore or ()),
        dict(options.severity or ()),
        max_queued_bytes=options.max_queued_bytes,
        max_queued_buffers=options.max_queued_buffers,
        destination_transfer_off=options.destination_transfer_off,
        channels=options.destination_channels,
        limits=dict(options.limit or ()),
        deep=options.deep,
        destination_version=options.destination_version,
        expected_dialect=options.expected_dialect,
        require=options.require,
        traces=_traces(options.trace),
        expect=getattr(options, "expect", None) is not None,
    )
    if selection.select and not any(map(selection.asks, RULES.values())):
        raise UsageError(f"--select leaves no rule to verify{_lacking(selection)}")
    return selection


def _lacking(selection: Selection) -> str:
    """What the selected rules need and do not have."""
    named = [
        rule
        for rule in RULES.values()
        if names_rule(rule, selection.select) and not names_rule(rule, selection.ignore)
    ]
    lacking = {need for rule in named for need in selection.lacks(rule)}
    options = sorted("--trace" if need == "traces" else f"--{need}" for need in lacking)
    return f": it needs {' or '.join(options).replace('_', '-')}" if options else ""


def _traces(paths: list[str] | None) -> tuple[TraceRun, ...]:
    """The trace logs.  Raises :class:`UsageError` for an unreadable file or one without traces."""
    if not paths:
        return ()
    from analyzer.capture.trace_log import read_traces

    return read_traces(paths)


def _limit(text: str) -> list[tuple[str, float]]:
    """A threshold and the slug of its rule, which may also be given by id.

    Raises :class:`ValueError`.
    """
    name, given, value = text.partition("=")
    rule = RULES.get(name.upper())
    slug = rule.slug if rule is not None else name.lower()
    limits = {s.name: s for s in in_section("limits") if s.option == LIMIT}
    if slug not in limits:
        raise ValueError(f"no limit is called {name!r}{did_you_mean(name, limits)}")
    if not given:
        raise ValueError(f"takes RULE=VALUE, not {text!r}")
    parse = limits[slug].kind.argument["type"]
    return [(slug, parse(value))]
