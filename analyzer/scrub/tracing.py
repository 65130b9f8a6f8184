"""The first pass: which bytes of every stream are structure.  The walkers' requests show it: they
read structure and skip content.  Only bytes that a walker has read and that :class:`Tracer` knows
to be harmless are kept; names in them are replaced.
"""

from __future__ import annotations

from bisect import bisect_right

from analyzer.checks.channels import is_told_apart
from analyzer.migration.consumers import Consumers, Watcher
from analyzer.migration.grouping import Grouper
from analyzer.migration.main_ram import ZERO_AND_WORD
from analyzer.scrub.headers import FLAGS, Headers
from analyzer.scrub.plan import Plan
from analyzer.scrub.structure import config_spans, subsection_spans
from analyzer.scrub.told_names import ToldNames
from analyzer.tcp.reader import Reader
from analyzer.tcp.requests import Deliver, Gap, Peek, Push, Skip, Some, Take
from dissectors.main_stream import EOS_WORD, FOOTER, FOOTER_BYTE, is_vfio
from dissectors.multifd import COMMON_PAGE_SIZE, MAGIC_VERSION
from dissectors.vfio import VfioTag
from dissectors.xbzrle import lengths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from analyzer.migration.channel import Channel
    from analyzer.migration.main_channel import MainFacts, Record
    from analyzer.migration.migration import Migration
    from analyzer.migration.rows import DevicePacket, RamPacket
    from analyzer.migration.settings import Settings
    from analyzer.scrub.secret import Names
    from analyzer.tcp.engine import Engine
    from analyzer.tcp.flow import Connection, Flow
    from analyzer.tcp.requests import Reply, Request, Walker

__all__ = ["Tracer"]

RUN_MAX = 1 << 20
CHUNKS_MAX = 100_000
WORDS_ONLY = 16
"""Larger chunks may belong to a body whose end is not known yet."""
XBZRLE_HEAD = 3
VFIO_TAGS = frozenset(int(tag).to_bytes(8, "big") for tag in VfioTag)
END_WORDS = (EOS_WORD, int(VfioTag.END_OF_STATE).to_bytes(8, "big"))


class Tracer(Watcher):
    """Attaches to a stream engine in place of a :class:`Grouper`, and makes a plan for every
    direction; :meth:`finish` returns the plans.
    """

    def __init__(
        self, settings: Settings, names: Names, connections: Callable[[], Sequence[Connection]]
    ) -> None:
        self.names = names
        self.grouper = Grouper(settings, connections, Consumers((self,)))
        self._traces: dict[int, _Trace] = {}  # by id() of the flow, which the engine keeps alive

    def attach(self, flow: Flow) -> Reader:
        """Return the reader of a direction that begins to carry payload."""
        trace = self._traces[id(flow)] = _Trace(flow, self)
        return Reader(lambda reader: trace.walk(reader, self.grouper.identify(reader, flow)))

    def finish(self, engine: Engine) -> dict[int, Plan]:
        """The plans by id() of the flow.  Of a stream that is not a channel of a migration nothing
        is kept.
        """
        for trace in self._traces.values():
            trace.end()
        for migration in self.grouper.migrations:
            self._subsections(migration)
        strangers = {id(c.flow): c for m in self.grouper.migrations for c in m.strangers}
        channels = {id(c.flow) for m in self.grouper.migrations for c in m.channels}
        encrypted = {id(c.flow) for c in self.grouper.tls}
        for connection in engine.connections:
            for flow in connection.flows:
                if id(flow) not in self._traces:
                    continue
                trace = self._traces[id(flow)]
                for difference in flow.differences:
                    frame = difference.place.frame
                    known = trace.plan.differences.setdefault(frame, difference.offset)
                    trace.plan.differences[frame] = min(known, difference.offset)
                if id(flow) in encrypted:
                    trace.plan.blank = True
                elif (stranger := strangers.get(id(flow))) is not None:
                    if is_told_apart(stranger):
                        trace.plan.keep_late(0, len(stranger.head))
                elif id(flow) not in channels:
                    trace.plan.drop()
                trace.plan.settle()
        return {key: trace.plan for key, trace in self._traces.items()}

    def _subsections(self, migration: Migration) -> None:
        """Keep the headers of devices' subsections, located with the stream's own description."""
        from analyzer.migration.vmdescription import decode

        facts = migration.main_facts
        if facts is None or migration.main is None:
            return
        plan = self._traces[id(migration.main.flow)].plan
        for device in decode(facts, values=False):
            base = device.record.body_offset
            for begin, end in subsection_spans(device.nodes):
                plan.keep_late(base + begin, base + end)

    # -- what the walkers tell (see Watcher) ----------------------------------------------------

    def ram(
        self, migration: Migration, channel: Channel, packet: RamPacket, pages: Sequence[int]
    ) -> None:
        """A RAM packet: its header is kept, even if it was found by search or has a hole."""
        del migration, pages
        trace = self._traces[id(channel.flow)]
        if packet.offsets is None or not trace.covers(packet):
            trace.headers.found_ram(packet)

    def device(self, migration: Migration, channel: Channel, packet: DevicePacket) -> None:
        """A device-state packet, likewise."""
        del migration
        trace = self._traces[id(channel.flow)]
        if not trace.covers(packet):
            trace.headers.found_device(packet)

    def record(self, migration: Migration, record: Record) -> None:
        """A record of main."""
        assert migration.main is not None
        self._traces[id(migration.main.flow)].record(record)

    def migration_of(self, channel: Channel) -> Migration | None:
        """The migration that a channel belongs to, if it is known."""
        for migration in reversed(self.grouper.migrations):
            if channel in migration.channels:
                return migration
        return None


class _Trace:
    """The bytes read from one direction, before they go to the plan."""

    def __init__(self, flow: Flow, tracer: Tracer) -> None:
        connection = flow.connection
        self.plan = Plan(2 * connection.number + (flow is connection.reverse))
        self.headers = Headers(self.plan, tracer.names)
        self._names = ToldNames(self.plan, tracer.names)
        self._flow = flow
        self._tracer = tracer
        self._chunks: list[tuple[int, bytes]] = []  # read, not in the plan yet
        self._migration: Migration | None = None

    # -- the walk -----------------------------------------------------------------------------

    def walk(self, reader: Reader, walker: Walker) -> Walker:
        """Pass on a walker's requests, and record the result."""
        reply: Reply = None
        peeked = b""
        coded = 0
        pushed = b""
        while True:
            try:
                request = walker.send(reply)
            except StopIteration:
                return
            begin = reader.offset
            kind = type(request)
            zeros = _Zeros(self.plan, begin, self._unit()) if kind is Skip else None
            reply = yield request if zeros is None else self._watched(request, zeros)
            if kind is Take:
                data = reply if type(reply) is bytes else getattr(reply, "data", b"")
                whole = type(reply) is bytes or request is ZERO_AND_WORD  # its fill byte counts
                coded = self._taken(begin, data, coded, whole=whole)
            elif kind is Skip:
                assert zeros is not None
                zeros.end()
                self._stepped(begin, reader.offset, peeked)
            elif kind is Push:
                pushed = request.data  # type: ignore[union-attr]
                self._back(reader.offset)
            elif kind is Some:
                self.flush(final=True)
                self._keep_magic(begin, pushed)
                pushed = b""
            elif kind is Deliver:
                self._description(begin, reader.offset)
            peeked = self._seen(reply) if kind is Peek else b""

    @staticmethod
    def _watched(request: Request, zeros: _Zeros) -> Deliver:
        """A Skip whose bytes are checked for zero pages."""
        return Deliver(request.size, zeros.take)  # type: ignore[union-attr]

    @staticmethod
    def _seen(reply: Reply) -> bytes:
        if type(reply) is bytes:
            return reply
        return b"" if reply is None or type(reply) is Gap else getattr(reply, "data", b"")

    def _taken(self, at: int, data: bytes, coded: int, *, whole: bool) -> int:
        """Bytes that a walker reads; returns the length of the XBZRLE data that follow."""
        kind = self._kind()
        if not whole and kind in ("main", "postcopy", "return-path"):
            return 0  # the stream ends inside: only the number of bytes matters
        if coded and len(data) == coded:
            for begin, end in lengths(data):
                self._chunks.append((at + begin, data[begin:end]))
            return 0
        self._append(at, data)
        if kind in ("main", "postcopy") and len(data) == XBZRLE_HEAD and data[0] == 1:
            return int.from_bytes(data[1:], "big")
        return 0

    def _append(self, at: int, data: bytes) -> None:
        chunks = self._chunks
        if chunks and chunks[-1][0] + len(chunks[-1][1]) == at and self._kind() != "main":
            before = chunks[-1]
            joined = before[1] + data
            chunks[-1] = before[0], joined
            if len(joined) > RUN_MAX:
                self.flush(final=False)
            return
        chunks.append((at, data))
        if len(chunks) > CHUNKS_MAX:
            self._flush_words()

    def _back(self, offset: int) -> None:
        """The walker put back the bytes from ``offset`` on."""
        chunks = self._chunks
        while chunks and chunks[-1][0] + len(chunks[-1][1]) > offset:
            at, data = chunks.pop()
            if at < offset:
                chunks.append((at, data[: offset - at]))

    def _stepped(self, begin: int, end: int, peeked: bytes) -> None:
        """Skipped content; but a footer that ended a search is kept, and the word before it."""
        kind = self._kind()
        if kind != "main":
            if kind == "multifd":
                self.flush(final=True)
            return
        foot = end - begin - FOOTER.size
        if foot >= 0 and foot + FOOTER.size <= len(peeked) and peeked[foot] == FOOTER_BYTE:
            word = peeked[foot - 8 : foot] if foot >= 8 else b""
            if word in END_WORDS:
                self._chunks.append((begin + foot - 8, word))
            self._chunks.append((begin + foot, peeked[foot : foot + FOOTER.size]))

    def _keep_magic(self, at: int, pushed: bytes) -> None:
        """Keep a correct magic or version at the place of a header: it identifies a damaged
        header.
        """
        for begin in (0, 4):
            if pushed[begin : begin + 4] == MAGIC_VERSION[begin : begin + 4]:
                self.plan.keep(at + begin, at + begin + 4)

    # -- who it is ----------------------------------------------------------------------------

    def _channel(self) -> Channel | None:
        return self._tracer.grouper.channel_of(self._flow)

    def _kind(self) -> str:
        channel = self._channel()
        return channel.kind if channel is not None else ""

    def _owner(self) -> Migration | None:
        if self._migration is None and (channel := self._channel()) is not None:
            self._migration = self._tracer.migration_of(channel)
        return self._migration

    def _main_facts(self) -> MainFacts | None:
        owner = self._owner()
        return owner.main_facts if owner is not None else None

    def _unit(self) -> int:
        """The page size of this stream, since zero pages stay zero."""
        owner = self._owner()
        return (owner.page_size if owner is not None else 0) or COMMON_PAGE_SIZE

    def covers(self, packet: RamPacket | DevicePacket) -> bool:
        """Whether the header was read; its magic and version may be kept without it."""
        offset = packet.offset + FLAGS
        at = bisect_right(self._chunks, offset, key=lambda chunk: chunk[0]) - 1
        if at >= 0 and offset < self._chunks[at][0] + len(self._chunks[at][1]):
            return True
        return self.plan.keeps(offset)

    # -- into the plan ------------------------------------------------------------------------

    def end(self) -> None:
        """The stream has ended."""
        self.flush(final=True)
        if self._kind() != "multifd":
            self._settle(())

    def record(self, record: Record) -> None:
        """A record of main has ended: a body whose end was found by search is content."""
        begin, size = record.body_offset, record.body_length
        facts = self._main_facts()
        if facts is not None and (section := facts.sections.get(record.section_id or 0)):
            self._names.learn_section(section.idstr)
        body: tuple[int, ...] = ()
        if record.by_search and size > 0:
            body = begin, begin + size
            if is_vfio(record.name.encode()):
                self._keep_tags(record)
        self._settle(body)

    def _keep_tags(self, record: Record) -> None:
        """Keep the structure of a VFIO device's body; of one that breaks off its tags."""
        if record.body is None:
            for at, word in self._chunks:
                if at >= record.body_offset and word in VFIO_TAGS:
                    self.plan.keep_late(at, at + len(word))
            return
        at = record.body_offset + record.body_length - len(record.body)
        for first, last in config_spans(record.body):
            self.plan.keep_late(at + first, at + last)

    def _settle(self, body: tuple[int, ...]) -> None:
        """Keep the bytes that were read, except a body, and names."""
        chunks, self._chunks = self._chunks, []
        joined: list[tuple[int, bytearray]] = []
        for at, data in chunks:
            if body and body[0] <= at < body[1]:
                continue
            if joined and joined[-1][0] + len(joined[-1][1]) == at:
                joined[-1][1].extend(data)
            else:
                joined.append((at, bytearray(data)))
        facts = self._main_facts()
        for at, run in joined:
            self.plan.keep(at, at + len(run))
            if len(run) > WORDS_ONLY and facts is not None:
                self._names.replace(facts, at, bytes(run))

    def _flush_words(self) -> None:
        """Keep the words of a long RAM section before its end."""
        if all(len(data) <= WORDS_ONLY for _, data in self._chunks):
            self._settle(())

    def _description(self, begin: int, end: int) -> None:
        """The text that ends main."""
        facts = self._main_facts()
        if self._kind() == "main" and facts is not None:
            self._names.keep_description(facts, begin, end)

    def flush(self, *, final: bool) -> None:
        """Put the headers that were read into the plan; an incomplete one may wait."""
        channel, owner = self._channel(), self._owner()
        if channel is None or channel.kind != "multifd":
            return
        framing = owner.framing if owner is not None else None
        chunks, self._chunks = self._chunks, []
        for at, data in chunks:
            pos = self.headers.initial(channel, data) if at == 0 else 0
            while pos < len(data):
                size = self.headers.packet(framing, at, data, pos, final)
                if not size:
                    self._chunks.append((at + pos, data[pos:]))
                    break
                pos += size


class _Zeros:
    """Finds the zero pages in skipped content."""

    __slots__ = ("_at", "_begin", "_clean", "_plan", "_unit")

    def __init__(self, plan: Plan, begin: int, unit: int) -> None:
        self._plan = plan
        self._at = self._begin = begin
        self._unit = unit
        self._clean = True

    def take(self, piece: bytes | memoryview | None, count: int) -> None:
        """The next bytes; ``None`` for a hole."""
        done = 0
        data = b"" if piece is None else bytes(piece)
        while done < count:
            part = min(self._begin + self._unit - self._at, count - done)
            if self._clean and data.count(0, done, done + part) != part:
                self._clean = False
            done += part
            self._at += part
            if self._at == self._begin + self._unit:
                self.end()

    def end(self) -> None:
        """The page has ended."""
        if self._clean:
            self._plan.zero(self._begin, self._at)
        self._begin, self._clean = self._at, True
