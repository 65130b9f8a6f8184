"""A capture that can be shared, in two passes over the original.

The first pass separates structure from content (:mod:`analyzer.scrub.tracing`); the second copies
the frames with content, names and addresses replaced.
"""

from __future__ import annotations

from functools import partial

from analyzer.capture.file import PCAP_MAGICS, CaptureFile
from analyzer.capture.multipath import open_rejoined
from analyzer.capture.segment import SYN
from analyzer.capture.sequence import ahead_of
from analyzer.capture.source import open_source
from analyzer.capture.writing import PcapngWriter, PcapWriter
from analyzer.scrub.frame import FrameScrubber
from analyzer.scrub.secret import Addresses, Filling, Names
from analyzer.scrub.tracing import Tracer
from analyzer.tcp.engine import Engine, Multipath

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Sequence

    from analyzer.capture.segment import Segment
    from analyzer.capture.source import Source
    from analyzer.capture.writing import Writable
    from analyzer.errors import CaptureError
    from analyzer.migration.settings import Settings
    from analyzer.scrub.plan import Plan
    from analyzer.tcp.flow import Flow

__all__ = ["Scrubbed", "scrub"]

HEAD = 24


class Scrubbed:
    """The result: the numbers of ``frames`` written, ``migrations`` found and ``encrypted``
    connections; ``secrets``: whether the original held keys for them; ``notes``: remarks about the
    original; ``damage``: the error that ended reading early.
    """

    __slots__ = ("damage", "encrypted", "frames", "migrations", "notes", "secrets")

    def __init__(
        self,
        frames: int,
        migrations: int,
        encrypted: int,
        secrets: bool,
        notes: Sequence[str],
        damage: CaptureError | None,
    ) -> None:
        self.frames = frames
        self.migrations = migrations
        self.encrypted = encrypted
        self.secrets = secrets
        self.notes = notes
        self.damage = damage


class _Place:
    """A direction of one connection in the second pass."""

    __slots__ = ("began", "flow", "offset", "plan")

    def __init__(self, flow: Flow, plan: Plan) -> None:
        self.flow = flow
        self.plan = plan
        self.began = flow.connection.began.frame
        self.offset = 0  # of the highest byte so far


class _Payloads:
    """Returns the replacement for the bytes of segments, frame by frame."""

    def __init__(self, engine: Engine, plans: dict[int, Plan], filling: Filling) -> None:
        self._filling = filling
        self._places: dict[bytes, list[_Place]] = {}
        self.frame = 0
        for connection in engine.connections:
            for flow in connection.flows:
                plan = plans.get(id(flow))
                if plan is not None:
                    self._places.setdefault(flow.key, []).append(_Place(flow, plan))

    def __call__(self, segment: Segment, data: bytes) -> bytes | bytearray:
        """``data`` of a segment of the current frame, replaced."""
        places = self._places.get(segment.key, [])
        while len(places) > 1 and places[1].began <= self.frame:
            del places[0]
        if not data or not places or places[0].began > self.frame:
            return bytes(len(data))
        place = places[0]
        seq = segment.seq + bool(segment.flags & SYN)
        offset = place.offset + ahead_of(seq, place.flow.base + 1 + place.offset)
        place.offset = max(place.offset, offset + segment.length)
        return place.plan.replace(self._filling, offset, data, self.frame)


def scrub(
    path: str | os.PathLike[str],
    out: Writable,
    key: bytes,
    settings: Settings,
    *,
    keep_names: bool = False,
    ports: bool = False,
    progress: Callable[[float, int], None] | None = None,
) -> Scrubbed:
    """Write the capture at ``path`` to ``out``, with contents replaced by data derived from
    ``key``.  The format stays pcap or pcapng; a capture with Multipath TCP becomes a pcap file of
    plain TCP.  Damage ends both passes early.  Raises :class:`CaptureError` for a file that is not
    a capture.
    """
    opened = partial(open_source, path)
    try:
        file, tracer, engine = _trace(opened(), settings, Names(key, keep_names), progress)
    except Multipath:
        source, rejoined = open_rejoined(path)
        file, tracer, engine = _trace(source, settings, Names(key, keep_names), progress)
        rejoined.tell(file)
        opened = partial(_open_rejoined, path)
    payloads = _Payloads(engine, tracer.finish(engine), Filling(key))
    frames = _copy(opened, out, FrameScrubber(Addresses(key, ports), payloads), payloads, progress)
    return Scrubbed(
        frames,
        len(tracer.grouper.migrations),
        len(tracer.grouper.tls),
        bool(file.secrets),
        file.notes,
        file.damage,
    )


def _open_rejoined(path: str | os.PathLike[str]) -> Source:
    return open_rejoined(path)[0]


def _trace(
    source: Source,
    settings: Settings,
    names: Names,
    progress: Callable[[float, int], None] | None,
) -> tuple[CaptureFile, Tracer, Engine]:
    """The first pass.  Raises :class:`Multipath` if the capture must be rejoined first."""
    try:
        file = CaptureFile(source)
        tracer = Tracer(settings, names, lambda: engine.connections)

        def multipath() -> None:
            raise Multipath

        engine = Engine(source, tracer.attach, multipath=multipath)
        for batch in file.batches():
            engine.feed(batch)
            if progress is not None and source.raw_size:
                progress(source.position / source.raw_size / 2, file.frames)
        engine.end()
    finally:
        source.close()
    return file, tracer, engine


def _copy(
    opened: Callable[[], Source],
    out: Writable,
    scrubber: FrameScrubber,
    payloads: _Payloads,
    progress: Callable[[float, int], None] | None,
) -> int:
    """The second pass; returns the number of frames."""
    source = opened()
    try:
        head = source.peek(HEAD)
        file = CaptureFile(source)
        writer = PcapWriter(out, head) if head[:4] in PCAP_MAGICS else PcapngWriter(out)
        for batch in file.batches():
            for number, start in enumerate(batch.starts, batch.first):
                payloads.frame = number
                writer.frame(batch, start, scrubber.rewrite(batch, start))
            if progress is not None and source.raw_size:
                progress(0.5 + source.position / source.raw_size / 2, file.frames)
        writer.finish()
        return writer.frames
    finally:
        source.close()
