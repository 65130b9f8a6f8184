"""Which rows of a table match a filter: one bit a row, and quick ways between row and position."""

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

    Masks are added in the order of the table; a piece of :data:`PIECE` rows takes 8 KiB.
    """

    __slots__ = ("_bits", "_kept", "_open", "_totals", "seen")

    def __init__(self) -> None:
        self.seen = 0
        self._bits: list[npt.NDArray[np.uint8]] = []  # full pieces, and the open one
        self._totals = [0]  # matches in front of every piece, and in all
        self._open: npt.NDArray[np.bool_] = np.empty(0, dtype=bool)
        self._kept: tuple[int, npt.NDArray[Any]] | None = None  # matching rows of one piece

    def __len__(self) -> int:
        return self._totals[-1]

    def add(self, mask: npt.NDArray[np.bool_]) -> None:
        """Whether each of the next rows matches."""
        self.seen += len(mask)
        if len(self._open):
            self._bits.pop()
            self._totals.pop()
        mask = np.concatenate([self._open, mask])
        self._kept = None
        for begin in range(0, len(mask), PIECE):
            part = mask[begin : begin + PIECE]
            self._bits.append(np.packbits(part))
            self._totals.append(self._totals[-1] + int(part.sum()))
        self._open = mask[len(mask) - len(mask) % PIECE :]

    def _rows(self, piece: int) -> npt.NDArray[Any]:
        if self._kept is None or self._kept[0] != piece:
            self._kept = piece, np.flatnonzero(np.unpackbits(self._bits[piece]))
        return self._kept[1]

    def row(self, position: int) -> int:
        """The row of the match number ``position``; raises :class:`IndexError`."""
        if not 0 <= position < len(self):
            raise IndexError(position)
        piece = bisect_right(self._totals, position) - 1
        return piece * PIECE + int(self._rows(piece)[position - self._totals[piece]])

    def position(self, row: int) -> int:
        """How many matches lie in front of a row."""
        piece = row // PIECE
        if piece >= len(self._bits):
            return len(self)
        return self._totals[piece] + int(np.searchsorted(self._rows(piece), row % PIECE))

    def __contains__(self, row: object) -> bool:
        if not isinstance(row, int) or not 0 <= row < self.seen:
            return False
        return bool(self._bits[row // PIECE][row % PIECE // 8] >> (7 - row % 8) & 1)
