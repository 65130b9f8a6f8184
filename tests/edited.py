"""Splits a real capture into the packets of its channels, to be edited and put together again.

The analyzer's own decoding is not used: layouts are written down here again, from
docs/wire-format.md, sections 2 to 5.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from analyzer.capture.segment import FIN, RST, SYN, decode
from tests.altered import read
from tests.checks.craft import Craft

if TYPE_CHECKING:
    from pathlib import Path

    from analyzer.capture.segment import Segment

OFFSETS = 128
"""Entries of the offset array, for pages of 4 KiB."""
INIT, FIXED, DEVICE = 64, 320, 276
FLAGS, ALLOC, NORMAL, SIZE, NUM, ZERO, BLOCK = 8, 12, 16, 20, 24, 32, 64
IDSTR, INSTANCE, DEVICE_SIZE = 12, 268, 272
SEGMENT = 30_000


class Unit:
    """A unit to edit: a packet of a channel, or a piece of another stream; ``time`` in ns.

    ``kind`` is ``init``, ``ram``, ``sync``, ``device`` or ``bytes``.
    """

    def __init__(
        self, kind: str, time: int, head: bytes | bytearray, payload: bytes | bytearray = b""
    ) -> None:
        self.kind = kind
        self.time = time
        self.head = bytearray(head)
        self.payload = bytearray(payload)

    def __getitem__(self, at: int) -> int:
        """The 32-bit word at an offset of the header."""
        word: int = struct.unpack_from(">I", self.head, at)[0]
        return word

    def __setitem__(self, at: int, value: int) -> None:
        struct.pack_into(">I", self.head, at, value)

    def number(self, at: int = NUM) -> int:
        """The 64-bit word at an offset."""
        word: int = struct.unpack_from(">Q", self.head, at)[0]
        return word

    def set_number(self, at: int, value: int) -> None:
        """Write the 64-bit word at an offset."""
        struct.pack_into(">Q", self.head, at, value)

    def copy(self) -> Unit:
        """A copy with the same bytes."""
        return Unit(self.kind, self.time, self.head, self.payload)


class Stream:
    """A connection: the source's units, the destination's ``answers``, and by side when it was
    closed (ns).
    """

    def __init__(self, port: int, began: int) -> None:
        self.port = port
        self.began = began
        self.units: list[Unit] = []
        self.answers: list[Unit] = []
        self.closed: dict[str, int] = {}

    def copy(self) -> Stream:
        """A copy with copies of the units."""
        made = Stream(self.port, self.began)
        made.units = [unit.copy() for unit in self.units]
        made.answers = [unit.copy() for unit in self.answers]
        made.closed = dict(self.closed)
        return made


def take_apart(path: Path, device_flag: int = 0x40) -> list[Stream]:
    """The connections of a capture without holes, in the order in which they were opened."""
    streams: dict[int, Stream] = {}
    pieces: dict[tuple[int, str], dict[int, tuple[int, bytes]]] = {}
    capture = read(path)
    for frame in capture.frames:
        data = bytearray(frame.data)
        segment = decode(data, 0, len(data), frame.original, capture.link)
        if isinstance(segment, str):
            continue
        source, target = struct.unpack(">HH", segment.key[-4:])
        if segment.flags & SYN:
            if source not in streams and target not in streams:
                streams[source] = Stream(source, frame.time)
            continue
        side = "client" if source in streams else "server"
        port = source if side == "client" else target
        if segment.length:
            held = pieces.setdefault((port, side), {})
            held.setdefault(segment.seq, (frame.time, _payload(data, segment)))
        if segment.flags & (FIN | RST):
            streams[port].closed.setdefault(side, frame.time)
    for (port, side), held in pieces.items():
        units = list(_in_order(held))
        if side == "server":
            streams[port].answers = units
        elif units[0].head.startswith(b"\x11\x22\x33\x44"):
            streams[port].units = _packets(units, device_flag)
        else:
            streams[port].units = units
    return list(streams.values())


def _payload(data: bytearray, segment: Segment) -> bytes:
    return bytes(data[segment.start : segment.start + segment.length])


def _in_order(held: dict[int, tuple[int, bytes]]) -> list[Unit]:
    expected, units = min(held), []
    for seq in sorted(held):
        time, data = held[seq]
        new = data[expected - seq :] if seq < expected else data
        assert seq <= expected
        if new:
            units.append(Unit("bytes", time, new))
            expected += len(new)
    return units


def _packets(units: list[Unit], device_flag: int) -> list[Unit]:
    data = b"".join(unit.head for unit in units)
    begins, at = [], 0
    for unit in units:
        begins.append((at, unit.time))
        at += len(unit.head)
    found, at = [], 0
    while at < len(data):
        time = max(begin for begin in begins if begin[0] <= at)[1]
        size = 0
        if at == 0:
            kind, head = "init", INIT
        else:
            (flags,) = struct.unpack_from(">I", data, at + FLAGS)
            if flags & device_flag:
                kind, head = "device", DEVICE
                (size,) = struct.unpack_from(">I", data, at + DEVICE_SIZE)
            else:
                kind, head = "sync" if flags & 1 else "ram", FIXED + 8 * OFFSETS
                normal, size = struct.unpack_from(">II", data, at + NORMAL)
                size = size if normal else 0
        body = at + head
        found.append(Unit(kind, time, data[at:body], data[body : body + size]))
        at = body + size
    return found


def put_together(streams: list[Stream]) -> bytes:
    """A capture in which all units are sent in the order of their times."""
    capture = Craft()
    steps: list[tuple[int, int, Stream, str, bytes]] = []
    for stream in streams:
        steps.append((stream.began, 0, stream, "open", b""))
        for side, units in (("client", stream.units), ("server", stream.answers)):
            time = stream.began
            for unit in units:
                time = max(time, unit.time)
                steps.append((time, 1, stream, side, bytes(unit.head + unit.payload)))
            if side in stream.closed:
                steps.append((max(time, stream.closed[side]), 2, stream, f"close {side}", b""))
    opened = {}
    for _, _, stream, what, data in sorted(steps, key=lambda step: step[:2]):
        if what == "open":
            opened[stream.port] = capture.connect(stream.port)
        elif what.startswith("close"):
            opened[stream.port].fin(what.split()[1])
        else:
            opened[stream.port].send(data, what, SEGMENT)
    return capture.pcap()
