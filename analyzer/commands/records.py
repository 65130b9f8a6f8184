"""``mfshark records``: the main channel's records and the return path's messages, one per line."""

from __future__ import annotations

from contextlib import closing, contextmanager, nullcontext

from analyzer.analysis import Analysis, analyze_saved_file, is_saved
from analyzer.capture.source import open_source
from analyzer.checks.wording import counted
from analyzer.commands.common import complain, judged, open_analysis, style_of
from analyzer.commands.options import add_output_options, add_shown_options, add_wire_options
from analyzer.commands.result_file import output, settle_format
from analyzer.report.escape import terminal
from analyzer.report.json_text import json_text
from analyzer.report.main_lines import MainTrees, main_lines
from analyzer.report.records import record_facts, records_csv, records_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any, TypeAlias

    from analyzer.analysis import SavedAnalysis
    from analyzer.migration.migration import Migration
    from analyzer.report.main_lines import MainLine
    from analyzer.report.records import Trees
    from analyzer.report.style import Style

    Reading: TypeAlias = Callable[[MainLine, int], bytes]
    """Gives the first bytes of a record or message, as many as the number says."""

__all__ = ["add_arguments", "run"]

FORMATS = ("text", "json", "jsonl", "csv")
READ_MAX = 2 << 20
"""The maximum number of bytes of a record that are decoded."""


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the command's options."""
    parser.description = (
        "Lists the records of the main channel (configuration, sections, commands, the "
        "description) and the destination's messages on the return path. Also reads files "
        "written by 'migrate file:'."
    )
    add_wire_options(parser)
    add_shown_options(parser)
    parser.add_argument(
        "capture", metavar="CAPTURE", help="pcap, pcapng or saved migration, - for stdin"
    )
    parser.add_argument(
        "-V",
        "--fields",
        action="store_true",
        help="also print the fields of every record; those of a device as in the description",
    )
    parser.add_argument(
        "--only", metavar="TEXT", help="only records whose kind or name contains TEXT"
    )
    add_output_options(parser, FORMATS)


def run(options: Namespace) -> int:
    """Run it.  Exit status 2 if nothing was found; raises :class:`CaptureError` and
    :class:`UsageError`.
    """
    settle_format(options, FORMATS)
    analysis = _analysis(options)
    status = judged(analysis, options)
    if not analysis.migrations:
        return status
    if not options.quiet:
        for text in _unlisted(analysis.migrations):
            complain(f"{terminal(analysis.path)}: {text}")
    lines = main_lines(analysis.migrations)
    if options.only:
        wanted = options.only.casefold()
        lines = [line for line in lines if wanted in line.text.casefold()]
    with output(options) as stream:
        for text in _texts(analysis, lines, options, style_of(options, stream)):
            stream.write(text)
    return status


def _unlisted(migrations: Iterable[Migration]) -> Iterator[str]:
    """How many pages came alone, on the channel of postcopy, in records of no section."""
    for migration in migrations:
        facts = migration.preempt_facts
        if facts is not None and facts.ram.normal_pages + facts.ram.zero_pages:
            pages = counted(facts.ram.normal_pages, "page")
            zeros = counted(facts.ram.zero_pages, "zero page")
            yield (
                f"migration {migration.number}: the postcopy channel carries {pages} and {zeros}, "
                "which are not listed; mfshark extract --ram writes them"
            )


def _analysis(options: Namespace) -> Analysis | SavedAnalysis:
    """The analysis of a capture or a saved migration, detected from the first bytes."""
    source = open_source(options.capture)
    if is_saved(source):
        return analyze_saved_file(source)
    return open_analysis(source, options)


def _texts(
    analysis: Analysis | SavedAnalysis, lines: list[MainLine], options: Namespace, style: Style
) -> Iterator[str]:
    begin = analysis.scan.engine.first_time if isinstance(analysis, Analysis) else 0
    with _trees(analysis) if options.fields else nullcontext() as trees:
        if options.format == "text":
            several = len(analysis.migrations) > 1
            yield from (f"{text}\n" for text in records_text(lines, begin, style, several, trees))
        elif options.format == "csv":
            yield from records_csv(lines, begin)
        else:
            entries = (record_facts(line, begin, trees) for line in lines)
            yield from _json(entries, options.format == "jsonl")


def _json(entries: Iterable[dict[str, Any]], in_lines: bool) -> Iterator[str]:
    if in_lines:
        yield from (json_text(entry) + "\n" for entry in entries)
        return
    before = "[\n"
    for entry in entries:
        yield before + json_text(entry)
        before = ",\n"
    yield "[]\n" if before == "[\n" else "\n]\n"


@contextmanager
def _trees(analysis: Analysis | SavedAnalysis) -> Iterator[Trees]:
    trees = MainTrees()
    with _reading(analysis) as read:
        yield lambda line: trees.nodes(line, read(line, min(line.length, READ_MAX)))


@contextmanager
def _reading(analysis: Analysis | SavedAnalysis) -> Iterator[Reading]:
    if not isinstance(analysis, Analysis):
        from analyzer.migration.saved_bytes import SavedBytes

        with closing(SavedBytes(analysis.path)) as saved:
            yield lambda line, length: saved.read(line.offset, length)
        return
    from analyzer.migration.replay import Replay
    from analyzer.migration.table import StreamRef

    with closing(Replay(analysis.scan)) as replay:

        def read(line: MainLine, length: int) -> bytes:
            stream = StreamRef.of(line.channel.flow)
            return replay.stretch(stream, line.offset, length, line.place.pos).data

        yield read
