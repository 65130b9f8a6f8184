"""A capture as the application sees it: it grows while it is read, then stays the same."""

from __future__ import annotations

import os
import time
from contextlib import nullcontext
from typing import TYPE_CHECKING

import numpy as np

from analyzer.analysis import Analysis, SavedAnalysis, analyze_saved_file
from analyzer.capture.growing import NotFollowedError
from analyzer.checks.checker import Checker
from analyzer.errors import CaptureError, unforeseen
from analyzer.migration.activity import Activity
from analyzer.migration.phases import phases_of
from analyzer.migration.rows import DEVICE_STATE
from analyzer.migration.scan import Scan
from analyzer.migration.statistics import figures_of
from analyzer.migration.switchover import switchover_window
from analyzer.migration.table import PacketTable
from analyzer.report.escape import terminal
from analyzer.report.saved_file import saved_verdict_text
from analyzer.report.stats_text import Bars, stats_text
from analyzer.report.style import Style
from analyzer.report.verdict import verdict_text
from analyzer.tui.gate import Pacer, no_long_collection
from analyzer.tui.pieces import pieces, with_payload
from analyzer.tui.saved import holds_saved_migration, scan_of
from analyzer.tui.state import ALL

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    import numpy.typing as npt

    from analyzer.capture.growing import GrowingSource
    from analyzer.checks.finding import Finding
    from analyzer.migration.channel import Channel
    from analyzer.migration.device import Device
    from analyzer.migration.migration import Migration
    from analyzer.migration.phases import Phase
    from analyzer.migration.rows import Buffer
    from analyzer.migration.settings import Settings

    Ints: TypeAlias = npt.NDArray[np.int64]

__all__ = ["Document"]

TIME_MAX = (1 << 62) - 1
"""Upper limit of times, ns since the epoch, that are looked for."""
PLACED_MAX = 100
"""At most this many findings without a packet are given one: each takes a pass over the table."""


class OneMigration(Analysis):
    """One of several migrations, as if the capture had no other."""

    __slots__ = ("_migrations",)

    def __init__(self, scan: Scan, findings: list[Finding], migrations: list[Migration]) -> None:
        super().__init__(scan, findings)
        self._migrations = migrations

    @property
    def migrations(self) -> list[Migration]:
        """Just the one."""
        return self._migrations


def of_packets(finding: Finding) -> bool:
    """Whether a finding is about something that packets carry."""
    spot = finding.spot
    return spot.device is not None or (spot.channel is not None and spot.channel.kind == "multifd")


def _size_of(path: str) -> int | None:
    try:
        return os.stat(path).st_size
    except OSError:
        return None


def _closest(begins: Ints, ends: Ints, value: int) -> tuple[int, int, int]:
    """The packet, of at least one, that fits ``value`` best, as (rank, tie-breaker, position).

    Rank 0: it begins at ``value``; 1: it ends there; 2: it began before and ends after it; 3: none
    of these, and it begins nearest.  The tie-breaker, lower is better, prefers the packet that
    begins last (ranks 0 to 2) or nearest (rank 3).  The smallest of several results is the best.
    """
    ways = (begins == value, ends == value, (begins < value) & (value < ends))
    for rank, found in enumerate(ways):
        rows = np.flatnonzero(found)
        if len(rows):
            at = int(rows[np.argmax(begins[rows])])
            return rank, -int(begins[at]), at
    distances = np.abs(begins - value)
    at = int(np.argmin(distances))
    return 3, int(distances[at]), at


class Document:
    """One capture.

    ``table`` has a row for every packet so far; ``fraction`` is the share of the file that has been
    read.  When ``done``:

    - ``findings`` are all findings; ``by_row`` those of each row of the table; ``near_row`` also
      those about channels and devices, at the row closest to their frame; ``row_of`` the row of a
      finding, by its position in ``findings``;
    - ``verdict`` is a leading word and a sentence;
    - ``error``, escaped for a terminal, says why reading stopped early, if it did; ``failed``:
      nothing could be read at all.

    ``saved`` is set for a saved migration, which has a main channel but no packets, frames or
    times.  ``live`` is the source of the bytes while they are being written, until
    :meth:`end_capture`.
    """

    def __init__(self, path: str, settings: Settings, live: GrowingSource | None = None) -> None:
        self.path = path
        self.settings = settings
        self.live = live
        self._ending = False
        self.table = PacketTable()
        self.activity = Activity()
        self.scan: Scan | None = None
        self.saved: SavedAnalysis | None = None
        self.findings: list[Finding] = []
        self.spans: dict[int, tuple[int, int]] = {}  # for Bins
        self.by_row: dict[int, list[Finding]] = {}
        self.near_row: dict[int, list[Finding]] = {}
        self.row_of: dict[int, int] = {}
        self.verdict = ("", "")
        self._verdicts: dict[int, tuple[str, str]] = {}
        self.fraction = 0.0
        self.done = False
        self.error = ""
        self.failed = False
        self.began = time.monotonic()
        self.elapsed = 0.0
        self._size = _size_of(path)
        shown = live.path if live is not None and live.file else path
        self.name = os.path.basename(shown)

    # -- loading, in a thread of its own ------------------------------------------------------

    def load(self, rest: Callable[[], bool]) -> bool:
        """Read the capture; ``rest`` is called after every step and returns whether to stop.

        Returns false if it was stopped.  Errors end up in ``error``; nothing is raised.
        """
        with no_long_collection() if self.live is None else nullcontext():
            try:
                if not self._read_as_it_comes(rest):
                    return False
            except CaptureError as error:
                self.error = terminal(str(error))
                self.failed = True
            except Exception as error:
                self.error = terminal(unforeseen(error))
        self.elapsed = time.monotonic() - self.began
        self.fraction = 1.0
        self.done = True
        return True

    def _read_as_it_comes(self, rest: Callable[[], bool]) -> bool:
        """Read a capture that may still be coming, or a file; returns whether it was read to its
        end.
        """
        if self.live is not None:
            try:
                return self._read(rest)
            except NotFollowedError:
                if not self.live.file:
                    raise
                self.live = None  # all of it has come now
        return self._read_file(rest)

    def _read_file(self, rest: Callable[[], bool]) -> bool:
        """Read a saved migration or a capture; returns whether it was read to its end."""
        if not holds_saved_migration(self.path):
            return self._read(rest)
        self._read_saved()
        return True

    def _read(self, rest: Callable[[], bool]) -> bool:
        """Read a capture; returns whether it was read to its end."""
        checker = Checker()
        watchers = (checker, self.table, self.activity, Pacer(rest))
        if self.live is not None:
            self.live.stops.append(lambda: self._ending or rest())
        self.scan = scan = Scan(self.live or self.path, self.settings, watchers=watchers)
        for fraction in scan.steps():
            self.fraction = fraction
            if rest():
                return False
        self.table.finish(scan.migrations, scan.engine.first_time)
        self.findings = checker.findings(scan)
        self._place_findings()
        self.table.mark(self.findings)
        self.verdict = verdict_text(Analysis(scan, self.findings))
        if scan.file.damage is not None:
            self.error = terminal(str(scan.file.damage))
        return True

    def verdict_of(self, number: int) -> tuple[str, str]:
        """The verdict on one migration, or on the whole capture."""
        migrations = self.migrations(number)
        if self.saved is not None or self.scan is None or number == ALL or not migrations:
            return self.verdict
        known = self._verdicts.get(number)
        if known is None:
            own = [finding for finding in self.findings if finding.migration is migrations[0]]
            analysis = OneMigration(self.scan, own, migrations)
            known = self._verdicts[number] = verdict_text(analysis)
        return known

    def end_capture(self) -> None:
        """End a live capture: take in no more frames and compute the verdict."""
        self._ending = True

    def _read_saved(self) -> None:
        """Read a saved migration."""
        analysis = analyze_saved_file(self.path)
        self.scan = scan_of(analysis.saved)
        self.saved = analysis
        self.table.finish([])
        self.findings = analysis.findings
        self.verdict = saved_verdict_text(analysis)
        if analysis.damage is not None:
            self.error = terminal(str(analysis.damage))

    def _place_findings(self) -> None:
        """Find the packet that each finding is about."""
        wanted: dict[int, list[tuple[int, int]]] = {}
        for at, finding in enumerate(self.findings):
            spot = finding.spot
            if spot.channel is not None and spot.offset is not None:
                wanted.setdefault(spot.channel.stream, []).append((spot.offset, at))
        for first, last in pieces(0, len(self.table)):
            streams = self.table.view("stream", first, last)
            for number, places in wanted.items():
                rows = np.flatnonzero(streams == number)
                if not len(rows):
                    continue
                begins = self.table.view("offset", first, last)[rows]
                lengths = self.table.view("length", first, last)[rows]
                for offset, at in places:
                    near = int(np.searchsorted(begins, offset, side="right")) - 1
                    if near >= 0 and offset < int(begins[near]) + int(lengths[near]):
                        self.row_of[at] = first + int(rows[near])
        for at, row in self.row_of.items():
            self.by_row.setdefault(row, []).append(self.findings[at])
        self.near_row = {row: list(found) for row, found in self.by_row.items()}
        self._place_others()

    def _place_others(self) -> None:
        """Find the packet closest to each finding about a multifd channel or a device."""
        others = [
            finding
            for at, finding in enumerate(self.findings)
            if at not in self.row_of and finding.spot.frame is not None and of_packets(finding)
        ]
        for finding in others[:PLACED_MAX]:
            channel = finding.spot.channel
            stream = channel.stream if channel is not None else None
            row = self.row_at_frame(finding.spot.frame or 0, stream)
            if row is not None:
                self.near_row.setdefault(row, []).append(finding)

    def changed(self) -> bool:
        """Whether the file's size has changed since it was read; false if the file is gone."""
        size = _size_of(self.path)
        return self.scan is not None and self.saved is None and size not in (None, self._size)

    def lack(self) -> str:
        """Why there are no packets, or not yet; empty if there are some."""
        if len(self.table):
            return ""
        if self.saved is not None:
            return "a saved migration has neither packets nor times; see Main (7)"
        if not self.done or not self.migrations():
            return self.obstacle()
        return "no multifd packets: all of the migration went over its main channel; see Main (7)"

    def obstacle(self) -> str:
        """Why there is no migration, or not yet; empty if there is one."""
        if not self.path and self.live is None:
            return "no capture is open; o opens one"
        if self.migrations():
            return ""
        tls = len(self.scan.grouper.tls) if self.scan is not None else 0
        if not self.done:
            later = f": {tls} TLS connections, read when the capture has ended" if tls else ""
            return "no packets yet" + (later if self.live is not None else "")
        if self.error:
            return self.error
        if tls:
            return "the migration is encrypted (TLS); --keylog FILE decrypts it; see Streams (6)"
        return "no migration in this capture; see Streams (6)"

    @property
    def remaining(self) -> float | None:
        """Estimated seconds until the capture has been read; ``None`` when done or too early."""
        if self.done or self.fraction < 0.01:
            return None
        return (time.monotonic() - self.began) * (1 - self.fraction) / self.fraction

    # -- contents -----------------------------------------------------------------------------

    def migrations(self, number: int = ALL) -> list[Migration]:
        """The migrations found so far, or the one of that number."""
        found = list(self.scan.migrations) if self.scan is not None else []
        return found if number == ALL else [m for m in found if m.number == number]

    def several(self, number: int) -> bool:
        """Whether ``number`` stands for more than one migration."""
        return number == ALL and len(self.migrations()) > 1

    def channels(self, number: int = ALL) -> list[Channel]:
        """Main, multifd by id, and the others, of one migration or of all."""
        channels: list[Channel] = []
        for migration in self.migrations(number):
            channels += [c for c in migration.channels if c.kind == "main"]
            channels += migration.multifd
            channels += [c for c in migration.channels if c.kind not in ("main", "multifd")]
        return channels

    @property
    def start(self) -> int:
        """Time of the first frame, ns since the epoch; until that is known, of the first packet."""
        first = self.scan.engine.first_time if self.scan is not None else 0
        return first or (self.table.column("time")[0] if len(self.table) else 0)

    @property
    def end(self) -> int:
        """Time of the last frame so far, ns since the epoch."""
        return self.scan.engine.last_time if self.scan is not None else 0

    def phases(self, number: int) -> list[Phase]:
        """The phases of one migration; none while the capture is being read, or for several."""
        migrations = self.migrations(number)
        if not self.done or len(migrations) != 1:
            return []
        return phases_of(migrations[0], self.activity.of(migrations[0]))

    def figures(self, number: int, width: int) -> list[str]:
        """Where the time of a migration (or of all) went, as lines of at most ``width`` cells; none
        while the capture is being read, and for a saved migration, which has no times.
        """
        if not self.done or self.scan is None or self.saved is not None:
            return []
        found = figures_of(self.scan, self.activity, self.migrations(number))
        style = Style(colour=True, width=width)
        return list(stats_text(found, style, Bars(), self.scan.engine.first_time))

    def switchover(self, number: int) -> int | None:
        """When the switchover of a migration began, ns since the epoch; ``None`` without one."""
        for migration in self.migrations(number):
            found = switchover_window(migration)
            if found is not None:
                return found.begin
        return None

    def severity(self, row: int) -> int:
        """The highest severity of a row's findings: 0 none, 1 info, 2 warning, 3 error."""
        found = self.by_row.get(row)
        return max(finding.rank for finding in found) + 1 if found else 0

    # -- looking things up --------------------------------------------------------------------

    def row_at_time(self, moment: int, stream: int | None = None) -> int | None:
        """The packet, of one stream or any, at a time (ns): see :func:`_closest`."""
        return self._nearest("time", "end_time", moment, stream)

    def row_at_frame(self, frame: int, stream: int | None = None) -> int | None:
        """The packet, of one stream or any, at a frame: see :func:`_closest`."""
        return self._nearest("frame", "end_frame", frame, stream)

    def _nearest(self, first: str, last: str, value: int, stream: int | None) -> int | None:
        """Looks through all rows: they are in order of their last bytes, and neither column is
        sorted.
        """
        value = max(-TIME_MAX, min(value, TIME_MAX))
        best: tuple[int, int, int] | None = None
        for low, high in pieces(0, len(self.table)):
            begins = self.table.view(first, low, high).astype(np.int64)
            ends = self.table.view(last, low, high).astype(np.int64)
            rows = None
            if stream is not None:
                rows = np.flatnonzero(self.table.view("stream", low, high) == stream)
                if not len(rows):
                    continue
                begins, ends = begins[rows], ends[rows]
            rank, distance, at = _closest(begins, ends, value)
            found = rank, distance, low + (at if rows is None else int(rows[at]))
            best = found if best is None else min(best, found)
        return None if best is None else best[2]

    def find_row(self, first: int = 0, **wanted: int) -> int | None:
        """The first row from ``first`` on whose columns have the given values."""
        for begin, end in pieces(first, len(self.table)):
            match = np.ones(end - begin, dtype=bool)
            for name, value in wanted.items():
                match &= self.table.view(name, begin, end) == value
            rows = np.flatnonzero(match)
            if len(rows):
                return begin + int(rows[0])
        return None

    def row_in(self, later: Document, row: int) -> int | None:
        """The row that a packet has in the same capture read again later: cut-off packets have the
        last rows, and others once they are whole.  ``None`` if the file has become too short.
        """
        table = self.table
        if row < len(table) and table.column("cut")[row]:
            stream, offset = table.column("stream")[row], table.column("offset")[row]
            found = later.find_row(stream=stream, offset=offset)
            row = row if found is None else found
        return row if row < len(later.table) else None

    def find_payload(self, row: int, by: int, shown: Callable[[int], bool]) -> int | None:
        """The next packet (the previous one if ``by`` is -1) that has a payload, is ``shown``, and
        is of the same kind and stream as the one in ``row``.
        """
        table = self.table
        parts = pieces(row + 1, len(table)) if by > 0 else reversed([*pieces(0, row)])
        for first, last in parts:
            match = with_payload(table, first, last)
            for name in ("kind", "stream"):
                match &= table.view(name, first, last) == table.column(name)[row]
            for at in np.flatnonzero(match)[::by].tolist():
                if shown(first + at):
                    return first + int(at)
        return None

    def cut_rows(self) -> dict[tuple[int, bytes, int, int, int | None], int]:
        """The rows of device-state packets that the end of a stream cut off, by migration, idstr,
        instance id, channel and index.
        """
        table, found = self.table, {}
        for first, last in pieces(0, len(table)):
            cut = table.view("cut", first, last) > 0
            cut &= table.view("kind", first, last) == DEVICE_STATE
            for row in (np.flatnonzero(cut) + first).tolist():
                number, instance, channel, idx = (
                    table.column(name)[row]
                    for name in ("migration", "instance_id", "channel", "idx")
                )
                key = number, table.name(row), instance, channel, idx if idx >= 0 else None
                found[key] = row
        return found

    def row_of_cut(self, device: tuple[int, bytes, int], index: int) -> int | None:
        """The packet in which the buffer of an index was cut off; ``device`` is (migration, idstr,
        instance id).
        """
        wanted = (device, index)
        rows = self.cut_rows().items()
        return next((row for key, row in rows if (key[:3], key[4]) == wanted), None)

    def row_of_buffer(self, device: Device, buffer: Buffer, migration: int) -> int | None:
        """The packet that carried a buffer of a device."""
        return self.find_row(
            migration=migration,
            idx=buffer.idx,
            instance_id=device.instance_id,
            offset=buffer.offset,
            frame=buffer.frame,
        )
