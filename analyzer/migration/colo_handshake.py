"""COLO's checkpoints with the secondary's answers: where the time of the pause went.

Wire-format page, section 6.10.
"""

from __future__ import annotations

from bisect import bisect_left
from itertools import pairwise

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from analyzer.migration.colo import Checkpoint
    from analyzer.migration.mark import Mark
    from analyzer.migration.migration import Migration

__all__ = ["Handshake", "handshakes_of"]


class Handshake:
    """A checkpoint with the secondary's answers: the marks ``replied``, ``received`` and
    ``loaded``, ``None`` if not seen.
    """

    __slots__ = ("checkpoint", "loaded", "received", "replied")

    def __init__(
        self,
        checkpoint: Checkpoint,
        replied: Mark | None,
        received: Mark | None,
        loaded: Mark | None,
    ) -> None:
        self.checkpoint = checkpoint
        self.replied = replied
        self.received = received
        self.loaded = loaded

    @property
    def memory_bytes(self) -> int:
        """Bytes of RAM records between VMSTATE_SEND and VMSTATE_SIZE on main; few with multifd."""
        sending, sized = self.checkpoint.sending, self.checkpoint.sized
        return sized.offset - sending.offset if sending is not None and sized is not None else 0

    @property
    def parts(self) -> list[tuple[str, int]]:
        """How long each part took, in ns, where both its ends were seen.

        ``reply``: until the secondary has stopped; ``memory``: guest memory; ``state``: device
        state, until the secondary has received it; ``load``: loading it.
        """
        checkpoint = self.checkpoint
        marks = (
            ("reply", checkpoint.requested, self.replied),
            ("memory", self.replied, checkpoint.sized),
            ("state", checkpoint.sized, self.received),
            ("load", self.received, self.loaded),
        )
        return [(name, b.time - a.time) for name, a, b in marks if a is not None and b is not None]

    @property
    def pause_span(self) -> tuple[int, int] | None:
        """Begin and end of the pause, in ns since the epoch; ``None`` unless both were seen, and
        when they were.
        """
        if self.replied is None or self.loaded is None or not self.loaded.time:
            return None
        return self.replied.time, self.loaded.time

    @property
    def pause(self) -> int | None:
        """From CHECKPOINT_REPLY to VMSTATE_LOADED, in ns: both guests were stopped for at least
        that long.  ``None`` unless both were seen, and when they were.
        """
        span = self.pause_span
        return span[1] - span[0] if span is not None else None


def handshakes_of(migration: Migration) -> list[Handshake]:
    """The checkpoints that were kept.  An answer is assigned to the last checkpoint that began
    before it.
    """
    facts, returned = migration.main_facts, migration.return_facts
    if facts is None or facts.colo is None:
        return []
    checkpoints = facts.colo.checkpoints
    answers = returned.answers if returned is not None else ((), (), ())
    begins = [begin.frame for c in checkpoints if (begin := c.begin) is not None]
    columns = [_dealt(marks, begins) for marks in answers]
    return [Handshake(*row) for row in zip(checkpoints, *columns, strict=True)]


def _dealt(marks: Iterable[Mark], begins: list[int]) -> Iterator[Mark | None]:
    """For each begin the first mark between it and the next begin."""
    places = list(marks)
    frames = [mark.frame for mark in places]
    for begin, end in pairwise([*begins, 1 << 62]):
        at = bisect_left(frames, begin)
        yield places[at] if at < len(places) and frames[at] < end else None
