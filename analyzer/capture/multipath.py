"""Reassembles Multipath TCP (RFC 8684): each connection becomes one of plain TCP.

QEMU migrates over it where an address says ``mptcp``.  A connection's bytes have data sequence
numbers of their own and travel in one or several TCP connections, the subflows; a byte may be sent
twice, in two subflows or as new bytes of the same one.  Here every segment is moved to the
connection's first subflow, its data sequence number becoming the sequence number and its data ACK
the ACK, so that order, holes and retransmissions are those of the connection.  The numbers are
shifted to begin at the first subflow's own, so they stay the same as long as nothing is sent
elsewhere.
"""

from __future__ import annotations

from collections import deque

from analyzer.capture.file import CaptureFile
from analyzer.capture.link import network
from analyzer.capture.raw import EMPTY, HEADER, frame_of, record_of
from analyzer.capture.segment import (
    ACK,
    FIN,
    MULTIPATH,
    RST,
    SYN,
    decode,
    mirrored,
    options_of,
    split_key,
)
from analyzer.capture.sequence import MASK, ahead_of
from analyzer.capture.source import Source, open_source

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os

    from analyzer.capture.frames import Batch
    from analyzer.capture.raw import Record
    from analyzer.capture.segment import Segment

    Mapping = tuple[int, int, int]
    """Relative subflow sequence number (1 is the first byte), data sequence number, length in
    bytes.
    """

__all__ = ["Rejoined", "open_rejoined"]

CAPABLE, JOIN, SIGNAL, FASTCLOSE = 0, 1, 2, 7
HAS_ACK, LONG_ACK, HAS_MAPPING, LONG_SEQUENCE, DATA_FIN = 1, 2, 4, 8, 16
BOTH_KEYS = 18
"""Least length of an MP_CAPABLE option with both keys, not counting kind and length."""
FALLEN_BACK = 1 << 31
"""Length given to a mapping without end: the subflow has fallen back to plain TCP."""
MAPPINGS_KEPT = 16
SUBFLOWS_KEPT = 1 << 12
CANDIDATES = 256
NEAR = 1 << 22
"""Data sequence numbers no farther apart belong to one connection: initial ones are random."""
READY = 1 << 16


class _Stream:
    """One direction's bytes.

    ``origin`` is the sequence number of the first subflow's SYN; adding ``shift`` to a data
    sequence number gives a sequence number of the first subflow; ``end`` is the number after the
    last byte seen.
    """

    __slots__ = ("end", "ended", "key", "origin", "shift")

    def __init__(self, key: bytes) -> None:
        self.key = key
        self.origin: int | None = None
        self.shift: int | None = None
        self.end: int | None = None
        self.ended = False  # ignore TCP's FINs from here, as after a DATA_FIN


class _Connection:
    """The streams of both directions, the client's first; ``tokens`` identify the connection."""

    __slots__ = ("streams", "subflows", "tokens")

    def __init__(self, key: bytes) -> None:
        self.streams = _Stream(key), _Stream(mirrored(key))
        self.subflows = 1
        self.tokens: list[int] = []


class _Subflow:
    """One direction of a subflow.

    ``side`` is the index of its stream in the connection; ``origin`` the sequence number of its
    SYN; ``sure`` whether the other side was seen to speak Multipath TCP.
    """

    __slots__ = ("connection", "first", "mappings", "origin", "pending", "side", "sure")

    def __init__(self, connection: _Connection, side: int, first: bool) -> None:
        self.connection = connection
        self.side = side
        self.first = first  # whether it is the connection's first subflow
        self.origin: int | None = None
        self.sure = False
        self.mappings: deque[Mapping] = deque(maxlen=MAPPINGS_KEPT)
        self.pending: Mapping | None = None  # the mapping in force when the capture began

    @property
    def stream(self) -> _Stream:
        """The stream whose bytes it carries."""
        return self.connection.streams[self.side]

    @property
    def peer(self) -> _Stream:
        """The stream whose bytes it acknowledges."""
        return self.connection.streams[1 - self.side]

    def begin(self, seq: int) -> None:
        """Note the sequence number of its SYN."""
        self.origin = seq & MASK
        if self.first:
            self.stream.origin = self.origin

    def map(self, mapping: Mapping, segment: Segment) -> None:
        """Note the mapping that ``segment`` announces."""
        if not mapping[0]:
            return  # belongs to a DATA_FIN without data
        if self.origin is None and segment.length:
            # Segmentation offload may have split a mapping's bytes into several segments that carry
            # the same option; so only the first segment of the next mapping tells where the numbers
            # begin.
            if self.pending is not None and self.pending != mapping:
                self.origin = segment.seq - mapping[0] & MASK
            self.pending = mapping
        if not self.mappings or self.mappings[-1] != mapping:
            self.mappings.append(mapping)

    def data_sequence(self, seq: int) -> int | None:
        """The data sequence number of a subflow's sequence number; ``None`` where no mapping covers
        it.
        """
        if self.origin is None:
            return None
        for number, data, length in reversed(self.mappings):
            ahead = seq - self.origin - number & MASK
            if ahead < length:
                return data + ahead & MASK
        return None


class _Told:
    """What a segment's MPTCP options say.

    ``acknowledged`` is the data ACK; ``fin`` says that the stream ends here (DATA_FIN),
    ``fast_close`` that the connection does; ``with_keys`` that MP_CAPABLE with both keys takes the
    place of a mapping.
    """

    __slots__ = ("acknowledged", "fast_close", "fin", "mapping", "with_keys")

    def __init__(self) -> None:
        self.acknowledged: int | None = None
        self.mapping: Mapping | None = None
        self.fin = False
        self.fast_close = False
        self.with_keys = False


class Rejoined:
    """Converts the capture ``file`` to a pcap stream with the same number of frames."""

    def __init__(self, file: CaptureFile) -> None:
        self.file = file
        self._batches = file.batches()
        self._ready = bytearray(HEADER)
        self._subflows: dict[bytes, _Subflow] = {}
        self._tokens: dict[int, tuple[_Connection, int]] = {}
        self._latest: deque[_Connection] = deque(maxlen=CANDIDATES)
        self._joins = False
        self._connections = 0
        self._additional = 0  # subflows besides each connection's first

    def read1(self, size: int, /) -> bytes:
        """At most ``size`` bytes of the pcap stream; ``b""`` at its end."""
        while len(self._ready) < min(size, READY):
            batch = next(self._batches, None)
            if batch is None:
                break
            for start in batch.starts:
                self._add(batch, start)
            if self.file.source.growing:
                break
        part = bytes(self._ready[:size])
        del self._ready[:size]
        return part

    def tell(self, file: CaptureFile) -> None:
        """Pass on to ``file``, at the end, the damage, secrets and notes of the capture that was
        read.
        """
        file.bytes, file.damage, file.secrets = self.file.bytes, self.file.damage, self.file.secrets
        file.notes += [*self.file.notes, *self.file.source.notes]
        if self._connections:
            file.notes.append(
                f"Multipath TCP: reassembled connections: {self._connections}, with "
                f"{self._additional} additional subflows"
            )

    def close(self) -> None:
        """Close the file."""
        self._batches = iter(())
        self.file.source.close()

    # -- frames -------------------------------------------------------------------------------

    def _add(self, batch: Batch, start: int) -> None:
        time, captured, original = batch.header(start)
        link_type = batch.interface.link_type
        end = start + captured
        record = EMPTY
        found = network(batch.buffer, start, end, link_type)
        if not isinstance(found, str):
            segment = decode(batch.buffer, start, captured, original, link_type)
            moved = None if isinstance(segment, str) else self._moved(segment, batch.buffer, end)
            at = min(found[1], end)
            record = moved or (bytes(batch.buffer[at:end]), max(0, start + original - at))
        self._ready += record_of(time, record)

    def _moved(self, segment: Segment, buffer: bytearray, end: int) -> Record | None:
        """The segment moved to its place in the connection; ``None`` where it stays as it is."""
        options = list(options_of(buffer, segment, MULTIPATH, end))
        if segment.flags & SYN:
            self._opened(segment, options)
            return None
        subflow = self._subflows.get(segment.key)
        if subflow is None:
            if not options:
                return None
            mapping = next((m for m in map(_mapping, options) if m is not None), None)
            if mapping is None:
                return EMPTY
            subflow = self._late(segment.key, mapping)
            if subflow is None:
                return EMPTY
        elif options:
            self._confirm(segment.key)
        elif segment.length and not subflow.sure:
            self._forget(segment.key)  # the other side only speaks plain TCP
            return None
        data = bytes(buffer[segment.start : segment.start + segment.captured])
        return self._placed(subflow, segment, options, data)

    def _opened(self, segment: Segment, options: list[bytes]) -> None:
        """Handle a SYN or SYN-ACK."""
        option = next((o for o in options if o[0] >> 4 in (CAPABLE, JOIN)), None)
        self._joins = self._joins or (option is not None and option[0] >> 4 == JOIN)
        if not segment.flags & ACK:
            self._forget(segment.key)
            if option is not None:
                self._begin(segment, option)
            return
        client = mirrored(segment.key)
        if option is None:
            self._forget(segment.key)
            return
        if client not in self._subflows:
            if option[0] >> 4 == JOIN:
                return  # only the SYN names the connection
            self._enter(client, _Connection(client), 0, first=True)
        self._subflows[client].begin(segment.ack - 1)
        subflow = self._subflows[segment.key]
        subflow.begin(segment.seq)
        self._confirm(segment.key)
        if option[0] >> 4 == CAPABLE:
            self._learn(subflow, option)

    def _begin(self, segment: Segment, option: bytes) -> None:
        if option[0] >> 4 == CAPABLE:
            self._enter(segment.key, _Connection(segment.key), 0, first=True)
        else:
            joined = self._tokens.get(int.from_bytes(option[2:6], "big"))
            if joined is None:
                return
            connection, receiver = joined
            connection.subflows += 1
            self._enter(segment.key, connection, 1 - receiver, first=False)
        self._subflows[segment.key].begin(segment.seq)

    def _late(self, key: bytes, mapping: Mapping) -> _Subflow | None:
        """The subflow of a TCP connection whose handshake is not in the capture.

        Its data sequence number tells which connection it belongs to; otherwise it is taken for a
        new connection's first one.  ``None`` if joins were seen, as it may then belong to a
        connection that is not known yet.
        """
        owner = self._owner(mapping[1])
        if owner is not None:
            connection, side = owner
            connection.subflows += 1
            self._enter(key, connection, side, first=False)
        elif self._joins:
            return None
        else:
            self._enter(key, _Connection(key), 0, first=True)
        self._confirm(key)
        return self._subflows[key]

    def _owner(self, number: int) -> tuple[_Connection, int] | None:
        """The connection, and the side of its stream, that a data sequence number belongs to."""
        for connection in self._latest:
            for side, stream in enumerate(connection.streams):
                if stream.shift is None or stream.end is None:
                    continue
                if abs(ahead_of(number + stream.shift, stream.end)) < NEAR:
                    return connection, side
        return None

    def _confirm(self, key: bytes) -> None:
        """Both sides were seen to speak Multipath TCP on this subflow."""
        both = self._subflows[key], self._subflows[mirrored(key)]
        if not any(subflow.sure for subflow in both):
            if both[0].first:
                self._connections += 1
            else:
                self._additional += 1
        both[0].sure = both[1].sure = True

    def _enter(self, key: bytes, connection: _Connection, side: int, *, first: bool) -> None:
        while len(self._subflows) >= 2 * SUBFLOWS_KEPT:
            self._forget(next(iter(self._subflows)))
        self._subflows[key] = _Subflow(connection, side, first)
        self._subflows[mirrored(key)] = _Subflow(connection, 1 - side, first)
        if first:
            self._latest.append(connection)

    def _forget(self, key: bytes) -> None:
        subflow = self._subflows.pop(key, None)
        self._subflows.pop(mirrored(key), None)
        if subflow is not None and subflow.first:
            for token in subflow.connection.tokens:
                self._tokens.pop(token, None)

    def _learn(self, subflow: _Subflow, option: bytes) -> None:
        """Take the sender's key from an MP_CAPABLE option, which only the first subflow has: it
        gives the connection's token and the initial data sequence number.
        """
        stream, key = subflow.stream, option[2:10]
        if stream.shift is not None or len(key) < 8 or stream.origin is None or not subflow.first:
            return
        import hashlib

        digest = (hashlib.sha256 if option[0] & 15 else hashlib.sha1)(key).digest()
        stream.shift = stream.origin - int.from_bytes(digest[-4:], "big") & MASK
        token = int.from_bytes(digest[:4], "big")
        subflow.connection.tokens.append(token)
        self._tokens[token] = subflow.connection, subflow.side

    # -- segments -----------------------------------------------------------------------------

    def _placed(
        self, subflow: _Subflow, segment: Segment, options: list[bytes], data: bytes
    ) -> Record | None:
        """A segment's frame in its connection; ``None`` to leave the end of an additional subflow
        as it is.
        """
        stream = subflow.stream
        told = self._told(subflow, options)
        if told.mapping is not None:
            subflow.map(told.mapping, segment)
        seq: int | None = None
        if segment.length:
            # The first bytes may come with an MP_CAPABLE option instead of a mapping.
            seq = segment.seq if told.with_keys else self._sequence(subflow, segment)
            if seq is None:
                stream.ended = True  # bytes before it may be missing: ignore TCP's FINs
                return EMPTY
            _advance(stream, seq + segment.length)
        flags = segment.flags & ~(FIN | RST | ACK)
        last = _last_of(stream, told)
        if last is not None and (seq is None or seq + segment.length & MASK == last):
            seq = last if seq is None else seq
            flags |= FIN
            stream.ended = True
        flags |= segment.flags & _ends_shared(subflow, told)
        if not subflow.first and seq is None and segment.flags & (FIN | RST) and not flags & RST:
            return None
        if seq is None:
            seq = segment.seq if stream.end is None else stream.end
        ack, shift = segment.ack, subflow.peer.shift
        if told.acknowledged is not None and shift is not None:
            ack = told.acknowledged + shift & MASK
            flags |= segment.flags & ACK
        elif told.with_keys:
            flags |= segment.flags & ACK
        source, destination, sport, dport = split_key(stream.key)
        return frame_of(
            (source, destination), (sport, dport), seq & MASK, data,
            ack=ack, flags=flags, window=segment.window, length=segment.length,
        )  # fmt: skip

    def _told(self, subflow: _Subflow, options: list[bytes]) -> _Told:
        told = _Told()
        for option in options:
            kind = option[0] >> 4
            if kind == SIGNAL:
                told.acknowledged, told.mapping, told.fin = _signal(option)
            elif kind == CAPABLE and len(option) >= BOTH_KEYS:
                told.with_keys = subflow.first
                self._learn(subflow, option)
            elif kind == FASTCLOSE:
                told.fast_close = True
        return told

    def _sequence(self, subflow: _Subflow, segment: Segment) -> int | None:
        number = subflow.data_sequence(segment.seq)
        if number is None:
            return None
        stream = subflow.stream
        if stream.shift is None:
            # The keys were not seen: the first subflow's first bytes keep their sequence numbers.
            stream.shift = segment.seq - number & MASK if subflow.first else 0
        return number + stream.shift & MASK


def _last_of(stream: _Stream, told: _Told) -> int | None:
    """The sequence number after the stream's last byte, if a DATA_FIN tells it."""
    if not told.fin or told.mapping is None or stream.shift is None:
        return None
    return told.mapping[1] + told.mapping[2] - 1 + stream.shift & MASK


def _ends_shared(subflow: _Subflow, told: _Told) -> int:
    """Which of TCP's own FIN and RST flags, if set, also end the connection."""
    alone = subflow.connection.subflows == 1
    fin = FIN if alone and not subflow.stream.ended else 0
    return fin | (RST if alone or told.fast_close else 0)


def _advance(stream: _Stream, end: int) -> None:
    end &= MASK
    if stream.end is None or ahead_of(end, stream.end) >= 0:
        stream.end = end


def _mapping(option: bytes) -> Mapping | None:
    return _signal(option)[1] if option[0] >> 4 == SIGNAL else None


def _signal(option: bytes) -> tuple[int | None, Mapping | None, bool]:
    """A data sequence signal (DSS): data ACK, mapping, and whether it is a DATA_FIN."""
    flags = option[1] if len(option) > 1 else 0
    at = 2

    def number(size: int) -> int:
        nonlocal at
        at += size
        return int.from_bytes(option[at - size : at], "big") & MASK

    acknowledged = number(8 if flags & LONG_ACK else 4) if flags & HAS_ACK else None
    mapping = None
    if flags & HAS_MAPPING:
        data = number(8 if flags & LONG_SEQUENCE else 4)
        mapping = number(4), data, number(2) or FALLEN_BACK
    if at > len(option):
        return None, None, False
    return acknowledged, mapping, bool(flags & DATA_FIN)


def open_rejoined(path: str | os.PathLike[str] | bytes | Source) -> tuple[Source, Rejoined]:
    """Open a capture with its Multipath TCP connections reassembled.

    Gives the source and the converter behind it.  Raises :class:`analyzer.errors.CaptureError` for
    a file that is not a capture.
    """
    inner = open_source(path)
    rejoined = Rejoined(CaptureFile(inner))
    source = Source(inner.path, rejoined)
    source.growing = inner.growing
    return source, rejoined
