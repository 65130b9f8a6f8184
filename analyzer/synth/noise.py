"""Frames of unrelated traffic, mixed with those of migrations."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from analyzer.synth.framing import Frame, checksum, link_header, words

if TYPE_CHECKING:
    from collections.abc import Iterator

    from analyzer.synth.scenario import Capture, Network, Noise

__all__ = ["strewn"]

EVERY: Final = 5
SOURCE: Final = bytes((192, 0, 2, 1))
TARGET: Final = bytes((192, 0, 2, 2))


def strewn(
    frames: Iterator[Frame], noise: Noise, capture: Capture, network: Network
) -> Iterator[Frame]:
    """``frames`` with a noise frame after every fifth of them, while there are any."""
    alien = aliens(noise, link_header(capture, network, "client", False), capture.link)
    for count, frame in enumerate(frames):
        yield frame
        if count % EVERY == EVERY - 1:
            other = next(alien, None)
            if other is not None:
                yield Frame(frame.time, (other,), len(other))


def aliens(noise: Noise, link: bytes, kind: str) -> Iterator[bytes]:
    """The noise frames, one of each sort in turn."""
    left = {
        "arp": noise.arp if kind == "ethernet" else 0,
        "udp": noise.udp,
        "tcp": noise.tcp,
        "fragments": noise.fragments,
        "truncated": noise.truncated,
    }
    for number in range(max(left.values())):
        for sort, count in left.items():
            if number < count:
                yield alien(sort, number, link)


def alien(sort: str, number: int, link: bytes) -> bytes:
    """One frame: a sort and a running number."""
    if sort == "arp":
        addresses = link[6:12] + SOURCE + bytes(6) + TARGET
        request = struct.pack(">HHBBH", 1, 0x0800, 6, 4, 1) + addresses
        return b"\xff" * 6 + link[6:12] + b"\x08\x06" + request
    if sort == "tcp":
        body = b"GET /%d HTTP/1.1\r\nHost: example\r\n\r\n" % number
        head = struct.pack(">HHIIBBHHH", 40001, 80, 1 + 64 * number, 1, 0x50, 0x18, 512, 0, 0)
        total = words(SOURCE) + words(TARGET) + 6 + len(head) + len(body)
        total += words(head) + words(body)
        return link + ip(6, head[:16] + checksum(total).to_bytes(2, "big") + head[18:] + body)
    datagram = struct.pack(">HHHH", 5353, 5353, 8 + 32, 0) + bytes(range(32))
    if sort == "fragments":
        place = 0x2000 if number % 2 == 0 else 3
        piece = datagram[:24] if number % 2 == 0 else datagram[24:]
        return link + ip(17, piece, ident=number // 2, place=place)
    whole = link + ip(17, datagram)
    return whole[: len(link) + 3 + number % 17] if sort == "truncated" else whole


def ip(protocol: int, body: bytes, ident: int = 7, place: int = 0) -> bytes:
    """An IPv4 packet between two addresses for documentation."""
    fields = 0x45, 0, 20 + len(body), ident, place, 64, protocol, 0
    head = struct.pack(">BBHHHBBH", *fields) + SOURCE + TARGET
    return head[:10] + checksum(words(head)).to_bytes(2, "big") + head[12:] + body
