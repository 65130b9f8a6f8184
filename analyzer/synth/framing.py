"""Ethernet and its like, IP and TCP around a segment, with right checksums."""

from __future__ import annotations

import ipaddress
import struct
from typing import TYPE_CHECKING, Final

from analyzer.synth.wire import ACK, SYN

if TYPE_CHECKING:
    from collections.abc import Iterator

    from analyzer.synth.pattern import Bytes
    from analyzer.synth.scenario import Capture, Network
    from analyzer.synth.wire import End, Segment

__all__ = ["LINKTYPES", "Frame", "Framer", "checksum", "link_header", "words"]

LINKTYPES: Final = {"ethernet": 1, "sll": 113, "sll2": 276, "raw": 101, "null": 0, "loop": 108}
MACS: Final = {"client": bytes.fromhex("f6b215c378a6"), "server": bytes.fromhex("964ad1ef85ec")}
TCP_HEADER: Final = struct.Struct(">HHIIBBHHH")
TCP_STAMPED: Final = struct.Struct(">HHIIBBHHHIII")
IPV4_HEADER: Final = struct.Struct(">BBHHHBBH")
IPV6_HEADER: Final = struct.Struct(">IHBB")
FIXED_LENGTH: Final = 0xFFFF


def checksum(total: int) -> int:
    """The Internet checksum of data whose 16-bit words sum up to ``total``."""
    return 0xFFFF - total % 0xFFFF


def words(data: Bytes) -> int:
    """``data`` (of even length) as one number, which equals the sum of its 16-bit words, modulo
    0xffff.
    """
    return int.from_bytes(data, "big") << (8 * (len(data) & 1))


class Frame:
    """One record of the capture.

    ``parts`` joined are its ``size`` bytes, ``wire`` is its length on the wire, ``time`` ns since
    the epoch.
    """

    __slots__ = ("parts", "size", "time", "wire")

    def __init__(self, time: int, parts: tuple[Bytes, ...], size: int) -> None:
        self.time = time
        self.parts = parts
        self.size = size
        self.wire = size

    def cut(self, snaplen: int) -> None:
        """Keep the first ``snaplen`` bytes."""
        if self.size > snaplen:
            self.parts = (b"".join(self.parts)[:snaplen],)
            self.size = snaplen


class Framer:
    """Wraps segments; keeps the headers of each direction that do not change."""

    def __init__(self, capture: Capture) -> None:
        self._capture = capture
        self._fixed: dict[End, _Fixed] = {}

    def frames(self, segment: Segment) -> Iterator[Frame]:
        """The frame around a segment, truncated or in fragments if the segment says so."""
        fixed = self._fixed.get(segment.end)
        if fixed is None:
            fixed = self._fixed[segment.end] = _Fixed(segment.end, self._capture)
        if segment.fragment:
            yield from fixed.fragments(segment)
            return
        frame = self._whole(segment, fixed)
        if segment.snaplen:
            frame.cut(segment.snaplen)
        yield frame

    def _whole(self, segment: Segment, fixed: _Fixed) -> Frame:
        payload = segment.payload
        tcp = fixed.tcp(segment)
        head = fixed.link + fixed.ip(len(tcp) + len(payload)) + tcp
        return Frame(segment.time, (head, payload), len(head) + len(payload))


class _Fixed:
    """What the headers of one end of a connection have in common."""

    def __init__(self, end: End, capture: Capture) -> None:
        network = end.connection.network
        addresses = [
            ipaddress.ip_address(network.source),
            ipaddress.ip_address(network.destination),
        ]
        if end.name == "server":
            addresses.reverse()
        self._source, self._destination = (address.packed for address in addresses)
        self._v6 = addresses[0].version == 6
        self._network = network
        self._ports = end.port, end.peer.port
        self._ident = end.next & 0xFFFF
        self._addresses = words(self._source) + words(self._destination)
        self._fixed_sum = self._addresses + 6 + sum(self._ports)
        self._zero_length = network.ip_length == "zero"
        self._extensions = extension_headers(network)
        self.link = link_header(capture, network, end.name, self._v6)

    def ip(self, size: int) -> bytes:
        """The IP header (with extension headers) of a packet with ``size`` bytes of TCP."""
        if self._v6:
            size += len(self._extensions)
            length = 0 if size > FIXED_LENGTH or self._zero_length else size
            following = 60 if self._extensions else 6
            head = IPV6_HEADER.pack(0x60000000, length, following, 64)
            return head + self._source + self._destination + self._extensions
        length = 0 if size + 20 > FIXED_LENGTH or self._zero_length else size + 20
        ident = self._ident = self._ident + 1 & 0xFFFF
        total = 0x4500 + length + ident + 0x4000 + 0x4006 + self._addresses
        return (
            IPV4_HEADER.pack(0x45, 0, length, ident, 0x4000, 64, 6, 0xFFFF - total % 0xFFFF)
            + self._source
            + self._destination
        )

    def fragments(self, segment: Segment) -> Iterator[Frame]:
        """The frames of a segment's packet in fragments of ``segment.fragment`` bytes."""
        body = self.tcp(segment) + bytes(segment.payload)
        self._ident = self._ident + 1 & 0xFFFF
        for at in range(0, len(body), segment.fragment):
            piece = body[at : at + segment.fragment]
            more = at + len(piece) < len(body)
            head = self.link + self._fragment_header(len(piece), at, more)
            yield Frame(segment.time, (head, piece), len(head) + len(piece))

    def _fragment_header(self, size: int, at: int, more: bool) -> bytes:
        if self._v6:
            head = IPV6_HEADER.pack(0x60000000, size + 8, 44, 64)
            fragment = struct.pack(">BBHI", 6, 0, at | more, self._ident)
            return head + self._source + self._destination + fragment
        place = at // 8 | (0x2000 if more else 0)
        total = 0x4500 + size + 20 + self._ident + place + 0x4006 + self._addresses
        fields = 0x45, 0, size + 20, self._ident, place, 64, 6, 0xFFFF - total % 0xFFFF
        return IPV4_HEADER.pack(*fields) + self._source + self._destination

    def tcp(self, segment: Segment) -> bytes:
        """The TCP header, checksummed."""
        flags = segment.flags
        stamp = segment.time // 1_000_000 & 0xFFFFFFFF
        if flags & SYN or not self._network.timestamps:
            return self._with_options(segment, stamp)
        check = 0
        if self._network.checksums:
            payload = segment.payload
            size = len(payload)
            # a 32-bit field counts as the sum of its halves: 2^16 is 1, modulo 0xffff
            total = self._fixed_sum + size + 32 + segment.seq + segment.ack + 0x8000 + flags
            total += segment.window + 0x0101 + 0x080A + 2 * stamp
            if size:
                total += int.from_bytes(payload, "big") << (8 * (size & 1))
            check = 0xFFFF - total % 0xFFFF
        return TCP_STAMPED.pack(
            *self._ports,
            segment.seq,
            segment.ack,
            0x80,
            flags,
            segment.window,
            check,
            0,
            0x0101080A,
            stamp,
            stamp,
        )

    def _with_options(self, segment: Segment, stamp: int) -> bytes:
        """The header of a SYN, or one without time stamps."""
        options = self._syn_options(segment, stamp) if segment.flags & SYN else b""
        size = TCP_HEADER.size + len(options)
        head = TCP_HEADER.pack(
            *self._ports,
            segment.seq,
            segment.ack,
            size << 2,
            segment.flags,
            segment.window,
            0,
            0,
        )
        if not self._network.checksums:
            return head + options
        total = self._addresses + 6 + size + len(segment.payload)
        total += words(head) + words(options) + words(segment.payload)
        return head[:16] + checksum(total).to_bytes(2, "big") + head[18:] + options

    def _syn_options(self, segment: Segment, stamp: int) -> bytes:
        mss = min(self._network.mtu - (60 if self._v6 else 40), 65495)
        echo = stamp if segment.flags & ACK else 0
        stamps = struct.pack(">BBII", 8, 10, stamp, echo)
        middle = b"\x04\x02" + stamps if self._network.timestamps else b"\x01\x01\x04\x02"
        return struct.pack(">BBH", 2, 4, mss) + middle + b"\x01\x03\x03\x07"


def extension_headers(network: Network) -> bytes:
    """Destination-options headers of 8 bytes, padded, in front of TCP."""
    count = network.extension_headers
    return b"".join(
        bytes([60 if number + 1 < count else 6, 0, 1, 4, 0, 0, 0, 0]) for number in range(count)
    )


def link_header(capture: Capture, network: Network, sender: str, v6: bool) -> bytes:
    """The link layer's header for frames that ``sender`` (client or server) sends."""
    kind = capture.link
    ethertype = b"\x86\xdd" if v6 else b"\x08\x00"
    source = MACS[sender]
    if kind == "ethernet":
        target = MACS["server" if sender == "client" else "client"]
        tags = b"".join(
            struct.pack(">HH", 0x8100 if number == len(network.vlans) - 1 else 0x88A8, vlan)
            for number, vlan in enumerate(network.vlans)
        )
        return target + source + tags + ethertype
    outgoing = 4 if sender == "client" else 0
    if kind == "sll":
        return struct.pack(">HHH6s2x", outgoing, 1, 6, source) + ethertype
    if kind == "sll2":
        return ethertype + struct.pack(">2xIHBB6s2x", 2, 1, outgoing, 6, source)
    family = 30 if v6 else 2
    if kind == "null":
        return struct.pack("<I" if capture.byte_order == "little" else ">I", family)
    return struct.pack(">I", family) if kind == "loop" else b""
