"""``mfshark diff``: two captures, or two saved reports, compared."""

from __future__ import annotations

import os
from contextlib import closing

from analyzer.analysis import analyze_saved_file, is_saved
from analyzer.capture.source import open_source
from analyzer.commands.common import (
    CLEAN,
    FOUND,
    no_migration,
    open_analysis,
    settings_of,
    style_of,
)
from analyzer.commands.options import (
    VERDICT_ONLY,
    add_output_options,
    add_shown_options,
    add_wire_options,
    reported,
)
from analyzer.commands.result_file import output, settle_format
from analyzer.errors import CaptureError, UsageError, did_you_mean
from analyzer.migration.activity import Activity
from analyzer.migration.contents import (
    MAIN_PIECE,
    DeviceContents,
    DevicePieces,
    first_differences,
)
from analyzer.migration.scan import Scan
from analyzer.migration.statistics import figures_of
from analyzer.report.diff import SECTIONS, Content, Side, compare, diff_json
from analyzer.report.diff_text import diff_text
from analyzer.report.model import capture_report
from analyzer.report.saved_file import saved_report
from analyzer.report.stats_json import stats_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from analyzer.capture.source import Source
    from analyzer.migration.contents import DeviceKey, Piece

__all__ = ["add_arguments", "run"]

FORMATS = ("text", "json")

REPORT_HEAD = 4
REPORT_MAX = 64 << 20
DEVICES_MAX = 1000
"""The maximum number of devices whose contents are compared."""
BYTES_SHOWN = 8


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the command's options."""
    parser.description = (
        "Compares parameters, channels, RAM, devices (with the first index and byte "
        "that differ), phases and findings. Exit status: 0 no difference, 1 differences, 2 one "
        "side could not be read, or nothing could be compared."
    )
    add_wire_options(parser, VERDICT_ONLY)
    add_shown_options(parser, "with --same-migration: list all packets that only one side has")
    parser.add_argument("a", metavar="A", help="capture, saved migration, or JSON report")
    parser.add_argument("b", metavar="B", help="what to compare it with")
    parser.add_argument(
        "--times",
        action="store_true",
        help="also compare durations, order of arrival, and which channel carried what",
    )
    parser.add_argument(
        "--addresses", action="store_true", help="also compare addresses, ports and streams"
    )
    for option, text in (("--only", "compare only"), ("--ignore", "do not compare")):
        parser.add_argument(
            option,
            action="extend",
            type=reported(option, _sections),
            metavar="SECTION",
            help=f"{text} these, comma-separated: {', '.join(SECTIONS)}",
        )
    parser.add_argument(
        "--same-migration",
        action="store_true",
        help="A and B were captured at the source and at the destination of one migration: match "
        "them packet by packet",
    )
    add_output_options(parser, FORMATS)


def run(options: Namespace) -> int:
    """Run it.  Exit status: 0 no difference, 1 differences; raises :class:`CaptureError` for inputs
    that cannot be compared, and :class:`UsageError`.
    """
    settle_format(options, FORMATS)
    if options.a == options.b == "-":
        raise UsageError("standard input can be only one side")
    if options.same_migration:
        from analyzer.commands.same_migration import run_same_migration

        return run_same_migration(options)
    sections = set(options.only or SECTIONS) - set(options.ignore or ())
    (a, ours), (b, theirs) = (_side(path, options) for path in (options.a, options.b))
    differences, notes = compare(
        a, b, times=options.times, addresses=options.addresses, sections=sections
    )
    contents: list[Content] = []
    if ours is not None and theirs is not None and "contents" in sections:
        contents = _contents(ours, theirs, options)
    with output(options) as stream:
        if options.format == "json":
            from analyzer.report.json_text import json_text

            found = diff_json(a, b, differences, contents, notes)
            stream.write(json_text(found, 1) + "\n")
        else:
            lines = diff_text(a, b, differences, contents, notes, style_of(options, stream))
            for line in lines:
                print(line, file=stream)
                if options.quiet:
                    break
    return FOUND if differences or contents else CLEAN


def _sections(text: str) -> list[str]:
    """The names of sections.  Raises :class:`ValueError`."""
    names = [name for name in text.lower().split(",") if name]
    for name in names:
        if name not in SECTIONS:
            raise ValueError(f"no section is called {name!r}{did_you_mean(name, SECTIONS)}")
    return names


# -- sides -----------------------------------------------------------------------------------------


def _side(path: str, options: Namespace) -> tuple[Side, DeviceContents | None]:
    """One side: a report, a saved migration, or a capture, detected from its first bytes."""
    source = open_source(path)
    if is_saved(source):
        saved = analyze_saved_file(source)
        _need_all(saved.damage)
        return Side(path, saved_report(saved), None), None
    if source.peek(REPORT_HEAD).lstrip()[:1] == b"{":
        return Side.of_saved(path, _loaded(source)), None
    return _capture(source, options)


def _need_all(damage: CaptureError | None) -> None:
    """Raise the error that ended the reading of a side early, if any."""
    if damage is not None:
        damage.advice = "only whole files are compared"
        raise damage


def _loaded(source: Source) -> object:
    import json

    data = bytearray()
    view = memoryview(bytearray(1 << 16))
    while (size := source.readinto(view)) and len(data) <= REPORT_MAX:
        data += view[:size]
    if len(data) > REPORT_MAX:
        raise CaptureError(f"is not a report: larger than {REPORT_MAX} bytes", path=source.path)
    try:
        return json.loads(bytes(data))
    except (ValueError, RecursionError) as error:
        raise CaptureError(f"is not a report: {error}", path=source.path) from None
    finally:
        source.close()


def _capture(source: Source, options: Namespace) -> tuple[Side, DeviceContents]:
    contents, activity = DeviceContents(), Activity()
    analysis = open_analysis(source, options, assembler=contents.assembler, watchers=(activity,))
    with closing(analysis):
        contents.finish(analysis.migrations)
        _need_all(analysis.damage)
        if not analysis.migrations:
            raise CaptureError(no_migration(analysis))
        scan = analysis.scan
        stats = stats_json(figures_of(scan, activity), analysis.path, scan.engine.first_time)
        report = capture_report(analysis)
    return Side(source.path, report, stats), contents


# -- contents --------------------------------------------------------------------------------------


def _contents(ours: DeviceContents, theirs: DeviceContents, options: Namespace) -> list[Content]:
    """Where the contents of devices that both sides have begin to differ; the captures are read
    again for that.
    """
    pieces = [
        (key, piece)
        for key in [key for key in ours.digests if key in theirs.digests][:DEVICES_MAX]
        for piece in first_differences(ours.digests[key], theirs.digests[key])
    ]
    found = [
        Content(number, name, part, index if part == "buffer" else None)
        for (number, name), (part, index) in pieces
    ]
    if pieces and os.path.isfile(options.a) and os.path.isfile(options.b):
        one, other = (_reread(path, set(pieces), options) for path in (options.a, options.b))
        for content, key in zip(found, pieces, strict=True):
            _compare(content, key[1], one.get(key), other.get(key))
    return found


def _reread(
    path: str, pieces: set[tuple[DeviceKey, Piece]], options: Namespace
) -> dict[tuple[DeviceKey, Piece], bytearray]:
    wanted = DevicePieces(pieces)
    scan = Scan(path, settings_of(options), device_collector=wanted.assembler)
    scan.run()
    wanted.assembler.finish()
    scan.source.close()
    return wanted.found


def _compare(content: Content, piece: Piece, a: bytearray | None, b: bytearray | None) -> None:
    """Find the first different byte, within the pieces that were kept."""
    if a is None or b is None:
        return
    at = next((n for n, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), None)
    if at is None:
        if len(a) == len(b):
            return  # they differ beyond the kept pieces
        at = min(len(a), len(b))
    content.byte = at + (piece[1] * MAIN_PIECE if piece[0] == "main" else 0)
    content.a, content.b = bytes(a[at : at + BYTES_SHOWN]), bytes(b[at : at + BYTES_SHOWN])
