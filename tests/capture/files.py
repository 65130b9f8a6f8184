"""Capture files built block by block, in every variant of the formats."""

from __future__ import annotations

import struct

Frame = tuple[int, bytes, int]
"""Time in ns, captured bytes, original length."""

MAGICS = {
    ("<", 1000): 0xA1B2C3D4,
    ("<", 1): 0xA1B23C4D,
    (">", 1000): 0xA1B2C3D4,
    (">", 1): 0xA1B23C4D,
}


def pcap(
    frames: list[Frame], order: str = "<", scale: int = 1000, link: int = 1, snaplen: int = 65535
) -> bytes:
    """A classic pcap file; ``order`` is a :mod:`struct` byte order, ``scale`` ns per tick."""
    head = struct.pack(order + "IHHiIII", MAGICS[order, scale], 2, 4, 0, 0, snaplen, link)
    parts = [head]
    for time, data, original in frames:
        seconds, rest = divmod(time, 10**9)
        parts.append(struct.pack(order + "IIII", seconds, rest // scale, len(data), original))
        parts.append(data)
    return b"".join(parts)


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


class Section:
    """One pcapng section: ``parts`` grow by the methods, ``bytes()`` is the file."""

    def __init__(self, order: str = "<") -> None:
        self.order = order
        self.parts: list[bytes] = []
        self.block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1))

    def block(self, kind: int, body: bytes) -> Section:
        body = padded(body)
        size = len(body) + 12
        self.parts.append(
            struct.pack(self.order + "II", kind, size) + body + struct.pack(self.order + "I", size)
        )
        return self

    def option(self, code: int, value: bytes) -> bytes:
        return struct.pack(self.order + "HH", code, len(value)) + padded(value)

    def interface(self, link: int = 1, snaplen: int = 0, options: bytes = b"") -> Section:
        end = self.option(0, b"") if options else b""
        return self.block(1, struct.pack(self.order + "HHI", link, 0, snaplen) + options + end)

    def enhanced(
        self, ticks: int, data: bytes, original: int, number: int = 0, options: bytes = b""
    ) -> Section:
        head = struct.pack(
            self.order + "IIIII", number, ticks >> 32, ticks & 0xFFFFFFFF, len(data), original
        )
        end = self.option(0, b"") if options else b""
        return self.block(6, head + padded(data) + options + end)

    def simple(self, data: bytes, original: int) -> Section:
        return self.block(3, struct.pack(self.order + "I", original) + data)

    def obsolete(self, ticks: int, data: bytes, original: int, number: int = 0) -> Section:
        head = struct.pack(
            self.order + "HHIIII", number, 0, ticks >> 32, ticks & 0xFFFFFFFF, len(data), original
        )
        return self.block(2, head + data)

    def __bytes__(self) -> bytes:
        return b"".join(self.parts)
