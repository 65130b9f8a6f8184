"""COLO's messages on main, after the end of the first state.

Wire-format page, section 6.10.
"""

from __future__ import annotations

from analyzer.migration.broken import Broken
from analyzer.migration.colo import ColoFacts, Turns
from analyzer.migration.looking import window
from analyzer.migration.mark import Mark
from analyzer.tcp.requests import Gap, Take
from dissectors.colo import AFTER_EOF, BY_PRIMARY, MESSAGE, SIZE, ColoMessage
from dissectors.main_stream import SECTIONS, RecordType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator

    from analyzer.migration.broken import Steps
    from analyzer.migration.main_channel import MainFacts, Record
    from analyzer.tcp.reader import Reader
    from analyzer.tcp.requests import Reply, Request

__all__ = ["LOOK", "ColoWalk", "unannounced"]

REQUEST = MESSAGE.struct.pack(ColoMessage.CHECKPOINT_REQUEST)
LOOK = 1 + MESSAGE.size


def unannounced(main: MainFacts) -> Generator[Request, Reply, ColoFacts | None]:
    """Recognise COLO by what follows main's EOF; ``None`` if that is not COLO.

    It has to be a checkpoint's first message or, after a hole, a later part of a checkpoint.  Newer
    senders do not send ENABLE_COLO, and of older ones the capture may lack it.
    """
    ahead, cut = yield from window(LOOK)
    message = ahead[: MESSAGE.size]
    begins = message == REQUEST or (isinstance(cut, Gap) and REQUEST.startswith(message))
    rest = message in AFTER_EOF or _is_inside(ahead, lost=True)
    return ColoFacts() if begins or (rest and main.interrupted) else None


def _is_inside(ahead: bytes, *, lost: bool) -> bool:
    """Whether ``ahead``, the next ``LOOK`` bytes, belongs to the records of a device state rather
    than being a COLO message.

    It does if it begins with a section's type byte, or with an EOF byte followed by a COLO message.
    If messages were ``lost``, so that none is expected in particular, a lone EOF byte before a hole
    or the stream's end also counts.
    """
    kind = ahead[0] if ahead else None
    if kind == RecordType.EOF:
        return ahead[1:] in AFTER_EOF or (lost and len(ahead) == 1)
    return kind in SECTIONS


class ColoWalk:
    """Walks COLO messages, one at a time; ``turns`` tracks which one is due."""

    __slots__ = ("colo", "main", "reader", "turns")

    def __init__(self, reader: Reader, main: MainFacts, colo: ColoFacts) -> None:
        self.reader = reader
        self.main = main
        self.colo = colo
        self.turns = Turns(BY_PRIMARY, None if main.interrupted else BY_PRIMARY[0])

    def message(self, record: Record) -> Steps:
        """Walk the next message, and the size that follows a VMSTATE_SIZE."""
        at = record.offset
        head = yield Take(MESSAGE.size)
        record.first = self.reader.first
        if not isinstance(head, bytes):
            return Broken(head, "COLO message", at)
        (number,) = MESSAGE.unpack(head)
        record.name, wrong = self.turns.take(number)
        if wrong:
            self.main.anomalies.note("colo-message", at, record.first, wrong)
        if number not in BY_PRIMARY:
            return Broken(None, "COLO message", at)
        checkpoint = self.colo.note(ColoMessage(number), Mark(at, record.first))
        if number == ColoMessage.VMSTATE_SIZE:
            size = yield Take(SIZE.size)
            if not isinstance(size, bytes):
                return Broken(size, "VMSTATE_SIZE", at)
            record.value = checkpoint.size = SIZE.unpack(size)[0]
        return None

    def is_inside(self, ahead: bytes) -> bool:
        """Whether the next ``LOOK`` bytes belong to a device state rather than being a message."""
        return _is_inside(ahead, lost=self.turns.due is None)

    @property
    def memory_follows(self) -> bool:
        """Whether the last message was a VMSTATE_SEND."""
        return self.turns.due == ColoMessage.VMSTATE_SIZE

    def lost(self) -> None:
        """Bytes were skipped: it is unknown which message is due."""
        self.turns.due = None

    def finished(self, limit: int) -> None:
        """A device state has ended, which should end at offset ``limit``: note a difference."""
        reader, main, size = self.reader, self.main, self.colo.last.size
        if reader.offset != limit and not main.ended and not main.interrupted:
            have = size + reader.offset - limit
            text = f"a device state of {size} bytes whose EOF is byte {have}"
            main.anomalies.note("colo-message", reader.offset, reader.last, text)
