"""Room for what a capture may have any number of in a few bytes each: records, messages, marks.

Each list has a limit of its own; this is the one over the lists of all migrations.
"""

from __future__ import annotations

__all__ = ["Room"]

ROWS_KEPT = 1 << 19
"""Most rows kept beyond those that every list may have, some 400 bytes each."""
ASSURED = 128
"""Rows that every list may have, whatever others hold."""


class Room:
    """What is left for the lists of one capture."""

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = ROWS_KEPT

    def has(self, rows: int, most: int) -> bool:
        """Whether a list with this many rows, which may have ``most``, gets one more."""
        if rows < ASSURED:
            return True
        if rows >= most or self.left <= 0:
            return False
        self.left -= 1
        return True
