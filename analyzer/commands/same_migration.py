"""``mfshark diff --same-migration``: one migration in captures of both hosts."""

from __future__ import annotations

from analyzer.analysis import Analysis
from analyzer.commands.common import (
    CLEAN,
    FOUND,
    no_migration,
    open_capture,
    settings_of,
    style_of,
)
from analyzer.commands.result_file import output
from analyzer.errors import CaptureError, UsageError
from analyzer.migration.sightings import KEPT_MAX, Sightings
from analyzer.migration.two_views import match, strangers
from analyzer.report.two_views import strangers_text, two_views_json, two_views_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace

__all__ = ["run_same_migration"]

NOT_THE_SAME = "these are not captures of the same migration: {} of {} packets match"


def run_same_migration(options: Namespace) -> int:
    """Run it.  Exit status: 0 both captures show the same packets, 1 they do not; raises
    :class:`CaptureError` for a file that is not a capture or holds no migration, and
    :class:`UsageError`.
    """
    if options.times or options.addresses or options.only or options.ignore:
        raise UsageError(
            "--same-migration cannot be combined with --times, --addresses, --only or --ignore"
        )
    views = [_view(path, options) for path in (options.a, options.b)]
    pairs = match(*views)
    notes = [note for view in views for note in _notes(view)]
    few = strangers(pairs, *views)
    if few is not None:
        notes.insert(0, NOT_THE_SAME.format(*few))
    paths = views[0].path, views[1].path
    with output(options) as stream:
        if options.format == "json":
            from analyzer.report.json_text import json_text

            stream.write(json_text(two_views_json(paths, pairs, notes), 1) + "\n")
        elif few is not None and not options.verbose:
            print(strangers_text(paths, notes[0], style_of(options, stream)), file=stream)
        else:
            style = style_of(options, stream)
            for line in two_views_text(paths, pairs, notes, style, verbose=options.verbose):
                print(line, file=stream)
                if options.quiet:
                    break
    return CLEAN if few is None and all(pair.same for pair in pairs) else FOUND


def _view(path: str, options: Namespace) -> Sightings:
    view = Sightings(open_capture(path), settings_of(options))
    scan = view.scan
    if scan.file.damage is not None:
        raise scan.file.damage
    if not view.migrations:
        raise CaptureError(no_migration(Analysis(scan, [])))
    scan.source.close()
    return view


def _notes(view: Sightings) -> list[str]:
    notes = [f"{view.path}: {note}" for note in view.scan.file.notes]
    if view.dropped:
        notes.append(
            f"{view.path}: only the first {KEPT_MAX} packets were compared, {view.dropped} were not"
        )
    return notes
