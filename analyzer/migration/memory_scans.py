"""The scans over guest memory before the switchover: passes that carried pages.

Wire-format page, sections 3.6 and 8.  A scan may extend over several MULTIFD_FLUSH records, which a
source writes whenever it reaches the end of memory and continues from the start.  So there is one
before a scan's first page if that is below the page sent last, one after its last page, since the
source goes all the way round before it knows that no dirty page is left, and one in the middle if
the scan began in the middle of memory.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from operator import attrgetter

from analyzer.migration.switchover import switchover_window
from dissectors.main_stream import RAM_SECTION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from analyzer.migration.main_channel import MainFacts, Record
    from analyzer.migration.mark import Mark
    from analyzer.migration.migration import Migration
    from analyzer.migration.pages import PageRound, Position

__all__ = ["RAM", "Bounds", "MemoryScan", "scans_of", "setup_rounds"]

RAM = RAM_SECTION.decode()
OFFSET = attrgetter("offset")


class MemoryScan:
    """One scan, or a part of one.

    It consists of the SYNC rounds from ``first`` to before ``end`` on multifd channels, and of
    ``normal_pages`` and ``zero_pages`` on main, where it ends at ``cut`` (``None``: where the
    switchover begins).  ``has_pages`` is false only where no pages were seen at all.
    """

    __slots__ = ("cut", "end", "first", "has_pages", "lowest", "normal_pages", "zero_pages")

    def __init__(self, first: int, cut: Mark | None) -> None:
        self.first = first
        self.end = first
        self.cut = cut
        self.has_pages = False
        self.lowest: Position | None = None  # of its newest round, for goes_on_in()
        self.normal_pages = 0
        self.zero_pages = 0

    def add_round(self, found: PageRound) -> None:
        """Add the next SYNC round."""
        self.end += 1
        self.has_pages |= found.has_pages
        self.lowest = found.lowest

    def add_main(self, normal: int, zero: int) -> None:
        """Add pages on main."""
        self.normal_pages += normal
        self.zero_pages += zero
        self.has_pages |= bool(normal or zero)

    def goes_on_in(self, other: MemoryScan) -> bool:
        """Whether ``other``, which comes next, belongs to the same scan."""
        if not self.has_pages or not other.has_pages:
            return True
        # After the end of memory a scan continues from the start; a new one would continue from the
        # last page, or begin with a FLUSH.
        return self.lowest is not None and other.lowest is not None and other.lowest < self.lowest

    def take(self, other: MemoryScan) -> None:
        """Append ``other`` to this scan."""
        self.cut = other.cut
        self.end = other.end
        self.lowest = other.lowest
        self.add_main(other.normal_pages, other.zero_pages)
        self.has_pages |= other.has_pages


class Bounds:
    """The boundaries of phases on main.

    Setup ends at offset ``setup_end`` (0 if it was not captured), scans at ``limit``, the
    switchover, or the handshake of a recovery, at ``stop``.  ``setup_last`` is the time of setup's
    last byte, ``ram`` are the ``ram`` section's records, ``checkpoint`` is where COLO's first
    checkpoint begins.
    """

    __slots__ = ("checkpoint", "facts", "has_setup", "limit", "ram", "setup_end", "setup_last",
                 "stop", "window")  # fmt: skip

    def __init__(self, migration: Migration, facts: MainFacts) -> None:
        assert migration.main is not None
        self.facts = facts
        self.window = switchover_window(migration)
        self.checkpoint = facts.colo.begin if facts.colo is not None else None
        stop = facts.postcopy_run if self.window is not None else None
        stop = stop or facts.postcopy_resume or self.checkpoint
        self.stop = stop.offset if stop is not None else migration.main.flow.offset
        self.limit = self.window.offset if self.window is not None else self.stop
        self.ram = [record for record in facts.records if record.name == RAM]
        starts = [r for r in facts.records if r.kind == "SECTION_START" and r.offset < self.limit]
        self.has_setup = bool(starts) and not facts.began_late
        self.setup_end = 0
        self.setup_last = migration.main.flow.first.time
        if self.has_setup:
            self.setup_end = min(starts[-1].offset + starts[-1].length, self.limit)
            self.setup_last = starts[-1].last.time

    def between(self, begin: int, end: int) -> list[Record]:
        """The ``ram`` section's records that start between two offsets of main."""
        first, last = (bisect_left(self.ram, offset, key=OFFSET) for offset in (begin, end))
        return self.ram[first:last]


def scans_of(migration: Migration, bounds: Bounds | None = None) -> list[MemoryScan]:
    """The scans in order; the last one may continue in the switchover.

    ``bounds`` are the migration's, if the caller has them.  Without main each SYNC round with pages
    is a scan.  A recovered postcopy has none.
    """
    if migration.resumes_postcopy:
        return []
    facts, rounds = migration.main_facts, migration.pages.rounds
    if facts is None or migration.main is None or not migration.main.flow.carries:
        found = [MemoryScan(number, None) for number, one in enumerate(rounds) if one.has_pages]
        for scan in found:
            scan.add_round(rounds[scan.first])
        return found
    bounds = bounds or Bounds(migration, facts)
    first = setup_rounds(migration, bounds)
    if rounds[first:] and not facts.ram.flushes:
        pieces = _by_address(rounds, first, bounds)
    else:
        pieces = _by_flush(rounds, first, bounds)
    if not pieces and bounds.has_setup and bounds.limit > bounds.setup_end:
        pieces.append(MemoryScan(first, None))
    return _joined(_closed(pieces, bounds, migration.main.flow.offset))


def setup_rounds(migration: Migration, bounds: Bounds) -> int:
    """How many SYNC rounds belong to setup."""
    rounds = migration.pages.rounds
    return int(bounds.has_setup and bool(rounds) and not rounds[0].has_pages)


def _by_flush(rounds: list[PageRound], first: int, bounds: Bounds) -> list[MemoryScan]:
    """Split at FLUSH records; without multifd where addresses begin again.

    A background snapshot is one scan: pages that the guest is about to write come out of order.
    """
    pieces: list[MemoryScan] = []
    snapshot = bounds.facts.is_background_snapshot
    for found in bounds.facts.ram.iterations if not snapshot else ():
        if found.end is None or not bounds.setup_end < found.end.offset <= bounds.limit:
            continue
        pieces.append(MemoryScan(min(first + len(pieces), len(rounds)), found.end))
        pieces[-1].add_main(found.pages, found.zero_pages)
    for number, one in enumerate(rounds[first:]):
        if number == len(pieces):
            pieces.append(MemoryScan(first + number, None))
        pieces[number].add_round(one)
    return pieces


def _by_address(rounds: list[PageRound], first: int, bounds: Bounds) -> list[MemoryScan]:
    """Split where addresses begin again, for senders with a SYNC round per RAM section."""
    ends = bounds.facts.ram.section_ends[first:]
    wraps = [i.end.offset for i in bounds.facts.ram.iterations if i.end and i.reason == "wrap"]
    pieces: list[MemoryScan] = []
    top: Position | None = None
    begin = 0
    for number, found in enumerate(rounds[first:]):
        cut = ends[number] if number < len(ends) and ends[number].offset <= bounds.limit else None
        end = cut.offset if cut is not None else bounds.limit
        again = top is not None and found.lowest is not None and found.lowest <= top
        if again or not pieces or bisect_right(wraps, end) > bisect_right(wraps, begin):
            pieces.append(MemoryScan(first + number, None))
            top = None
        pieces[-1].cut = cut
        pieces[-1].add_round(found)
        for record in bounds.between(begin, end):
            pieces[-1].add_main(record.sent_pages, record.zero_pages)
        if found.highest is not None:
            top = found.highest if top is None else max(top, found.highest)
        begin = end
    for piece in pieces:
        piece.lowest = None  # already taken into account
    return pieces


def _closed(pieces: list[MemoryScan], bounds: Bounds, length: int) -> list[MemoryScan]:
    """Assign the remaining pages on main to the last scan, which ends where the switchover
    begins.
    """
    ram, late = bounds.facts.ram, bounds.between(bounds.limit, length)
    normal = ram.sent_pages - sum(r.sent_pages for r in late)
    zero = ram.zero_pages - sum(r.zero_pages for r in late)
    normal -= sum(piece.normal_pages for piece in pieces)
    zero -= sum(piece.zero_pages for piece in pieces)
    if normal > 0 or zero > 0:
        if not pieces or pieces[-1].cut is not None:
            pieces.append(MemoryScan(pieces[-1].end if pieces else 0, None))
        pieces[-1].add_main(max(0, normal), max(0, zero))
    if pieces:
        pieces[-1].cut = None
    return pieces


def _joined(pieces: list[MemoryScan]) -> list[MemoryScan]:
    scans: list[MemoryScan] = []
    for piece in pieces:
        if scans and scans[-1].goes_on_in(piece):
            scans[-1].take(piece)
        else:
            scans.append(piece)
    return scans
