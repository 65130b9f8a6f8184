"""What is inside tunnels: VXLAN, Geneve, GRE with ERSPAN, IP in IP.

These are what captures of overlay networks and mirrored ports hold.  The others are left to
Wireshark (:mod:`analyzer.capture.dissected`).
"""

from __future__ import annotations

import struct

from analyzer.capture.link import ETHERNET, RAW, TUNNEL

__all__ = ["LINUX_VXLAN", "NOT_TCP", "UDP", "UDP_HEADER", "carried", "is_tunnel"]

NOT_TCP = "non-TCP"

UDP, GRE = 17, 47
IP_IN_IP = (4, 41)
TUNNEL_PROTOCOLS = (*IP_IN_IP, GRE, 51, 97, 115, 137)
"""And IPsec's authentication, EtherIP, L2TP, MPLS."""
LINUX_VXLAN = 8472
"""UDP port of VXLAN in Linux, where no other is given."""
VXLAN_PORTS = (4789, LINUX_VXLAN)
GENEVE_PORT = 6081
TUNNEL_PORTS = (*VXLAN_PORTS, GENEVE_PORT, 1701, 2152, 4790, 6635)
"""And L2TP, GTP, VXLAN-GPE, MPLS."""
UDP_HEADER = 8

VXLAN_HEADER = 8
VXLAN_VALID = 0x08  # the network identifier counts
GENEVE_HEADER = 8
GENEVE_OPTIONS = 0x3F  # their length, in words; the bits above are the version
GRE_HEADER = 4
GRE_CHECKSUM, GRE_ROUTING, GRE_KEY, GRE_SEQUENCE, GRE_VERSION = 0x8000, 0x4000, 0x2000, 0x1000, 7
TYPE_ETHERNET, TYPE_ERSPAN, TYPE_ERSPAN3 = 0x6558, 0x88BE, 0x22EB
CONTENTS = {TYPE_ETHERNET: ETHERNET, 0x0800: RAW, 0x86DD: RAW}
"""Link types of what Geneve and GRE carry, by EtherType."""
ERSPAN_HEADER, ERSPAN3_HEADER, ERSPAN3_MORE = 8, 12, 8
ERSPAN3_FRAME, ERSPAN3_OPTIONAL = 0x7C, 0x01  # kind of frame, 0 for Ethernet; more header

_gre = struct.Struct(">HH").unpack_from


def is_tunnel(buffer: bytearray, protocol: int, at: int, end: int) -> bool:
    """Whether an IP packet that carries this protocol, at ``at``, is a tunnel's."""
    if protocol != UDP:
        return protocol in TUNNEL_PROTOCOLS
    return at + 4 <= end and int.from_bytes(buffer[at + 2 : at + 4], "big") in TUNNEL_PORTS


def carried(buffer: bytearray, protocol: int, at: int, end: int) -> tuple[int, int] | str:
    """What an IP packet without TCP carries at ``at``: the link type of another frame and where
    that begins, or a short reason why there is none.
    """
    if not is_tunnel(buffer, protocol, at, end):
        return NOT_TCP
    found = None
    if protocol in IP_IN_IP:
        found = RAW, at
    elif protocol == GRE:
        found = _in_gre(buffer, at, end)
    elif protocol == UDP:
        found = _in_udp(buffer, at, end)
    return found or TUNNEL


def _in_udp(buffer: bytearray, at: int, end: int) -> tuple[int, int] | None:
    port = int.from_bytes(buffer[at + 2 : at + 4], "big")
    at += UDP_HEADER
    if port in VXLAN_PORTS and at + VXLAN_HEADER <= end and buffer[at] & VXLAN_VALID:
        return ETHERNET, at + VXLAN_HEADER
    if port == GENEVE_PORT and at + GENEVE_HEADER <= end and buffer[at] <= GENEVE_OPTIONS:
        inside = CONTENTS.get(int.from_bytes(buffer[at + 2 : at + 4], "big"))
        if inside is not None:
            return inside, at + GENEVE_HEADER + 4 * buffer[at]
    return None


def _in_gre(buffer: bytearray, at: int, end: int) -> tuple[int, int] | None:
    if at + GRE_HEADER > end:
        return None
    flags, kind = _gre(buffer, at)
    if flags & (GRE_ROUTING | GRE_VERSION):
        return None
    optional = (GRE_CHECKSUM, GRE_KEY, GRE_SEQUENCE)
    at += GRE_HEADER + 4 * sum(flags & flag > 0 for flag in optional)
    if kind in CONTENTS:
        return CONTENTS[kind], at
    if kind == TYPE_ERSPAN:  # the first version has no header, and no sequence number
        return ETHERNET, at + (ERSPAN_HEADER if flags & GRE_SEQUENCE else 0)
    if kind == TYPE_ERSPAN3 and at + ERSPAN3_HEADER <= end:
        frame, last = buffer[at + 10], buffer[at + 11]
        if not frame & ERSPAN3_FRAME:
            more = ERSPAN3_MORE if last & ERSPAN3_OPTIONAL else 0
            return ETHERNET, at + ERSPAN3_HEADER + more
    return None
