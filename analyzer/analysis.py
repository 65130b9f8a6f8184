"""A whole analysis: one pass over a capture, reassembly of the devices, and all rules."""

from __future__ import annotations

from analyzer.checks.checker import Checker, unknown_rules
from analyzer.errors import UsageError
from analyzer.migration.scan import Scan
from dissectors.main_stream import BEGINNING, begins_stream

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable
    from typing import Self

    from analyzer.capture.source import Source
    from analyzer.capture.trace_log import TraceRun
    from analyzer.checks.finding import Finding
    from analyzer.checks.selection import Selection
    from analyzer.errors import CaptureError
    from analyzer.migration.assembly import Assembler
    from analyzer.migration.consumers import PageCollector, Watcher
    from analyzer.migration.migration import Migration
    from analyzer.migration.saved_file import SavedFile
    from analyzer.migration.settings import Settings
    from analyzer.migration.table import PacketTable

__all__ = ["Analysis", "SavedAnalysis", "analyze", "analyze_saved_file", "chosen", "is_saved"]

PRECEDING = (b"\0", b"L")
"""First bytes of what may stand before a saved migration."""


class Analysis:
    """The result of an analysis: ``scan`` with its migrations, ``findings``, ``assembler`` if
    digests were requested, and the table of ``packets`` if requested.  It holds the capture open
    until :meth:`close`, or the end of a ``with`` block.
    """

    __slots__ = ("assembler", "findings", "packets", "scan")

    def __init__(
        self, scan: Scan, findings: list[Finding], assembler: Assembler | None = None
    ) -> None:
        self.scan = scan
        self.findings = findings
        self.assembler = assembler
        self.packets: PacketTable | None = None

    def close(self) -> None:
        """Close the capture; the results remain valid."""
        self.scan.source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def path(self) -> str:
        """Name of the capture."""
        return self.scan.source.path

    @property
    def migrations(self) -> list[Migration]:
        """The migrations, in order of appearance."""
        return self.scan.migrations

    @property
    def damage(self) -> CaptureError | None:
        """The error that ended reading early."""
        return self.scan.file.damage

    def count(self, severity: str) -> int:
        """How many findings of a severity there are, repeats included."""
        return _count(self.findings, severity)


class SavedAnalysis:
    """The result of analysing a saved migration: ``saved`` with its main stream, and
    ``findings``.
    """

    __slots__ = ("findings", "saved")

    def __init__(self, saved: SavedFile, findings: list[Finding]) -> None:
        self.saved = saved
        self.findings = findings

    @property
    def path(self) -> str:
        """Name of the file."""
        return self.saved.path

    @property
    def migrations(self) -> list[Migration]:
        """The one migration, whose only channel is main."""
        return [self.saved.migration]

    @property
    def damage(self) -> CaptureError | None:
        """The error that ended reading early."""
        return self.saved.damage

    def count(self, severity: str) -> int:
        """How many findings of a severity there are, repeats included."""
        return _count(self.findings, severity)


def _count(findings: list[Finding], severity: str) -> int:
    return sum(1 + f.repeats for f in findings if f.severity == severity)


def chosen(
    *,
    dialect: str = "auto",
    keylog: str | None = None,
    select: str | Iterable[str] = (),
    ignore: str | Iterable[str] = (),
    deep: bool = False,
    trace: str | os.PathLike[str] | Iterable[str | os.PathLike[str]] = (),
    require: str | None = None,
) -> tuple[Settings, Selection]:
    """Turns the arguments of :func:`analyzer.open` into those of :func:`analyze`.

    Raises :class:`analyzer.errors.UsageError` for an unknown dialect, rule or requirement and for a
    trace log without traces, :class:`analyzer.errors.CaptureError` for one that cannot be read.
    """
    from analyzer.checks.selection import Selection, no_such_rule
    from analyzer.migration.settings import Settings
    from dissectors.dialects import DIALECTS

    if dialect != "auto" and dialect not in DIALECTS:
        raise UsageError(f"no dialect is called {dialect!r}; there are auto, {', '.join(DIALECTS)}")
    if require not in (None, "completed"):
        raise UsageError(f"nothing is called {require!r} that can be required; there is completed")
    selected, ignored = (
        (names,) if isinstance(names, str) else tuple(names) for names in (select, ignore)
    )
    if unknown := unknown_rules([*selected, *ignored]):
        raise UsageError(no_such_rule(unknown[0]))
    settings = Settings(dialect=dialect, keylog=keylog)
    return settings, Selection(selected, ignored, deep=deep, traces=_traces(trace), require=require)


def _traces(
    logs: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
) -> tuple[TraceRun, ...]:
    import os

    paths = [logs] if isinstance(logs, (str, os.PathLike)) else list(logs)
    if not paths:
        return ()
    from analyzer.capture.trace_log import read_traces

    return read_traces(os.fspath(path) for path in paths)


def is_saved(source: Source) -> bool:
    """Whether the first bytes are those of a saved migration, not of a capture."""
    head = source.peek(BEGINNING)
    if head[:1] not in PRECEDING:
        return begins_stream(head)
    from analyzer.migration.saved_beginning import is_preceded

    return is_preceded(source)


def analyze_saved_file(
    path: str | os.PathLike[str] | bytes | Source,
    selection: Selection | None = None,
    *,
    assembler: Assembler | None = None,
    page_collector: PageCollector | None = None,
) -> SavedAnalysis:
    """Analyse a saved migration: a path, ``-`` for standard input, its bytes, or an open source.

    Raises :class:`analyzer.errors.CaptureError` for anything else.
    """
    from analyzer.checks.saved_files import SavedFileChecker
    from analyzer.migration.saved_file import read

    checker = SavedFileChecker(selection)
    pages = checker.page_collector or page_collector
    saved = read(path, device_collector=assembler, page_collector=pages)
    if assembler is not None:
        assembler.finish()
    return SavedAnalysis(saved, checker.findings(saved))


def analyze(
    path: str | os.PathLike[str] | bytes | Source,
    settings: Settings | None = None,
    selection: Selection | None = None,
    *,
    digest: bool = False,
    packets: bool = False,
    assembler: Assembler | None = None,
    watchers: tuple[Watcher, ...] = (),
    page_collector: PageCollector | None = None,
    progress: Callable[[float, int], None] | None = None,
    step: Callable[[Scan, Checker], None] | None = None,
) -> Analysis:
    """Analyse a capture: a path, ``-`` for standard input, its bytes, or an open source.

    ``digest`` reassembles every device's state and computes its sha256, ``packets`` keeps a table
    of all packets.  ``progress`` is called with the fraction read and the frames so far, ``step``
    with the analysis in progress.  Raises :class:`analyzer.errors.CaptureError` for a file that is
    not a capture.
    """
    checker = Checker(selection)
    if digest and assembler is None:
        from analyzer.migration.assembly import Assembler

        assembler = Assembler()
    table: PacketTable | None = None
    if packets:
        from analyzer.migration.table import PacketTable

        table = PacketTable()
        watchers = (table, *watchers)
    scan = Scan(
        path,
        settings,
        watchers=(*checker.watchers, *watchers),
        device_collector=assembler,
        page_collector=checker.page_collector or page_collector,
    )
    for fraction in scan.steps():
        if progress is not None:
            progress(fraction, scan.file.frames)
        if step is not None:
            step(scan, checker)
    if assembler is not None:
        assembler.finish()
    analysis = Analysis(scan, checker.findings(scan), assembler)
    if table is not None:
        table.finish(scan.migrations, scan.engine.first_time)
        table.mark(analysis.findings)
        analysis.packets = table
    return analysis
