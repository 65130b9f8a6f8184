"""Captures put into tunnels: every frame in those of another network."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scapy.contrib.erspan import ERSPAN_II, ERSPAN_III, ERSPAN_PlatformSpecific
from scapy.contrib.geneve import GENEVE
from scapy.contrib.mpls import MPLS
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import GRE, Dot1Q, Ether
from scapy.layers.ppp import PPP, PPPoE
from scapy.layers.vxlan import VXLAN
from scapy.packet import Packet, Raw
from scapy.utils import PcapReader, PcapWriter

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

OUTER = Ether(src="52:54:00:12:34:56", dst="52:54:00:12:34:57")
HOSTS = IP(src="192.0.2.1", dst="192.0.2.2")
AUTHENTICATION = Raw(b"\4\4" + bytes(22))
"""IPsec's header before an IP packet."""


def tagged(ethertype: int, content: bytes) -> Packet:
    """A frame with a payload of this type."""
    return Ether(src=OUTER.src, dst=OUTER.dst, type=ethertype) / Raw(content)


HOSTS6 = IPv6(src="2001:db8::1", dst="2001:db8::2")
ETHERNET_INSIDE = 0x6558
NATIVE: dict[str, Callable[[Packet], Packet]] = {
    "vxlan": lambda f: OUTER / HOSTS / UDP(sport=50000, dport=4789) / VXLAN(vni=7, flags=8) / f,
    "vxlan-of-linux": lambda f: (
        OUTER / HOSTS / UDP(sport=50000, dport=8472) / VXLAN(vni=7, flags=8) / f
    ),
    "vxlan-in-tagged-ipv6": lambda f: (
        OUTER / Dot1Q(vlan=5) / HOSTS6 / UDP(sport=50000, dport=4789) / VXLAN(vni=7, flags=8) / f
    ),
    "vxlan-in-vxlan": lambda f: NATIVE["vxlan"](NATIVE["vxlan"](f)),
    "geneve": lambda f: (
        OUTER / HOSTS / UDP(sport=50000, dport=6081) / GENEVE(vni=7, proto=ETHERNET_INSIDE) / f
    ),
    "geneve-with-options": lambda f: (
        OUTER
        / HOSTS
        / UDP(sport=50000, dport=6081)
        / Raw(bytes.fromhex("0200 0800 000007 00 0102 80 01 0000beef") + bytes(f.payload))
    ),
    "gre": lambda f: OUTER / HOSTS / GRE(proto=0x0800) / f.payload,
    "gre-with-all-fields": lambda f: (
        OUTER
        / HOSTS
        / GRE(proto=ETHERNET_INSIDE, chksum_present=1, key_present=1, seqnum_present=1, key=9)
        / f
    ),
    "gre-in-ipv6": lambda f: OUTER / HOSTS6 / GRE(proto=0x0800) / f.payload,
    "erspan-1": lambda f: OUTER / HOSTS / GRE(proto=0x88BE) / f,
    "erspan": lambda f: OUTER / HOSTS / GRE(proto=0x88BE, seqnum_present=1) / ERSPAN_II() / f,
    "erspan-3": lambda f: OUTER / HOSTS / GRE(proto=0x22EB, seqnum_present=1) / ERSPAN_III() / f,
    "erspan-3-with-more": lambda f: (
        OUTER
        / HOSTS
        / GRE(proto=0x22EB, seqnum_present=1)
        / ERSPAN_III(o=1)
        / ERSPAN_PlatformSpecific()
        / f
    ),
    "ip-in-ip": lambda f: OUTER / HOSTS / f.payload,
    "ip-in-ipv6": lambda f: OUTER / HOSTS6 / f.payload,
    "mpls": lambda f: OUTER / MPLS(label=100, s=1, ttl=64) / f.payload,
    "mpls-with-two-labels": lambda f: (
        OUTER / MPLS(label=100, s=0, ttl=64) / MPLS(label=101, s=1, ttl=64) / f.payload
    ),
    "pppoe": lambda f: OUTER / PPPoE(sessionid=1) / PPP(proto=0x0021) / f.payload,
}
"""Tunnels that need no tshark."""
TUNNELS: dict[str, Callable[[Packet], Packet]] = NATIVE | {
    "authentication-header": lambda f: (
        OUTER / IP(src="192.0.2.1", dst="192.0.2.2", proto=51) / AUTHENTICATION / f.payload
    ),
    "macsec": lambda f: tagged(0x88E5, b"\x20" + bytes(13) + bytes(f)[12:] + bytes(16)),
    "trill": lambda f: tagged(0x22F3, bytes.fromhex("000100010002") + bytes(f)),
    "vn-tag": lambda f: tagged(0x8926, bytes.fromhex("00010002") + bytes(f)[12:]),
    "cisco-metadata": lambda f: tagged(0x8909, bytes.fromhex("010100010002") + bytes(f)[12:]),
    "ethernet-over-mpls": lambda f: OUTER / MPLS(label=100, s=1, ttl=64) / Raw(bytes(4) + bytes(f)),
}


def wrapped(inner: Path, out: Path, wrap: Callable[[Packet], Packet]) -> Path:
    with PcapReader(str(inner)) as frames, PcapWriter(str(out), nano=True) as writer:
        for frame in frames:
            outside = wrap(frame)
            outside.time = frame.time
            writer.write(outside)
    return out
