"""What was carried when: bytes by kind and by channel in equal bins of time."""

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
    from analyzer.migration.table import PacketTable
    from analyzer.tui.time_axis import TimeWindow

    Floats: TypeAlias = npt.NDArray[np.float64]
    Ints: TypeAlias = npt.NDArray[np.int64]

__all__ = ["Bins", "spread"]


def spread(
    start: Ints, end: Ints, weight: Floats | Ints, window: tuple[int, int], bins: int
) -> Floats:
    """Weights that last from ``start`` to ``end`` (ns), spread evenly over the bins they touch.

    The sum over an unlimited window is the sum of the weights.
    """
    first, span = window[0], window[1] - window[0]
    # In floats: times that are years apart, in ns and bins, do not fit 64 bits.
    low = np.floor((start - first).astype(np.float64) * bins / span)
    high = np.maximum(np.floor((end - first).astype(np.float64) * bins / span), low)
    share = weight / (high - low + 1)
    inside = (high >= 0) & (low < bins)
    low = np.clip(low[inside], 0, bins).astype(np.int64)
    high = np.clip(high[inside] + 1, 0, bins).astype(np.int64)
    share = share[inside]
    change = np.bincount(low, share, bins + 1) - np.bincount(high, share, bins + 1)
    result = np.cumsum(change)[:bins]
    result[np.abs(result) < 1e-6] = 0.0
    return result


def shortened(start: Ints, end: Ints, missing: Ints, length: Floats) -> Ints:
    """Where stretches of time end that are as long as what is missing of a whole."""
    share = np.clip(missing / np.maximum(length, 1.0), 0.0, 1.0)
    return start + ((end - start) * share).astype(np.int64)


def span_of(table: PacketTable, first: int, last: int) -> tuple[int, int]:
    """From the first byte of some packets to the last."""
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
    (packets or records with missing bytes, for the share of their time that is missing).
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
        """The same in another window, as well as can be told without looking at the packets."""
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
        """Take in all packets of a migration and the records of the main channels of ``mains``.

        Stops early when ``cancelled``.  ``spans`` keeps the times of pieces of the table, so that
        those outside the window are passed over.
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
        return self

    def _records(self, records: list[Record], stream: int) -> None:
        """The records of a main channel."""
        if not records or stream not in self.streams:
            return
        lane = self.streams.index(stream)
        start = np.array([bounded(record.first.time) for record in records], dtype=np.int64)
        end = np.array([bounded(record.last.time) for record in records], dtype=np.int64)
        length = np.array([record.length for record in records], dtype=np.float64)
        missing = np.array([record.missing for record in records], dtype=np.int64)
        window = self.window.start, self.window.end
        carried = spread(start, end, length, window, self.bins)
        self.main += carried
        self.lane_main[lane] += carried
        lost = missing > 0
        end = shortened(start, end, missing, length)
        self.lane_missing[lane] += spread(
            start[lost], end[lost], np.ones(int(lost.sum())), window, self.bins
        )

    def _piece(self, table: PacketTable, migration: int, first: int, last: int) -> None:
        start, end = table.view("time", first, last), table.view("end_time", first, last)
        wanted = (end >= self.window.start) & (start < self.window.end)
        if migration != ALL:
            wanted &= table.view("migration", first, last) == migration
        if not wanted.any():
            return
        kind = table.view("kind", first, last)[wanted]
        stream = table.view("stream", first, last)[wanted]
        whole, cut = table.view("length", first, last), table.view("cut", first, last)
        length = (whole - cut)[wanted].astype(np.float64)
        zero = table.view("zero_pages", first, last)[wanted]
        normal = table.view("normal_pages", first, last)[wanted]
        missing = (table.view("missing", first, last) - cut)[wanted]
        start, end = start[wanted].astype(np.int64), end[wanted].astype(np.int64)
        ram, device = kind == RAM_PACKET, kind == DEVICE_STATE

        lost_end = shortened(start, end, missing, length)

        def put(
            into: Floats, mask: npt.NDArray[np.bool_], weight: Floats, until: Ints = end
        ) -> None:
            if mask.any():
                window = self.window.start, self.window.end
                into += spread(start[mask], until[mask], weight[mask], window, self.bins)

        put(self.ram, ram, length)
        put(self.zero, ram, zero.astype(np.float64))
        put(self.device, device, length)
        one = np.ones(len(kind))
        for lane, number in enumerate(self.streams):
            here = stream == number
            if here.any():
                put(self.lane_ram[lane], here & ram & (normal > 0), length)
                put(self.lane_zero[lane], here & ram & (normal == 0), length)
                put(self.lane_device[lane], here & device, length)
                put(self.lane_sync[lane], here & (kind == SYNC_PACKET), one)
                put(self.lane_missing[lane], here & (missing > 0), one, lost_end)
