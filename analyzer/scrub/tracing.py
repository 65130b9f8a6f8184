"""The first pass: which bytes of every stream are structure.  The walkers' requests show it: they
read structure and skip content.  Only bytes that a walker has read and that :class:`Tracer` knows
to be harmless are kept; names in them are replaced.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import islice, pairwise

from analyzer.migration.consumers import Consumers, Watcher
from analyzer.migration.grouping import Grouper
from analyzer.migration.main_ram import ZERO_AND_WORD
from analyzer.scrub.plan import Plan
from analyzer.scrub.structure import config_spans, subsection_spans
from analyzer.tcp.reader import Reader
from analyzer.tcp.requests import Deliver, Gap, Peek, Push, Skip, Some, Take
from dissectors.main_stream import EOS_WORD, FOOTER, FOOTER_BYTE, is_vfio
from dissectors.multifd import (
    CHANNEL_HEADER,
    COMMON_COUNT,
    COMMON_PAGE_SIZE,
    DEVICE_STATE,
    HEADER,
    INIT,
    MAGIC_VERSION,
    NAME_SIZE,
    RAM,
    ram_header_size,
)
from dissectors.vfio import BUFFER, VfioTag
from dissectors.xbzrle import lengths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from analyzer.migration.channel import Channel
    from analyzer.migration.framing import Settings
    from analyzer.migration.main_channel import Record
    from analyzer.migration.migration import Migration
    from analyzer.migration.rows import DevicePacket, RamPacket
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
END_WORDS = (EOS_WORD, int(VfioTag.END_OF_STATE).to_bytes(8, "big"))
FLAGS = HEADER["flags"].offset
NAME = RAM["ramblock"].offset
NAME_END = NAME + NAME_SIZE
IDSTR = DEVICE_STATE["idstr"].offset
IDSTR_END = IDSTR + NAME_SIZE
HEAD = DEVICE_STATE.size + BUFFER.size
BUFFER_FLAGS = DEVICE_STATE.size + BUFFER["flags"].offset
UUID = INIT["uuid"].offset
UUID_END = UUID + INIT["uuid"].size


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
        self._flows: list[Flow] = []

    def attach(self, flow: Flow) -> Reader:
        """Return the reader of a direction that begins to carry payload."""
        trace = self._traces[id(flow)] = _Trace(flow, self)
        self._flows.append(flow)
        return Reader(lambda reader: trace.walk(reader, self.grouper.identify(reader, flow)), 0)

    def finish(self, engine: Engine) -> dict[int, Plan]:
        """The plans by id() of the flow.  Of a stream that is not a channel of a migration nothing
        is kept.
        """
        for trace in self._traces.values():
            trace.end()
        for migration in self.grouper.migrations:
            self._subsections(migration)
        strangers = {id(c.flow) for m in self.grouper.migrations for c in m.strangers}
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
                elif id(flow) not in channels and id(flow) not in strangers:
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
        """A RAM packet: its header is kept, even if it was found by search."""
        del migration, pages
        trace = self._traces[id(channel.flow)]
        if not trace.covers(packet):
            trace.found_ram(packet)

    def device(self, migration: Migration, channel: Channel, packet: DevicePacket) -> None:
        """A device-state packet, likewise."""
        del migration
        trace = self._traces[id(channel.flow)]
        if not trace.covers(packet):
            trace.found_device(packet)

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
        self._flow = flow
        self._tracer = tracer
        self._chunks: list[tuple[int, bytes]] = []  # read, not in the plan yet
        self._migration: Migration | None = None
        self._others: dict[int, dict[bytes, bytes]] = {}  # other names for names, by length
        self._blocks = 0  # how many RAM blocks' names are among them

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

    def _kind(self) -> str:
        channel = self._tracer.grouper.channel_of(self._flow)
        return channel.kind if channel is not None else ""

    def _owner(self) -> Migration | None:
        if self._migration is None:
            channel = self._tracer.grouper.channel_of(self._flow)
            if channel is not None:
                self._migration = self._tracer.migration_of(channel)
        return self._migration

    def _unit(self) -> int:
        """The page size of this stream, since zero pages stay zero."""
        owner = self._owner()
        return (owner.framing.page_size if owner is not None else 0) or COMMON_PAGE_SIZE

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
        owner = self._owner()
        facts = owner.main_facts if owner is not None else None
        if facts is not None and (section := facts.sections.get(record.section_id or 0)):
            self._learn(section.idstr, self._tracer.names.idstr(section.idstr))
        body: tuple[int, ...] = ()
        if record.by_search and size > 0:
            body = begin, begin + size
            if is_vfio(record.name.encode()) and record.body is not None:
                at = begin + size - len(record.body)
                for first, last in config_spans(record.body):
                    self.plan.keep_late(at + first, at + last)
        self._settle(body)

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
        for at, run in joined:
            self.plan.keep(at, at + len(run))
            if len(run) > WORDS_ONLY:
                self._put_names(at, bytes(run))

    def _flush_words(self) -> None:
        """Keep the words of a long RAM section before its end."""
        held = [chunk for chunk in self._chunks if len(chunk[1]) > WORDS_ONLY]
        if not held:
            self._settle(())

    def _learn(self, name: bytes, other: bytes) -> None:
        if name != other:
            self._others.setdefault(len(name), {})[name] = other

    def _put_names(self, at: int, run: bytes) -> None:
        """Replace names in the bytes that were read; each follows its length."""
        owner, names = self._owner(), self._tracer.names
        facts = owner.main_facts if owner is not None else None
        if facts is None:
            return
        for name in islice(facts.ram.blocks, self._blocks, None):
            self._learn(name, names.block(name))
        self._blocks = len(facts.ram.blocks)
        for size, others in self._others.items():
            for pos in _places(run, bytes((size,))):
                if (other := others.get(run[pos + 1 : pos + 1 + size])) is not None:
                    self.plan.put_late(at + pos + 1, other)
        if facts.uuid is not None and any(facts.uuid):
            for pos in _places(run, facts.uuid):
                self.plan.put_late(at + pos, names.uuid(facts.uuid))

    def _description(self, begin: int, end: int) -> None:
        """The text that ends main is kept, except the names of devices."""
        owner, names = self._owner(), self._tracer.names
        facts = owner.main_facts if owner is not None else None
        if self._kind() != "main" or facts is None:
            return
        text = b"".join(facts.description_parts)
        if len(text) != end - begin:
            return  # parts are missing
        self.plan.keep_late(begin, end)
        others = {s.idstr: names.idstr(s.idstr) for s in facts.sections.values()}
        for quote, following in pairwise(_places(text, b'"')):
            name = text[quote + 1 : following]
            if (other := others.get(name, name)) != name:
                self.plan.put_late(begin + quote + 1, other)

    def flush(self, *, final: bool) -> None:
        """Put the headers that were read into the plan; an incomplete one may wait."""
        if self._kind() != "multifd":
            return
        chunks, self._chunks = self._chunks, []
        for at, data in chunks:
            pos = self._init(data) if at == 0 else 0
            while pos < len(data):
                size = self._packet(at, data, pos, final)
                if not size:
                    self._chunks.append((at + pos, data[pos:]))
                    break
                pos += size

    def _init(self, data: bytes) -> int:
        """Keep the initial packet, and the RFC's header before it; returns their length."""
        channel = self._tracer.grouper.channel_of(self._flow)
        assert channel is not None
        begin = 0 if channel.channel_header is None else CHANNEL_HEADER.size
        self.plan.keep(0, begin)
        if channel.midstream:
            return begin
        whole = data[begin : begin + INIT.size]
        self._named(begin, whole, UUID, UUID_END, self._tracer.names.uuid)
        return begin + len(whole)

    def _packet(self, at: int, run: bytes, pos: int, final: bool) -> int:
        """Keep the header at ``pos`` of a run (and a config state); returns its size, 0 to wait for
        more.
        """
        owner, names = self._owner(), self._tracer.names
        flags = int.from_bytes(run[pos + FLAGS : pos + HEADER.size], "big")
        count = owner.framing.page_count if owner is not None else 0
        device = owner.framing.is_device_state(flags) if owner is not None else None
        if device is None and owner is not None and len(run) > pos + IDSTR:
            device = owner.framing.is_bit4_device_state(run[pos:])
        size = ram_header_size(count or COMMON_COUNT) if device is False else HEAD
        have = run[pos : pos + size]
        if len(have) < size and not final:
            return 0
        if device is False:
            self._named(at + pos, have, NAME, NAME_END, names.block_field)
            return len(have)
        payload = int.from_bytes(have[DEVICE_STATE.size - 4 : DEVICE_STATE.size], "big")
        if payload < BUFFER.size:
            have = have[: DEVICE_STATE.size]
        self._named(at + pos, have, IDSTR, IDSTR_END, names.idstr_field)
        flags = have[BUFFER_FLAGS : BUFFER_FLAGS + 4].count(0)
        config = run[pos + HEAD : pos + DEVICE_STATE.size + payload]
        behind = run[pos + HEAD : pos + HEAD + len(MAGIC_VERSION)]
        if payload < BUFFER.size or flags == 4 or behind == MAGIC_VERSION or not config:
            return len(have)
        for begin, end in config_spans(config):
            self.plan.keep(at + pos + HEAD + begin, at + pos + HEAD + end)
        return HEAD + len(config)

    def _named(
        self, at: int, data: bytes, begin: int, end: int, other: Callable[[bytes], bytes]
    ) -> None:
        """Keep a header with a name in it; a truncated name is not kept."""
        self.plan.keep(at, at + min(begin, len(data)))
        field = data[begin:end]
        if len(field) == end - begin:
            new = other(field)
            self.plan.keep(at + begin, at + end)
            if new != field:
                self.plan.put(at + begin, new)
        self.plan.keep(at + end, at + len(data))

    def found_ram(self, packet: RamPacket) -> None:
        """A RAM packet that was found by search."""
        at, names = packet.offset, self._tracer.names
        block = packet.ramblock
        if block is None:
            self.plan.keep_late(at, at + NAME)
            return
        self.plan.keep_late(at, at + packet.header_size)
        self.plan.put_late(at + NAME, names.block_field(block))

    def found_device(self, packet: DevicePacket) -> None:
        """A device-state packet that was found by search."""
        at, names = packet.offset, self._tracer.names
        self.plan.keep_late(at, at + HEAD)
        self.plan.put_late(at + IDSTR, names.idstr_field(packet.idstr))


def _places(data: bytes, part: bytes) -> Iterator[int]:
    """Where a part is found in data."""
    at = data.find(part)
    while at >= 0:
        yield at
        at = data.find(part, at + 1)


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
