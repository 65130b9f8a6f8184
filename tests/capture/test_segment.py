from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzer.capture.segment import PACKETS_MAX, Segment, decode, endpoints

TCP = struct.pack(">HHIIBBHHH", 1111, 2222, 7, 9, 0x50, 0x18, 500, 0, 0)
PAYLOAD = b"payload"


def ipv4(payload: bytes, *, total: int | None = None, fragment: int = 0x4000, proto: int = 6,
         options: bytes = b"") -> bytes:  # fmt: skip
    words = 5 + len(options) // 4
    size = words * 4 + len(payload) if total is None else total
    return (
        struct.pack(">BBHHHBBH", 0x40 | words, 0, size, 1, fragment, 64, proto, 0)
        + bytes([10, 0, 0, 1, 10, 0, 0, 2])
        + options
        + payload
    )


def ipv6(payload: bytes, *, kind: int = 6, size: int | None = None) -> bytes:
    length = len(payload) if size is None else size
    source, target = bytes(15) + b"\x01", bytes(15) + b"\x02"
    return struct.pack(">IHBB", 6 << 28, length, kind, 64) + source + target + payload


def seen(frame: bytes, link: int, original: int | None = None) -> Segment | str:
    buffer = bytearray(b"\xee" * 5 + frame + bytes(64))
    return decode(buffer, 5, len(frame), original or len(frame), link)


V4, V6 = ipv4(TCP + PAYLOAD), ipv6(TCP + PAYLOAD)
MAC = bytes(12)
CASES = {
    "ethernet": (MAC + b"\x08\x00" + V4, 1),
    "ethernet padded": (MAC + b"\x08\x00" + V4 + bytes(9), 1),
    "vlan": (MAC + b"\x81\x00\x00\x64\x08\x00" + V4, 1),
    "three tags": (MAC + b"\x88\xa8\x00\x01\x91\x00\x00\x02\x81\x00\x00\x03\x08\x00" + V4, 1),
    "ethernet ipv6": (MAC + b"\x86\xdd" + V6, 1),
    "cooked": (bytes(14) + b"\x08\x00" + V4, 113),
    "cooked vlan": (bytes(14) + b"\x81\x00\x00\x07\x08\x00" + V4, 113),
    "cooked v2": (b"\x08\x00" + bytes(18) + V4, 276),
    "cooked v2 ipv6": (b"\x86\xdd" + bytes(18) + V6, 276),
    "cooked v2 vlan": (b"\x81\x00" + bytes(18) + b"\x00\x64\x08\x00" + V4, 276),
    "null little": (b"\x02\0\0\0" + V4, 0),
    "null big": (b"\0\0\0\x02" + V4, 0),
    "null ipv6": (b"\x1e\0\0\0" + V6, 0),
    "loop": (b"\0\0\0\x02" + V4, 108),
    "raw": (V4, 101),
    "raw ipv6": (V6, 101),
    "ip options": (MAC + b"\x08\x00" + ipv4(TCP + PAYLOAD, options=bytes(8)), 1),
    "ipv6 extensions": (
        MAC
        + b"\x86\xdd"
        + ipv6(b"\x3c\0" + bytes(6) + b"\x06\x01" + bytes(14) + TCP + PAYLOAD, kind=0),
        1,
    ),
    "ipv6 atomic fragment": (
        MAC + b"\x86\xdd" + ipv6(b"\x06\0\0\0" + bytes(4) + TCP + PAYLOAD, kind=44),
        1,
    ),
    "ipv6 options behind an atomic fragment": (
        MAC
        + b"\x86\xdd"
        + ipv6(b"\x3c\0\0\0" + bytes(4) + b"\x06\0" + bytes(6) + TCP + PAYLOAD, kind=44),
        1,
    ),
    "offloaded": (MAC + b"\x08\x00" + ipv4(TCP + PAYLOAD, total=0), 1),
    "offloaded ipv6": (MAC + b"\x86\xdd" + ipv6(TCP + PAYLOAD, size=0), 1),
}


@pytest.mark.parametrize("name", CASES)
def test_finds_the_segment(name: str) -> None:
    frame, link = CASES[name]
    segment = seen(frame, link)
    assert isinstance(segment, Segment)
    assert (segment.seq, segment.ack, segment.flags, segment.window) == (7, 9, 0x18, 500)
    at = segment.start - 5
    assert frame[at : at + segment.captured] == PAYLOAD
    assert segment.length == len(PAYLOAD)
    assert endpoints(segment.key)[2:] == (1111, 2222)


def test_a_cut_frame_tells_how_much_is_missing() -> None:
    segment = seen(CASES["ethernet"][0][:-4], 1, original=len(CASES["ethernet"][0]))
    assert isinstance(segment, Segment)
    assert (segment.length, segment.captured) == (7, 3)


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (MAC + b"\x08\x06" + bytes(40), "non-IP"),
        (MAC + b"\x08\x00" + ipv4(bytes(30), proto=17), "non-TCP"),
        (MAC + b"\x08\x00" + ipv4(TCP, fragment=0x2000), "IP fragment"),
        (MAC + b"\x08\x00" + ipv4(TCP, fragment=0x0010), "IP fragment"),
        (MAC + b"\x86\xdd" + ipv6(b"\x06\0\0\x09" + bytes(4) + TCP, kind=44), "IP fragment"),
        (MAC + b"\x08\x00" + ipv4(TCP)[:30], "cut before TCP"),
        (MAC + b"\x08\x00" + ipv4(TCP[:12] + b"\x40" + TCP[13:]), "malformed TCP"),
        (MAC + b"\x08\x00" + b"\x61" + ipv4(TCP)[1:], "malformed IP"),
        (b"\x08", "non-IP"),
    ],
)
def test_says_why_there_is_none(frame: bytes, reason: str) -> None:
    assert seen(frame, 1) == reason


def udp(port: int, content: bytes) -> bytes:
    return struct.pack(">HHHH", 50000, port, 8 + len(content), 0) + content


VXLAN, GENEVE = b"\x08" + bytes(7), b"\0\0\x65\x58" + bytes(4)
INSIDE = MAC + b"\x08\0" + V4
NO_SEGMENT = {
    "vxlan without its flag": (ipv4(udp(4789, bytes(8) + INSIDE), proto=17), "tunnel"),
    "vxlan, cut": (ipv4(udp(4789, VXLAN[:7]), proto=17), "tunnel"),
    "vxlan, fragment": (ipv4(udp(4789, VXLAN + INSIDE), proto=17, fragment=0x2000), "IP fragment"),
    "vxlan with arp": (ipv4(udp(4789, VXLAN + MAC + b"\x08\6" + bytes(28)), proto=17), "non-IP"),
    "vxlan with udp": (
        ipv4(udp(4789, VXLAN + MAC + b"\x08\0" + ipv4(udp(53, bytes(9)), proto=17)), proto=17),
        "non-TCP",
    ),
    "vxlan with a fragment": (
        ipv4(udp(4789, VXLAN + MAC + b"\x08\0" + ipv4(TCP, fragment=0x2000)), proto=17),
        "IP fragment",
    ),
    "vxlan, tcp cut": (ipv4(udp(4789, VXLAN + INSIDE[:50]), proto=17), "cut before TCP"),
    "geneve of another version": (
        ipv4(udp(6081, b"\x40" + GENEVE[1:] + INSIDE), proto=17),
        "tunnel",
    ),
    "geneve with something else": (
        ipv4(udp(6081, GENEVE[:2] + b"\x88\xb5" + bytes(4) + INSIDE), proto=17),
        "tunnel",
    ),
    "geneve, cut in its options": (ipv4(udp(6081, b"\x3f" + GENEVE[1:]), proto=17), "non-IP"),
    "gre, cut": (ipv4(b"\0\0\x08", proto=47), "tunnel"),
    "gre of another version": (ipv4(b"\0\1\x08\0" + V4, proto=47), "tunnel"),
    "gre with routing": (ipv4(b"\x40\0\x08\0" + bytes(4) + V4, proto=47), "tunnel"),
    "gre with something else": (ipv4(b"\0\0\x88\xb5" + V4, proto=47), "tunnel"),
    "erspan 3 without ethernet": (
        ipv4(b"\x10\0\x22\xeb" + bytes(4) + bytes(10) + b"\x08\0" + V4, proto=47),
        "tunnel",
    ),
    "another tunnel": (ipv4(udp(2152, bytes(8) + V4), proto=17), "tunnel"),
    "a fragment of no tunnel": (ipv4(udp(2049, bytes(90)), proto=17, fragment=0x2000), "non-TCP"),
}


@pytest.mark.parametrize("name", NO_SEGMENT)
def test_says_why_there_is_none_in_a_tunnel(name: str) -> None:
    packet, reason = NO_SEGMENT[name]
    assert seen(MAC + b"\x08\0" + packet, 1) == reason


@pytest.mark.parametrize(
    ("shim", "reason"),
    [
        (b"\x88\x47\0\0\x10\x40" + V4, "tunnel"),
        (b"\x88\x47\0\0\x11\x40" + b"\0" + V4, "tunnel"),
        (b"\x88\x64\x11\0\0\1\0\x63\xc0\x21" + bytes(40), "non-IP"),
        (b"\x88\x64\x11\0\0\1\0\x63\0\x3d" + bytes(40), "tunnel"),
        (b"\x88\x64\x21\0\0\1\0\x63\0\x21" + V4, "tunnel"),
        (b"\x88\x64\x11", "tunnel"),
    ],
    ids=["no last label", "ethernet over mpls", "ppp control", "multilink", "pppoe 2", "cut"],
)
def test_says_why_there_is_none_behind_labels(shim: bytes, reason: str) -> None:
    assert seen(MAC + shim, 1) == reason


def test_tunnels_in_tunnels_end_somewhere() -> None:
    def wrapped(times: int) -> Segment | str:
        packet = V4
        for _ in range(times):
            packet = ipv4(packet, proto=4)
        return seen(MAC + b"\x08\0" + packet, 1)

    assert isinstance(wrapped(PACKETS_MAX - 1), Segment)
    assert wrapped(PACKETS_MAX) == wrapped(2000) == "tunnel"


@given(
    st.sampled_from(
        [
            ipv4(udp(4789, VXLAN + MAC + b"\x08\0"), proto=17),
            ipv4(udp(6081, GENEVE + MAC + b"\x08\0"), proto=17),
            ipv4(b"\x30\0\x65\x58" + bytes(8) + MAC + b"\x08\0", proto=47),
            ipv4(b"\x10\0\x22\xeb" + bytes(16) + MAC + b"\x08\0", proto=47),
            ipv6(V4, kind=4),
        ]
    ),
    st.binary(max_size=90),
    st.integers(0, 200),
)
def test_any_bytes_in_a_tunnel_give_an_answer(packet: bytes, inside: bytes, length: int) -> None:
    kind = b"\x08\0" if packet[0] >> 4 == 4 else b"\x86\xdd"
    frame = (MAC + kind + packet + inside)[:length]
    segment = seen(frame, 1)
    if isinstance(segment, Segment):
        assert 0 <= segment.captured <= segment.length
        assert segment.start - 5 + segment.captured <= len(frame)


@given(st.binary(max_size=120), st.sampled_from([0, 1, 12, 101, 108, 113, 228, 229, 276, 147]))
def test_any_bytes_give_an_answer(frame: bytes, link: int) -> None:
    segment = seen(frame, link)
    if isinstance(segment, Segment):
        assert 0 <= segment.captured <= segment.length
        assert segment.start - 5 + segment.captured <= len(frame)
