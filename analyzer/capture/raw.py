"""Makes a capture out of another one: a pcap stream of raw IP frames, time stamps in ns.

Every frame keeps its number: irrelevant frames become empty records.  So whatever reads the stream
need not know where it came from.
"""

from __future__ import annotations

import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    Record = tuple[bytes, int]
    """A raw IP frame, and its length on the wire."""

__all__ = ["EMPTY", "HEADER", "OTHER", "cut", "frame_of", "record_of"]

NS = 1_000_000_000
TIME_MAX = (1 << 32) * NS - 1
"""The latest time stamp that fits a record, in ns."""
HEADER = struct.Struct("<IHHiIII").pack(0xA1B23C4D, 2, 4, 0, 0, 1 << 18, 101)
"""The pcap file header."""
EMPTY = b"", 0

_record = struct.Struct("<IIII").pack
_ipv4 = struct.Struct(">BBHHHBBH4s4s").pack
_ipv6 = struct.Struct(">IHBB16s16s").pack
_tcp = struct.Struct(">HHIIBBHHH").pack

NOTHING_IN_PARTICULAR = 253
"""A protocol number for experiments (RFC 3692)."""
OTHER = _ipv4(0x45, 0, 20, 0, 0x4000, 64, NOTHING_IN_PARTICULAR, 0, bytes(4), bytes(4)), 20
"""A raw IP frame without TCP."""


def cut(original: int) -> Record:
    """An IP frame cut off before its TCP header; ``original`` is its length on the wire."""
    return b"\x45", original


def record_of(time: int, record: Record) -> bytes:
    """A frame as a pcap record; ``time`` is ns since the epoch, clamped to the format's range."""
    seconds, rest = divmod(max(0, min(time, TIME_MAX)), NS)
    data, original = record
    return _record(seconds, rest, len(data), original) + data


def frame_of(
    addresses: tuple[bytes, bytes],
    ports: tuple[int, int],
    seq: int,
    data: bytes,
    *,
    ack: int = 0,
    flags: int = 0x10,
    window: int = 0xFFFF,
    length: int | None = None,
) -> Record:
    """A TCP segment in a raw IP frame.

    ``length`` is that of the payload on the wire, ``data`` the captured part of it.
    """
    size = (len(data) if length is None else length) + 20
    tcp = _tcp(*ports, seq, ack, 0x50 | flags >> 8 & 15, flags & 255, window, 0, 0)
    source, destination = addresses
    if len(source) == 4:
        total = size + 20 if size + 20 < 1 << 16 else 0
        ip = _ipv4(0x45, 0, total, 0, 0x4000, 64, 6, 0, source, destination)
    else:
        ip = _ipv6(6 << 28, size if size < 1 << 16 else 0, 6, 64, source, destination)
    return ip + tcp + data, len(ip) + size
