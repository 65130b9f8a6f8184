"""``mfshark check``: verify captures and saved migrations, report, exit with a status."""

from __future__ import annotations

import argparse

from analyzer.analysis import Analysis, SavedAnalysis, analyze_saved_file
from analyzer.capture.source import open_source
from analyzer.checks.checker import unknown_rules
from analyzer.checks.metrics import USUAL
from analyzer.checks.rule import RULES, SEVERITIES
from analyzer.checks.selection import Selection
from analyzer.commands.common import (
    BROKEN,
    CLEAN,
    FOUND,
    complain,
    failure,
    no_migration,
    open_analysis,
    output,
    style_of,
)
from analyzer.commands.options import add_shown_options, add_wire_options
from analyzer.errors import CaptureError, UsageError
from dissectors.main_stream import MAGIC_BYTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Iterable
    from typing import IO

    from analyzer.report.style import Style

__all__ = ["add_arguments", "run"]

EPILOG = """\
exit status:
  0  nothing at or above the threshold   1  findings
  2  an input could not be analysed or held no migration, or the command was wrong
"""
LIMITS = (*USUAL, "tcp-zero-window")


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
    parser.add_argument("--format", choices=("text", "json"), default="text")
    parser.add_argument("-o", "--output", metavar="FILE", help="write the report to a file")
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


def run(options: Namespace) -> int:
    """Run it.  Exit status: 0 nothing at or above ``--fail-on``, 1 findings, 2 an input could not
    be analysed or held no migration.  Raises :class:`UsageError`.
    """
    selection = _selection(options)
    entries: list[Analysis | SavedAnalysis | tuple[str, CaptureError]] = []
    status = CLEAN
    with output(options) as stream:
        for number, path in enumerate(options.captures):
            try:
                analysis = _analysis(path, options, selection)
            except CaptureError as error:
                complain(failure(error))
                entries.append((path, error))
                status = BROKEN
                continue
            status = max(status, _status(analysis, options))
            if options.format == "text":
                _print_text(analysis, options, stream, number)
                if isinstance(analysis, Analysis):
                    analysis.scan.source.close()
            else:
                entries.append(analysis)
        if options.format == "json":
            import json

            from analyzer.report.model import report

            json.dump(report(entries), stream, indent=1)
            stream.write("\n")
    return status


def _analysis(path: str, options: Namespace, selection: Selection) -> Analysis | SavedAnalysis:
    """A capture's or a saved migration's: the first bytes tell which it is."""
    source = open_source(path)
    if source.peek(len(MAGIC_BYTES)) == MAGIC_BYTES:
        return analyze_saved_file(source, selection)
    return open_analysis(source, options, selection=selection, digest=options.digest == "sha256")


def _print_text(
    analysis: Analysis | SavedAnalysis, options: Namespace, stream: IO[str], number: int
) -> None:
    if number and not options.quiet:
        print(file=stream)
    for line in _lines(analysis, style_of(options, stream), options):
        print(line, file=stream)


def _lines(analysis: Analysis | SavedAnalysis, style: Style, options: Namespace) -> Iterable[str]:
    """The report, or its first line alone with ``--quiet``."""
    if isinstance(analysis, SavedAnalysis):
        from analyzer.report.saved_file import saved_text, saved_verdict

        if options.quiet:
            return [saved_verdict(analysis, style)]
        return saved_text(analysis, style, verbose=options.verbose)
    from analyzer.report.text import text_report
    from analyzer.report.verdict import verdict

    if options.quiet:
        return [verdict(analysis, style)]
    return text_report(analysis, style, verbose=options.verbose)


def _status(analysis: Analysis | SavedAnalysis, options: Namespace) -> int:
    if analysis.damage is not None:
        complain(failure(analysis.damage))
        return BROKEN
    if isinstance(analysis, Analysis) and not analysis.migrations and not options.allow_empty:
        complain(no_migration(analysis))
        return BROKEN
    threshold = SEVERITIES.index(options.fail_on)
    return FOUND if any(f.rank >= threshold for f in analysis.findings) else CLEAN


def _selection(options: Namespace) -> Selection:
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
    )


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
