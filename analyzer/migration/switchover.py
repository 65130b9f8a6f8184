"""The switchover as seen on the wire: from the stop of the guest to its start on the destination.

Wire-format page, section 8.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from analyzer.migration.main_channel import MainFacts
    from analyzer.migration.mark import Mark
    from analyzer.migration.migration import Migration
    from analyzer.tcp.requests import Place

__all__ = ["Switchover", "switchover_of", "switchover_window"]

LAST_SEEN = "the last byte seen"


class Switchover:
    """A switchover.

    ``begin`` and ``end`` are in ns since the epoch, ``first`` and ``last`` their frames.
    ``began_by`` and ``ended_by`` name the events taken for them; ``offset`` is the stream offset on
    main where it begins.  The guest was stopped before ``begin``, so the duration is a lower bound
    of its downtime.  ``finished`` says that its end was seen; else ``end`` is the last byte seen.
    """

    __slots__ = ("began_by", "begin", "end", "ended_by", "finished", "first", "last", "offset")

    def __init__(
        self,
        began: Mark,
        began_by: str,
        ended: Mark | Place,
        ended_by: str,
        *,
        finished: bool = True,
    ) -> None:
        self.begin = began.time
        self.offset = began.offset
        self.first = began.frame
        self.began_by = began_by
        self.end = ended.time
        self.last = ended.frame
        self.ended_by = ended_by
        self.finished = finished

    @property
    def duration(self) -> int:
        """How long it lasted, in ns."""
        return self.end - self.begin


def switchover_of(migration: Migration) -> Switchover | None:
    """The complete switchover; ``None`` unless both its ends were seen, and when they were."""
    found = switchover_window(migration)
    return found if found is not None and found.finished and migration.timed else None


def switchover_window(migration: Migration) -> Switchover | None:
    """The switchover as far as it was captured: if its end was not, up to the last byte of any
    channel.

    ``None`` if its beginning was not seen on main.
    """
    facts = migration.main_facts
    began = _began(facts) if facts is not None else None
    if facts is None or began is None:
        return None
    ended = _ended(migration, facts)
    if ended is not None and ended[0].time >= began[0].time:
        return Switchover(*began, *ended)
    last = _last_byte(migration)
    if last.time < began[0].time:
        return None
    return Switchover(*began, last, LAST_SEEN, finished=False)


def _last_byte(migration: Migration) -> Place:
    return max((channel.flow.last for channel in migration.streams), key=lambda place: place.time)


def _began(facts: MainFacts) -> tuple[Mark, str] | None:
    if facts.postcopy_resume is not None:
        return None  # it was before the pause
    if facts.colo is not None and facts.began_late and facts.description is None:
        return None  # all that was seen belongs to checkpoints
    if facts.switchover_start is not None:
        return facts.switchover_start, "SWITCHOVER_START"
    if facts.packaged is not None:
        return facts.packaged, "PACKAGED"
    if facts.first_section_end is not None:
        return facts.first_section_end, "the first SECTION_END"
    return None


def _ended(migration: Migration, facts: MainFacts) -> tuple[Mark | Place, str] | None:
    returned = migration.return_facts
    if facts.postcopy_run is not None:
        return facts.postcopy_run, "POSTCOPY_RUN"
    if returned is not None and returned.shut == 0 and returned.shut_mark is not None:
        return returned.shut_mark, "SHUT on the return path"
    if returned is not None and returned.ready is not None:
        return returned.ready, "CHECKPOINT_READY on the return path"
    if facts.eof is None:
        return None
    cut = any(channel.cut_in is not None for channel in migration.multifd)
    return _last_byte(migration), LAST_SEEN if cut else "the last byte of the state"
