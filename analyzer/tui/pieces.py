"""Splits long tables into pieces, so that keys are answered between two of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analyzer.migration.rows import DEVICE_STATE, RAM_PACKET

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    import numpy.typing as npt

    from analyzer.migration.table import PacketTable

__all__ = ["PIECE", "pieces", "with_payload"]

PIECE = 1 << 16
"""Rows per piece: a few milliseconds of work."""


def with_payload(table: PacketTable, first: int, last: int) -> npt.NDArray[np.bool_]:
    """Which of the rows ``first .. last`` (exclusive) carry pages or a device-state buffer."""
    kind = table.view("kind", first, last)
    pages = (table.view("normal_pages", first, last) | table.view("zero_pages", first, last)) != 0
    found: npt.NDArray[np.bool_] = (kind == DEVICE_STATE) | ((kind == RAM_PACKET) & pages)
    return found


def pieces(first: int, last: int) -> Iterator[tuple[int, int]]:
    """``first .. last`` (exclusive) in pieces of at most :data:`PIECE` rows."""
    for begin in range(first, last, PIECE):
        yield begin, min(last, begin + PIECE)
