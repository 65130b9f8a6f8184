"""The second pass over one frame: addresses, payload, checksums."""

from __future__ import annotations

import struct
import sys

from analyzer.capture.link import COOKED, COOKED2, ETHERNET, LOOP, NULL, network
from analyzer.capture.segment import (
    AUTHENTICATION,
    EXTENSIONS,
    FRAGMENT,
    IPV4_HEADER,
    IPV6_HEADER,
    TCP,
    Segment,
    decode,
    innermost,
)
from analyzer.capture.tunnels import UDP, UDP_HEADER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from analyzer.capture.frames import Batch
    from analyzer.scrub.secret import Addresses

    Payload = Callable[[Segment, bytes], bytes | bytearray]

__all__ = ["FrameScrubber"]

NOP = 1
IPV4_OFFSET, IPV6_OFFSET = 0x1FFF, 0xFFF8
"""Masks of the fragment offset; only the first fragment has the ports."""
UDP_PORTS, UDP_CHECKSUM = 4, 6
LINK_HEADERS = {ETHERNET: 14, COOKED: 16, COOKED2: 20, NULL: 4, LOOP: 4}


class FrameScrubber:
    """Rewrites frames; ``payload`` returns the replacement for a TCP segment's bytes."""

    def __init__(self, addresses: Addresses, payload: Payload) -> None:
        self._addresses = addresses
        self._payload = payload

    def rewrite(self, batch: Batch, start: int) -> bytearray:
        """The rewritten frame at ``start`` of a batch, with the same length."""
        captured, original = batch.lengths(start)
        link_type = batch.interface.link_type
        old = batch.buffer[start : start + captured]
        new = bytearray(old)
        segment = decode(batch.buffer, start, captured, original, link_type)
        path: list[tuple[int, int]] = []
        innermost(batch.buffer, start, start + captured, link_type, path)
        payload: tuple[int, int] | None = None
        for link_type, link in path:
            if payload is not None and payload[1]:
                blank(new, payload[0] + UDP_CHECKSUM, payload[0] + UDP_HEADER)
            self._link(new, link - start, link_type)
            found = network(batch.buffer, link, start + captured, link_type)
            if isinstance(found, str):
                blank(new, link - start + LINK_HEADERS.get(link_type, 0))
                return new
            version, at = found[0], found[1] - start
            payload = self._ipv4(new, at) if version == 4 else self._ipv6(new, at)
        if payload is None:
            blank(new, at)
        elif isinstance(segment, str):
            begin, ports = payload
            blank(new, begin + ports)
        else:
            self._tcp(old, new, at, payload[0], version, segment, start)
        return new

    def _link(self, new: bytearray, at: int, link_type: int) -> None:
        """Link-layer addresses of the header at ``at``."""
        spans: tuple[tuple[int, int], ...] = ()
        if link_type == ETHERNET:
            spans = (0, 6), (6, 12)
        elif link_type == COOKED and len(new) >= 16:
            spans = ((6, 6 + min(int.from_bytes(new[4:6], "big"), 8)),)
        elif link_type == COOKED2 and len(new) >= 20:
            spans = ((12, 12 + min(new[11], 8)),)
        for first, last in spans:
            begin, end = at + first, at + last
            if begin < end <= len(new):
                new[begin:end] = self._addresses.link(bytes(new[begin:end]))

    def _ipv4(self, new: bytearray, at: int) -> tuple[int, int] | None:
        """Where the IP payload begins, and how many bytes of it are ports to keep if it is not TCP;
        ``None`` if the header is incomplete.
        """
        size = (new[at] & 15) * 4 if len(new) >= at + IPV4_HEADER else 0
        if size < IPV4_HEADER or new[at] >> 4 != 4 or at + size > len(new):
            return None
        before = total(new[at : at + size])
        right = before == 0
        later = int.from_bytes(new[at + 6 : at + 8], "big") & IPV4_OFFSET
        ports = UDP_PORTS if new[at + 9] == UDP and not later else 0
        for begin in (at + 12, at + 16):
            new[begin : begin + 4] = self._addresses.ipv4(bytes(new[begin : begin + 4]))
        new[at + IPV4_HEADER : at + size] = bytes((NOP,)) * (size - IPV4_HEADER)
        mend(new, at + 10, before, total(new[at : at + size]), right)
        return at + size, ports

    def _ipv6(self, new: bytearray, at: int) -> tuple[int, int] | None:
        """The same for IPv6."""
        if len(new) < at + IPV6_HEADER or new[at] >> 4 != 6:
            return None
        for begin in (at + 8, at + 24):
            new[begin : begin + 16] = self._addresses.ipv6(bytes(new[begin : begin + 16]))
        kind, pos, later = new[at + 6], at + IPV6_HEADER, 0
        while kind in (*EXTENSIONS, FRAGMENT) and pos + 8 <= len(new) and not later:
            if kind == FRAGMENT:
                size = 8
                later = int.from_bytes(new[pos + 2 : pos + 4], "big") & IPV6_OFFSET
            else:
                size = (new[pos + 1] + 2) * 4 if kind == AUTHENTICATION else (new[pos + 1] + 1) * 8
                end = min(pos + size, len(new))
                new[pos + 2 : end] = bytes(end - pos - 2)
            kind, pos = new[pos], pos + size
        return min(pos, len(new)), UDP_PORTS if kind == UDP and not later else 0

    def _tcp(
        self,
        old: bytearray,
        new: bytearray,
        at: int,
        tcp: int,
        version: int,
        segment: Segment,
        start: int,
    ) -> None:
        begin = segment.start - start
        end = begin + segment.captured
        addresses = (at + 12, at + 20) if version == 4 else (at + 8, at + 40)
        for port in (tcp, tcp + 2):
            new[port : port + 2] = self._addresses.port(bytes(new[port : port + 2]))
        new[begin:end] = self._payload(segment, bytes(old[begin:end]))
        blank(new, end)
        pseudo = TCP + (segment.length + begin - tcp)
        before, after = (
            (total(data[slice(*addresses)]) + total(data[tcp:end]) + pseudo) % 0xFFFF
            for data in (old, new)
        )
        whole = segment.captured == segment.length
        mend(new, tcp + 16, before, after, whole and before == 0)


def blank(data: bytearray, begin: int, end: int = sys.maxsize) -> None:
    """Zeros from ``begin`` on, up to ``end``."""
    end = min(end, len(data))
    data[begin:end] = bytes(max(end - begin, 0))


def total(data: bytes | bytearray) -> int:
    """Sum of the 16-bit words, modulo 65535: 0 where the checksum inside is right."""
    return int.from_bytes(data if len(data) % 2 == 0 else data + b"\0", "big") % 0xFFFF


def mend(data: bytearray, at: int, before: int, after: int, right: bool) -> None:
    """Update a checksum: a correct one stays correct, a wrong one wrong by the same amount."""
    old = int.from_bytes(data[at : at + 2], "big")
    new = (old + before - after) % 0xFFFF
    if old == 0 and not right:
        new = 0  # it was never filled in
    struct.pack_into(">H", data, at, new)
