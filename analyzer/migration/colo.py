"""COLO's checkpoints: what the primary's main channel and the secondary's answers tell of each.

Wire-format page, section 6.10.
"""

from __future__ import annotations

from bisect import bisect_left
from itertools import pairwise

from dissectors.colo import BY_PRIMARY, ColoMessage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from analyzer.migration.mark import Mark
    from analyzer.migration.migration import Migration

__all__ = [
    "CHECKPOINTS_KEPT",
    "Checkpoint",
    "ColoFacts",
    "Handshake",
    "Turns",
    "handshakes_of",
]

CHECKPOINTS_KEPT = 10_000
NAMES = {int(message): message.name for message in ColoMessage}


class Turns:
    """The order of one side's messages, again and again; ``due`` is the one that comes next,
    ``None`` where a hole or a late start hides it.
    """

    __slots__ = ("due", "order")

    def __init__(self, order: Sequence[ColoMessage], due: ColoMessage | None) -> None:
        self.order = order
        self.due = due

    def take(self, number: int) -> tuple[str, str]:
        """A message's name, and what is wrong with it, if anything is."""
        name, order, due = NAMES.get(number, f"message {number:#x}"), self.order, self.due
        if number in order:
            self.due = order[(order.index(ColoMessage(number)) + 1) % len(order)]
        else:
            self.due = order[0] if number == due else None
        if due is not None:
            return name, "" if number == due else f"{name}, where {due.name} is due"
        return name, "" if number in order else f"{name}, which this side never sends"


class Checkpoint:
    """What main tells of one: the ``marks`` of its three messages, and the ``size`` of the device
    state in bytes.
    """

    __slots__ = ("marks", "size")

    def __init__(self) -> None:
        self.marks: list[Mark | None] = [None] * len(BY_PRIMARY)
        self.size = 0

    @property
    def requested(self) -> Mark | None:
        """CHECKPOINT_REQUEST."""
        return self.marks[0]

    @property
    def sending(self) -> Mark | None:
        """VMSTATE_SEND."""
        return self.marks[1]

    @property
    def sized(self) -> Mark | None:
        """VMSTATE_SIZE."""
        return self.marks[2]

    @property
    def begin(self) -> Mark | None:
        """Its first message that was seen."""
        return self.requested or self.sending or self.sized


class ColoFacts:
    """COLO as main tells it: ``count`` is how many checkpoints there were; the first ones are kept,
    and the ``last`` one.
    """

    __slots__ = ("checkpoints", "count", "last")

    def __init__(self) -> None:
        self.checkpoints: list[Checkpoint] = []
        self.count = 0
        self.last = Checkpoint()

    def note(self, message: ColoMessage, mark: Mark) -> Checkpoint:
        """A message on main; gives its checkpoint, a new one if the last one is past it."""
        at = BY_PRIMARY.index(message)
        if not self.count or any(self.last.marks[at:]):
            self.last = Checkpoint()
            self.count += 1
            if self.count <= CHECKPOINTS_KEPT:
                self.checkpoints.append(self.last)
        self.last.marks[at] = mark
        return self.last

    @property
    def begin(self) -> Mark | None:
        """Where the first checkpoint begins."""
        return self.checkpoints[0].begin if self.checkpoints else None


class Handshake:
    """A checkpoint with the secondary's answers to it: ``replied``, ``received`` and ``loaded``."""

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
        """Guest memory, with its SYNC points, on main; nearly nothing with multifd."""
        sending, sized = self.checkpoint.sending, self.checkpoint.sized
        return sized.offset - sending.offset if sending is not None and sized is not None else 0

    @property
    def parts(self) -> list[tuple[str, int]]:
        """What the time went into, ns each: ``reply`` (the secondary stops), ``memory``, ``state``
        (of the devices, until the secondary has it) and ``load``, as far as both ends were seen.
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
        """The pause's begin and end."""
        if self.replied is None or self.loaded is None:
            return None
        return self.replied.time, self.loaded.time

    @property
    def pause(self) -> int | None:
        """From CHECKPOINT_REPLY to VMSTATE_LOADED, in ns: both guests stood still for so long, and
        a little longer.  ``None`` unless both were seen.
        """
        span = self.pause_span
        return span[1] - span[0] if span is not None else None


def handshakes_of(migration: Migration) -> list[Handshake]:
    """The checkpoints that were kept.  An answer belongs to the last one that began before it."""
    facts, returned = migration.main_facts, migration.return_facts
    if facts is None or facts.colo is None:
        return []
    checkpoints = facts.colo.checkpoints
    answers = returned.answers if returned is not None else ((), (), ())
    begins = [begin.frame for c in checkpoints if (begin := c.begin) is not None]
    columns = [_dealt(marks, begins) for marks in answers]
    return [Handshake(*row) for row in zip(checkpoints, *columns, strict=True)]


def _dealt(marks: Iterable[Mark], begins: list[int]) -> Iterator[Mark | None]:
    """The first mark from each begin on, before the next one."""
    places = list(marks)
    frames = [mark.frame for mark in places]
    for begin, end in pairwise([*begins, 1 << 62]):
        at = bisect_left(frames, begin)
        yield places[at] if at < len(places) and frames[at] < end else None
