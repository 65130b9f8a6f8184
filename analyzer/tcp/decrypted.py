"""Puts plaintext in the place of encrypted streams: this is what the walkers of TLS connections
read.

The stream engine has already processed the connections with their encrypted bytes; what it found
out about TCP is kept.  From then on offsets, holes and places refer to the plaintext.
"""

from __future__ import annotations

from heapq import heappop, heappush

from analyzer.capture.plaintext import OVERHEAD_MAX
from analyzer.capture.segment import decode
from analyzer.capture.sequence import MASK
from analyzer.tcp.flow import Hole
from analyzer.tcp.requests import Place

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from analyzer.capture.frames import Batch
    from analyzer.capture.plaintext import Plaintext
    from analyzer.tcp.flow import Connection, Flow
    from analyzer.tcp.reader import Reader

__all__ = ["Decryption"]

RECORD_MAX = 5 + (1 << 14) + 2048
TAIL = RECORD_MAX + OVERHEAD_MAX
"""Most bytes that may be left at the end of a stream: a TLS record that did not arrive whole."""


class _Encrypted:
    """What the stream engine found in one direction while it counted encrypted bytes.

    ``bytes`` is the stream's length; ``whole`` says that it has no holes; no bytes come after frame
    ``end_frame`` (0 if unknown).  ``number`` breaks ties where directions are ordered.
    """

    __slots__ = ("bytes", "end_frame", "number", "whole")

    def __init__(self, number: int, flow: Flow) -> None:
        self.number = number
        self.bytes = flow.offset
        self.whole = not flow.missing
        ends = [end.frame for end in (flow.fin, flow.reset) if end is not None]
        self.end_frame = max(flow.last.frame, *ends) if ends else 0


class Decryption:
    """Feeds the readers of TLS connections with the frames that ``run`` decrypts.

    ``opened`` is called when the first plaintext of a connection appears, before ``attach``
    supplies the readers.  ``lost`` are the flows that could not be decrypted completely, each with
    the first frame affected.
    """

    def __init__(
        self,
        connections: Iterable[Connection],
        run: Plaintext,
        opened: Callable[[Connection], None],
        attach: Callable[[Flow], Reader],
    ) -> None:
        self.lost: list[tuple[Flow, int]] = []
        self._run = run
        self._opened = opened
        self._attach = attach
        self._flows: dict[bytes, list[Flow]] = {}
        self._encrypted: dict[Flow, _Encrypted] = {}
        self._open: dict[Flow, None] = {}  # those with plaintext and no end yet
        self._ending: list[tuple[int, int, Flow]] = []  # flows with an end, that first
        for connection in connections:
            for flow in connection.flows:
                self._flows.setdefault(flow.key, []).append(flow)

    def feed(self, batch: Batch) -> None:
        """Deliver all pieces of plaintext in a batch."""
        for at, (start, stop) in enumerate(zip(batch.starts, batch.stops, strict=True)):
            if start == stop:
                continue
            time, captured, original = batch.header(start)
            segment = decode(batch.buffer, start, captured, original, batch.interface.link_type)
            if isinstance(segment, str):
                continue
            place = Place(batch.first + at, time, batch.position(start))
            flow = self._flow(segment.key, place.frame)
            if flow is None:
                continue
            self._close(place.frame)
            if flow not in self._encrypted:
                self._begin(flow.connection)
            with memoryview(batch.buffer)[segment.start : segment.start + segment.captured] as data:
                self._deliver(flow, segment.seq, data, place)

    def _flow(self, key: bytes, frame: int) -> Flow | None:
        """The latest flow with this key whose connection had begun by ``frame``."""
        for flow in reversed(self._flows.get(key, ())):
            if flow.connection.began.frame <= frame:
                return flow
        return None

    def _begin(self, connection: Connection) -> None:
        for flow in connection.flows:
            self._encrypted[flow] = _Encrypted(len(self._encrypted), flow)
            flow.decrypt()
        self._opened(connection)

    def _deliver(self, flow: Flow, seq: int, data: memoryview, place: Place) -> None:
        if flow.reader is None:
            flow.base = seq - 1 & MASK
            flow.first = place
            flow.reader = self._attach(flow)
            self._open[flow] = None
            encrypted = self._encrypted[flow]
            if encrypted.end_frame:
                heappush(self._ending, (encrypted.end_frame, encrypted.number, flow))
        flow.last = place
        flow.offset += len(data)
        if flow.reader is not None:
            flow.reader.feed(data, place)

    def _close(self, frame: int) -> None:
        """End the streams whose end lies before ``frame``."""
        while self._ending and self._ending[0][0] < frame:
            self._end(heappop(self._ending)[-1])

    def end(self) -> None:
        """No more frames."""
        for flow in list(self._open):
            self._end(flow)

    def _end(self, flow: Flow) -> None:
        del self._open[flow]
        sealed = self._run.sealed.get((flow.connection.number, flow.key))
        failed = sealed.failed if sealed is not None else 0
        encrypted = self._encrypted[flow]
        left = encrypted.bytes - (sealed.records if sealed is not None else 0)
        # A TLS record with a hole in it cannot be decrypted at all, whatever its header says.
        if failed or left > TAIL or not encrypted.whole:
            before = flow.last
            first, flow.missing, flow.hole_count = flow.offset, max(left, 1), 1
            flow.offset += flow.missing
            after = failed or before.frame
            flow.holes.append(Hole(first, flow.offset - 1, before.frame, after, cut=False))
            self.lost.append((flow, failed or before.frame))
            if flow.reader is not None:
                flow.reader.gap(flow.missing, before)
        if flow.reader is not None:
            flow.reader.end()
