"""Which streams are channels, and which channels belong to one migration.

Wire-format page, sections 1.1 to 1.4.
"""

from __future__ import annotations

from functools import partial

from analyzer.capture.segment import split_key
from analyzer.migration.attempts import Attempts, closed_before, key_of, over
from analyzer.migration.channel import Channel
from analyzer.migration.framing import Framing
from analyzer.migration.main_channel import MainFacts
from analyzer.migration.main_ram import is_ram_record
from analyzer.migration.main_search import resumes
from analyzer.migration.migration import Migration
from analyzer.migration.multifd_walker import walk_midstream, walk_multifd, walk_packets
from analyzer.migration.pages import PageRoom
from analyzer.migration.resync import find_packet
from analyzer.migration.room import Room
from analyzer.migration.tls_records import find_records, is_handshake, is_server_hello, walk_tls
from analyzer.migration.unidentified import Unidentified
from analyzer.tcp.reader import Reader
from analyzer.tcp.requests import End, Gap, Peek, Push, Skip, Some, Take
from dissectors import return_path
from dissectors.main_stream import MAGIC_BYTES as QEVM
from dissectors.main_stream import RAM_END, STATE_END, begins_stream
from dissectors.multifd import (
    CHANNEL_HEADER,
    CHANNEL_HEADER_START,
    INIT,
    MAGIC_BYTES,
    MAGIC_VERSION,
    ChannelType,
    is_init,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from analyzer.migration.account import Accounted
    from analyzer.migration.consumers import Consumers
    from analyzer.migration.main_channel import Record
    from analyzer.migration.return_path import ReturnFacts
    from analyzer.migration.settings import Settings
    from analyzer.tcp.flow import Connection, Flow
    from analyzer.tcp.requests import Reply, Request, Walker

    Looking = Generator[Request, Reply, Walker | None]

__all__ = ["ENCRYPTED_MAX", "KNOWN_MAX", "MIGRATIONS_MAX", "Grouper"]

SEARCH_MAX = 1 << 25
"""How many bytes to search for the first multifd packet in a stream without beginning."""
MARKS = RAM_END, STATE_END, MAGIC_VERSION
"""What tells a stream without beginning: the first two main, the last a multifd channel."""
MARK_MAX = max(map(len, MARKS))
MIGRATIONS_MAX = 4096
KNOWN_MAX = 1 << 15
"""Most channels known at a time, over all kinds and migrations."""
ENCRYPTED_MAX = 1 << 14
"""TLS connections kept at a time."""
STRANGERS_MAX = 1000
"""Most unidentified streams kept; also most return paths kept whose main is not known yet."""


class _TooMany(Exception):
    """A limit of migrations or channels was reached."""


class Grouper:
    """Recognises the channels of a capture by content and sorts them into migrations.

    ``attach`` is what the stream engine calls at a direction's first payload; ``connections`` gives
    all connections that the engine has seen.  ``tls`` are the encrypted channels, and
    ``why_encrypted`` says why the available secrets did not help; ``decrypted`` are those whose
    plaintext was read instead, ``unknown`` other streams that are not channels.  ``untold`` counts
    channels that were not read because there were :data:`MIGRATIONS_MAX` migrations,
    :data:`KNOWN_MAX` channels, :data:`ENCRYPTED_MAX` of TLS, or :data:`STRANGERS_MAX` return paths
    without main already.
    """

    def __init__(
        self,
        settings: Settings,
        connections: Callable[[], Sequence[Connection]],
        consumers: Consumers,
    ) -> None:
        self.migrations: list[Migration] = []
        self.tls: list[Channel] = []
        self.decrypted: list[Channel] = []
        self.why_encrypted = ""
        self.unknown: list[Channel] = []
        self.untold = 0
        self._settings = settings
        self._consumers = consumers
        self._channels: dict[int, Channel] = {}  # by id of the flow
        self._attempts = Attempts(connections, lambda flow: id(flow) in self._channels)
        self._unidentified = Unidentified()
        self._room = Room()
        self._page_room = PageRoom()
        # Return paths whose main is not known yet, by id of that direction.
        self._loose: dict[int, tuple[Channel, ReturnFacts]] = {}

    def attach(self, flow: Flow) -> Reader:
        """The reader for a direction that begins to carry payload."""
        return Reader(lambda reader: self.identify(reader, flow))

    def channel_of(self, flow: Flow) -> Channel | None:
        """The channel that a flow was identified as, if it was."""
        return self._channels.get(id(flow))

    def release(self, connection: Connection) -> None:
        """Drop an encrypted connection, whose plaintext will be attached next."""
        for flow in connection.flows:
            channel = self._channels.pop(id(flow), None)
            if channel is not None and channel in self.tls:
                self.tls.remove(channel)
                self.decrypted.append(channel)

    def join_encrypted(self) -> None:
        """Assign connections that stay encrypted to the migrations whose others were decrypted, as
        connections that are not decoded: they are channels whose handshake the capture lacks.
        """
        left: list[Channel] = []
        for channel in self.tls:
            attempt = self._attempts.newest(channel.flow)
            if attempt is None or over(attempt, channel):
                left.append(channel)
            else:
                attempt.strangers.append(channel)
        self.tls = left

    def forget(self) -> None:
        """Drop encrypted connections that cannot belong to a migration, since there are very
        many.
        """
        from analyzer.migration.encrypted import unlikely

        gone = unlikely(self.tls)
        for channel in gone:
            del self._channels[id(channel.flow)]
        numbers = {id(channel) for channel in gone}
        self.tls = [channel for channel in self.tls if id(channel) not in numbers]

    def end(self) -> None:
        """The capture has ended: what never carried a byte is known."""
        self._attempts.note_silent()

    # -- what a stream is ---------------------------------------------------------------------

    def identify(self, reader: Reader, flow: Flow) -> Walker:
        """Identify a stream and walk it as what it is."""
        try:
            yield from self._identify(reader, flow)
        except _TooMany:
            self.untold += 1
            self._channels.pop(id(flow), None)

    def _identify(self, reader: Reader, flow: Flow) -> Walker:
        if self._main_of(flow) is not None:
            yield from self._return_path(reader, flow)
            return
        head = yield Take(8)
        if type(head) is bytes:
            yield from self._by_content(reader, flow, head)
        elif type(head) is End and not flow.midstream:
            begins = head.data[: len(MAGIC_BYTES)]
            # A part of a magic only counts where there is a migration already.
            known = begins and self._attempts.newest(flow) is not None
            known = known or len(begins) == len(MAGIC_BYTES)
            if known and MAGIC_BYTES.startswith(begins):
                yield Push(head.data)
                yield from self._multifd(reader, flow)
            elif known and QEVM.startswith(begins):
                yield Push(head.data)
                yield from self._main(reader, flow)
            else:
                self._stranger(flow, head.data)
        elif type(head) is Gap:
            yield from self._midstream(reader, flow)

    def _by_content(self, reader: Reader, flow: Flow, head: bytes) -> Walker:
        yield Push(head)
        if head.startswith(QEVM):
            yield from self._main(reader, flow)
        elif head.startswith(MAGIC_BYTES) or self._forced(flow):
            walk = self._multifd_midstream if flow.midstream else self._multifd
            yield from walk(reader, flow)
        elif is_handshake(head):
            if not is_server_hello(head):
                yield from self._encrypted(flow)
        elif head == CHANNEL_HEADER_START:
            yield from self._rfc0(reader, flow)
        elif flow.midstream or flow.holes:
            yield from self._midstream(reader, flow)
        else:
            yield from self._other(reader, flow, head)

    def _encrypted(self, flow: Flow) -> Walker:
        if flow.peer is not flow and id(flow.peer) not in self._channels:
            if len(self.tls) >= ENCRYPTED_MAX:
                raise _TooMany
            self.tls.append(self._channel("tls", flow))
            yield from walk_tls(self.tls[-1])

    def _encrypted_midstream(self, flow: Flow, held: bytes) -> Looking:
        """Whether a stream without beginning holds TLS records: how to walk it, or ``None``.

        Without a handshake the side that sends more is taken for the client.
        """
        begin = find_records(held) if flow.offset > flow.peer.offset else None
        if begin is None:
            return None
        yield Push(held[begin:])
        return self._encrypted(flow)

    def _forced(self, flow: Flow) -> bool:
        return split_key(flow.key)[-1] in self._settings.decode_as

    def _multifd(self, reader: Reader, flow: Flow) -> Walker:
        channel = self._channel("multifd", flow)
        yield from walk_multifd(reader, channel, self._join)

    def _multifd_midstream(self, reader: Reader, flow: Flow) -> Walker:
        """Walk a stream that begins with the magic, but without TCP's handshake: the first bytes
        seen may be a later packet's, not the initial packet.
        """
        data = yield Take(INIT.size)
        if type(data) is Gap:
            yield from self._midstream(reader, flow)
        elif type(data) is bytes:
            ahead = yield Peek(len(MAGIC_VERSION))
            yield Push(data)
            channel = self._channel("multifd", flow)
            begins = is_init(data) or ahead == MAGIC_VERSION  # no packet is that short
            channel.midstream = not begins
            walk = walk_multifd if begins else walk_packets
            yield from walk(reader, channel, self._join)

    def _rfc0(self, reader: Reader, flow: Flow) -> Walker:
        header = yield Take(CHANNEL_HEADER.size)
        if type(header) is not bytes:
            return
        size, kind = CHANNEL_HEADER.unpack(header)
        if kind == ChannelType.MAIN:
            yield from self._main(reader, flow, header=(size, kind))
        elif kind in (ChannelType.MULTIFD, ChannelType.DEVICE_STATE):
            channel = self._channel("multifd", flow)
            channel.channel_header = (size, kind)
            channel.decoded += len(header)
            if channel.midstream and (yield Peek(len(MAGIC_VERSION))) == MAGIC_VERSION:
                channel.midstream = False
            yield from walk_multifd(reader, channel, self._join)
        else:
            channel = self._channel("unknown", flow)
            channel.channel_header = (size, kind)
            self._place_stranger(channel)

    def _midstream(self, reader: Reader, flow: Flow) -> Walker:
        """Identify a stream whose beginning is missing by what follows, and walk it."""
        self._unidentified.add(flow)
        try:
            walk = yield from self._look_around(reader, flow)
            if walk is None:
                walk = yield from self._look_for_packet(reader, flow)
        finally:
            self._unidentified.remove(flow)
        if walk is not None:
            yield from walk

    def _look_around(self, reader: Reader, flow: Flow) -> Looking:
        """Look for signs in some of what follows; gives how to walk it, or ``None``."""
        held = bytearray()
        known = 0  # up to here held was searched
        while len(held) < self._unidentified.share:
            mark = _first_mark(held, known)
            if mark == MAGIC_VERSION:
                break
            if mark:
                yield Push(bytes(held))
                return self._main(reader, flow, midstream=True)
            known = max(0, len(held) - MARK_MAX)
            piece = yield Some()
            if type(piece) is bytes:
                held += piece
            elif type(piece) is Gap:
                yield Skip(piece.last - piece.first + 1)
                held.clear()
                known = 0
            elif not return_path.is_message(held):
                break
            if return_path.is_message(held):
                yield Push(bytes(held))
                return self._return_path(reader, flow)
        walk = yield from self._encrypted_midstream(flow, bytes(held))
        if walk is None:
            yield Push(bytes(held))
        return walk

    def _look_for_packet(self, reader: Reader, flow: Flow) -> Looking:
        found = yield from find_packet(reader, Framing(self._settings), SEARCH_MAX)
        if not found.header:
            return None
        channel = self._channel("multifd", flow)
        # The search began behind what _look_around has read.
        found.gap = reader.missing - found.missing
        found.skipped = found.offset - found.gap
        channel.skipped += found.skipped
        channel.missing += found.gap
        return walk_midstream(reader, channel, self._join, found)

    def _other(self, reader: Reader, flow: Flow, head: bytes) -> Walker:
        """Identify a stream without magic: main of a recovered postcopy, a preempt channel, or one
        whose magic is damaged.

        A recovery is an attempt of its own: it begins with a command, which no RAM record looks
        like.
        """
        if resumes(head):
            yield from self._main(reader, flow, midstream=True)
            return
        self._unidentified.add(flow)
        try:
            ahead = yield Peek(INIT.size + len(MAGIC_VERSION))
        finally:
            self._unidentified.remove(flow)
        if type(ahead) is bytes and begins_stream(ahead):
            yield from self._main(reader, flow)
            return
        if type(ahead) is bytes and _is_init_but_for_magic(ahead):
            yield from self._multifd(reader, flow)
            return
        attempt = self._attempts.newest(flow)
        if attempt is not None and attempt.preempt is None and _may_preempt(attempt, head):
            yield from self._preempt(reader, flow, attempt)
        else:
            self._stranger(flow, head)

    # -- channels -----------------------------------------------------------------------------

    def _channel(self, kind: str, flow: Flow) -> Channel:
        if len(self._channels) >= KNOWN_MAX:
            raise _TooMany
        channel = Channel(kind, flow)
        self._channels[id(flow)] = channel
        return channel

    def _main(
        self,
        reader: Reader,
        flow: Flow,
        midstream: bool = False,
        header: tuple[int, int] | None = None,
    ) -> Walker:
        from analyzer.migration.main_walker import walk_main

        channel = self._channel("main", flow)
        channel.channel_header = header
        channel.midstream = midstream
        paused = self._attempts.paused(flow) if midstream else None
        earlier = paused or self._attempts.newest(flow)
        migration = self._join_main(channel)
        facts = migration.main_facts = MainFacts(self._room)
        if header is not None:
            facts.decoded += reader.offset
        else:
            _pass_over(reader, facts)
        if paused is not None:
            paused.recovery, migration.earlier = migration, paused
        if midstream and earlier is not None and not migration.framing.page_count:
            migration.framing.page_count = earlier.framing.page_count
            if earlier.main_facts is not None:
                facts.ram.page_size = earlier.main_facts.ram.page_size
        if migration.framing.page_size:
            facts.ram.page_size = migration.framing.page_size
        facts.ram.taker = self._consumers.page_collector.records(migration, facts.ram)
        yield from walk_main(
            reader,
            facts,
            midstream=midstream,
            device_data=partial(self._consumers.device_collector.main_data, migration),
            record_sink=partial(self._record, migration),
        )

    def _record(self, migration: Migration, record: Record) -> None:
        for watcher in self._consumers.watchers:
            watcher.record(migration, record)

    def _main_of(self, flow: Flow) -> Channel | None:
        """The main channel that a flow is the return path of, if that is known already."""
        peer = self._channels.get(id(flow.peer))
        return peer if peer is not None and peer.kind == "main" else None

    def _return_path(self, reader: Reader, flow: Flow) -> Walker:
        from analyzer.migration.return_path import ReturnFacts
        from analyzer.migration.return_path_walker import walk_return_path

        channel, main = self._channel("return-path", flow), self._main_of(flow)
        facts = ReturnFacts(self._room)
        _pass_over(reader, facts)
        migration = self._owner(main) if main is not None else None
        if migration is not None:
            migration.add_return_path(channel, facts)
        elif len(self._loose) >= STRANGERS_MAX:
            raise _TooMany
        else:
            self._loose[id(flow.peer)] = channel, facts
        size = migration.bitmap_size if migration is not None else None
        yield from walk_return_path(reader, facts, midstream=flow.midstream, bitmap_size=size)

    def _preempt(self, reader: Reader, flow: Flow, attempt: Migration) -> Walker:
        from analyzer.migration.preempt_walker import PreemptFacts, walk_preempt

        channel = self._channel("postcopy", flow)
        attempt.preempt = channel
        attempt.add(channel)
        facts = attempt.preempt_facts = PreemptFacts(self._room)
        facts.ram.page_size = attempt.page_size
        if attempt.main_facts is not None:
            facts.ram.know(attempt.main_facts.ram)
        facts.ram.taker = self._consumers.page_collector.records(attempt, facts.ram)
        yield from walk_preempt(reader, facts)

    def _stranger(self, flow: Flow, head: bytes) -> None:
        channel = self._channel("unknown", flow)
        channel.head = head
        self._place_stranger(channel)

    def _place_stranger(self, channel: Channel) -> None:
        attempt = self._attempts.newest(channel.flow)
        if attempt is not None and not over(attempt, channel):
            attempt.strangers.append(channel)
        elif len(self.unknown) < STRANGERS_MAX:
            self.unknown.append(channel)
        else:
            del self._channels[id(channel.flow)]

    # -- migrations ---------------------------------------------------------------------------

    def _join(self, channel: Channel) -> Migration:
        """Assign a multifd channel to a migration, once its id is known or known to be missing."""
        attempt = self._attempts.of_multifd(channel) or self._begin(channel)
        attempt.add(channel)
        if channel.channel_header is not None:
            attempt.framing.channel_header = True
        return attempt

    def _join_main(self, channel: Channel) -> Migration:
        attempt = self._attempts.of_main(channel) or self._begin(channel)
        attempt.main = channel
        attempt.add(channel)
        if (loose := self._loose.pop(id(channel.flow), None)) is not None:
            attempt.add_return_path(*loose)
        return attempt

    def _begin(self, channel: Channel) -> Migration:
        if len(self.migrations) >= MIGRATIONS_MAX:
            raise _TooMany
        key = key_of(channel.flow)
        number = len(self.migrations)
        migration = Migration(number, key, self._settings, self._page_room, self._consumers)
        self.migrations.append(migration)
        self._attempts.add(migration)
        for stranger in [other for other in self.unknown if key_of(other.flow) == key]:
            if not closed_before(stranger, channel.flow.connection.began.frame):
                self.unknown.remove(stranger)
                migration.strangers.append(stranger)
        return migration

    def _owner(self, channel: Channel) -> Migration | None:
        for migration in reversed(self.migrations):
            if migration.main is channel:
                return migration
        return None


def _first_mark(held: bytearray, begin: int) -> bytes:
    """The mark that is complete first, from position ``begin`` on; empty if there is none."""
    found = [(at + len(mark), mark) for mark in MARKS if (at := held.find(mark, begin)) >= 0]
    return min(found, default=(0, b""))[1]


def _pass_over(reader: Reader, facts: Accounted) -> None:
    """Account for what was read of a stream before it was known what it is."""
    facts.missing += reader.missing
    facts.skipped += reader.offset - reader.missing


def _is_init_but_for_magic(data: bytes) -> bool:
    """Whether a stream begins with a version, and a packet is where the first one must be."""
    version = MAGIC_VERSION[len(MAGIC_BYTES) :]
    return data.startswith(version, len(MAGIC_BYTES)) and data.endswith(MAGIC_VERSION)


def _may_preempt(attempt: Migration, head: bytes) -> bool:
    """Whether a stream may be the preempt channel: main announced postcopy or, if main began before
    the capture, ``head`` looks like a RAM record.
    """
    facts = attempt.main_facts
    if facts is None or not facts.began_late:
        return facts is not None and facts.postcopy_advise is not None
    return is_ram_record(head)
