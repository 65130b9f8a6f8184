"""``mfshark stats``: phases, downtime and what it was spent on, as text, JSON or a web page."""

from __future__ import annotations

from analyzer.commands.common import judged, open_analysis, style_of
from analyzer.commands.options import add_output_options, add_shown_options, add_wire_options
from analyzer.commands.result_file import output, settle_format
from analyzer.errors import UsageError
from analyzer.migration.activity import Activity
from analyzer.migration.sendings import SentPages
from analyzer.migration.statistics import figures_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from typing import IO

    from analyzer.analysis import Analysis
    from analyzer.migration.statistics import Statistics

__all__ = ["add_arguments", "run"]

FORMATS = ("text", "json", "html")


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the command's options."""
    parser.description = (
        "Shows the phases of each migration, the downtime as seen on the wire and what it was "
        "spent on, throughput and fairness of the channels, and how often pages of guest memory "
        "were sent."
    )
    add_wire_options(parser)
    add_shown_options(parser, "list all phases, devices, channels and rounds")
    parser.add_argument("capture", metavar="CAPTURE", help="pcap or pcapng, - for stdin")
    parser.add_argument(
        "-Y",
        "--filter",
        metavar="FILTER",
        help="only packets that match a display filter: counts, bytes, pages, times and rates by "
        "kind, channel and device (no phases or downtime, which need all packets)",
    )
    add_output_options(parser, FORMATS)


def run(options: Namespace) -> int:
    """Run it.

    Exit status 2 when the capture is damaged or holds no migration; raises
    :class:`analyzer.errors.CaptureError` and :class:`analyzer.errors.UsageError`.
    """
    settle_format(options, FORMATS)
    if options.filter:
        return _run_filtered(options)
    activity, sent = Activity(), SentPages()
    analysis = open_analysis(
        options.capture, options, watchers=(activity, sent), page_collector=sent
    )
    status = judged(analysis, options)
    if analysis.migrations:
        figures = figures_of(analysis.scan, activity)
        for entry in figures:
            entry.count_pages(sent)
        with output(options) as stream:
            _write(figures, analysis, options, stream)
    return status


def _run_filtered(options: Namespace) -> int:
    """With ``-Y``."""
    from analyzer.filter.filter import Filter
    from analyzer.report.stats_filtered import filtered_json, filtered_text

    if options.format == "html":
        raise UsageError("-Y goes with --format text or json")
    condition = Filter(options.filter)
    analysis = open_analysis(options.capture, options, packets=True)
    status = judged(analysis, options)
    if not analysis.migrations:
        return status
    table = analysis.packets
    assert table is not None
    rows = condition.rows(table)
    with output(options) as stream:
        if options.format == "json":
            from analyzer.report.json_text import json_text

            found = filtered_json(table, rows, condition.text, analysis.path)
            stream.write(json_text(found, 1) + "\n")
        else:
            style = style_of(options, stream)
            for line in filtered_text(table, rows, condition.text, analysis.path, style):
                print(line, file=stream)
    return status


def _write(
    figures: list[Statistics], analysis: Analysis, options: Namespace, stream: IO[str]
) -> None:
    begin = analysis.scan.engine.first_time
    if options.format == "json":
        from analyzer.report.json_text import json_text
        from analyzer.report.stats_json import stats_json

        stream.write(json_text(stats_json(figures, analysis.path, begin), 1) + "\n")
    elif options.format == "html":
        from analyzer.report.stats_html import stats_html

        stream.writelines(stats_html(figures, analysis.path, begin))
    else:
        from analyzer.report.stats_text import Bars, stats_text

        bars = Bars(getattr(stream, "encoding", None) or "utf-8")
        for line in stats_text(figures, style_of(options, stream), bars, begin, options.verbose):
            print(line, file=stream)
