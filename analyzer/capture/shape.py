"""Where the fields of TCP segments are in frames that all have the same headers.

Most frames of a capture do: one link layer, the same VLAN tags, one IP version, no IP options or
extension headers.  The stream engine's fast path reads such frames with one struct.
"""

from __future__ import annotations

import struct

from analyzer.capture.frames import SLACK
from analyzer.capture.segment import IPV4_HEADER, IPV6_HEADER, TCP, innermost

__all__ = ["USUAL", "Shape", "shape_of"]

FRONT_MAX = SLACK - IPV6_HEADER - 20
"""Longest link layer with tags, in bytes: a shape reads all fields however short the frame is, so
they must lie within ``SLACK``.
"""


class Shape:
    """One layout: ``front`` bytes of link layer, then IPv4 (``version`` 4) or IPv6, then TCP.

    ``unpack`` gives five values of a frame: IP's length field; a word that is ``whole`` after
    ANDing it with ``mask`` if this is TCP and not a fragment; the flow key; the sequence number;
    TCP's data offset and flags.  The length field covers ``header`` bytes of IP's own header (0 for
    IPv6), and counts from offset ``reach`` of the frame.  ``window`` and ``sequence`` are the
    offsets of TCP's window and sequence number.

    ``alike`` divides the headers from offset ``front`` on: so many bytes that segments of one flow
    and size share, so many that vary, and so on, up to TCP's flags.
    """

    __slots__ = (
        "alike",
        "front",
        "header",
        "mask",
        "reach",
        "sequence",
        "unpack",
        "whole",
        "window",
    )

    def __init__(self, front: int, version: int) -> None:
        self.front = front
        if version == 4:
            layout = struct.Struct(f">{front + 2}xH2xI2x12sI4xH")
            self.header, self.reach = IPV4_HEADER, front
            self.whole, self.mask = TCP, 0xBFFF00FF  # more fragments, fragment offset, protocol
            tcp = front + IPV4_HEADER
            # What varies is the identification, the checksum, and TCP's two numbers.
            self.alike: tuple[int, ...] = 4, 2, 4, 2, 12, 8, 2
        else:
            layout = struct.Struct(f">{front + 4}xHH36sI4xH")
            self.header, self.reach = 0, front + IPV6_HEADER
            self.whole, self.mask = TCP << 8, 0xFF00  # next header, hop limit
            tcp = front + IPV6_HEADER
            self.alike = 44, 8, 2
        self.unpack = layout.unpack_from
        self.sequence = tcp + 4
        self.window = tcp + 14


USUAL = Shape(14, 4)
"""Ethernet without tags, and IPv4."""
_shapes = {(14, 4): USUAL}


def shape_of(buffer: bytearray, start: int, stop: int, link_type: int) -> Shape | None:
    """The shape of the frame ``buffer[start:stop]``; ``None`` without IP, or with too many tags."""
    found = innermost(buffer, start, stop, link_type)
    if isinstance(found, str) or found[1] - start > FRONT_MAX:
        return None
    version, at, _ = found
    key = at - start, version
    if key not in _shapes:
        _shapes[key] = Shape(*key)
    return _shapes[key]
