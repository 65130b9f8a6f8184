from __future__ import annotations

import pytest
from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Dot1Q
from scapy.layers.ppp import PPP, PPPoE
from scapy.packet import Packet, Raw

from analyzer.capture.frames import SLACK
from analyzer.capture.segment import ACK, Segment, decode
from analyzer.capture.shape import Shape, shape_of
from tests.tunnelled import HOSTS, NATIVE, OUTER

START = 5
INNER = (
    OUTER / HOSTS / TCP(sport=1111, dport=2222, seq=7, ack=9, flags="PA", window=500) / Raw(b"x")
)
INNER6 = OUTER / IPv6(src="2001:db8::1", dst="2001:db8::2") / INNER[TCP]
FRAMES = {name: wrap(INNER) for name, wrap in NATIVE.items()} | {
    "plain": INNER,
    "two tags": OUTER / Dot1Q(vlan=5) / Dot1Q(vlan=6) / INNER.payload,
    "ipv6": INNER6,
    "ipv6 in mpls": NATIVE["mpls"](INNER6),
    "ipv6 in pppoe": OUTER / PPPoE(sessionid=1) / PPP(proto=0x0057) / INNER6.payload,
}


def read(frame: Packet | bytes) -> tuple[bytearray, Segment, Shape | None]:
    data = bytes(frame)
    buffer = bytearray(START) + data + bytes(SLACK)
    segment = decode(buffer, START, len(data), len(data), 1)
    assert isinstance(segment, Segment)
    return buffer, segment, shape_of(buffer, START, START + len(data), 1)


@pytest.mark.parametrize("name", FRAMES)
def test_the_fast_path_reads_what_the_slow_one_reads(name: str) -> None:
    buffer, segment, shape = read(FRAMES[name])
    assert shape is not None
    total, word, key, seq, bits = shape.unpack(buffer, START)
    assert word & shape.mask == shape.whole
    assert (key, seq) == (segment.key, segment.seq)
    assert total - shape.header - (bits >> 10 & 60) == segment.length == 1
    assert bits & ACK
    assert buffer[START + shape.window : START + shape.window + 2] == b"\x01\xf4"


def test_headers_that_are_too_long_have_no_shape() -> None:
    *_, shape = read(NATIVE["vxlan"](NATIVE["vxlan-in-vxlan"](INNER)))
    assert shape is None


def test_a_frame_without_tcp_has_no_shape() -> None:
    data = bytes(OUTER / IP(proto=17) / Raw(bytes(30)))
    assert shape_of(bytearray(data), 0, len(data), 1) is None
