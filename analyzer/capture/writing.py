"""Writes frames read from one capture to a new one."""

from __future__ import annotations

import struct

from analyzer.capture.frames import RECORD
from analyzer.capture.pcapng import ENHANCED, INTERFACE, ISB_IFDROP, SECTION, STATISTICS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from analyzer.capture.frames import Batch, Interface

    class Writable(Protocol):
        """The stream to write to."""

        def write(self, data: bytes, /) -> object:
            """Take the bytes."""


__all__ = ["PcapWriter", "PcapngWriter"]


class PcapWriter:
    """Writes a pcap file; ``head`` is the file header of the capture that the frames come from."""

    def __init__(self, stream: Writable, head: bytes) -> None:
        self._stream = stream
        self.frames = 0
        stream.write(head)

    def frame(self, batch: Batch, start: int, data: bytes | bytearray) -> None:
        """The frame at ``start`` of a batch, with ``data`` as its bytes."""
        self._stream.write(b"".join((batch.buffer[start - RECORD : start], data)))
        self.frames += 1

    def finish(self) -> None:
        """Nothing more comes."""


class PcapngWriter:
    """Writes one pcapng section with nanosecond time stamps; interfaces are added when first used.

    Names, comments, name resolution and secrets of the original are not copied.
    """

    def __init__(self, stream: Writable) -> None:
        self._stream = stream
        self._interfaces: dict[int, tuple[int, Interface]] = {}
        self.frames = 0
        self._block(SECTION, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1))

    def _block(self, kind: int, *parts: bytes | bytearray) -> None:
        body = b"".join(parts)
        body += bytes(-len(body) % 4)
        size = len(body) + 12
        self._stream.write(struct.pack("<II", kind, size) + body + struct.pack("<I", size))

    def _interface(self, interface: Interface) -> int:
        known = self._interfaces.get(id(interface))
        if known is None:
            known = self._interfaces[id(interface)] = len(self._interfaces), interface
            resolution = struct.pack("<HHB3xHH", 9, 1, 9, 0, 0)
            head = struct.pack("<HHI", interface.link_type, 0, interface.snaplen)
            self._block(INTERFACE, head, resolution)
        return known[0]

    def frame(self, batch: Batch, start: int, data: bytes | bytearray) -> None:
        """The frame at ``start`` of a batch, with ``data`` as its bytes."""
        number = self._interface(batch.interface)
        time, captured, original = batch.header(start)
        head = struct.pack(
            "<IIIII", number, time >> 32 & 0xFFFFFFFF, time & 0xFFFFFFFF, captured, original
        )
        self._block(ENHANCED, head, data)
        self.frames += 1

    def finish(self) -> None:
        """End the section with statistics of the frames dropped while capturing."""
        for number, interface in self._interfaces.values():
            if interface.dropped:
                count = struct.pack("<HHQHH", ISB_IFDROP, 8, interface.dropped, 0, 0)
                self._block(STATISTICS, struct.pack("<III", number, 0, 0), count)
