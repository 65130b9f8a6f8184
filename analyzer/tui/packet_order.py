"""Sorts the packet list by one of its columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from analyzer.migration.rows import CONFIG_STATE, DEVICE_STATE, RAM_PACKET
from dissectors.multifd import text_of

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from analyzer.tui.document import Document
    from analyzer.tui.matching import Matching
    from analyzer.tui.state import SortedBy

    Values = npt.NDArray[Any]
    Keys = Callable[["Shown"], Values]

__all__ = ["COLUMNS", "PacketOrder", "sort_packets"]


class Shown:
    """The packets that are shown, in the order of the table."""

    def __init__(self, document: Document, matching: Matching | None, time_format: str) -> None:
        self.document = document
        self.time_format = time_format
        self.rows: Values = np.arange(len(document.table)) if matching is None else matching.rows()

    def column(self, name: str) -> Values:
        """A column of the packet table."""
        return self.document.table.view(name)[self.rows]


class PacketOrder:
    """Translates positions in the table's order (``natural``) and positions in the sorted list.

    Packets that were added later stand at the end, unsorted.
    """

    __slots__ = ("_natural", "_position")

    def __init__(self, natural: Values) -> None:
        self._natural = natural.astype(np.uint32)
        self._position = np.empty_like(self._natural)
        self._position[self._natural] = np.arange(len(natural), dtype=np.uint32)

    def natural(self, position: int) -> int:
        """Where a packet stands in the table's order."""
        return int(self._natural[position]) if position < len(self._natural) else position

    def position(self, natural: int) -> int:
        """Where a packet stands in the sorted list."""
        return int(self._position[natural]) if natural < len(self._position) else natural


def sort_packets(
    document: Document, matching: Matching | None, time_format: str, by: SortedBy
) -> PacketOrder:
    """The order of the packets that are shown; those with equal values keep the table's order."""
    shown = Shown(document, matching, time_format)
    values = COLUMNS[by.column](shown)
    if not by.descending:
        return PacketOrder(np.argsort(values, kind="stable"))
    backwards = np.argsort(values[::-1], kind="stable")[::-1]
    return PacketOrder(len(values) - 1 - backwards)


def _time(shown: Shown) -> Values:
    times = shown.column("time")
    if shown.time_format == "previous":
        return np.diff(times, prepend=times[:1])
    if shown.time_format == "switchover":
        migrations = shown.column("migration")
        for number in np.unique(migrations).tolist():
            times[migrations == number] -= shown.document.switchover(number) or 0
    return times


def _kind(shown: Shown) -> Values:
    kind, normal = shown.column("kind"), shown.column("normal_pages")
    config = (shown.column("idx") >= 0) & (shown.column("state_flags") & CONFIG_STATE != 0)
    special = np.where(kind == DEVICE_STATE, config, (kind == RAM_PACKET) & (normal == 0))
    found: Values = 2 * kind + special
    return found


def _name(shown: Shown) -> Values:
    names = list(shown.document.table.names)
    texts = sorted(range(len(names)), key=lambda number: text_of(names[number]))
    ranks = np.empty(len(names), dtype=np.int64)
    ranks[texts] = np.arange(len(names))
    found: Values = ranks[shown.column("name")]
    return found


def _number(shown: Shown) -> Values:
    index = np.maximum(shown.column("idx"), 0).astype(np.uint64)
    return np.where(shown.column("kind") == DEVICE_STATE, index, shown.column("packet_num"))


def _flags(shown: Shown) -> Values:
    found: Values = shown.column("flags").astype(np.uint64) << 32 | shown.column("state_flags")
    return found


def _pages(shown: Shown) -> Values:
    return shown.column("normal_pages").astype(np.int64) + shown.column("zero_pages")


def _notes(shown: Shown) -> Values:
    document = shown.document
    severities = np.zeros(len(document.table), dtype=np.int8)
    for row in document.by_row:
        severities[row] = document.severity(row)
    lacking = np.where(shown.column("missing") > 0, 2, 0)
    return np.maximum(severities[shown.rows], lacking)


def _plain(name: str) -> Keys:
    return lambda shown: shown.column(name)


COLUMNS: dict[str, Keys] = {
    "number": lambda shown: shown.rows,
    "frame": _plain("frame"),
    "last": _plain("end_frame"),
    "migration": _plain("migration"),
    "time": _time,
    "channel": _plain("channel"),
    "kind": _kind,
    "name": _name,
    "index": _number,
    "flags": _flags,
    "pages": _pages,
    "size": _plain("length"),
    "notes": _notes,
}
"""What each column of the packet list is sorted by, by the key of the column."""
