"""How often pages of guest memory were sent, as tables of ``mfshark stats``."""

from __future__ import annotations

from analyzer.migration.sendings import POSTCOPY, RoundCounts
from analyzer.report.stats_cells import ITERATIONS_SHOWN, Heat, Table
from dissectors.multifd import text_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from analyzer.migration.sendings import BlockSendings
    from analyzer.migration.statistics import Statistics
    from analyzer.report.stats_cells import Row

__all__ = ["page_tables"]

BLOCKS_SHOWN = 16
TIMES = ((1, 1), (2, 2), (3, 4), (5, 9), (10, 0xFFFF))
"""The ranges of counts that share a column."""
WHERE = "left to right: page offset; taller bar: sent more often"
ROUNDS = (
    "A round ends with SYNC (multifd) or with a FLUSH or section end (main). One iteration can "
    "have several rounds; empty rounds are left out."
)
UNCOUNTED = "there are more pages than are counted: these are lower bounds"


def page_tables(figures: Statistics, *, verbose: bool) -> Iterator[Table]:
    """Where in each block pages were sent again, and in which round."""
    blocks = figures.blocks or []
    bounds = (UNCOUNTED,) if figures.uncounted else ()
    again = [block for block in blocks if any(r.again for r in block.rounds.values())]
    shown = again if verbose else again[:BLOCKS_SHOWN]
    head = ("block", "where", *map(_column, TIMES), "most")
    more = f"{len(again) - len(shown)} more blocks" if len(again) > len(shown) else ""
    yield Table(
        "Pages sent more than once", head, [_block(b) for b in shown], (WHERE, *bounds), more
    )
    rounds = _rounds(blocks)
    rows = [_round(number, rounds[number]) for number in sorted(rounds)]
    kept = rows if verbose else rows[:ITERATIONS_SHOWN]
    more = f"{len(rows) - len(kept)} more rounds" if len(rows) > len(kept) else ""
    head = ("round", "pages", "zero pages", "sent before")
    yield Table("Pages by round", head, kept, (ROUNDS, *bounds), more)


def _column(times: tuple[int, int]) -> str:
    low, high = times
    if low == high:
        return {1: "once", 2: "twice"}[low]
    return f"{low} up" if high == TIMES[-1][1] else f"{low} to {high}"


def _block(block: BlockSendings) -> Row:
    counts = block.sent_times()
    columns = (
        f"{sum(count for times, count in counts.items() if low <= times <= high):,}"
        for low, high in TIMES
    )
    return (text_of(block.name), Heat(block), *columns, f"{max(counts):,}")


def _rounds(blocks: Sequence[BlockSendings]) -> dict[int, RoundCounts]:
    """The rounds of all blocks together."""
    rounds: dict[int, RoundCounts] = {}
    for block in blocks:
        for number, tally in block.rounds.items():
            rounds.setdefault(number, RoundCounts()).add(tally)
    return rounds


def _round(number: int, tally: RoundCounts) -> Row:
    name = "postcopy" if number == POSTCOPY else str(number)
    return name, f"{tally.pages:,}", f"{tally.zero_pages:,}", f"{tally.again:,}"
