"""Which rows of a table match a filter: one bit per row, and fast lookup of row and position."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, Any

import numpy as np

from analyzer.tui.pieces import PIECE

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["Matching"]


class Matching:
    """The matching rows among the first ``seen`` rows; ``len()`` counts them.

    Masks are added in the order of the table; a piece of :data:`PIECE` rows takes 8 KiB.  Other
    threads may read at the same time: rows are only ever added.
    """

    __slots__ = ("_bits", "_kept", "_open", "_totals", "seen")

    def __init__(self) -> None:
        self.seen = 0
        self._bits: list[npt.NDArray[np.uint8]] = []  # full pieces, then the unfinished one
        self._totals = [0]  # matches before each piece, then the total
        self._open: npt.NDArray[np.bool_] = np.empty(0, dtype=bool)
        self._kept: tuple[npt.NDArray[np.uint8], npt.NDArray[Any]] | None = None
        """The bits of the piece used last, and its matching rows."""

    def __len__(self) -> int:
        return self._totals[-1]

    def add(self, mask: npt.NDArray[np.bool_]) -> None:
        """Add the next rows; ``mask`` says whether each of them matches."""
        seen = self.seen + len(mask)
        mask = np.concatenate([self._open, mask])
        for begin in range(0, len(mask), PIECE):
            part = mask[begin : begin + PIECE]
            piece = (self.seen - len(self._open) + begin) // PIECE
            total = self._totals[piece] + int(part.sum())
            self._bits[piece : piece + 1] = [np.packbits(part)]
            self._totals[piece + 1 : piece + 2] = [total]
        self._open = mask[len(mask) - len(mask) % PIECE :]
        self.seen = seen

    def _rows(self, piece: int) -> npt.NDArray[Any]:
        bits, kept = self._bits[piece], self._kept
        if kept is None or kept[0] is not bits:
            kept = self._kept = bits, np.flatnonzero(np.unpackbits(bits))
        return kept[1]

    def row(self, position: int) -> int:
        """The row of match number ``position`` (from 0); raises :class:`IndexError`."""
        if not 0 <= position < len(self):
            raise IndexError(position)
        piece = bisect_right(self._totals, position) - 1
        return piece * PIECE + int(self._rows(piece)[position - self._totals[piece]])

    def rows(self) -> npt.NDArray[Any]:
        """All matching rows."""
        parts = [
            np.flatnonzero(np.unpackbits(bits)) + piece * PIECE
            for piece, bits in enumerate(self._bits)
        ]
        return np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)

    def position(self, row: int) -> int:
        """How many matches there are before a row."""
        piece = row // PIECE
        if piece >= len(self._bits):
            return len(self)
        return self._totals[piece] + int(np.searchsorted(self._rows(piece), row % PIECE))

    def __contains__(self, row: object) -> bool:
        if not isinstance(row, int) or not 0 <= row < self.seen:
            return False
        return bool(self._bits[row // PIECE][row % PIECE // 8] >> (7 - row % 8) & 1)
