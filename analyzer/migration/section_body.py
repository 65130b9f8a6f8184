"""A section body with unknown structure: its end is found by searching for its footer.

Wire-format page, section 6.9.
"""

from __future__ import annotations

from analyzer.migration.broken import Broken
from analyzer.migration.looking import window
from analyzer.migration.main_channel import BODIES_KEPT
from analyzer.migration.main_search import OVERLAP, Ahead
from analyzer.tcp.requests import Gap, Skip, Take
from dissectors.main_stream import RecordType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator

    from analyzer.migration.broken import Steps
    from analyzer.migration.main_channel import MainFacts, Record, Section
    from analyzer.tcp.reader import Reader
    from analyzer.tcp.requests import Reply, Request

__all__ = ["WINDOW", "walk_unknown_body"]

FIRST_LOOK = 512
CONFIRMATION = 64 << 10
"""How many bytes to search for confirmation by the next section before a footer is accepted
without.
"""

WINDOW = 1 << 20
"""The most bytes that are searched at once; halved by every end that had to be guessed."""
LEAST_WINDOW = 4096
"""What that shrinks to at least."""


def walk_unknown_body(
    reader: Reader, main: MainFacts, section: Section, record: Record, limit: int | None
) -> Steps:
    """Skip a body, which ends before stream offset ``limit``, up to its footer; keep a FULL
    section's bytes while there is room.
    """
    # Each guess halves the next window, so that no stream can make every section cost a long
    # search.
    most = max(WINDOW >> main.doubtful_ends, LEAST_WINDOW)
    size = FIRST_LOOK
    record.by_search = True
    kept: list[bytes] | None = [] if record.kind == RecordType.SECTION_FULL.name else None
    while True:
        room = size if limit is None else max(min(size, limit - reader.offset), 0)
        data, cut = yield from window(room)
        over = cut is not None or room < size  # no more can be seen
        everything = over or len(data) >= most
        ahead = Ahead(data, main.sections, over and not isinstance(cut, Gap))
        if main.footers is False:
            at, sure = ahead.without_footer()
        else:
            at, sure = _find_footer(ahead, main, section, everything)
            if at < 0 and everything:
                at = ahead.next_record(section.section_id)
        if at >= 0 and (sure or everything or len(data) >= CONFIRMATION):
            main.doubtful_ends += not sure and not over
            break
        if over:
            return Broken(cut, "section body", reader.offset)
        if everything:
            kept = yield from _advance(main, kept, len(data) - OVERLAP)
        else:
            size *= 2
    kept = yield from _advance(main, kept, at)
    if kept is not None:
        record.body = b"".join(kept)
    return None


def _find_footer(
    ahead: Ahead, main: MainFacts, section: Section, everything: bool
) -> tuple[int, bool]:
    """A body's footer, and whether it is certain.

    The id of a section whose START was not seen may be wrong, so any section's footer counts then.
    """
    if section.guessed and not main.interrupted:
        at = ahead.any_footer()
        return at, at >= 0
    at, sure = ahead.own_footer(section.section_id)
    if at < 0 and section.guessed and everything:
        at = ahead.any_footer()
    return at, sure


def _advance(
    main: MainFacts, kept: list[bytes] | None, size: int
) -> Generator[Request, Reply, list[bytes] | None]:
    """Skip ``size`` bytes, and add them to ``kept`` unless too many are kept already."""
    if kept is None or main.bodies_kept + size > BODIES_KEPT:
        yield Skip(size)
        return None
    data = yield Take(size)
    assert isinstance(data, bytes)
    kept.append(data)
    main.bodies_kept += size
    return kept
