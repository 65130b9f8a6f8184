"""Walks a return path, the reverse direction of the main channel.

Wire-format page, sections 1.7 and 6.10.
"""

from __future__ import annotations

from heapq import merge

from analyzer.migration.account import Account
from analyzer.migration.broken import Broken
from analyzer.migration.looking import occurrences, window
from analyzer.migration.mark import Mark
from analyzer.migration.return_path import COLO, MESSAGES_KEPT, NAMES, Message, ReturnFacts
from analyzer.tcp.requests import REST, End, Gap, Skip, Take
from dissectors.colo import BY_SECONDARY, MESSAGE, ColoMessage
from dissectors.multifd import text_of
from dissectors.return_path import (
    BITMAP_END,
    HEADER,
    PAYLOAD_MAX,
    PAYLOADS,
    REQ_PAGES,
    RESUMED,
    VALUE,
    ReturnPathType,
    length_fits,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from analyzer.migration.broken import Steps
    from analyzer.migration.colo import Turns
    from analyzer.tcp.reader import Reader
    from analyzer.tcp.requests import Walker

__all__ = ["walk_return_path"]

HEAD = Take(HEADER.size)
WORD = Take(8)
WINDOW = 4096
CHAIN = 3
BITMAP_MAX = 1 << 32
"""Largest bitmap in bytes: enough for 128 TiB of guest memory in 4 KiB pages."""
EXCESS_READ = 4096
"""A bitmap announced with more excess bytes than this over its block's size is not read."""
PATTERNS = (
    *(kind.to_bytes(2, "big") for kind in ReturnPathType),
    *(MESSAGE.struct.pack(message) for message in BY_SECONDARY),
)
"""What messages begin with."""


def walk_return_path(
    reader: Reader,
    rp: ReturnFacts,
    *,
    midstream: bool = False,
    bitmap_size: Callable[[bytes], int | None] | None = None,
) -> Walker:
    """Walk all messages up to the end of the stream; ``midstream`` if its beginning is missing.

    ``bitmap_size(name)`` gives the size in bytes of a block's bitmap, ``None`` if unknown.
    """
    walk = _Walk(reader, rp, bitmap_size)
    if midstream:
        yield from walk.resynchronise()
    while True:
        head = yield HEAD
        if isinstance(head, bytes):
            broken = yield from walk.message(head)
        elif isinstance(head, End) and not head.have:
            break
        else:
            broken = Broken(head, "message header", reader.offset)
        good = reader.offset
        if broken is not None and broken.reply is None:
            good = broken.good
        walk.account.settle(good)
        if broken is not None and not isinstance(broken.reply, End):
            yield from walk.resynchronise()
    good = reader.offset
    yield REST
    walk.account.settle(good)


class _Walk:
    """The walk of one return path."""

    __slots__ = ("account", "bitmap_size", "block", "reader", "rp", "turns")

    def __init__(
        self,
        reader: Reader,
        rp: ReturnFacts,
        bitmap_size: Callable[[bytes], int | None] | None,
    ) -> None:
        self.reader = reader
        self.rp = rp
        self.bitmap_size = bitmap_size
        self.turns: Turns | None = None
        self.block: bytes | None = None
        self.account = Account(reader, rp)

    def message(self, head: bytes) -> Steps:
        """Walk the message whose header was just read."""
        reader, rp = self.reader, self.rp
        at = reader.offset - HEADER.size
        mark = Mark(at, reader.first)
        kind, length = HEADER.unpack(head)
        if not kind and (not length or self.turns is not None or rp.resync_count):
            return self.answer(head, mark)
        name = NAMES.get(kind)
        if name is None or length > PAYLOAD_MAX:
            slug = "rp-unknown-type" if name is None else "rp-length"
            rp.anomalies.note(slug, at, mark.place, f"type {kind:#06x}, length {length:#06x}")
            return Broken(None, "message header", at)
        payload = yield Take(length)
        if not isinstance(payload, bytes):
            return Broken(payload, f"{name} payload", at)
        message = Message(kind, mark)
        if not length_fits(kind, length):
            rp.anomalies.note("rp-length", at, mark.place, f"{name} with {length} bytes")
        elif kind == ReturnPathType.RECV_BITMAP:
            message.block = payload[1:]
            broken = yield from self.bitmap(message)
            if broken is not None:
                return broken
        else:
            self.keep_facts(message, payload)
        message.length = reader.offset - at
        rp.keep(message)
        return None

    def answer(self, head: bytes, mark: Mark) -> Broken | None:
        """Handle a COLO message, which is a BE32 number: as long as a return path header, whose
        type would be 0.

        The first one must be CHECKPOINT_READY, which is four zero bytes.
        """
        from analyzer.migration.colo import Turns  # seldom needed

        rp = self.rp
        if self.turns is None:
            begun = rp.resync_count > 0
            self.turns = Turns(BY_SECONDARY, None if begun else ColoMessage.CHECKPOINT_READY)
        (number,) = MESSAGE.unpack(head)
        _, wrong = self.turns.take(number)
        if wrong:
            rp.anomalies.note("rp-colo-message", mark.offset, mark.place, wrong)
        if number == ColoMessage.CHECKPOINT_READY and rp.ready is None:
            rp.ready = mark
        elif number not in BY_SECONDARY:
            return Broken(None, "COLO message", mark.offset)
        else:
            marks = rp.answers[BY_SECONDARY.index(ColoMessage(number))]
            if rp.room.has(len(marks), MESSAGES_KEPT):
                marks.append(mark)
        message = Message(COLO + number, mark)
        message.length = len(head)
        rp.keep(message)
        return None

    def keep_facts(self, message: Message, payload: bytes) -> None:
        """Keep what a message of valid length says."""
        rp = self.rp
        kind = message.kind
        layout = PAYLOADS.get(kind)
        if layout is VALUE:
            message.value = int.from_bytes(payload, "big")
            if kind == ReturnPathType.PONG:
                if rp.room.has(len(rp.pongs), MESSAGES_KEPT):
                    rp.pongs.append((message.value, message.mark))
            elif kind == ReturnPathType.SHUT:
                rp.shut, rp.shut_mark = message.value, message.mark
            elif kind == ReturnPathType.RESUME_ACK and message.value != RESUMED:
                mark = message.mark
                detail = f"RESUME_ACK {message.value:#x}, expected {RESUMED:#x}"
                rp.anomalies.note("rp-resume-ack", mark.offset, mark.place, detail)
        elif layout is REQ_PAGES:
            message.start, message.size = REQ_PAGES.unpack(payload)
            if kind == ReturnPathType.REQ_PAGES_ID:
                self.block = payload[REQ_PAGES.size + 1 :]
                if len(self.block) != payload[REQ_PAGES.size]:
                    rp.anomalies.note(
                        "rp-length",
                        message.mark.offset,
                        message.mark.place,
                        f"a name of {payload[REQ_PAGES.size]} bytes in {len(self.block)}",
                    )
            message.block = self.block
        elif kind == ReturnPathType.SWITCHOVER_ACK and rp.room.has(len(rp.acks), MESSAGES_KEPT):
            rp.acks.append(message.mark)

    def bitmap(self, message: Message) -> Steps:
        """Walk what follows a RECV_BITMAP and is not in its length: size, bitmap, end mark."""
        reader = self.reader
        at = message.mark.offset
        word = yield WORD
        if not isinstance(word, bytes):
            return Broken(word, "bitmap size", at)
        size = message.size = int.from_bytes(word, "big")
        due = self.bitmap_size(message.block or b"") if self.bitmap_size is not None else None
        if size > (BITMAP_MAX if due is None else due + EXCESS_READ):
            self.note_bitmap(message, "")
            return Broken(None, "bitmap", reader.offset)
        missing = yield Skip(size)
        if isinstance(missing, End):
            return Broken(missing, "bitmap", at)
        word = yield WORD
        if not isinstance(word, bytes):
            return Broken(word, "bitmap end mark", at)
        end = int.from_bytes(word, "big")
        if end != BITMAP_END or size % 8:
            self.note_bitmap(message, f", end {end:#x}")
        return None

    def note_bitmap(self, message: Message, what: str) -> None:
        """Note an invalid bitmap."""
        text = f"block {text_of(message.block or b'')!r}, {message.size} bytes{what}"
        self.rp.anomalies.note("rp-bitmap-mark", message.mark.offset, self.reader.last, text)

    def resynchronise(self) -> Steps:
        """Skip to where several messages follow one another."""
        while True:
            data, cut = yield from window(WINDOW)
            at = _find_messages(data, isinstance(cut, End))
            if at >= 0:
                yield Skip(at)
                break
            if isinstance(cut, End):
                yield REST
                break
            if isinstance(cut, Gap):
                yield Skip(cut.before + cut.last - cut.first + 1)
            else:
                yield Skip(len(data) - CHAIN * (HEADER.size + PAYLOAD_MAX))
        self.account.settle(self.account.settled)
        self.rp.resync_count += 1
        return None


def _find_messages(data: bytes, final: bool) -> int:
    """Position of the first of CHAIN consecutive messages, or of fewer that reach exactly to the
    stream's end; -1 if not found.
    """
    # The first place is usually the right one, and no other is looked for before it is asked for.
    for start in merge(*(occurrences(data, pattern) for pattern in PATTERNS)):
        at = start
        found = 0
        while at + HEADER.size <= len(data) and found < CHAIN:
            kind, length = HEADER.unpack(data, at)
            if not kind and length in BY_SECONDARY:
                length = 0  # a COLO message, which is only these 4 bytes
            elif not length_fits(kind, length):
                break
            found += 1
            at += HEADER.size + length
        if found == CHAIN or (found and at == len(data) and final):
            return start
    return -1
