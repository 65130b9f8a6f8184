"""One direction of a TCP connection: where it stands, what waits, what was odd about it."""

from __future__ import annotations

from array import array

from analyzer.capture.link import endpoints, mirrored
from analyzer.tcp.requests import Place

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from analyzer.tcp.reader import Reader

__all__ = ["NEVER", "Connection", "Difference", "Flow", "Hole", "Waiting"]

NEVER = Place(0, 0, 0)
NO_CHECKPOINTS = array("q")
HOLES_KEPT = 1000
ROUND_TRIP = 3_000_000
"""ns, where the handshake is not there to tell; Wireshark takes as much."""
OVERTAKEN = 1_000_000
"""ns for which a segment may be behind one or two others without having been lost: a sender's probe
of the stream's end overtakes what it has still in hand.
"""
LOST_BEHIND = 3
"""So many later segments let the receiver say that one is lost."""
CHECKPOINTS_KEPT = 1 << 15
"""Of one flow: those of 64 GiB of a capture, while a TCP window has one at most."""


class Hole:
    """Bytes ``first`` to ``last`` (stream offsets, inclusive) that the capture does not have.

    ``before`` and ``after`` are the frames around it; ``cut`` says that snaplen took them, not the
    loss of a frame; ``acknowledged`` that the receiver confirmed them, so the capture lost them.
    """

    __slots__ = ("acknowledged", "after", "before", "cut", "first", "last")

    def __init__(
        self, first: int, last: int, before: int, after: int, cut: bool, acknowledged: bool
    ) -> None:
        self.first = first
        self.last = last
        self.before = before
        self.after = after
        self.cut = cut
        self.acknowledged = acknowledged

    @property
    def size(self) -> int:
        """Missing bytes."""
        return self.last - self.first + 1


class Waiting:
    """A segment that arrived ahead of its turn.  ``data`` is ``None`` when nobody will look."""

    __slots__ = ("data", "length", "offset", "place")

    def __init__(self, offset: int, length: int, data: bytes | None, place: Place) -> None:
        self.offset = offset
        self.length = length
        self.data = data
        self.place = place

    def part(self, offset: int, length: int) -> bytes | None:
        """The bytes from a stream offset on, if they were kept."""
        at = offset - self.offset
        return None if self.data is None else self.data[at : at + length]


class Difference:
    """A second copy of stream bytes that is not the same as the first: from ``offset`` on, in
    ``count`` bytes.
    """

    __slots__ = ("count", "offset", "place")

    def __init__(self, offset: int, count: int, place: Place) -> None:
        self.offset = offset
        self.count = count
        self.place = place


class Flow:
    """One direction of a connection, an ordered byte sequence with holes.

    ``next`` is the sequence number expected next, ``offset`` the stream offset that goes with it
    (0 is the first payload byte, or the first one seen when ``midstream``).

    The fast path passes ``fast_left`` of the ``fast_granted`` bytes that the reader skips; until
    :meth:`take_in_fast` they are in ``next``, but not in ``offset``.  ``data_expected`` says that
    the next segment may be taken for nothing but data, ``acks_idle`` that a bare ACK in this
    direction tells nothing.  The last segment there had ``last_size`` bytes of payload, and its
    headers said ``last_total``, ``last_proto`` and ``last_bits`` (see
    :class:`analyzer.capture.shape.Shape`); most are followed by another one like them.
    """

    __slots__ = (
        "ack_start",
        "acked",
        "acks_idle",
        "base",
        "checkpoint_offsets",
        "checkpoint_positions",
        "connection",
        "cut",
        "data_after_end",
        "data_after_reset",
        "data_expected",
        "decrypted",
        "differences",
        "doubted",
        "doubts",
        "duplicate_bytes",
        "fast_granted",
        "fast_left",
        "fast_start",
        "fin",
        "fin_lost",
        "fin_offset",
        "fin_read",
        "first",
        "hole_count",
        "holes",
        "keep_alives",
        "key",
        "last",
        "last_bits",
        "last_proto",
        "last_size",
        "last_total",
        "late_bytes",
        "midstream",
        "missing",
        "next",
        "offset",
        "peer",
        "reader",
        "reordered",
        "reset",
        "retransmissions",
        "seen",
        "syn",
        "unverified",
        "waiting",
        "waiting_bytes",
        "waiting_from",
        "zero_since",
        "zero_window",
        "zero_window_longest",
        "zero_window_place",
    )

    def __init__(self, key: bytes, connection: Connection) -> None:
        self.key = key
        self.connection = connection
        self.peer = self  # set by the connection
        self.next = -1
        self.base = -1  # Wireshark's base_seq: the SYN's number, or one before the first seen
        self.offset = 0
        self.fast_left = 0
        self.fast_granted = 0
        self.last_total = -1
        self.last_bits = self.last_proto = self.last_size = 0
        self.data_expected = False
        self.acks_idle = True
        self.reader: Reader | None = None
        self.first: Place = NEVER  # first and last payload byte
        self.last: Place = NEVER
        self.fast_start = 0  # where in the batch the last frame of the fast path begins
        self.ack_start = 0  # where in the batch the last of its ACKs that took that path begins
        self.midstream = False
        self.decrypted = False  # whether offsets and holes are those of the plaintext of TLS
        self.syn: Place | None = None
        self.fin: Place | None = None
        self.fin_offset = 0
        self.fin_read = 0  # what this side had acknowledged by then; a FIN counts as a byte
        self.fin_lost = False  # whether it is only known from what the other side did
        self.reset: Place | None = None
        self.seen = 0  # frames
        self.acked = 0  # highest offset that the other side acknowledged
        self.holes: list[Hole] = []
        self.hole_count = 0
        self.missing = 0
        self.cut = 0  # of the missing bytes, those that snaplen took
        self.waiting: list[Waiting] = []
        self.waiting_bytes = 0
        self.waiting_from = 0  # no segment that waits stands in front of this file position
        self.doubted = 0  # what it had acknowledged when that began
        self.doubts = 0  # frames since the receiver acknowledged what is missing here
        self.reordered = 0
        self.retransmissions = 0
        self.duplicate_bytes = 0
        self.late_bytes = 0  # came behind later ones by more than a round trip: sent a second time
        self.unverified = 0  # retransmitted bytes whose first copy was out of reach
        self.differences: list[Difference] = []
        self.keep_alives = 0
        self.data_after_end = 0  # bytes behind this side's FIN or reset, ignored
        self.data_after_reset = 0  # bytes that came although the other side had reset
        self.zero_since = 0
        self.zero_window = 0  # ns with a closed window, announced by this side
        self.zero_window_longest = 0
        self.zero_window_place: Place | None = None
        # Where batches that carried this flow began in the file, and the offset at their ends.
        # Kept from the first payload on: most flows of a flood never carry any.
        self.checkpoint_positions = NO_CHECKPOINTS
        self.checkpoint_offsets = NO_CHECKPOINTS

    def begin_payload(self, reader: Reader) -> None:
        """Payload begins; ``reader`` takes it."""
        self.reader = reader
        self.checkpoint_positions = array("q")
        self.checkpoint_offsets = array("q")

    def checkpoint(self, position: int) -> None:
        """A batch that began at this file position, and carried the flow, has ended.

        Of very many the older half is forgotten: nobody repeats what was sent so long ago.
        """
        if len(self.checkpoint_positions) >= CHECKPOINTS_KEPT:
            half = CHECKPOINTS_KEPT // 2
            del self.checkpoint_positions[:half], self.checkpoint_offsets[:half]
        self.checkpoint_positions.append(position)
        self.checkpoint_offsets.append(self.offset + self.fast_granted - self.fast_left)

    def take_in_fast(self) -> None:
        """Bring ``offset`` and the reader up to what passed on the fast path."""
        passed = self.fast_granted - self.fast_left
        if passed:
            self.offset += passed
            assert self.reader is not None
            self.reader.passed(passed)
        self.fast_left = self.fast_granted = 0

    def open_fast_path(self) -> None:
        """Open the fast path as far as the walker allows."""
        reader = self.reader
        self.data_expected = (
            reader is not None
            and self.acks_idle
            and not self.waiting
            and not self.fin
            and not self.reset
        )
        if self.data_expected:
            assert reader is not None
            self.fast_left = self.fast_granted = reader.skippable

    def lost_before(self, at: int, time: int) -> bool:
        """Whether a segment that comes now, and belongs in front of number ``at`` of those that
        wait, is a second copy whose first one never came here; or only out of order.
        """
        behind = time - self.waiting[at].place.time
        many = len(self.waiting) - at >= LOST_BEHIND
        syn, other = self.syn, self.peer.syn
        trip = ROUND_TRIP if syn is None or other is None else abs(syn.time - other.time)
        return behind > trip and (many or behind > OVERTAKEN)

    def add_hole(
        self,
        first: int,
        last: int,
        before: int,
        after: Place,
        *,
        cut: bool,
        acknowledged: bool = False,
    ) -> None:
        """Count missing bytes, and note the hole; the parameters are those of :class:`Hole`."""
        self.missing += last - first + 1
        if cut:
            self.cut += last - first + 1
        if self.holes and self.holes[-1].last + 1 == first and self.holes[-1].cut == cut:
            self.holes[-1].last = last
            self.holes[-1].after = after.frame
            return
        self.hole_count += 1
        if len(self.holes) < HOLES_KEPT:
            self.holes.append(Hole(first, last, before, after.frame, cut, acknowledged))

    def close_window(self, place: Place) -> None:
        """A window of zero was announced."""
        if not self.zero_since:
            self.zero_since = place.time
            self.zero_window_place = self.zero_window_place or place

    def open_window(self, place: Place) -> None:
        """Data are taken again."""
        closed = max(0, place.time - self.zero_since)
        self.zero_since = 0
        self.zero_window += closed
        self.zero_window_longest = max(self.zero_window_longest, closed)

    def decrypt(self) -> None:
        """Make it the plaintext's stream: nothing of that is there yet, what TCP did stays."""
        self.decrypted = True
        self.reader = None
        self.offset = self.missing = self.cut = self.hole_count = 0
        self.holes = []
        self.first = self.last = NEVER
        del self.checkpoint_positions[:], self.checkpoint_offsets[:]

    @property
    def source(self) -> str:
        """``ip:port`` of the sending side (IPv6 in brackets)."""
        source, _, port, _ = endpoints(self.key)
        return f"[{source}]:{port}" if ":" in source else f"{source}:{port}"

    @property
    def destination(self) -> str:
        """``ip:port`` of the receiving side."""
        _, destination, _, port = endpoints(self.key)
        return f"[{destination}]:{port}" if ":" in destination else f"{destination}:{port}"

    @property
    def closed(self) -> bool:
        """Whether nothing can follow.

        Where the other side resets the connection, this side's FIN may never come.
        """
        ends = self.fin or self.reset or self.peer.reset
        return self.fin_lost or ends is not None

    @property
    def ahead(self) -> int:
        """How far what waits reaches beyond what was delivered."""
        return (
            self.waiting[-1].offset + self.waiting[-1].length - self.offset if self.waiting else 0
        )

    @property
    def lacks_end(self) -> bool:
        """Whether the capture lacks the last bytes that are known of."""
        return bool(self.holes) and self.holes[-1].last + 1 == self.offset

    @property
    def carries(self) -> bool:
        """Whether any payload byte was seen."""
        return self.first.frame > 0

    def hole_in(self, first: int, last: int) -> Hole | None:
        """A hole that touches the given offsets."""
        return _touching(self.holes, first, last)


def _touching(holes: Sequence[Hole], first: int, last: int) -> Hole | None:
    for hole in holes:
        if hole.first <= last and hole.last >= first:
            return hole
    return None


class Connection:
    """Both directions of one TCP connection; ``number`` is Wireshark's ``tcp.stream``.

    ``forward`` is the direction of its first frame.
    """

    __slots__ = ("began", "forward", "number", "reused", "reverse")

    def __init__(self, number: int, key: bytes, began: Place) -> None:
        self.number = number
        self.began = began
        self.reused = False  # the same ports were used by an earlier connection
        self.forward = Flow(key, self)
        self.reverse = Flow(mirrored(key), self)
        self.forward.peer = self.reverse
        self.reverse.peer = self.forward

    @property
    def flows(self) -> tuple[Flow, Flow]:
        """Both directions."""
        return self.forward, self.reverse

    @property
    def closed(self) -> bool:
        """Whether a reset, or a FIN of each side, was seen."""
        forward, reverse = self.forward, self.reverse
        if forward.reset or reverse.reset:
            return True
        return forward.fin is not None and reverse.fin is not None
