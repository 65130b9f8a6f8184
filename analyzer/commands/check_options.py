"""What ``check`` is to judge, and how severely: its options, and the selection they make."""

from __future__ import annotations

from analyzer.checks.checker import unknown_rules
from analyzer.checks.metrics import USUAL
from analyzer.checks.rule import RULES, SEVERITIES
from analyzer.checks.selection import Selection
from analyzer.commands.common import complain
from analyzer.errors import UsageError
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

LIMITS = (*USUAL, "tcp-zero-window")


def add_check_options(parser: ArgumentParser) -> None:
    """Declare them."""
    parser.add_argument(
        "--select", action="append", metavar="RULES", help="only these rules: ids, MF5, slugs"
    )
    parser.add_argument("--ignore", action="append", metavar="RULES", help="not these rules")
    parser.add_argument(
        "--severity", action="append", metavar="RULE=LEVEL", help="error, warning or info"
    )
    parser.add_argument(
        "--fail-on",
        choices=("error", "warning", "info"),
        default="error",
        help="lowest severity that gives exit status 1 (default: error)",
    )
    parser.add_argument(
        "--allow-empty", action="store_true", help="a capture without migration is no failure"
    )
    parser.add_argument(
        "--digest", choices=("sha256",), help="digests of every device's reassembled state"
    )
    parser.add_argument(
        "--descriptions",
        action="store_true",
        help="hold main's VMDESCRIPTION against every section (rules MF637 to MF639); always done "
        "in saved migrations",
    )
    parser.add_argument(
        "--deep",
        action="store_true",
        help="decompress the payload of RAM packets and verify it (rules MF8)",
    )
    parser.add_argument(
        "--trace",
        action="append",
        metavar="FILE",
        help="a trace log of the source's or the destination's QEMU, to be held against the "
        "capture (rules MF97)",
    )
    group = parser.add_argument_group("limits", "What the capture cannot tell, or must not exceed.")
    group.add_argument(
        "--max-queued-bytes",
        type=int,
        metavar="N",
        help="x-migration-max-queued-buffers-size of the destination (rule MF519)",
    )
    group.add_argument(
        "--max-queued-buffers",
        type=int,
        metavar="N",
        help="x-migration-max-queued-buffers of the destination (rule MF520)",
    )
    group.add_argument(
        "--limit",
        action="append",
        metavar="RULE=VALUE",
        help="warn beyond a value: shares, seconds or counts of MF909 and MF951 to MF957, as "
        "downtime=0.3",
    )
    group.add_argument(
        "--destination-channels", type=int, metavar="N", help="multifd-channels of the destination"
    )
    group.add_argument(
        "--destination-version", metavar="X.Y", help="version of the destination's QEMU"
    )
    group.add_argument(
        "--destination-transfer-off",
        action="store_true",
        help="the destination has x-migration-multifd-transfer off (rule MF415)",
    )


def add_known_options(parser: ArgumentParser) -> None:
    """What is expected, and what is known."""
    group = parser.add_argument_group("expected and known")
    group.add_argument(
        "--expect",
        metavar="FILE",
        help="what the captures must be like, as 'mfshark expect' writes it; what is not so is a "
        "finding (MF961), findings that are expected do not count",
    )
    group.add_argument(
        "--baseline", metavar="FILE", help="known findings, which do not count; new ones do"
    )
    group.add_argument(
        "--update-baseline", action="store_true", help="write what was found to the baseline"
    )


def expectation_of(options: Namespace) -> Expectation | None:
    """Raises :class:`UsageError` for a file that cannot be read or makes no sense."""
    if options.expect is None:
        return None
    from analyzer.report.expectation import Expectation

    try:
        with open(options.expect, encoding="utf-8") as file:  # noqa: PTH123
            text = file.read()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{options.expect} cannot be read: {error}") from None
    return Expectation(text, options.expect)


def baseline_of(options: Namespace) -> Baseline | None:
    """Raises :class:`UsageError` for a file that cannot be read or is none."""
    if options.baseline is None:
        if options.update_baseline:
            raise UsageError("--update-baseline needs --baseline FILE")
        return None
    from analyzer.report.baseline import Baseline

    return Baseline(options.baseline, missing_ok=options.update_baseline)


def compare(baseline: Baseline, results: list[Result], *, update: bool) -> None:
    """Say on standard error what is new, fixed and unchanged, and update if wanted."""
    new = sum(sum(result.counts[name] for name in SEVERITIES[1:]) for result in results)
    unchanged = sum(result.known for result in results)
    fixed = [(result.path, text) for result in results for text in baseline.fixed(result)]
    for path, text in fixed:
        complain(f"{terminal(path)}: fixed: {terminal(text)}")
    complain(f"baseline: {new} new, {len(fixed)} fixed, {unchanged} unchanged")
    if update:
        baseline.update(results)


def selection_of(options: Namespace) -> Selection:
    """Which rules run, and their limits.  Raises :class:`UsageError`."""
    select, ignore = _split(options.select), _split(options.ignore)
    severity: dict[str, str] = {}
    for text in options.severity or ():
        name, _, level = text.partition("=")
        if level not in SEVERITIES:
            raise UsageError(f"--severity takes RULE={'|'.join(SEVERITIES)}, not {text!r}")
        severity[name] = level
    if unknown := unknown_rules([*select, *ignore, *severity]):
        raise UsageError(f"no rule is called {unknown[0]!r}; 'mfshark rule' lists them")
    return Selection(
        select,
        ignore,
        severity,
        max_queued_bytes=options.max_queued_bytes,
        max_queued_buffers=options.max_queued_buffers,
        destination_transfer_off=options.destination_transfer_off,
        channels=options.destination_channels,
        limits=_limits(options.limit),
        descriptions=options.descriptions,
        deep=options.deep,
        destination_version=_version(options.destination_version),
        traces=_traces(options.trace),
    )


def _traces(paths: list[str] | None) -> tuple[TraceRun, ...]:
    """Raises :class:`UsageError` for a file without traces, or that cannot be read."""
    if not paths:
        return ()
    from analyzer.capture.trace_log import read_trace

    return tuple(run for path in paths for run in read_trace(path))


def _limits(values: list[str] | None) -> dict[str, float]:
    """Thresholds by slug; a rule may be named by its id too."""
    limits: dict[str, float] = {}
    for text in values or ():
        name, _, value = text.partition("=")
        rule = RULES.get(name.upper())
        slug = rule.slug if rule is not None else name
        if slug not in LIMITS:
            raise UsageError(f"no limit is called {name!r}; there are {', '.join(LIMITS)}")
        try:
            limits[slug] = float(value)
        except ValueError:
            raise UsageError(f"--limit takes RULE=NUMBER, not {text!r}") from None
    return limits


def _version(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    major, _, minor = text.partition(".")
    if not major.isdecimal() or not minor.isdecimal():
        raise UsageError(f"--destination-version takes X.Y, not {text!r}")
    return int(major), int(minor)


def _split(values: list[str] | None) -> tuple[str, ...]:
    return tuple(name for value in values or () for name in value.split(",") if name)
