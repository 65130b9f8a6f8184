"""A reader of little-endian Ethernet/IPv4 pcap files that shares nothing with the project's own."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

from scapy.packet import Raw

from analyzer.synth import build
from dissectors.scapy_layers import MultiFDInit, dissect_channel

FIN, SYN, RST = 1, 2, 4
CHANNEL_HEADER = bytes(7) + b"\4"


class Seg(NamedTuple):
    time: int
    source: int
    target: int
    seq: int
    ack: int
    flags: int
    window: int
    payload: bytes


def records(data: bytes) -> Iterator[tuple[int, bytes, int]]:
    """Time in microseconds, captured bytes and wire length of each frame."""
    at = 24
    while at < len(data):
        seconds, micro, size, wire = struct.unpack_from("<IIII", data, at)
        yield seconds * 1_000_000 + micro, data[at + 16 : at + 16 + size], wire
        at += 16 + size


def segments(data: bytes) -> list[Seg]:
    found = []
    for time, frame, _ in records(data):
        if frame[12:14] != b"\x08\x00" or len(frame) < 54 or frame[23] != 6 or frame[20] & 0x3F:
            continue
        source, target, seq, ack, offset, flags, window = struct.unpack_from(">HHIIBBH", frame, 34)
        payload = frame[34 + (offset >> 4) * 4 :]
        found.append(Seg(time, source, target, seq, ack, flags, window, payload))
    return found


def streams(data: bytes) -> dict[tuple[int, int], bytes]:
    """The bytes of every stream by its ports; the first copy counts, and holes are skipped."""
    starts: dict[tuple[int, int], int] = {}
    parts: dict[tuple[int, int], dict[int, bytes]] = {}
    for seg in segments(data):
        key = seg.source, seg.target
        if seg.flags & SYN:
            starts[key] = seg.seq + 1
        elif seg.payload:
            base = starts.setdefault(key, seg.seq)
            parts.setdefault(key, {}).setdefault((seg.seq - base) & 0xFFFFFFFF, seg.payload)
    return {key: joined(found) for key, found in parts.items()}


def joined(parts: dict[int, bytes]) -> bytes:
    out = bytearray()
    for offset in sorted(parts):
        out += parts[offset][max(0, len(out) - offset) :]
    return bytes(out)


class Seen:
    """The contents of a scenario's capture, channel by channel."""

    def __init__(self, scenario: dict[str, Any], *, read: bool = True) -> None:
        self.data = build(scenario)
        self.segments = segments(self.data) if read else []
        self.main = b""
        self.reply = b""
        self.channels: dict[int, list[Any]] = {}
        self.ports: dict[int, int] = {}
        self.headers: list[int] = []
        for (source, target), stream in streams(self.data).items() if read else ():
            if stream[:8] == CHANNEL_HEADER:
                self.headers.append(int.from_bytes(stream[8:12], "big"))
                stream = stream[12:]
            if stream.startswith(b"QEVM"):
                self.main = stream
            elif stream.startswith(b"\x11\x22\x33\x44"):
                packets = dissect_channel(stream)
                first = packets[0]
                channel = first.id if isinstance(first, MultiFDInit) else -1
                self.channels[channel] = packets
                self.ports[channel] = source
            elif source < target:
                self.reply = stream

    def packets(self) -> list[Any]:
        return [packet for packets in self.channels.values() for packet in packets[1:]]

    def ram(self) -> list[Any]:
        """RAM and SYNC packets of all channels, by packet number."""
        found = [packet for packet in self.packets() if "packet_num" in packet.fields]
        return sorted(found, key=lambda packet: packet.packet_num)

    def state(self) -> list[Any]:
        """Device-state packets, channel by channel."""
        return [packet for packet in self.packets() if "idstr" in packet.fields]

    def rest(self, channel: int = 0) -> bytes:
        """The bytes at the end of a channel's stream that do not form a whole packet."""
        last = self.channels[channel][-1]
        return last.load if isinstance(last, Raw) else b""

    def indices(self, idstr: bytes = b"0000:00:02.0/vfio") -> list[int]:
        """The buffer indices of a device, sorted."""
        mine = [p for p in self.state() if p.idstr.rstrip(b"\0") == idstr and len(p.payload) >= 12]
        return sorted(packet.payload.idx for packet in mine)

    def configs(self) -> list[Any]:
        """The device-state packets with the config state."""
        return [p for p in self.state() if len(p.payload) >= 12 and int(p.payload.flags) & 1]

    def syncs(self, channel: int) -> int:
        """How many SYNCs a channel has."""
        return sum("packet_num" in p.fields and bool(p.flags.SYNC) for p in self.channels[channel])
