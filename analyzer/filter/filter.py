"""Compiled display filters."""

from __future__ import annotations

from analyzer.filter.compiler import Compiler
from analyzer.filter.masks import Rows

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    import numpy as np

    from analyzer.filter.masks import Mask
    from analyzer.migration.table import PacketTable

__all__ = ["Filter"]


class Filter:
    """A display filter, compiled; raises :class:`analyzer.filter.error.FilterError`.

    ``text`` is what was compiled, ``fields`` the names of the fields in it.  An empty text matches
    every packet.  As in Wireshark, a comparison is false if the packet does not have the field,
    even with ``!=``; ``!(a == 1)`` is then true.
    """

    __slots__ = ("_test", "fields", "text")

    def __init__(self, text: str) -> None:
        compiler = Compiler()
        self.text = text
        self._test = compiler.compile(text)
        self.fields = frozenset(compiler.fields)

    def mask(self, table: PacketTable, first: int = 0, last: int | None = None) -> Mask:
        """Which of the rows ``first`` to ``last`` (exclusive) match; safe while the table grows.
        Raises FilterError if a pattern takes too long.
        """
        count = len(table)
        last = count if last is None else min(last, count)
        return self._test(Rows(table, min(first, last), last))

    def rows(
        self, table: PacketTable, first: int = 0, last: int | None = None
    ) -> np.ndarray[Any, np.dtype[np.intp]]:
        """The rows that match, ascending."""
        return self.mask(table, first, last).nonzero()[0] + first
