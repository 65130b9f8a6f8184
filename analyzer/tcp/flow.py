"""TCP connections: each direction's position, queued segments, holes and irregularities; and all
connections of a capture, in bounded memory.
"""

from __future__ import annotations

import gc
from array import array

from analyzer.capture.segment import endpoints, mirrored
from analyzer.tcp.reader import UNREAD
from analyzer.tcp.requests import Place

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from analyzer.tcp.reader import Reader

__all__ = ["NEVER", "Connection", "Connections", "Difference", "Flow", "Hole", "Waiting"]

NEVER = Place(0, 0, 0)
NO_CHECKPOINTS = array("q")
HOLES_KEPT = 1000
ROUND_TRIP = 3_000_000
"""Round trip time in ns where the capture lacks the handshake; Wireshark assumes as much."""
OVERTAKEN = 1_000_000
"""Time in ns by which a segment may follow one or two later ones without being a retransmission: a
tail loss probe overtakes segments that are still queued at the sender.
"""
LOST_BEHIND = 3
"""With so many later segments received, a receiver takes one for lost (three duplicate ACKs)."""
CHECKPOINTS_KEPT = 1 << 15
"""Per flow: enough for 64 GiB of capture, while a TCP window has at most 1 GiB."""
CONNECTIONS_KEPT = 1 << 14
IDENTIFIED = 64
"""Bytes that suffice to identify a channel: an initial packet has as many."""


class Hole:
    """Bytes ``first`` to ``last`` (stream offsets, inclusive) that the capture does not have.

    ``before`` and ``after`` are the numbers of the frames around it; ``cut`` says that snaplen cut
    the bytes off, rather than a frame being lost.
    """

    __slots__ = ("after", "before", "cut", "first", "last")

    def __init__(self, first: int, last: int, before: int, after: int, cut: bool) -> None:
        self.first = first
        self.last = last
        self.before = before
        self.after = after
        self.cut = cut

    @property
    def size(self) -> int:
        """Missing bytes."""
        return self.last - self.first + 1


class Waiting:
    """A queued segment, which arrived ahead of its turn.  ``data`` is ``None`` when nothing will
    read it.
    """

    __slots__ = ("data", "length", "offset", "place")

    def __init__(self, offset: int, length: int, data: bytes | None, place: Place) -> None:
        self.offset = offset
        self.length = length
        self.data = data
        self.place = place

    def part(self, offset: int, length: int) -> bytes | None:
        """``length`` bytes from a stream offset on, if they were kept."""
        at = offset - self.offset
        return None if self.data is None else self.data[at : at + length]


class Difference:
    """A retransmission whose bytes differ from the first copy's: from stream offset ``offset`` on,
    in ``count`` bytes.
    """

    __slots__ = ("count", "offset", "place")

    def __init__(self, offset: int, count: int, place: Place) -> None:
        self.offset = offset
        self.count = count
        self.place = place


class Flow:
    """One direction of a connection: an ordered byte sequence with holes.

    ``next`` is the sequence number expected next, ``offset`` the corresponding stream offset (0 is
    the first payload byte, or the first one seen when ``midstream``).

    The fast path has passed ``fast_granted - fast_left`` bytes that the reader skips; until
    :meth:`take_in_fast` they are counted in ``next``, but not in ``offset``.  ``data_expected``
    says that the next segment needs no checks other than for plain data, ``acks_idle`` that bare
    ACKs in this direction carry no information.  The last segment on the fast path had
    ``last_size`` bytes of payload, and its headers held ``last_total``, ``last_proto`` and
    ``last_bits`` (see :class:`analyzer.capture.shape.Shape`); most are followed by another one with
    the same.
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
        self.base = -1  # Wireshark's base_seq: the SYN's number, or 1 below the first seen
        self.offset = 0
        self.fast_left = 0
        self.fast_granted = 0
        self.last_total = -1
        self.last_bits = self.last_proto = self.last_size = 0
        self.data_expected = False
        self.acks_idle = False
        self.reader: Reader | None = None
        self.first: Place = NEVER  # places of the first and last payload byte
        self.last: Place = NEVER
        self.fast_start = 0  # buffer index of the last frame on the fast path; 0: none
        self.ack_start = 0  # buffer index of the last bare ACK on the fast path; 0: none
        self.midstream = False
        self.decrypted = False  # whether offsets and holes refer to the plaintext of TLS
        self.syn: Place | None = None
        self.fin: Place | None = None
        self.fin_offset = 0
        self.fin_read = 0  # offset of the other side acknowledged by then; a FIN counts as a byte
        self.fin_lost = False  # whether a FIN or RST is only inferred from the other side
        self.reset: Place | None = None
        self.seen = 0  # frames
        self.acked = 0  # highest offset that the other side acknowledged
        self.holes: list[Hole] = []
        self.hole_count = 0
        self.missing = 0
        self.cut = 0  # of the missing bytes, those that snaplen took
        self.waiting: list[Waiting] = []
        self.waiting_bytes = 0
        self.waiting_from = 0  # least file position of the queued segments
        self.doubted = 0  # offset acknowledged when doubts began to count
        self.doubts = 0  # frames since the receiver acknowledged bytes that are missing here
        self.reordered = 0
        self.retransmissions = 0
        self.duplicate_bytes = 0
        self.late_bytes = 0  # bytes that came after later ones by more than a round trip
        self.unverified = 0  # retransmitted bytes whose first copy could not be read
        self.differences: list[Difference] = []
        self.keep_alives = 0
        self.data_after_end = 0  # bytes after this side's FIN or RST, ignored
        self.data_after_reset = 0  # bytes sent although the other side had sent a RST
        self.zero_since: int | None = None  # time of the zero window that lasts
        self.zero_window = 0  # ns with a closed window, announced by this side
        self.zero_window_longest = 0
        self.zero_window_place: Place | None = None
        # File positions of the batches that carried this flow, and the flow's offset after each.
        # Kept from the first payload on: most flows of a SYN flood never carry any.
        self.checkpoint_positions = NO_CHECKPOINTS
        self.checkpoint_offsets = NO_CHECKPOINTS

    def begin_payload(self, reader: Reader) -> None:
        """The first payload is about to be fed to ``reader``."""
        self.reader = reader
        self.checkpoint_positions = array("q")
        self.checkpoint_offsets = array("q")

    def leave(self) -> None:
        """Nobody wants to read any further."""
        self.take_in_fast()
        if self.reader is not None:
            self.reader.leave()
            self.reader = UNREAD

    def checkpoint(self, position: int) -> None:
        """A batch from file position ``position`` on that carried the flow has ended.

        When there are too many, the older half is dropped: such old bytes are not retransmitted.
        """
        if len(self.checkpoint_positions) >= CHECKPOINTS_KEPT:
            half = CHECKPOINTS_KEPT // 2
            del self.checkpoint_positions[:half], self.checkpoint_offsets[:half]
        self.checkpoint_positions.append(position)
        self.checkpoint_offsets.append(self.offset + self.fast_granted - self.fast_left)

    def take_in_fast(self) -> None:
        """Update ``offset`` and the reader by the bytes that passed on the fast path."""
        passed = self.fast_granted - self.fast_left
        if passed:
            self.offset += passed
            assert self.reader is not None
            self.reader.passed(passed)
        self.fast_left = self.fast_granted = 0

    def open_fast_path(self) -> None:
        """Allow the fast path for as many bytes as the walker skips."""
        reader = self.reader
        self.data_expected = (
            reader is not None
            and not self.waiting
            and not self.peer.waiting
            and self.zero_since is None
            and not self.fin
            and not self.reset
            and not self.peer.reset
        )
        if self.data_expected:
            assert reader is not None
            self.fast_left = self.fast_granted = reader.skippable

    def lost_before(self, at: int, time: int) -> bool:
        """Whether a segment, arriving at ``time`` ahead of the queued segment number ``at``, is a
        retransmission whose first copy the capture lacks, rather than only out of order.
        """
        behind = time - self.waiting[at].place.time
        many = len(self.waiting) - at >= LOST_BEHIND
        syn, other = self.syn, self.peer.syn
        trip = ROUND_TRIP if syn is None or other is None else abs(syn.time - other.time)
        return behind > trip and (many or behind > OVERTAKEN)

    def add_hole(
        self, first: int, last: int, before: int, after: Place, *, cut: bool = False
    ) -> None:
        """Count missing bytes, and note the hole; ``after`` is the place behind it, the other
        parameters are those of :class:`Hole`.
        """
        self.missing += last - first + 1
        if cut:
            self.cut += last - first + 1
        if self.holes and self.holes[-1].last + 1 == first and self.holes[-1].cut == cut:
            self.holes[-1].last = last
            self.holes[-1].after = after.frame
            return
        self.hole_count += 1
        if len(self.holes) < HOLES_KEPT:
            self.holes.append(Hole(first, last, before, after.frame, cut))

    def close_window(self, place: Place) -> None:
        """A zero window was announced at ``place``."""
        if self.zero_since is None:
            self.zero_since = place.time
            self.zero_window_place = self.zero_window_place or place

    def open_window(self, place: Place) -> None:
        """The window was opened again at ``place``."""
        assert self.zero_since is not None
        closed = max(0, place.time - self.zero_since)
        self.zero_since = None
        self.zero_window += closed
        self.zero_window_longest = max(self.zero_window_longest, closed)

    def decrypt(self) -> None:
        """Reset the stream for plaintext, which begins at offset 0; what is known of TCP is
        kept.
        """
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
    def own_end(self) -> Place | None:
        """Where this side ended the stream: its FIN, or else its RST."""
        return self.fin or self.reset

    @property
    def first_end(self) -> Place | None:
        """The earlier of this side's FIN and RST."""
        if self.fin is None or self.reset is None:
            return self.own_end
        return self.fin if self.fin.frame < self.reset.frame else self.reset

    @property
    def closed(self) -> bool:
        """Whether no more bytes can follow: a FIN or RST of this side, or a RST of the other, was
        seen or inferred.
        """
        ends = self.own_end or self.peer.reset
        return self.fin_lost or ends is not None

    @property
    def unfinished(self) -> bool:
        """Whether bytes before queued segments or before this side's FIN may still come."""
        return bool(self.waiting) or (self.fin is not None and self.offset < self.fin_offset)

    @property
    def ahead(self) -> int:
        """How many bytes beyond ``offset`` the queued segments reach."""
        return (
            self.waiting[-1].offset + self.waiting[-1].length - self.offset if self.waiting else 0
        )

    @property
    def lacks_end(self) -> bool:
        """Whether the stream ends in a hole."""
        return bool(self.holes) and self.holes[-1].last + 1 == self.offset

    @property
    def carries(self) -> bool:
        """Whether any payload byte was seen."""
        return self.first.frame > 0

    @property
    def never_sent(self) -> bool:
        """Whether this side sent no byte, as far as its FIN and the other side's ACKs tell."""
        end = 0 if self.fin is None else 1  # a FIN is acknowledged like a byte
        return not self.carries and self.fin_offset <= 0 and self.acked <= end

    def acknowledged(self, hole: Hole) -> bool:
        """Whether the receiver acknowledged the bytes of a hole, so that only the capture lacks
        them.
        """
        return hole.last < self.acked

    def hole_in(self, first: int, last: int) -> Hole | None:
        """The first hole that overlaps the given offsets (inclusive), if any."""
        found = (hole for hole in self.holes if hole.first <= last and hole.last >= first)
        return next(found, None)


class Connection:
    """Both directions of one TCP connection; ``number`` is Wireshark's ``tcp.stream``.

    ``began`` is the place of its first frame, ``forward`` the direction of that frame.
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
    def closed_at(self) -> int | None:
        """The frame that closed it, a RST or the second side's FIN; ``None`` if none was seen."""
        frames = [flow.reset.frame for flow in self.flows if flow.reset is not None]
        fins = [flow.fin.frame for flow in self.flows if flow.fin is not None]
        if len(fins) == 2:
            frames.append(max(fins))
        return min(frames, default=None)

    @property
    def closed(self) -> bool:
        """Whether a RST, or a FIN of each side, was seen."""
        return self.closed_at is not None


class Connections:
    """All connections of a capture or, if there are very many, those worth keeping.

    ``all`` are in the order of Wireshark's numbers, of which ``count`` is the next; ``flows`` are
    both directions of each by flow key, the latest where ports were reused; ``carrying`` are the
    flows with a reader.  When there are very many, ``crowded()`` is called, and then the older of
    those without a reader are dropped; ``release(flow)`` is called for each of their flows.
    """

    def __init__(self, crowded: Callable[[], None] | None, release: Callable[[Flow], None]) -> None:
        self.all: list[Connection] = []
        self.count = 0
        self.flows: dict[bytes, Flow] = {}
        self.carrying: list[Flow] = []
        self._crowded = crowded
        self._release = release
        self._forget_at = CONNECTIONS_KEPT

    def begin(self, key: bytes, place: Place, *, reused: bool) -> Connection:
        """A new connection, whose first frame, at ``place``, has the flow key ``key``."""
        if len(self.all) >= self._forget_at:
            self._forget()
            # If all have readers, none was dropped: do not try again at each new connection.
            self._forget_at = len(self.all) + CONNECTIONS_KEPT // 2
        connection = Connection(self.count, key, place)
        connection.reused = reused
        self.count += 1
        self.all.append(connection)
        for flow in connection.flows:
            self.flows[flow.key] = flow
        return connection

    def _forget(self) -> None:
        """Drop the older connections without a reader, closed ones first."""
        if self._crowded is not None:
            self._crowded()
        idle = [connection for connection in self.all if _idle(connection)]
        idle.sort(key=lambda connection: not connection.closed)
        del idle[-CONNECTIONS_KEPT // 2 :]
        for connection in idle:
            for flow in connection.flows:
                self._release(flow)
        dropped = {id(connection) for connection in idle}
        self.all = [c for c in self.all if id(c) not in dropped]
        for key in [k for k, f in self.flows.items() if id(f.connection) in dropped]:
            del self.flows[key]
        self.carrying = [f for f in self.carrying if id(f.connection) not in dropped]
        gc.collect()  # the two flows of a connection refer to each other


def _idle(connection: Connection) -> bool:
    """Whether it has no readers, or has carried too little to be identified."""
    return all(_unread(flow) or flow.offset < IDENTIFIED for flow in connection.flows)


def _unread(flow: Flow) -> bool:
    return flow.reader is None or flow.reader.done
