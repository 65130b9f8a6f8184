"""Traffic over time: bytes by kind and by channel in equal bins of time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from analyzer.migration.rows import DEVICE_STATE, RAM_PACKET, SYNC_PACKET
from analyzer.tui.pieces import PIECE, pieces
from analyzer.tui.state import ALL
from analyzer.tui.time_axis import bounded

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TypeAlias

    import numpy.typing as npt

    from analyzer.migration.main_channel import Record
    from analyzer.migration.migration import Migration
    from analyzer.migration.preempt_walker import Burst
    from analyzer.migration.table import PacketTable
    from analyzer.tui.time_axis import TimeWindow

    Floats: TypeAlias = npt.NDArray[np.float64]
    Ints: TypeAlias = npt.NDArray[np.int64]

__all__ = ["Bins", "spread"]

STEP = 2.0**-20
"""Unit of running sums, so that they are exact in floats."""
PAGES, ZEROS, STATE, SYNCS, NOTHING = range(5)
"""Kinds of packets on a lane: RAM with normal pages, RAM without, device state, SYNC, others."""


class Spread:
    """Distributes the weights of time intervals over the bins of a window, in proportion to the
    share of the interval that lies in each bin.  All times are in ns.
    """

    def __init__(self, start: Ints, end: Ints, window: tuple[int, int], bins: int) -> None:
        first, span = window[0], window[1] - window[0]
        self.bins = bins
        # In floats: ns of years times the number of bins would overflow 64 bits.
        at = (start - first).astype(np.float64) * bins / span
        low = np.floor(at)
        low[at == bins] = bins - 1  # the end of the window belongs to the last bin
        until = (end - first).astype(np.float64) * bins / span
        high = np.maximum(np.ceil(until) - 1, low)  # an end on a bin's edge belongs to that bin
        self._several = several = np.flatnonzero(high > low)
        self._low = self._place(low)
        low, high, at, until = low[several], high[several], at[several], until[several]
        length = (end - start)[several].astype(np.float64) * bins / span
        head = np.clip((low + 1 - at) / length, 0.0, 1.0)
        tail = np.clip((until - high) / length, 0.0, 1.0)
        self._head = np.ones(len(start))
        self._head[several] = head
        self._tail = np.where(high == low + 1, 1.0 - head, tail)
        self._each = 1.0 / length
        self._between = np.minimum(high - low - 1, bins)
        self._behind = self._place(low + 1)
        self._high = self._place(high)

    def _place(self, column: Floats) -> Ints:
        """Bin numbers plus 1: 0 is everything in front of the window, ``bins`` + 1 behind it."""
        found: Ints = (np.clip(column, -1, self.bins) + 1).astype(np.int64)
        return found

    def sums(self, rows: Ints, weight: Floats | Ints, count: int) -> Floats:
        """Sums of weights, an array of ``count`` rows by bins; ``rows`` are the intervals' rows."""
        wide = self.bins + 2
        size = count * wide
        base = rows * wide
        found = np.bincount(base + self._low, weight * self._head, size).astype(np.float64)
        some = self._several
        if len(some):
            base, weight = base[some], weight[some].astype(np.float64)
            share = weight * self._each
            # In multiples of STEP, which add up without rounding, so that the running sum returns
            # to exactly 0; the remainder goes into the last bin.
            each = np.floor(share / STEP) * STEP
            rest = weight * self._tail + (share - each) * self._between
            found += np.bincount(base + self._high, rest, size)
            change = np.bincount(base + self._behind, each, size)
            change -= np.bincount(base + self._high, each, size)
            found += np.cumsum(change.reshape(count, wide), axis=1).ravel()
            found[found < STEP / 2] = 0.0
        whole: Floats = found.reshape(count, wide)[:, 1:-1]
        return whole


def spread(
    start: Ints, end: Ints, weight: Floats | Ints, window: tuple[int, int], bins: int
) -> Floats:
    """Weights by bin, each spread evenly from its ``start`` to its ``end`` (ns).

    If the window contains all of them, the bins add up to the sum of the weights.
    """
    rows = np.zeros(len(start), dtype=np.int64)
    found: Floats = Spread(start, end, window, bins).sums(rows, weight, 1)[0]
    return found


def shortened(start: Ints, end: Ints, missing: Ints, length: Floats) -> Ints:
    """The ends of intervals cut down to the share of ``length`` that is ``missing`` (bytes)."""
    share = np.clip(missing / np.maximum(length, 1.0), 0.0, 1.0)
    return start + ((end - start) * share).astype(np.int64)


def span_of(table: PacketTable, first: int, last: int) -> tuple[int, int]:
    """Times (ns) of the first and the last byte of rows ``first .. last`` (exclusive)."""
    begin = table.view("time", first, last).min()
    return int(begin), int(table.view("end_time", first, last).max())


DATA = (
    "ram", "zero", "device", "main", "lane_ram", "lane_zero", "lane_device", "lane_main",
    "lane_sync", "lane_missing",
)  # fmt: skip


class Bins:
    """The packets of one migration in a window of time.

    By bin: ``ram``, ``device`` and ``main`` bytes on the wire, ``zero`` pages.  By lane and bin,
    lanes in the order of ``streams``: ``lane_ram``, ``lane_zero`` (bytes of packets with zero
    pages only), ``lane_device``, ``lane_main``, ``lane_sync`` (packets), ``lane_missing``
    (packets or records with missing bytes, over the share of their time that is missing).
    """

    def __init__(self, window: TimeWindow, bins: int, streams: Sequence[int]) -> None:
        self.window = window
        self.bins = bins
        self.streams = tuple(streams)
        self.ram = np.zeros(bins)
        self.zero = np.zeros(bins)
        self.device = np.zeros(bins)
        self.main = np.zeros(bins)
        shape = (len(self.streams), bins)
        self.lane_ram = np.zeros(shape)
        self.lane_zero = np.zeros(shape)
        self.lane_device = np.zeros(shape)
        self.lane_main = np.zeros(shape)
        self.lane_sync = np.zeros(shape)
        self.lane_missing = np.zeros(shape)

    @property
    def bin_ns(self) -> float:
        """Length of a bin, ns."""
        return self.window.span / self.bins

    def resampled(self, window: TimeWindow) -> Bins:
        """The same data in another window, approximated without looking at the packets."""
        made = Bins(window, self.bins, self.streams)
        middles = (np.arange(self.bins) + 0.5) * (window.span / self.bins)
        shift = window.start - self.window.start
        at = np.floor((middles + shift) * (self.bins / self.window.span))
        known = (at >= 0) & (at < self.bins)
        at = np.clip(at, 0, self.bins - 1).astype(np.int64)
        for name in DATA:
            values = np.where(known, getattr(self, name)[..., at], 0.0)
            setattr(made, name, values * (window.span / self.window.span))
        return made

    def fill(
        self,
        table: PacketTable,
        migration: int,
        mains: Sequence[Migration] = (),
        cancelled: Callable[[], bool] = lambda: False,
        spans: dict[int, tuple[int, int]] | None = None,
    ) -> Bins:
        """Add all packets of a migration, the main-channel records of ``mains``, and what their
        preempt channels carried.

        Stops early when ``cancelled()``.  ``spans`` caches the time spans of pieces of the table,
        so that pieces outside the window are skipped.
        """
        spans = {} if spans is None else spans
        for first, last in pieces(0, len(table)):
            if cancelled():
                break
            low, high = spans.get(first) or span_of(table, first, last)
            if last - first == PIECE:
                spans[first] = low, high
            if high >= self.window.start and low < self.window.end:
                self._piece(table, migration, first, last)
        for one in mains:
            if one.main is not None and one.main_facts is not None:
                self._records(list(one.main_facts.records), one.main.stream)
            if one.preempt is not None and one.preempt_facts is not None:
                self._bursts(list(one.preempt_facts.bursts), one.preempt.stream)
        return self

    def _bursts(self, bursts: list[Burst], stream: int) -> None:
        """Add what a postcopy preempt channel carried: RAM."""
        if not bursts or stream not in self.streams:
            return
        start = np.array([bounded(burst.start) for burst in bursts], dtype=np.int64)
        end = np.array([bounded(burst.end) for burst in bursts], dtype=np.int64)
        size = np.array([burst.bytes for burst in bursts], dtype=np.float64)
        carried = spread(start, end, size, (self.window.start, self.window.end), self.bins)
        self.ram += carried
        self.lane_ram[self.streams.index(stream)] += carried

    def _records(self, records: list[Record], stream: int) -> None:
        """Add the records of a main channel."""
        if not records or stream not in self.streams:
            return
        lane = self.streams.index(stream)
        start = np.array([bounded(record.first.time) for record in records], dtype=np.int64)
        end = np.array([bounded(record.last.time) for record in records], dtype=np.int64)
        length = np.array([record.length for record in records], dtype=np.float64)
        missing = np.array([record.missing for record in records], dtype=np.int64)
        window = self.window.start, self.window.end
        carried = spread(start, end, length, window, self.bins)
        zero = np.array([record.zero_pages for record in records], dtype=np.int64)
        self.zero += spread(start, end, zero, window, self.bins)
        self.main += carried
        self.lane_main[lane] += carried
        lost = missing > 0
        end = shortened(start, end, missing, length)
        self.lane_missing[lane] += spread(
            start[lost], end[lost], np.ones(int(lost.sum())), window, self.bins
        )

    def _piece(self, table: PacketTable, migration: int, first: int, last: int) -> None:
        window = self.window
        start, end = table.view("time", first, last), table.view("end_time", first, last)
        wanted = (end >= window.start) & (start < window.end)
        if window.end == window.last:
            wanted |= start == window.end
        if migration != ALL:
            wanted &= table.view("migration", first, last) == migration
        if not wanted.any():
            return

        def column(name: str) -> Ints:
            return table.view(name, first, last)[wanted].astype(np.int64)

        kind, cut, zero = column("kind"), column("cut"), column("zero_pages")
        begin, until = start[wanted].astype(np.int64), end[wanted].astype(np.int64)
        length = (column("length") - cut).astype(np.float64)
        lanes, lane = len(self.streams), self._lane_of(column("stream"))
        # One row for each kind and lane, so that all sums are made in one pass.
        series = np.full(len(kind), NOTHING)
        ram = kind == RAM_PACKET
        series[ram] = np.where(column("normal_pages")[ram] > 0, PAGES, ZEROS)
        series[kind == DEVICE_STATE] = STATE
        series[kind == SYNC_PACKET] = SYNCS
        length[kind == SYNC_PACKET] = 1.0
        found = Spread(begin, until, (window.start, window.end), self.bins)
        sums = found.sums(series * (lanes + 1) + lane, length, (NOTHING + 1) * (lanes + 1))
        by_kind = sums.reshape(NOTHING + 1, lanes + 1, self.bins)
        self.lane_ram += by_kind[PAGES, :lanes]
        self.lane_zero += by_kind[ZEROS, :lanes]
        self.lane_device += by_kind[STATE, :lanes]
        self.lane_sync += by_kind[SYNCS, :lanes]
        self.ram += by_kind[PAGES].sum(axis=0) + by_kind[ZEROS].sum(axis=0)
        self.device += by_kind[STATE].sum(axis=0)
        self.zero += found.sums(np.zeros(len(kind), np.int64), np.where(ram, zero, 0), 1)[0]
        missing = column("missing") - cut
        lost = np.flatnonzero(missing > 0)
        if len(lost):
            begin, until = begin[lost], until[lost]
            until = shortened(begin, until, missing[lost], length[lost])
            where = Spread(begin, until, (window.start, window.end), self.bins)
            sums = where.sums(lane[lost], np.ones(len(lost)), lanes + 1)
            self.lane_missing += sums[:lanes]

    def _lane_of(self, stream: Ints) -> Ints:
        """The lane of each stream; streams without one get the number behind the last lane."""
        lanes = len(self.streams)
        if not lanes:
            return np.zeros(len(stream), dtype=np.int64)
        known = np.array(self.streams, dtype=np.int64)
        order = np.argsort(known)
        at = np.minimum(np.searchsorted(known[order], stream), lanes - 1)
        lane: Ints = np.where(known[order][at] == stream, order[at], lanes)
        return lane
