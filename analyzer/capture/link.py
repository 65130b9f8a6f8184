"""From a frame to the IP packet in it: link layers, VLAN tags, MPLS and PPPoE."""

from __future__ import annotations

import struct

__all__ = [
    "COOKED",
    "COOKED2",
    "ETHERNET",
    "LINK_TYPES",
    "LOOP",
    "NULL",
    "RAW",
    "TUNNEL",
    "network",
]

ETHERNET, NULL, RAW, LOOP, COOKED, IPV4, IPV6, COOKED2 = 1, 0, 101, 108, 113, 228, 229, 276
RAW_TYPES = (RAW, 12, 14, IPV4, IPV6)
VLAN_TAGS = (0x8100, 0x88A8, 0x9100, 0x9200, 0x9300)
ETHERTYPE_IPV4, ETHERTYPE_IPV6, ETHERTYPE_PPPOE = 0x0800, 0x86DD, 0x8864
ETHERTYPES_MPLS = (0x8847, 0x8848)
LINK_TYPES = (ETHERNET, NULL, LOOP, COOKED, COOKED2, *RAW_TYPES)
"""The link types understood here."""
TUNNEL_ETHERTYPES = (0x22F3, 0x88E5, 0x88E7, 0x8909, 0x8926, 0x894F)
"""TRILL, MACsec, backbone bridging, Cisco's tags (both), NSH: only Wireshark knows them."""
FAMILY_INET = 2
FAMILIES_INET6 = (10, 24, 28, 30)
PPPOE_SESSION = b"\x11\0"
PPP_IPV4, PPP_IPV6 = 0x0021, 0x0057
PPP_CONTROL = 0x4000
"""From here on PPP's protocols carry no packets."""

NOT_IP, TUNNEL = "non-IP", "tunnel"

_u16 = struct.Struct(">H").unpack_from


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
        return _behind(buffer, kind, at, end)
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
            return _behind(buffer, kind, at + 2, end)
        at += 4
    return NOT_IP


def _behind(buffer: bytearray, kind: int, at: int, end: int) -> tuple[int, int] | str:
    """The same for the packet at ``at``, which is of this EtherType."""
    if kind == ETHERTYPE_IPV4:
        return 4, at
    if kind == ETHERTYPE_IPV6:
        return 6, at
    if kind in ETHERTYPES_MPLS:
        return _mpls(buffer, at, end)
    if kind == ETHERTYPE_PPPOE:
        return _pppoe(buffer, at, end)
    return TUNNEL if kind in TUNNEL_ETHERTYPES else NOT_IP


def _mpls(buffer: bytearray, at: int, end: int) -> tuple[int, int] | str:
    while at + 4 < end:
        bottom = buffer[at + 2] & 1
        at += 4
        if bottom:
            # Nothing says what follows; where it is not IP it may be Ethernet.
            version = buffer[at] >> 4
            return (version, at) if version in (4, 6) else TUNNEL
    return TUNNEL


def _pppoe(buffer: bytearray, at: int, end: int) -> tuple[int, int] | str:
    if at + 8 > end or buffer[at : at + 2] != PPPOE_SESSION:
        return TUNNEL
    protocol = _u16(buffer, at + 6)[0]
    if protocol == PPP_IPV4:
        return 4, at + 8
    if protocol == PPP_IPV6:
        return 6, at + 8
    return TUNNEL if protocol < PPP_CONTROL else NOT_IP
