"""What a return path says, filled in while it is walked.

Wire-format page, sections 1.7 and 6.10.
"""

from __future__ import annotations

from struct import Struct

from analyzer.migration.anomaly import AnomalyList
from analyzer.migration.mark import Mark
from analyzer.migration.room import Room
from analyzer.tcp.requests import Place
from dissectors.colo import ColoMessage
from dissectors.return_path import ReturnPathType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["COLO", "MESSAGES_KEPT", "NAMES", "Message", "MessageList", "ReturnFacts"]

MESSAGES_KEPT = 100_000
COLO = 1 << 16
"""Added to the numbers of COLO's messages to tell them from return path types, which have 16
bits.
"""

NAMES = {
    **{int(kind): kind.name for kind in ReturnPathType},
    **{COLO + message: message.name for message in ColoMessage},
}
"""QEMU's names of the kinds of messages."""
ROW = Struct("=IIBqqqqqQQQ")
NO_BLOCK = 0xFFFFFFFF


class Message:
    """One message.

    ``kind`` is the type number, or ``COLO`` plus the number of a COLO message.  ``value`` is that
    of SHUT, PONG and RESUME_ACK; ``block``, ``start`` and ``size`` (bytes) are a page request's, or
    ``block`` and ``size`` a bitmap's.  ``length`` is in stream bytes.
    """

    __slots__ = ("block", "kind", "length", "mark", "size", "start", "value")

    def __init__(self, kind: int, mark: Mark) -> None:
        self.kind = kind
        self.mark = mark
        self.length = 0
        self.value: int | None = None
        self.block: bytes | None = None
        self.start: int | None = None
        self.size: int | None = None

    @property
    def name(self) -> str:
        """QEMU's name of the kind."""
        return NAMES[self.kind]

    def __repr__(self) -> str:
        return f"Message({self.name}, value={self.value}, {self.mark})"


class MessageList:
    """Messages that are only added to, some 80 bytes each: a postcopy has one for every page that
    the guest waits for.
    """

    __slots__ = ("_blocks", "_numbers", "_rows")

    def __init__(self) -> None:
        self._rows = bytearray()
        self._blocks: list[bytes] = []
        self._numbers: dict[bytes, int] = {}  # the block's, by its name

    def add(self, message: Message) -> None:
        """Add a message; later changes of it are not noticed."""
        values = (message.value, message.start, message.size)
        block, place = message.block, message.mark.place
        self._rows += ROW.pack(
            message.kind,
            self._number(block) if block is not None else NO_BLOCK,
            sum(1 << at for at, value in enumerate(values) if value is not None),
            message.mark.offset,
            message.length,
            place.frame,
            place.time,
            place.pos,
            *(value or 0 for value in values),
        )

    def _number(self, block: bytes) -> int:
        number = self._numbers.setdefault(block, len(self._blocks))
        if number == len(self._blocks):
            self._blocks.append(block)
        return number

    def __len__(self) -> int:
        return len(self._rows) // ROW.size

    def __getitem__(self, index: int) -> Message:
        at = ROW.size * range(len(self))[index]
        kind, block, known, offset, length, *where, value, start, size = ROW.unpack_from(
            self._rows, at
        )
        message = Message(kind, Mark(offset, Place(*where)))
        message.length = length
        message.block = self._blocks[block] if block != NO_BLOCK else None
        message.value = value if known & 1 else None
        message.start = start if known & 2 else None
        message.size = size if known & 4 else None
        return message

    def __iter__(self) -> Iterator[Message]:
        return (self[index] for index in range(len(self)))


class ReturnFacts:
    """What the walk of a return path found, whose lists share ``room`` with those of other
    migrations.

    ``counts`` is by kind, whether messages are kept in ``messages`` or not.  ``shut`` is the value
    of the last SHUT, ``acks`` are the marks of SWITCHOVER_ACK, ``pongs`` the values and marks of
    PONG.  ``ready`` is COLO's first CHECKPOINT_READY, ``answers`` are the marks of
    CHECKPOINT_REPLY, VMSTATE_RECEIVED and VMSTATE_LOADED.  Bytes are accounted for as in
    :class:`analyzer.migration.main_channel.MainFacts`.
    """

    __slots__ = (
        "acks",
        "anomalies",
        "answers",
        "counts",
        "decoded",
        "messages",
        "missing",
        "pongs",
        "ready",
        "resync_count",
        "room",
        "shut",
        "shut_mark",
        "skipped",
    )

    def __init__(self, room: Room | None = None) -> None:
        self.room = room or Room()
        self.anomalies = AnomalyList()
        self.messages = MessageList()
        self.counts: dict[int, int] = {}
        self.shut: int | None = None
        self.shut_mark: Mark | None = None
        self.acks: list[Mark] = []
        self.pongs: list[tuple[int, Mark]] = []
        self.ready: Mark | None = None
        self.answers: tuple[list[Mark], list[Mark], list[Mark]] = ([], [], [])
        self.resync_count = 0
        self.decoded = 0
        self.skipped = 0
        self.missing = 0

    def keep(self, message: Message) -> None:
        """Add a message, or only count it when there are too many."""
        self.counts[message.kind] = self.counts.get(message.kind, 0) + 1
        if self.room.has(len(self.messages), MESSAGES_KEPT):
            self.messages.add(message)
