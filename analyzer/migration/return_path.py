"""What a return path says, filled in while it is walked.

Wire-format page, sections 1.7 and 6.10.
"""

from __future__ import annotations

from analyzer.migration.anomaly_list import AnomalyList
from analyzer.migration.room import Room

TYPE_CHECKING = False
if TYPE_CHECKING:
    from analyzer.migration.mark import Mark

__all__ = ["COLO", "MESSAGES_KEPT", "Message", "ReturnPath"]

MESSAGES_KEPT = 100_000
COLO = 1 << 16
"""Added to the numbers of COLO's messages to tell them from return path types, which have 16
bits.
"""


class Message:
    """One message.

    ``kind`` is the type number, or ``COLO`` plus the number of a COLO message; ``name`` is QEMU's
    name of it.  ``value`` is that of SHUT, PONG and RESUME_ACK; ``block``, ``start`` and ``size``
    (bytes) are a page request's, or ``block`` and ``size`` a bitmap's.  ``length`` is in stream
    bytes.
    """

    __slots__ = ("block", "kind", "length", "mark", "name", "size", "start", "value")

    def __init__(self, kind: int, name: str, mark: Mark) -> None:
        self.kind = kind
        self.name = name
        self.mark = mark
        self.length = 0
        self.value: int | None = None
        self.block: bytes | None = None
        self.start: int | None = None
        self.size: int | None = None

    def __repr__(self) -> str:
        return f"Message({self.name}, value={self.value}, {self.mark})"


class ReturnPath:
    """What the walk of a return path found, whose lists share ``room`` with those of other
    migrations.

    ``counts`` is by kind; ``page_requests`` counts page requests and ``requested_bytes`` their
    sizes, whether they are kept in ``messages`` or not.  ``shut`` is the value of the last SHUT,
    ``acks`` are the marks of SWITCHOVER_ACK, ``pongs`` the values and marks of PONG. ``ready`` is
    COLO's first CHECKPOINT_READY, ``answers`` are the marks of CHECKPOINT_REPLY, VMSTATE_RECEIVED
    and VMSTATE_LOADED. Bytes are accounted for as in
    :class:`analyzer.migration.main_channel.MainChannel`.
    """

    __slots__ = (
        "acks",
        "anomalies",
        "answers",
        "counts",
        "decoded",
        "messages",
        "missing",
        "page_requests",
        "pongs",
        "ready",
        "requested_bytes",
        "resync_count",
        "room",
        "shut",
        "shut_mark",
        "skipped",
        "truncated",
        "truncated_path",
    )

    def __init__(self, room: Room | None = None) -> None:
        self.room = room or Room()
        self.anomalies = AnomalyList()
        self.messages: list[Message] = []
        self.counts: dict[int, int] = {}
        self.shut: int | None = None
        self.shut_mark: Mark | None = None
        self.acks: list[Mark] = []
        self.pongs: list[tuple[int, Mark]] = []
        self.ready: Mark | None = None
        self.answers: tuple[list[Mark], list[Mark], list[Mark]] = ([], [], [])
        self.page_requests = 0
        self.requested_bytes = 0
        self.resync_count = 0
        self.truncated: Mark | None = None
        self.truncated_path = ""
        self.decoded = 0
        self.skipped = 0
        self.missing = 0

    def keep(self, message: Message) -> None:
        """Add a message, or only count it when there are too many."""
        self.counts[message.kind] = self.counts.get(message.kind, 0) + 1
        if self.room.has(len(self.messages), MESSAGES_KEPT):
            self.messages.append(message)
