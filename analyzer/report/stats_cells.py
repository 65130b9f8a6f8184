"""The cells of the tables of ``mfshark stats``, independent of the output."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TypeAlias

    from analyzer.migration.intervals import Span
    from analyzer.migration.sendings import BlockSendings

    Cell: TypeAlias = "str | Lane | Share | Heat"
    Row: TypeAlias = "tuple[Cell, ...]"

__all__ = ["ITERATIONS_SHOWN", "Heat", "Lane", "Share", "Table"]

ITERATIONS_SHOWN = 24


class Lane:
    """A cell that shows sorted, disjoint spans between two times; ``kind`` says of what."""

    __slots__ = ("begin", "end", "kind", "spans")

    def __init__(self, spans: Sequence[Span], begin: int, end: int, kind: str) -> None:
        self.spans = spans
        self.begin = begin
        self.end = end
        self.kind = kind


class Share:
    """A cell that shows how much of a whole something is."""

    __slots__ = ("part", "whole")

    def __init__(self, part: int, whole: int) -> None:
        self.part = part
        self.whole = whole


class Heat:
    """A cell that shows how often the pages of a RAM block were sent, from its first page to its
    last.
    """

    __slots__ = ("block",)

    def __init__(self, block: BlockSendings) -> None:
        self.block = block


class Table:
    """``title``, ``notes`` below it, ``head`` and ``rows``, and a note on what is left out
    (``more``).
    """

    __slots__ = ("head", "more", "notes", "rows", "title")

    def __init__(
        self,
        title: str,
        head: tuple[str, ...],
        rows: list[Row],
        notes: Sequence[str] = (),
        more: str = "",
    ) -> None:
        self.title = title
        self.notes = notes
        self.head = head
        self.rows = rows
        self.more = more
