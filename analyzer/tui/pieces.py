"""Long tables are looked at in pieces, so that a key is answered between two of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["PIECE", "pieces"]

PIECE = 1 << 16
"""Rows of one piece: a few milliseconds of work."""


def pieces(first: int, last: int) -> Iterator[tuple[int, int]]:
    """``first .. last`` (exclusive) in pieces of at most :data:`PIECE` rows."""
    for begin in range(first, last, PIECE):
        yield begin, min(last, begin + PIECE)
