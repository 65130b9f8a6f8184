"""Turns plain TCP into Multipath TCP: each connection of a capture is spread over subflows."""

from __future__ import annotations

import hashlib
import struct
from random import Random
from typing import NamedTuple

from analyzer.capture.segment import ACK, FIN, RST, SYN, Segment, decode, mirrored
from tests.altered import Frame, Frames, read

MASK = 0xFFFFFFFF
ETHERNET = bytes(12) + b"\x08\x00"


class Way(NamedTuple):
    """Options: number of ``paths``; ``again``: share of segments also sent on a second path, which
    may be the same; MPTCP ``version``; ``long``: 8-byte data sequence numbers.
    """

    paths: int = 2
    again: float = 0.1
    version: int = 1
    long: bool = True
    agreed: bool = True  # whether the destination supports MPTCP, too
    until: int = 1 << 30  # data segments before a connection falls back to plain TCP


class _Side:
    """The state of one side: ``start`` is the data sequence number of its first byte."""

    def __init__(self, random: Random, way: Way) -> None:
        self.key = random.randbytes(8)
        digest = (hashlib.sha256 if way.version else hashlib.sha1)(self.key).digest()
        self.token = digest[:4]
        self.start = int.from_bytes(digest[-8:], "big") + 1 & (1 << 64) - 1
        self.isn = 0  # initial sequence number of the plain connection
        self.origins = [random.getrandbits(32) for _ in range(way.paths)]
        self.sent = [1] * way.paths  # subflow sequence numbers
        self.left = way.until
        self.closed = False


class Spreader:
    """Converts segments one by one; ``frames`` is the resulting capture so far."""

    def __init__(self, seed: int, way: Way) -> None:
        self.random = Random(seed)
        self.way = way
        self.frames: list[Frame] = []
        self._time = 0
        self._sides: dict[bytes, tuple[_Side, _Side]] = {}
        self._joined: set[bytes] = set()
        self._clients: set[bytes] = set()

    def segment(self, segment: Segment, data: bytes, time: int) -> None:
        """Convert a segment of the plain capture."""
        self._time = time
        key = segment.key
        if segment.flags & SYN and not segment.flags & ACK:
            both = _Side(self.random, self.way), _Side(self.random, self.way)
            self._sides[key], self._sides[mirrored(key)] = both, (both[1], both[0])
            self._clients.add(key)
        own, other = self._sides[key]
        if segment.flags & SYN:
            own.isn = own.origins[0] = segment.seq
            sent = bool(segment.flags & ACK) or not self.way.version
            self._send(key, 0, 0, segment.flags, self._capable(own.key if sent else b""))
            return
        if key in self._clients and key not in self._joined:
            self._joined.add(key)
            self._send(key, 0, 1, ACK, self._capable(own.key + other.key))
            for path in range(1, self.way.paths):
                self._join(key, path)
        if data:
            self._data(key, segment, data)
        if segment.flags & FIN and not own.closed:
            own.closed = True
            at = own.start + (segment.seq + len(data) - own.isn - 1 & MASK)
            self._send(key, 0, own.sent[0], ACK, self._signal(key, segment, (0, at, 1), fin=True))
            for path in range(self.way.paths):
                self._send(key, path, own.sent[path], ACK | FIN, self._signal(key, segment))
        elif segment.flags & RST:
            fast_close = bytes((30, 12, 7 << 4, 0)) + other.key
            self._send(key, 0, own.sent[0], segment.flags, fast_close)
        elif not data and segment.flags & ACK:
            path = self.random.randrange(self.way.paths)
            self._send(
                key, path, own.sent[path], ACK, self._signal(key, segment), window=segment.window
            )

    def _join(self, key: bytes, path: int) -> None:
        other = self._sides[key][1]
        hello = bytes((30, 12, 1 << 4, path)) + other.token + self.random.randbytes(4)
        self._send(key, path, 0, SYN, hello)
        self._send(mirrored(key), path, 0, SYN | ACK, bytes((30, 16, 1 << 4, path)) + bytes(12))
        self._send(key, path, 1, ACK, bytes((30, 24, 1 << 4, 0)) + bytes(20))

    def _data(self, key: bytes, segment: Segment, data: bytes) -> None:
        own = self._sides[key][0]
        at = own.start + (segment.seq - own.isn - 1 & MASK)
        own.left -= 1
        if own.left <= 0:
            first = self._signal(key, segment, (own.sent[0], at, 0)) if not own.left else b""
            number = own.sent[0]
            own.sent[0] += len(data)
            self._send(key, 0, number, ACK, first, data)
            return
        paths = [self.random.randrange(self.way.paths)]
        if self.random.random() < self.way.again:
            paths.append(self.random.randrange(self.way.paths))
        for path in paths:
            mapping = own.sent[path], at, len(data)
            own.sent[path] += len(data)
            self._send(key, path, mapping[0], ACK, self._signal(key, segment, mapping), data)

    def _capable(self, keys: bytes) -> bytes:
        return bytes((30, 4 + len(keys), self.way.version, 0x81)) + keys

    def _signal(
        self,
        key: bytes,
        segment: Segment,
        mapping: tuple[int, int, int] | None = None,
        *,
        fin: bool = False,
    ) -> bytes:
        other = self._sides[key][1]
        acknowledged = other.start + (segment.ack - other.isn - 1 & MASK)
        width, flags = (8, 2) if self.way.long else (4, 0)
        body = (acknowledged & (1 << 8 * width) - 1).to_bytes(width, "big")
        if mapping is not None:
            flags |= 4 | (8 if self.way.long else 0)
            number, at, length = mapping
            body += (at & (1 << 8 * width) - 1).to_bytes(width, "big")
            body += struct.pack(">IH", number, length)
        return bytes((30, 4 + len(body), 2 << 4, flags | 1 | (16 if fin else 0))) + body

    def _send(
        self,
        key: bytes,
        path: int,
        number: int,
        flags: int,
        option: bytes,
        data: bytes = b"",
        window: int = 0xFFFF,
    ) -> None:
        own, other = self._sides[key]
        client = key if key in self._clients else mirrored(key)
        moved = bytearray(key)
        if path:  # another address and port of the client
            at, port = (0, -4) if client == key else (4, -2)
            moved[at + 2] = moved[at + 2] + path & 255
            moved[port + 1] = moved[port + 1] + path & 255
        if not self.way.agreed and flags != SYN:
            option = b""
        option += b"\x01" * (-len(option) % 4)
        seq, ack = own.origins[path] + number & MASK, other.origins[path] + other.sent[path] & MASK
        offset = (20 + len(option)) // 4 << 4
        tcp = moved[8:] + struct.pack(">IIBBHHH", seq, ack, offset, flags, window, 0, 0) + option
        total = 20 + len(tcp) + len(data)
        ip = struct.pack(">BBHHHBBH", 0x45, 0, total, 0, 0x4000, 64, 6, 0) + moved[:8]
        frame = ETHERNET + ip + tcp + data
        self.frames.append(Frame(self._time, frame, len(frame)))
        self._time += 100


def spread(plain: bytes, seed: int = 0, way: Way | None = None) -> Frames:
    """A capture of IPv4 connections in which each of them is spread over subflows."""
    capture = read(plain)
    spreader = Spreader(seed, way or Way())
    for time, frame, original in capture.frames:
        segment = decode(bytearray(frame), 0, len(frame), original, capture.link)
        assert not isinstance(segment, str)
        spreader.segment(segment, frame[segment.start : segment.start + segment.length], time)
    return Frames(1, spreader.frames)
