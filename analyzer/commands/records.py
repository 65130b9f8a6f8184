"""``mfshark records``: the main channel's records and the return path's messages, a line each."""

from __future__ import annotations

import json

from analyzer.commands.common import (
    BROKEN,
    CLEAN,
    complain,
    failure,
    no_migration,
    open_analysis,
    style_of,
)
from analyzer.commands.options import add_shown_options, add_wire_options
from analyzer.commands.result_file import output
from analyzer.report.main_lines import MainTrees, main_lines
from analyzer.report.records import record_facts, records_csv, records_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Callable, Iterator
    from typing import Any

    from analyzer.analysis import Analysis
    from analyzer.report.main_lines import MainLine
    from analyzer.report.style import Style
    from dissectors.tree import Node

    Fetch = Callable[[MainLine], bytes]
    Trees = Callable[[MainLine], list[Node]]

__all__ = ["add_arguments", "run"]

READ_MAX = 2 << 20
"""So many bytes of a record are taken apart."""


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the command's options."""
    parser.description = (
        "Lists what the main channel carries, record by record: configuration, sections, commands, "
        "the description; and what the destination answers on the return path. A file that "
        "'migrate file:' wrote can be read too."
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
        help="the fields of every record, those of devices by the description",
    )
    parser.add_argument(
        "--only", metavar="TEXT", help="only records whose kind or name contains TEXT"
    )
    parser.add_argument("--format", choices=("text", "json", "jsonl", "csv"), default="text")
    parser.add_argument("-o", "--output", metavar="FILE", help="write to a file")


def run(options: Namespace) -> int:
    """Run it.  Exit status 2 when nothing was found; raises :class:`CaptureError`."""
    analysis = open_analysis(options.capture, options)
    damage = analysis.scan.file.damage
    if damage is not None:
        complain(failure(damage))
    if not analysis.migrations:
        complain(no_migration(analysis))
        return BROKEN
    lines = main_lines(analysis.migrations)
    if options.only:
        wanted = options.only.casefold()
        lines = [line for line in lines if wanted in line.text.casefold()]
    with output(options) as stream:
        for text in _texts(analysis, lines, options, style_of(options, stream)):
            stream.write(text)
    return CLEAN if damage is None else BROKEN


def _texts(
    analysis: Analysis, lines: list[MainLine], options: Namespace, style: Style
) -> Iterator[str]:
    begin = analysis.scan.engine.first_time
    trees = _trees(analysis) if options.fields else None
    if options.format == "text":
        several = len(analysis.migrations) > 1
        yield from (f"{text}\n" for text in records_text(lines, begin, style, several, trees))
    elif options.format == "csv":
        yield from records_csv(lines, begin)
    else:
        facts = (record_facts(line, begin, trees) for line in lines)
        yield from _json(facts, options.format == "jsonl")


def _json(facts: Iterator[dict[str, Any]], in_lines: bool) -> Iterator[str]:
    if in_lines:
        yield from (json.dumps(entry) + "\n" for entry in facts)
        return
    before = "[\n"
    for entry in facts:
        yield before + json.dumps(entry)
        before = ",\n"
    yield "[]\n" if before == "[\n" else "\n]\n"


def _trees(analysis: Analysis) -> Trees:
    from analyzer.migration.replay import Replay
    from analyzer.migration.table import StreamRef

    replay, trees = Replay(analysis.scan), MainTrees()

    def nodes(line: MainLine) -> list[Node]:
        stream, length = StreamRef.of(line.channel.flow), min(line.length, READ_MAX)
        return trees.nodes(line, replay.stretch(stream, line.offset, length, line.place.pos).data)

    return nodes
