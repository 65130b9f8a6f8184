"""Frames of connections, and what the stream engine makes of them."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import pytest

from analyzer.capture.file import CaptureFile
from analyzer.capture.source import open_source
from analyzer.tcp.engine import Engine
from analyzer.tcp.reader import Reader
from analyzer.tcp.requests import Deliver
from tests.capture.files import pcap

if TYPE_CHECKING:
    from analyzer.tcp.flow import Flow
    from analyzer.tcp.requests import Walker

SYN, ACK, FIN, RST = 2, 16, 1, 4
CLIENT, SERVER = 40000, 4444
WRAP = 1 << 32


class Wire:
    """Frames of one connection, as tuples that tests may reorder before :func:`analysed`."""

    def __init__(self, isn: int = 1000, port: int = CLIENT) -> None:
        self.isn = isn
        self.port = port
        self.frames: list[tuple[int, bytes, int]] = []

    def add(self, seq: int, data: bytes = b"", flags: int = ACK, *, back: bool = False,
            ack: int = 0, window: int = 500, snap: int | None = None) -> Wire:  # fmt: skip
        sport, dport = (SERVER, self.port) if back else (self.port, SERVER)
        addresses = bytes([10, 0, 0, 2, 10, 0, 0, 1] if back else [10, 0, 0, 1, 10, 0, 0, 2])
        tcp = struct.pack(
            ">HHIIBBHHH", sport, dport, seq % WRAP, ack % WRAP, 0x50, flags, window, 0, 0
        )
        ip = struct.pack(">BBHHHBBH", 0x45, 0, 40 + len(data), 0, 0x4000, 64, 6, 0) + addresses
        frame = bytes(12) + b"\x08\x00" + ip + tcp + data
        kept = frame if snap is None else frame[:snap]
        self.frames.append((len(self.frames) * 1_000_000, kept, len(frame)))
        return self

    def send(self, offset: int, data: bytes, **options: Any) -> Wire:
        """Payload at a stream offset."""
        return self.add(self.isn + 1 + offset, data, **options)

    def ack(self, offset: int, **options: Any) -> Wire:
        """The server acknowledges."""
        return self.add(5001, back=True, ack=self.isn + 1 + offset, **options)

    def open(self) -> Wire:
        self.add(self.isn, flags=SYN)
        return self.add(5000, flags=SYN | ACK, back=True, ack=self.isn + 1)


class Result:
    """What the engine made of it."""

    def __init__(self, capture: bytes | str, walk: Any = None) -> None:
        self.streams: dict[tuple[int, str], bytearray] = {}
        self.flows: dict[tuple[int, str], Flow] = {}
        self.readers: dict[tuple[int, str], Reader] = {}
        self.walk = walk
        file = CaptureFile(open_source(capture))
        self.engine = Engine(file.source, self.attach)
        for batch in file.batches():
            self.engine.feed(batch)
        self.engine.end()

    def attach(self, flow: Flow) -> Reader:
        key = flow.connection.number, flow.source
        out = self.streams.setdefault(key, bytearray())
        self.flows[key] = flow

        def sink(piece: bytes | memoryview | None, size: int) -> None:
            out.extend(b"?" * size if piece is None else piece)

        def everything(_reader: Reader) -> Walker:
            yield Deliver(1 << 50, sink)

        self.readers[key] = Reader(self.walk or everything)
        return self.readers[key]

    @property
    def client(self) -> bytes:
        return bytes(self.streams[0, f"10.0.0.1:{CLIENT}"])

    @property
    def flow(self) -> Flow:
        return self.flows[0, f"10.0.0.1:{CLIENT}"]


def forgetful(monkeypatch: pytest.MonkeyPatch, kept: int) -> None:
    """Let engines remember so few connections; without a look through all memory each time."""
    monkeypatch.setattr("analyzer.tcp.flow.CONNECTIONS_KEPT", kept)
    monkeypatch.setattr("analyzer.tcp.flow.gc.collect", lambda: 0)


def analysed(wire: Wire) -> Result:
    return Result(pcap(wire.frames))
