"""From a frame to the TCP segment in it: IPv4, IPv6, tunnels, TCP.

This is the slow path, for every frame that the stream engine's fast path does not take: complete
rather than fast.
"""

from __future__ import annotations

import struct

from analyzer.capture.link import TUNNEL, network
from analyzer.capture.tunnels import NOT_TCP, carried, is_tunnel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "ACK",
    "AUTHENTICATION",
    "EXTENSIONS",
    "FIN",
    "FRAGMENT",
    "FRAGMENTED",
    "IPV4_HEADER",
    "IPV6_HEADER",
    "MULTIPATH",
    "PACKETS_MAX",
    "RST",
    "SYN",
    "TCP",
    "Segment",
    "decode",
    "endpoints",
    "innermost",
    "mirrored",
    "options_of",
    "split_key",
]

FIN, SYN, RST, ACK = 0x01, 0x02, 0x04, 0x10
END_OF_OPTIONS, NO_OPERATION, MULTIPATH = 0, 1, 30
HOP_BY_HOP, ROUTING, FRAGMENT, AUTHENTICATION, DESTINATION, MOBILITY = 0, 43, 44, 51, 60, 135
EXTENSIONS = (HOP_BY_HOP, ROUTING, AUTHENTICATION, DESTINATION, MOBILITY, 139, 140)
TCP = 6
IPV4_HEADER, IPV6_HEADER = 20, 40
PACKETS_MAX = 8
"""IP packets inside one another, of which the innermost is looked for."""

CUT, FRAGMENTED = "cut before TCP", "IP fragment"

_u16 = struct.Struct(">H").unpack_from
_tcp = struct.Struct(">IIBBH").unpack_from


class Segment:
    """A TCP segment inside a frame.

    ``key`` is source address, destination address, source port, destination port as on the wire (12
    bytes for IPv4, 36 for IPv6).  The TCP header begins at ``header`` in the buffer; the payload
    has ``length`` bytes on the wire, of which ``captured`` are in the buffer from ``start`` on.
    """

    __slots__ = ("ack", "captured", "flags", "header", "key", "length", "seq", "start", "window")

    def __init__(
        self,
        header: int,
        key: bytes,
        seq: int,
        ack: int,
        flags: int,
        window: int,
        start: int,
        length: int,
        captured: int,
    ) -> None:
        self.header = header
        self.key = key
        self.seq = seq
        self.ack = ack
        self.flags = flags
        self.window = window
        self.start = start
        self.length = length
        self.captured = captured


def split_key(key: bytes) -> tuple[bytes, bytes, int, int]:
    """Source and destination address (packed) and source and destination port of a flow key."""
    width = (len(key) - 4) // 2
    sport, dport = struct.unpack_from(">HH", key, 2 * width)
    return key[:width], key[width : 2 * width], sport, dport


def endpoints(key: bytes) -> tuple[str, str, int, int]:
    """The same with the addresses as text."""
    source, destination, sport, dport = split_key(key)
    return _address(source), _address(destination), sport, dport


def mirrored(key: bytes) -> bytes:
    """The flow key of the other direction."""
    width = (len(key) - 4) // 2
    return key[width : 2 * width] + key[:width] + key[-2:] + key[-4:-2]


def _address(raw: bytes) -> str:
    if len(raw) == 4:
        return ".".join(map(str, raw))
    import ipaddress

    return str(ipaddress.IPv6Address(raw))


def decode(
    buffer: bytearray, start: int, captured: int, original: int, link_type: int
) -> Segment | str:
    """The innermost TCP segment of the frame at ``start``, or a short reason why there is none.

    ``captured`` bytes of the frame are in the buffer, ``original`` were on the wire.
    """
    end = start + captured
    found = innermost(buffer, start, end, link_type)
    if isinstance(found, str):
        return found
    version, at, tcp = found
    # The length is 0 where segmentation offload (GSO) made the packet exceed 16 bits: use the
    # frame's.
    ip_end = start + original
    if version == 4:
        if total := _u16(buffer, at + 2)[0]:
            ip_end = at + total
        return _segment(buffer, at + 12, 8, tcp, end, ip_end)
    if payload := _u16(buffer, at + 4)[0]:
        ip_end = at + IPV6_HEADER + payload
    return _segment(buffer, at + 8, 32, tcp, end, ip_end)


def innermost(
    buffer: bytearray,
    start: int,
    end: int,
    link_type: int,
    path: list[tuple[int, int]] | None = None,
) -> tuple[int, int, int] | str:
    """The IP packet in the frame ``buffer[start:end]`` that holds TCP: its version, where it
    begins, and where TCP begins; or a short reason why there is none.

    ``path`` gets every link layer on the way there, from the frame's own on: its type, and where it
    begins.
    """
    for _ in range(PACKETS_MAX):
        if path is not None:
            path.append((link_type, start))
        found = network(buffer, start, end, link_type)
        if isinstance(found, str):
            return found
        version, at = found
        inside = _ipv4(buffer, at, end) if version == 4 else _ipv6(buffer, at, end)
        if isinstance(inside, str):
            return inside
        protocol, upper = inside
        if protocol == TCP:
            return version, at, upper
        tunnel = carried(buffer, protocol, upper, end)
        if isinstance(tunnel, str):
            return tunnel
        link_type, start = tunnel
    return TUNNEL


def _ipv4(buffer: bytearray, at: int, end: int) -> tuple[int, int] | str:
    """The protocol that an IPv4 packet carries, and where that begins."""
    if at + IPV4_HEADER > end:
        return CUT
    header = (buffer[at] & 15) * 4
    if buffer[at] >> 4 != 4 or header < IPV4_HEADER:
        return "malformed IP"
    protocol, upper = buffer[at + 9], at + header
    if _u16(buffer, at + 6)[0] & 0x3FFF:
        wanted = protocol == TCP or is_tunnel(buffer, protocol, upper, end)
        return FRAGMENTED if wanted else NOT_TCP
    return protocol, upper


def _ipv6(buffer: bytearray, at: int, end: int) -> tuple[int, int] | str:
    """The same for IPv6."""
    if at + IPV6_HEADER > end:
        return CUT
    if buffer[at] >> 4 != 6:
        return "malformed IP"
    kind, pos = buffer[at + 6], at + IPV6_HEADER
    while kind in EXTENSIONS or kind == FRAGMENT:
        if pos + 8 > end:
            return CUT
        size = (buffer[pos + 1] + 1) * 8
        if kind == AUTHENTICATION:
            size = (buffer[pos + 1] + 2) * 4
        elif kind == FRAGMENT:
            if _u16(buffer, pos + 2)[0] & 0xFFF9:
                return FRAGMENTED
            size = 8
        kind, pos = buffer[pos], pos + size
    return kind, pos


def _segment(
    buffer: bytearray, addresses: int, width: int, at: int, end: int, ip_end: int
) -> Segment | str:
    if at + 20 > end:
        return CUT
    seq, ack, offset, flags, window = _tcp(buffer, at + 4)
    start = at + (offset >> 4) * 4
    if start < at + 20 or start > ip_end:
        return "malformed TCP"
    key = bytes(buffer[addresses : addresses + width]) + bytes(buffer[at : at + 4])
    length = ip_end - start
    return Segment(
        at, key, seq, ack, flags, window, start, length, max(0, min(end, ip_end) - start)
    )


def options_of(buffer: bytearray, segment: Segment, wanted: int, end: int) -> Iterator[bytes]:
    """The values of a segment's TCP options of kind ``wanted``, without kind and length.

    The frame's captured bytes end at ``end``.
    """
    at, end = segment.header + 20, min(segment.start, end)
    while at + 1 < end:
        kind, size = buffer[at], buffer[at + 1]
        if kind == NO_OPERATION:
            at += 1
            continue
        if kind == END_OF_OPTIONS or size < 2 or at + size > end:
            return
        if kind == wanted and size > 2:
            yield bytes(buffer[at + 2 : at + size])
        at += size
