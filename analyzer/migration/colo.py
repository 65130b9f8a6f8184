"""COLO's checkpoints: the primary's messages on the main channel, and their order.

Wire-format page, section 6.10.
"""

from __future__ import annotations

from dissectors.colo import BY_PRIMARY, ColoMessage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from analyzer.migration.mark import Mark

__all__ = ["CHECKPOINTS_KEPT", "Checkpoint", "ColoFacts", "Turns"]

CHECKPOINTS_KEPT = 10_000
NAMES = {int(message): message.name for message in ColoMessage}


class Turns:
    """Tracks the cyclic order of one side's messages.

    ``due`` is the message expected next, ``None`` where a hole or a late start hides it.
    """

    __slots__ = ("due", "order")

    def __init__(self, order: Sequence[ColoMessage], due: ColoMessage | None) -> None:
        self.order = order
        self.due = due

    def take(self, number: int) -> tuple[str, str]:
        """Take the next message; gives its name, and what is wrong with it or an empty text."""
        name, order, due = NAMES.get(number, f"message {number:#x}"), self.order, self.due
        if number in order:
            self.due = order[(order.index(ColoMessage(number)) + 1) % len(order)]
        else:
            self.due = order[0] if number == due else None
        if due is not None:
            return name, "" if number == due else f"{name}, where {due.name} is expected"
        return name, "" if number in order else f"{name}, which this side never sends"


class Checkpoint:
    """One checkpoint on main: the ``marks`` of its three messages, and the ``size`` of its device
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
    """What main says of COLO: the ``count`` of checkpoints, the first ``CHECKPOINTS_KEPT`` of them,
    and the ``last`` one.
    """

    __slots__ = ("checkpoints", "count", "last")

    def __init__(self) -> None:
        self.checkpoints: list[Checkpoint] = []
        self.count = 0
        self.last = Checkpoint()

    def note(self, message: ColoMessage, mark: Mark) -> Checkpoint:
        """Note a message on main; gives its checkpoint, a new one if the last one is already past
        that message.
        """
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
