"""Captures of TCP conversations with faults, which leave the bytes of the streams the same.

As on real connections the receiver gets every byte; a segment can be reordered, repeated, split
differently, or be missing from the capture although it was acknowledged.  Deterministic for a seed.
"""

from __future__ import annotations

import random
import struct

SYN, ACK, FIN, PUSH = 2, 16, 1, 8
SERVER = 4444
WRAP = 1 << 32


class Side:
    """One end: its port and the sequence number of its first payload byte."""

    def __init__(self, port: int, first: int) -> None:
        self.port = port
        self.first = first
        self.sent = 0


class Capture:
    """Frames of a classic pcap file, in the order in which they were captured."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []

    def add(self, source: Side, target: Side, offset: int, data: bytes, flags: int) -> None:
        """A segment whose payload begins at ``offset`` of the source's stream."""
        acknowledged = target.first + target.sent
        tcp = struct.pack(
            ">HHIIBBHHH", source.port, target.port, (source.first + offset) % WRAP,
            acknowledged % WRAP, 5 << 4, flags, 65535, 0, 0,
        )  # fmt: skip
        addresses = bytes([10, 0, 0, 1, 10, 0, 0, 2])
        if source.port == SERVER:
            addresses = addresses[4:] + addresses[:4]
        total = 40 + len(data)
        ip = struct.pack(">BBHHHBBH", 0x45, 0, total, 0, 0x4000, 64, 6, 0) + addresses
        self.frames.append(bytes(12) + b"\x08\x00" + ip + tcp + data)

    def pcap(self) -> bytes:
        """The file."""
        parts = [struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1)]
        for number, frame in enumerate(self.frames):
            parts.append(struct.pack("<IIII", number, 0, len(frame), len(frame)) + frame)
        return b"".join(parts)


def conversation(capture: Capture, port: int, seed: int, *, lossy: bool, syn: bool) -> None:
    """Add a conversation: a client sends some ten thousand bytes, the server acknowledges them and
    sometimes answers a few.
    """
    dice = random.Random(seed)
    client = Side(port, dice.choice([1, WRAP - 3000, dice.randrange(WRAP)]))
    server = Side(SERVER, dice.choice([1, WRAP - 20, dice.randrange(WRAP)]))
    if syn:
        capture.add(client, server, -1, b"", SYN)
        capture.add(server, client, -1, b"", SYN | ACK)
    data = dice.randbytes(dice.randrange(5000, 20000))
    received = bytearray(len(data))  # 1 for bytes that the server has
    for offset, size, seen in _travel(dice, len(data), lossy):
        if seen:
            part = data[offset : offset + size]
            capture.add(client, server, offset, part, ACK | dice.choice([0, PUSH]))
        received[offset : offset + size] = b"\1" * size
        client.sent = (received + b"\0").index(0)
        if dice.random() < 0.4:
            answer = dice.randbytes(dice.choice([0, 0, 3]))
            capture.add(server, client, server.sent, answer, ACK)
            server.sent += len(answer)
    client.sent = len(data)
    for side, peer in ((server, client), (client, server)):
        capture.add(side, peer, side.sent, b"", ACK)
    if syn:
        capture.add(client, server, client.sent, b"", FIN | ACK)


def _travel(dice: random.Random, total: int, lossy: bool) -> list[tuple[int, int, bool]]:
    """Offset and size of every segment in the order of capture, and whether it is captured."""
    segments = []
    offset = 0
    while offset < total:
        size = min(dice.choice([1, 100, 536, 1448]), total - offset)
        segments.append((offset, size, not (lossy and offset and dice.random() < 0.06)))
        offset += size
    travelled = list(segments)
    for at in range(1, len(segments)):
        fault = dice.random()
        offset, size, seen = segments[at]
        later = travelled.index(segments[at]) + dice.randrange(1, 5)
        if not seen:
            continue
        if fault < 0.1:  # overtaken by others
            travelled.remove(segments[at])
            travelled.insert(later, segments[at])
        elif fault < 0.2:  # sent twice
            travelled.insert(later, segments[at])
        elif fault < 0.3 and size > 2:  # sent again from the middle on, with bytes that follow
            begin = offset + dice.randrange(1, size)
            whole = min(total - begin, dice.randrange(1, 1448))
            if not _touches_lost(segments, begin, whole):
                travelled.insert(later, (begin, whole, True))
    return travelled


def _touches_lost(segments: list[tuple[int, int, bool]], begin: int, size: int) -> bool:
    return any(
        not seen and offset < begin + size and begin < offset + length
        for offset, length, seen in segments
    )
