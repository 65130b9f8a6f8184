"""Resynchronises with a multifd stream: finds the next header that is consistent with what follows.

Guest memory may hold anything, even migration traffic; so a header counts only if another one is
where it says that the next packet begins (or the stream ends exactly there).  One pass, in constant
memory.
"""

from __future__ import annotations

from analyzer.tcp.requests import End, Gap, Peek, Push, Skip, Some
from dissectors.multifd import MAGIC_VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator

    from analyzer.migration.framing import Framing
    from analyzer.tcp.reader import Reader
    from analyzer.tcp.requests import Place, Reply, Request

__all__ = ["Found", "find_packet", "near_packet"]

CANDIDATES = 64
NEAR = 64
"""A sender that gets a length wrong is wrong by a header or so, in every packet: none confirms
another.  Guest memory does not happen to hold a header so close to where one is expected.
"""


class Found:
    """The result of a search.

    ``header`` are the bytes from the confirmed packet's start (including its whole header),
    ``offset`` its stream offset, ``place`` its place and ``length`` its length; ``missing`` of its
    bytes are in holes.  The reader is positioned after the packet.  Before the packet, ``skipped``
    bytes were passed over, and ``gap`` bytes were in holes.  When nothing was found ``header`` is
    empty.
    """

    __slots__ = ("gap", "header", "length", "missing", "offset", "place", "skipped")

    def __init__(self, header: bytes, offset: int, place: Place, skipped: int, gap: int) -> None:
        self.header = header
        self.offset = offset
        self.length = 0
        self.place = place
        self.skipped = skipped
        self.gap = gap
        self.missing = 0


class _Search:
    """State of one search over the pieces of a stream."""

    def __init__(self, framing: Framing, reader: Reader) -> None:
        self.framing = framing
        self.place_of = reader.place_of
        self.held = bytearray()
        self.base = reader.offset  # stream offset of held[0]
        self.began = reader.offset
        self.missing = 0
        self.expected: dict[int, Found] = {}  # by offset expected of the next header

    def passed(self, gap: Gap) -> None:
        """A hole was stepped over."""
        self.missing += gap.last - gap.first + 1
        self.held.clear()
        self.base = gap.last + 1

    def look(self, piece: bytes, ended: bool) -> Found | None:
        """Search another piece, behind which the stream or a hole ``ended`` it; gives the candidate
        that a header in it confirms.
        """
        held = self.held
        held += piece
        needed = self.framing.header_needed()
        at = held.find(MAGIC_VERSION)
        while at >= 0 and (len(held) - at >= needed or ended):
            header = bytes(held[at : at + needed])
            length = self.framing.packet_length(header)
            if length is not None:
                offset = self.base + at
                if (candidate := self.expected.get(offset)) is not None:
                    del held[:at]
                    return candidate
                skipped = offset - self.began - self.missing
                if len(self.expected) >= CANDIDATES:
                    del self.expected[next(iter(self.expected))]
                place = self.place_of(offset)
                found = Found(header, offset, place, skipped, self.missing)
                self.expected.setdefault(offset + length, found)
            at = held.find(MAGIC_VERSION, at + 1)
        keep = len(held) - at if at >= 0 else min(len(held), len(MAGIC_VERSION) - 1)
        self.base += len(held) - keep
        del held[: len(held) - keep]
        return None


def near_packet(framing: Framing) -> Generator[Request, Reply, int]:
    """Skip to a packet that begins within :data:`NEAR` bytes; gives how many were skipped, 0
    without one.
    """
    data = yield Peek(NEAR + framing.header_needed())
    if type(data) is not bytes:
        return 0
    at = data.find(MAGIC_VERSION, 1, NEAR + len(MAGIC_VERSION))
    if at < 0 or framing.packet_length(data[at:]) is None:
        return 0
    yield Skip(at)
    return at


def find_packet(
    reader: Reader, framing: Framing, limit: int | None = None
) -> Generator[Request, Reply, Found]:
    """Search from the reader's position for the next packet, in about ``limit`` bytes."""
    search = _Search(framing, reader)
    while True:
        reply = yield Some()
        piece = reply if type(reply) is bytes else b""
        candidate = search.look(piece, ended=not piece)  # a hole may have cut a header
        if candidate is not None:
            yield Push(bytes(search.held))
            break
        if type(reply) is Gap:
            yield Skip(reply.last - reply.first + 1)
            search.passed(reply)
        elif type(reply) is End:
            candidate = search.expected.get(reader.offset)
            break
        elif limit is not None and reader.offset - search.began > limit:
            break
    if candidate is None:
        skipped = reader.offset - search.began - search.missing
        return Found(b"", reader.offset, reader.last, skipped, search.missing)
    candidate.length = reader.offset - candidate.offset
    candidate.missing = search.missing - candidate.gap
    return candidate
