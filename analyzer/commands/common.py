"""What commands share: settings from options, output, progress, exit statuses."""

from __future__ import annotations

import os
import sys

from analyzer.analysis import Analysis, analyze, is_saved
from analyzer.capture.source import open_source
from analyzer.errors import CaptureError, UsageError
from analyzer.migration.settings import Settings
from analyzer.report.escape import terminal
from analyzer.report.result import BROKEN, CLEAN, FOUND
from analyzer.report.style import Style
from analyzer.report.verdict import no_migration
from dissectors.multifd import PAGE_SIZES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace
    from typing import IO

    from analyzer.analysis import SavedAnalysis
    from analyzer.capture.source import Source
    from analyzer.migration.assembly import Assembler
    from analyzer.migration.consumers import PageCollector, Watcher
    from analyzer.migration.scan import Scan

__all__ = [
    "BROKEN",
    "CLEAN",
    "FOUND",
    "Progress",
    "clear_progress",
    "complain",
    "cores",
    "failure",
    "follows",
    "judged",
    "need_file",
    "no_migration",
    "open_analysis",
    "open_capture",
    "say_how_read",
    "say_notes",
    "settings_of",
    "style_of",
]

PROGRESS_SECONDS = 0.5
SIZES = {f"{size >> 10}k": size for size in PAGE_SIZES}


def settings_of(options: Namespace) -> Settings:
    """The parts of the wire format that the user forces."""
    return Settings(
        dialect=options.dialect,
        era=options.ram_era,
        page_size=SIZES.get(options.page_size or ""),
        byte_order=options.byte_order,
        sync=options.sync,
        decode_as=frozenset(options.decode_as or ()),
        keylog=options.keylog,
        via=options.via,
    )


def style_of(options: Namespace, stream: IO[str]) -> Style:
    """The style for ``--color``, by default coloured on terminals, unless NO_COLOR is set; on
    terminals it has their width.
    """
    coloured = options.color == "always"
    if options.color == "auto":
        coloured = stream.isatty() and not os.environ.get("NO_COLOR")
    return Style(coloured, _width(stream))


def _width(stream: IO[str]) -> int:
    if not stream.isatty():
        return sys.maxsize
    try:
        columns = os.environ.get("COLUMNS") or os.get_terminal_size(stream.fileno()).columns
        return max(0, int(columns)) or sys.maxsize
    except (ValueError, OSError):
        return sys.maxsize


def complain(text: str) -> None:
    """A line on standard error."""
    print(f"mfshark: {text}", file=sys.stderr)


def cores() -> int:
    """The number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Progress:
    """A progress line on standard error."""

    def __init__(self, path: str, wanted: bool) -> None:
        self._path = terminal(path)
        self._wanted = wanted and sys.stderr.isatty()
        self._began = 0.0
        self._shown = 0.0

    def __call__(self, fraction: float, frames: int) -> None:
        """Show that ``fraction`` of the file has been read."""
        if not self._wanted:
            return
        import time

        now = time.monotonic()
        if not self._began:
            self._began = now
        if now - max(self._began, self._shown) < PROGRESS_SECONDS:
            return
        self._shown = now
        done = f"{fraction:4.0%}, " if fraction else ""
        left = ""
        if 0.02 < fraction < 1:
            left = f", {(now - self._began) * (1 - fraction) / fraction:.0f} s left"
        line = _in_a_row(self._path, f": {done}{frames} frames{left}")
        print(f"\r{line}\x1b[K", end="", file=sys.stderr, flush=True)

    def done(self) -> None:
        """Erase the line."""
        if self._shown:
            clear_progress()


def clear_progress() -> None:
    """Erase the progress line, if any, for what is printed to the same terminal next."""
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def _in_a_row(name: str, figures: str) -> str:
    """A line that fits into a row of the terminal, as only one row can be overwritten; a long name
    loses its beginning.
    """
    columns = (os.get_terminal_size(sys.stderr.fileno()).columns or 80) - 1
    over = len(name) + len(figures) - columns
    if over > 0:
        name = f"...{name[over + 3 :]}"
    return f"{name}{figures}"[:columns]


def open_capture(path: str) -> Source:
    """Open a capture.  Raises :class:`CaptureError`, also for a saved migration, which few commands
    read.
    """
    source = open_source(path)
    if is_saved(source):
        source.close()
        raise CaptureError(
            "is a saved migration",
            path=path,
            advice="check, diff, expect, extract, records and tui read it",
        )
    return source


def need_file(path: str, who: str) -> None:
    """Raise :class:`UsageError` for a capture that cannot be read twice, as ``who`` does."""
    there = os.path.isfile(path) or os.path.isdir(path)
    if path == "-" or (os.path.exists(path) and not there):
        raise UsageError(f"{who} reads the capture twice: save it to a file first")


def open_analysis(
    path: str | Source,
    options: Namespace,
    *,
    digest: bool = False,
    packets: bool = False,
    assembler: Assembler | None = None,
    watchers: tuple[Watcher, ...] = (),
    page_collector: PageCollector | None = None,
) -> Analysis:
    """Analyse one capture, with progress.  Raises :class:`CaptureError`."""
    name = path if isinstance(path, str) else path.path
    progress = Progress(name, not (options.quiet or options.no_progress))
    try:
        analysis = analyze(
            open_capture(path) if isinstance(path, str) else path,
            settings_of(options),
            digest=digest,
            packets=packets,
            assembler=assembler,
            watchers=watchers,
            page_collector=page_collector,
            progress=progress,
        )
    finally:
        progress.done()
    say_how_read(analysis.scan)
    return analysis


def say_how_read(scan: Scan) -> None:
    """Print a note if tshark was used without being requested."""
    if scan.detour:
        complain(f"{terminal(scan.source.path)}: {terminal(scan.detour)}")


def follows(options: Namespace) -> bool:
    """Whether to follow the capture.  Raises :class:`UsageError`."""
    if options.duration is not None and not options.follow:
        raise UsageError("--duration goes with --follow")
    return bool(options.follow)


def say_notes(scan: Scan, options: Namespace) -> None:
    """Print notes about the capture: that it ends inside a record, lacks frames, ..."""
    if not options.quiet:
        for note in scan.file.notes:
            complain(f"{terminal(scan.source.path)}: {terminal(note)}")


def judged(analysis: Analysis | SavedAnalysis, options: Namespace) -> int:
    """Print notes and complaints about the file; returns the exit status: 2 if the file is damaged
    or is a capture without a migration.
    """
    if isinstance(analysis, Analysis):
        say_notes(analysis.scan, options)
    if analysis.damage is not None:
        complain(failure(analysis.damage))
    if isinstance(analysis, Analysis) and not analysis.migrations:
        complain(no_migration(analysis))
        return BROKEN
    return CLEAN if analysis.damage is None else BROKEN


def failure(error: CaptureError) -> str:
    """An error as one line, safe for terminals."""
    return terminal(str(error))
