"""From a frame to the TCP segment in it: link layers, VLAN tags, IPv4, IPv6, TCP.

This is the slow path, for every frame that the stream engine's fast path does not take: complete
rather than fast.
"""

from __future__ import annotations

import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "ACK",
    "AUTHENTICATION",
    "COOKED",
    "COOKED2",
    "ETHERNET",
    "EXTENSIONS",
    "FIN",
    "FRAGMENT",
    "IPV4_HEADER",
    "IPV6_HEADER",
    "LINK_TYPES",
    "LINUX_VXLAN",
    "LOOP",
    "MULTIPATH",
    "NULL",
    "RST",
    "SYN",
    "TCP",
    "TUNNEL",
    "UDP",
    "Segment",
    "decode",
    "endpoints",
    "mirrored",
    "network",
    "options_of",
    "split_key",
]

FIN, SYN, RST, ACK = 0x01, 0x02, 0x04, 0x10
END_OF_OPTIONS, NO_OPERATION, MULTIPATH = 0, 1, 30

ETHERNET, NULL, RAW, LOOP, COOKED, IPV4, IPV6, COOKED2 = 1, 0, 101, 108, 113, 228, 229, 276
RAW_TYPES = (RAW, 12, 14, IPV4, IPV6)
VLAN_TAGS = (0x8100, 0x88A8, 0x9100, 0x9200, 0x9300)
ETHERTYPE_IPV4, ETHERTYPE_IPV6 = 0x0800, 0x86DD
LINK_TYPES = (ETHERNET, NULL, LOOP, COOKED, COOKED2, *RAW_TYPES)
"""The link types understood here."""
TUNNEL_ETHERTYPES = (0x22F3, 0x8847, 0x8848, 0x8864, 0x88E5, 0x88E7, 0x8909, 0x8926, 0x894F)
"""TRILL, MPLS (both), PPPoE, MACsec, backbone bridging, Cisco's tags (both), NSH."""
TUNNEL_PROTOCOLS = (4, 41, 47, 51, 97, 115, 137)
"""IP in IP (both), GRE with ERSPAN, IPsec's authentication, EtherIP, L2TP, MPLS."""
LINUX_VXLAN = 8472
"""UDP port of VXLAN in Linux, where no other is given."""
TUNNEL_PORTS = (1701, 2152, 4789, 4790, 6081, 6635, LINUX_VXLAN)
"""UDP: L2TP, GTP, VXLAN, VXLAN-GPE, Geneve, MPLS, and VXLAN in Linux."""
FAMILY_INET = 2
FAMILIES_INET6 = (10, 24, 28, 30)

HOP_BY_HOP, ROUTING, FRAGMENT, AUTHENTICATION, DESTINATION, MOBILITY = 0, 43, 44, 51, 60, 135
EXTENSIONS = (HOP_BY_HOP, ROUTING, AUTHENTICATION, DESTINATION, MOBILITY, 139, 140)
TCP, UDP = 6, 17
IPV4_HEADER, IPV6_HEADER = 20, 40

NOT_IP, TUNNEL = "non-IP", "tunnel"

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
    """The TCP segment of the frame at ``start``, or a short reason why there is none.

    ``captured`` bytes of the frame are in the buffer, ``original`` were on the wire.
    """
    end = start + captured
    found = network(buffer, start, end, link_type)
    if isinstance(found, str):
        return found
    version, at = found
    original_end = start + original
    if version == 4:
        return _ipv4(buffer, at, end, original_end)
    return _ipv6(buffer, at, end, original_end)


def network(buffer: bytearray, start: int, end: int, link_type: int) -> tuple[int, int] | str:
    """IP version and where its header begins, or a short reason why there is no IP."""
    if link_type == ETHERNET:
        at = start + 12
    elif link_type == COOKED:
        at = start + 14
    elif link_type == COOKED2:
        if end - start < 20:
            return NOT_IP
        kind = _u16(buffer, start)[0]
        at = start + 20
        while kind in VLAN_TAGS and at + 4 <= end:
            kind = _u16(buffer, at + 2)[0]
            at += 4
        return _version(kind, at)
    elif link_type in (NULL, LOOP):
        if end - start < 4:
            return NOT_IP
        raw = bytes(buffer[start : start + 4])
        family = min(int.from_bytes(raw, "big"), int.from_bytes(raw, "little"))
        if family == FAMILY_INET:
            return 4, start + 4
        return (6, start + 4) if family in FAMILIES_INET6 else NOT_IP
    elif link_type in RAW_TYPES:
        version = buffer[start] >> 4 if end > start else 0
        return (version, start) if version in (4, 6) else NOT_IP
    else:
        return NOT_IP
    while at + 2 <= end:
        kind = _u16(buffer, at)[0]
        if kind not in VLAN_TAGS:
            return _version(kind, at + 2)
        at += 4
    return NOT_IP


def _version(kind: int, at: int) -> tuple[int, int] | str:
    if kind == ETHERTYPE_IPV4:
        return 4, at
    if kind == ETHERTYPE_IPV6:
        return 6, at
    return TUNNEL if kind in TUNNEL_ETHERTYPES else NOT_IP


def _ipv4(buffer: bytearray, at: int, end: int, original_end: int) -> Segment | str:
    if at + IPV4_HEADER > end:
        return "cut before TCP"
    header = (buffer[at] & 15) * 4
    total, fragment = _u16(buffer, at + 2)[0], _u16(buffer, at + 6)[0]
    if buffer[at] >> 4 != 4 or header < IPV4_HEADER:
        return "malformed IP"
    if buffer[at + 9] != TCP:
        return _not_tcp(buffer, buffer[at + 9], at + header, end)
    if fragment & 0x3FFF:
        return "IP fragment"
    # The length is 0 where segmentation offload (GSO) made the packet exceed 16 bits: use the
    # frame's.
    ip_end = at + total if total else original_end
    return _segment(buffer, at + 12, 8, at + header, end, ip_end)


def _ipv6(buffer: bytearray, at: int, end: int, original_end: int) -> Segment | str:
    if at + IPV6_HEADER > end:
        return "cut before TCP"
    if buffer[at] >> 4 != 6:
        return "malformed IP"
    payload = _u16(buffer, at + 4)[0]
    ip_end = at + IPV6_HEADER + payload if payload else original_end
    kind, pos = buffer[at + 6], at + IPV6_HEADER
    while kind in EXTENSIONS or kind == FRAGMENT:
        if pos + 8 > end:
            return "cut before TCP"
        size = (buffer[pos + 1] + 1) * 8
        if kind == AUTHENTICATION:
            size = (buffer[pos + 1] + 2) * 4
        elif kind == FRAGMENT:
            if _u16(buffer, pos + 2)[0] & 0xFFF9:
                return "IP fragment"
            size = 8
        kind, pos = buffer[pos], pos + size
    if kind != TCP:
        return _not_tcp(buffer, kind, pos, end)
    return _segment(buffer, at + 8, 32, pos, end, ip_end)


def _not_tcp(buffer: bytearray, protocol: int, at: int, end: int) -> str:
    if protocol == UDP and at + 4 <= end and _u16(buffer, at + 2)[0] in TUNNEL_PORTS:
        return TUNNEL
    return TUNNEL if protocol in TUNNEL_PROTOCOLS else "non-TCP"


def _segment(
    buffer: bytearray, addresses: int, width: int, at: int, end: int, ip_end: int
) -> Segment | str:
    if at + 20 > end:
        return "cut before TCP"
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
