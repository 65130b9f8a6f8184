"""TCP: turns units into segments, with handshakes, acknowledgements and FINs."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final
from zlib import crc32

from analyzer.synth.units import MAIN, encode

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from random import Random

    from analyzer.synth.pattern import Bytes
    from analyzer.synth.scenario import Migration, Network
    from analyzer.synth.units import Unit

__all__ = ["ACK", "FIN", "PSH", "RST", "SYN", "Connection", "End", "Segment", "Wire"]

FIN, SYN, RST, PSH, ACK = 0x01, 0x02, 0x04, 0x08, 0x10
WINDOW: Final = 65535
QUEUE_BYTES: Final = 4 << 20
FRAME_OVERHEAD: Final = 66


class End:
    """One side of a connection: who it is, and what it has sent and seen.

    ``name`` is ``client`` or ``server``; ``next`` the sequence number of its next byte, ``seen``
    the one it expects; ``sent`` counts its data segments; ``queue`` is what it still has to send.
    """

    __slots__ = (
        "connection",
        "name",
        "next",
        "peer",
        "port",
        "queue",
        "queued",
        "seen",
        "sent",
        "unacked",
    )

    def __init__(self, connection: Connection, name: str, port: int, isn: int) -> None:
        self.connection = connection
        self.name = name
        self.port = port
        self.next = isn
        self.seen = 0
        self.queue: deque[Bytes] = deque()
        self.queued = 0
        self.sent = 0
        self.unacked = 0
        self.peer: End


class Connection:
    """A TCP connection of the capture; ``channel`` is its name in the script."""

    __slots__ = ("channel", "client", "network", "server")

    def __init__(self, channel: str, network: Network, port: int, isns: tuple[int, int]) -> None:
        self.channel = channel
        self.network = network
        self.client = End(self, "client", port, isns[0])
        self.server = End(self, "server", network.port, isns[1])
        self.client.peer = self.server
        self.server.peer = self.client

    def end(self, side: str) -> End:
        """The end of that name."""
        return self.client if side == "client" else self.server


class Segment:
    """One TCP segment on its way to a frame; ``seq`` and ``ack`` are absolute, mod 2^32.

    ``number`` counts the data segments of its stream from 0 (-1: it carries no data).  The frame is
    truncated after ``snaplen`` bytes, or the packet fragmented every ``fragment`` bytes, unless 0.
    """

    __slots__ = (
        "ack",
        "end",
        "flags",
        "fragment",
        "number",
        "payload",
        "seq",
        "snaplen",
        "time",
        "window",
    )

    def __init__(
        self,
        time: int,
        end: End,
        flags: int,
        seq: int,
        ack: int,
        payload: Bytes = b"",
        number: int = -1,
        window: int = WINDOW,
    ) -> None:
        self.time = time
        self.end = end
        self.flags = flags
        self.seq = seq
        self.ack = ack
        self.payload = payload
        self.number = number
        self.window = window
        self.snaplen = 0
        self.fragment = 0

    def copy(self) -> Segment:
        """Another segment with the same contents."""
        return Segment(
            self.time,
            self.end,
            self.flags,
            self.seq,
            self.ack,
            self.payload,
            self.number,
            self.window,
        )


class Wire:
    """Sends a script: ``segments`` yields what a capture at the source would see."""

    def __init__(self, migration: Migration, rng: Random, start: int) -> None:
        self.migration = migration
        self.network = migration.network
        self.rng = rng
        self.now = start
        self.connections: dict[str, Connection] = {}
        self._port = self.network.client_port
        self._queued = 0
        self._mss = self.network.mtu - self.overhead
        self._ns_per_byte = 1e9 / self.network.rate

    @property
    def overhead(self) -> int:
        """Bytes of IP and TCP headers in every packet."""
        network = self.network
        fixed = (40 if ":" in network.source else 20) + 20 + 8 * network.extension_headers
        return fixed + (12 if network.timestamps else 0)

    def segments(self, units: Iterable[Unit]) -> Iterator[Segment]:
        """The segments of all units, in the order of the capture."""
        for unit in units:
            if unit.wait or unit.channel == MAIN or unit.kind in ("open", "fin", "rst"):
                yield from self.drain()
            self.now += unit.wait
            if unit.kind == "open":
                yield from self.open(unit.channel)
                continue
            if unit.channel not in self.connections:
                continue  # a fault has left it out
            end = self.connections[unit.channel].end(unit.side)
            if unit.kind == "fin":
                yield from self.shut(end)
            elif unit.kind == "rst":
                yield self.segment(end, RST | ACK)
            else:
                yield from self.write(end, unit)
        yield from self.drain()

    # -- connections --------------------------------------------------------------------------

    def open(self, channel: str) -> Iterator[Segment]:
        """The handshake."""
        seed = crc32(channel.encode()) ^ self.rng.getrandbits(32)
        isn = self.network.isn if self.network.isn >= 0 else seed
        made = Connection(channel, self.network, self._port, (isn, seed * 2654435761 & 0xFFFFFFFF))
        self._port += self.rng.choice((2, 4, 6, 8, 10))
        self.connections[channel] = made
        half = int(self.network.delay * 5e8)
        yield self.segment(made.client, SYN)
        self.now += half
        made.server.seen = made.client.next
        yield self.segment(made.server, SYN | ACK)
        made.client.seen = made.server.next
        self.now += half
        yield self.segment(made.client, ACK)

    def shut(self, end: End) -> Iterator[Segment]:
        """A FIN and its acknowledgement."""
        yield self.segment(end, FIN | ACK)
        end.peer.seen = end.next
        yield self.segment(end.peer, ACK)

    def segment(self, end: End, flags: int, payload: Bytes = b"") -> Segment:
        """The next segment of one end; takes its time on the wire."""
        number = -1
        size = len(payload)
        if size:
            number = end.sent
            end.sent += 1
        seen = end.seen if flags & ACK else 0
        made = Segment(self.now, end, flags, end.next, seen, payload, number)
        if flags & (SYN | FIN):
            size += 1
        end.next = (end.next + size) & 0xFFFFFFFF
        self.now += 1000 + int((size + FRAME_OVERHEAD) * self._ns_per_byte)
        return made

    # -- data ---------------------------------------------------------------------------------

    def write(self, end: End, unit: Unit) -> Iterator[Segment]:
        """Queue what the unit writes; send if too much is queued, or if the unit must not wait."""
        for piece in encode(unit):
            if len(piece):
                end.queue.append(piece)
                end.queued += len(piece)
                self._queued += len(piece)
        if unit.channel == MAIN or self.migration.interleave == "packet":
            yield from self.drain()
        elif self._queued > QUEUE_BYTES:
            yield from self.drain(QUEUE_BYTES // 2)

    def drain(self, down_to: int = 0) -> Iterator[Segment]:
        """Send queued bytes in bursts of some segments, connections in random turn."""
        waiting = [
            end
            for connection in self.connections.values()
            for end in (connection.client, connection.server)
            if end.queued
        ]
        while self._queued > down_to:
            end = waiting[0] if len(waiting) == 1 else self.rng.choice(waiting)
            for _ in range(self.network.burst):
                if end.queued:
                    yield from self.send(end)
            if not end.queued:
                waiting.remove(end)
                if end.unacked:
                    yield self.acknowledge(end)

    def send(self, end: End) -> Iterator[Segment]:
        """One data segment, and an acknowledgement if one is due."""
        payload = self.take(end)
        yield self.segment(end, ACK if end.queued else PSH | ACK, payload)
        end.unacked += 1
        if end.unacked == self.network.ack_every:
            yield self.acknowledge(end)

    def acknowledge(self, end: End) -> Segment:
        """The peer's acknowledgement of all that ``end`` has sent."""
        end.unacked = 0
        end.peer.seen = end.next
        return self.segment(end.peer, ACK)

    def take(self, end: End) -> Bytes:
        """Up to a segment's worth of queued bytes; a view if they are contiguous."""
        queue = end.queue
        size = min(self._mss, end.queued)
        end.queued -= size
        self._queued -= size
        piece = queue.popleft()
        if len(piece) == size:
            return piece
        if len(piece) > size:
            queue.appendleft(memoryview(piece)[size:])
            return memoryview(piece)[:size]
        parts = [piece]
        need = size - len(piece)
        while need:
            piece = queue.popleft()
            if len(piece) > need:
                queue.appendleft(memoryview(piece)[need:])
                piece = memoryview(piece)[:need]
            parts.append(piece)
            need -= len(piece)
        return b"".join(parts)
