"""Walks a multifd channel in the order in which QEMU's receive thread reads it.

Wire-format page, sections 2 to 5.
"""

from __future__ import annotations

from analyzer.migration.channel import Init
from analyzer.migration.framing import PAGES_MAX
from analyzer.migration.ram_header import COUNTS_SIZE, page_count, read_cut_name, read_names
from analyzer.migration.resync import find_packet, near_packet
from analyzer.migration.rows import SYNC_PACKET, DevicePacket, RamPacket
from analyzer.tcp.requests import Deliver, End, Gap, Push, Skip, Take
from dissectors.multifd import (
    COMPRESSED_MAX,
    COMPRESSION_MASK,
    DEVICE_STATE,
    HEADER,
    INIT,
    MAGIC_BYTES,
    MAGIC_VERSION,
    RAM,
    RAM_COUNTS,
    VERSION,
    page_size_of,
    ram_header_size,
)
from dissectors.vfio import BUFFER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from typing import TypeAlias

    from analyzer.migration.channel import Channel
    from analyzer.migration.migration import Migration
    from analyzer.migration.resync import Found
    from analyzer.tcp.reader import Reader
    from analyzer.tcp.requests import Place, Reply, Request, Walker

    Join: TypeAlias = Callable[[Channel], Migration]

__all__ = ["walk_midstream", "walk_multifd", "walk_packets"]

COUNTS = RAM_COUNTS.unpack
INIT_KNOWN = INIT["unused1"].offset
FLAGS = HEADER["flags"].offset
TAKE_INIT = Take(INIT.size)
TAKE_HEADER = Take(HEADER.size)
HEAD_SIZE = DEVICE_STATE.size + BUFFER.size
TAKE_HEAD = Take(HEAD_SIZE)
"""All headers of a device-state packet: shorter than those of any RAM packet."""
TAKE_COUNTS = Take(COUNTS_SIZE - HEADER.size)
TAKE_DEVICE = Take(DEVICE_STATE.size - HEADER.size)
TAKE_BUFFER = Take(BUFFER.size)
OFFSETS = "offsets"
CONFIG_KEPT = 1 << 17
"""The data of a config-state buffer are kept up to this size, in bytes."""
SEARCH_MIDSTREAM = 1 << 26
"""How many bytes to search for the first packet of a stream whose beginning is missing."""


def walk_multifd(reader: Reader, channel: Channel, join: Join) -> Walker:
    """Walk a channel from its initial packet on.

    ``join`` gives the migration that the channel belongs to, which gets the packets.
    """
    data = yield TAKE_INIT
    if type(data) is Gap and data.before >= INIT_KNOWN:  # cut in the reserved bytes
        before = data.before
        known = yield Take(before)
        rest = yield Skip(INIT.size - before)
        channel.missing += reader.missing
        channel.decoded -= reader.missing
        if type(rest) is End:
            data = End(before + rest.have)
        elif type(known) is bytes:
            data = known.ljust(INIT.size, b"\0")
    if type(data) is not bytes:
        yield from _broken_init(reader, channel, join, data)
        return
    channel.init = Init(INIT.unpack(data), reader.first)
    channel.id = channel.init.id
    channel.decoded += INIT.size
    yield from walk_packets(reader, channel, join)


def walk_packets(reader: Reader, channel: Channel, join: Join) -> Walker:
    """Walk a channel whose beginning is missing, but not that of its first packet."""
    yield from MultifdWalker(reader, channel, join(channel)).packets()


def walk_midstream(reader: Reader, channel: Channel, join: Join, first: Found) -> Walker:
    """Walk a channel whose first packet was found by search."""
    walker = MultifdWalker(reader, channel, join(channel))
    walker.start = 0  # where the search began
    walker.found(first)
    yield from walker.packets()


def _broken_init(reader: Reader, channel: Channel, join: Join, reply: Reply) -> Walker:
    if type(reply) is End:
        channel.decoded += reply.have
        detail = f"the stream ends after {reply.have} of {INIT.size} bytes"
        channel.anomalies.note("init-short", 0, reader.last, detail)
        channel.cut_in = "initial packet"
        join(channel)
        return
    walker = MultifdWalker(reader, channel, join(channel))
    yield from walker.resume()
    yield from walker.packets()


class MultifdWalker:
    """Walks the packets of one channel, with one method per kind."""

    __slots__ = (
        "before",
        "channel",
        "consumers",
        "framing",
        "migration",
        "missing_before",
        "more",
        "reader",
        "start",
        "take",
    )

    def __init__(self, reader: Reader, channel: Channel, migration: Migration) -> None:
        self.reader = reader
        self.channel = channel
        self.migration = migration
        self.framing = migration.framing
        self.consumers = migration.consumers
        self.start = reader.offset  # stream offset of the current packet
        self.missing_before = reader.missing  # reader.missing at its start
        self.more = True
        self.before: RamPacket | None = None  # the last RAM or SYNC packet
        self.take = TAKE_HEAD  # expected header size of the next packet: that of the last one

    def packets(self) -> Walker:
        """Walk all packets up to the end of the stream."""
        reader, framing = self.reader, self.framing
        while self.more:
            self.start = reader.offset
            self.missing_before = reader.missing
            take = self.take
            head = yield take
            if type(head) is bytes and head.startswith(MAGIC_VERSION):
                flags = int.from_bytes(head[FLAGS : FLAGS + 4], "big")
                device = framing.is_device_state(flags)
                if device is None:
                    device = framing.decide_bit4(head)
                elif framing.contradicts_flags(head, device):
                    device = self._misflagged(device)
                yield from (self._device_state if device else self._ram)(head, reader.first)
                continue
            if type(head) is bytes:
                yield Push(head)
            elif type(head) is End and head.have:
                yield Push(head.data)
            elif type(head) is End:
                self._end(head, "header")
                return
            self.take = TAKE_HEAD
            if take is TAKE_HEAD:
                yield from self._in_parts()

    def _misflagged(self, device: bool) -> bool:
        """The kind of a packet whose flags are those of the other kind, ``device``."""
        if device:
            self._report("devstate-empty", "a RAM or SYNC packet with the flag of device state")
        return not device

    def _in_parts(self) -> Walker:
        """Walk a packet whose headers could not be taken at once: because of a hole, the end of the
        stream, or bytes that are not a header.
        """
        header = yield TAKE_HEADER
        if type(header) is bytes:
            if header.startswith(MAGIC_VERSION) or self._only_version(header):
                yield from self._packet(header, self.reader.first)
            else:
                yield from self._no_header(header)
        elif type(header) is Gap:
            yield from self.resume()
        elif type(header) is End and not MAGIC_BYTES.startswith(header.data[:4]):
            yield from self._no_header(header.data)
        else:
            self._end(header, "header")

    def _only_version(self, header: bytes) -> bool:
        """Whether only the version of a header is wrong: reported, and read like any other
        packet.
        """
        if not header.startswith(MAGIC_BYTES) or header[8:11] != b"\0\0\0":
            return False
        version = int.from_bytes(header[4:8], "big")
        self._report("packet-version", f"version is {version}, expected {VERSION}")
        return True

    def _packet(self, header: bytes, first: Place) -> Walker:
        flags = int.from_bytes(header[FLAGS:], "big")
        device = self.framing.is_device_state(flags)
        if device is None:
            rest = yield TAKE_DEVICE
            if type(rest) is not bytes:
                yield from self._short(rest, "header", HEADER.size)
                return
            device = self.framing.decide_bit4(header + rest)
            yield Push(rest)
        if device:
            yield from self._device_state_parts(header, first)
        else:
            yield from self._ram_parts(header, first)

    # -- RAM and SYNC -------------------------------------------------------------------------

    def _ram(self, head: bytes, first: Place) -> Walker:
        count = self.framing.page_count
        if count:
            size = ram_header_size(count)
            rest = b"" if len(head) == size else (yield Take(size - HEAD_SIZE))
            if type(rest) is bytes:
                packet = RamPacket(self.channel.id, self.start, first, COUNTS(head))
                packet.header_size = size
                read_names(packet, head + rest, COUNTS_SIZE)
                # Take less after a SYNC packet: what follows it may be long in coming.
                if packet.kind == SYNC_PACKET:
                    self.take = TAKE_HEAD
                elif self.take.size != size:
                    self.take = Take(size)
                yield from self._ram_payload(packet, count)
                return
            if type(rest) is End:
                self._end(rest, OFFSETS, HEAD_SIZE)
                return
        yield Push(head[HEADER.size :])
        yield from self._ram_parts(head[: HEADER.size], first)

    def _ram_parts(self, header: bytes, first: Place) -> Walker:
        """Read a RAM packet's header in parts, as N is not known yet or a hole is in it."""
        rest = yield TAKE_COUNTS
        if type(rest) is not bytes:
            yield from self._short(rest, OFFSETS, HEADER.size)
            return
        packet = RamPacket(self.channel.id, self.start, first, COUNTS(header + rest))
        framing = self.framing
        count = framing.page_count
        if not count:
            count = yield from page_count(packet, framing, self.channel.flow)
        packet.header_size = ram_header_size(count)
        size = packet.header_size - COUNTS_SIZE
        names = yield Take(size)
        if type(names) is bytes:
            read_names(packet, names, 0)
        elif type(names) is Gap:
            before = names.before
            known = yield Take(before)
            if type(known) is bytes:
                read_cut_name(packet, known, 0)
            missing = yield Skip(size - before)
            if type(missing) is not int:
                self._end(missing, OFFSETS, COUNTS_SIZE + before)
                return
            packet.missing = missing
        else:
            self._end(names, OFFSETS, COUNTS_SIZE)
            return
        yield from self._ram_payload(packet, count)

    def _ram_payload(self, packet: RamPacket, count: int) -> Walker:
        normal, size = packet.normal_pages, packet.next_packet_size
        if normal:
            plain = not packet.flags & COMPRESSION_MASK
            page = self.framing.page_size or page_size_of(count)
            if normal > count or (size != normal * page if plain else size > COMPRESSED_MAX):
                yield from self._doubtful(packet, normal * page)
                return
            sink = self.consumers.page_collector.payload(self.migration, self.channel, packet)
            missing = yield Skip(size) if sink is None else Deliver(size, sink)
            packet.payload = size
            if type(missing) is not int:
                self._end(missing, "payload", packet.header_size)
                self._cut(packet)
                return
            packet.missing += missing
        packet.last = self.reader.last
        self.before = packet
        self._done(packet.length, packet.missing)
        self.migration.ram_packet(self.channel, packet)

    def _doubtful(self, packet: RamPacket, receiver_size: int) -> Walker:
        """Handle an implausible payload size: the length is found by searching for the next
        packet.
        """
        found = yield from find_packet(self.reader, self.framing)
        payload = found.skipped + found.gap
        packet.payload = payload
        packet.last = found.place
        self._done(packet.length, found.gap)
        self.migration.ram_packet(self.channel, packet)
        self.migration.doubtful_size(self.channel, packet, payload, receiver_size)
        self.found(found)

    # -- device state -------------------------------------------------------------------------

    def _device_state(self, head: bytes, first: Place) -> Walker:
        if len(head) > HEAD_SIZE:  # a RAM packet was expected
            yield Push(head[HEAD_SIZE:])
            self.take = TAKE_HEAD
        packet = self._device_packet(head, first)
        raw = head[DEVICE_STATE.size : HEAD_SIZE]
        if packet.next_packet_size < BUFFER.size:
            yield Push(raw)
        else:
            self._vfio_header(packet, raw)
        yield from self._device_payload(packet)

    def _device_state_parts(self, header: bytes, first: Place) -> Walker:
        rest = yield TAKE_DEVICE
        if type(rest) is not bytes:
            yield from self._short(rest, "device-state header", HEADER.size)
            return
        packet = self._device_packet(header + rest, first)
        if packet.next_packet_size >= BUFFER.size:
            raw = yield TAKE_BUFFER
            if type(raw) is bytes:
                self._vfio_header(packet, raw)
            elif type(raw) is End:
                self._device_end(packet, raw, "VFIO header", DEVICE_STATE.size)
                return
        yield from self._device_payload(packet)

    def _device_packet(self, header: bytes, first: Place) -> DevicePacket:
        """A packet at ``start``, whose bytes ``header`` begins with."""
        packet = DevicePacket(self.channel.id, self.start, first, DEVICE_STATE.unpack(header))
        self.framing.saw_device_state(packet.flags)
        return packet

    def _device_payload(self, packet: DevicePacket) -> Walker:
        """Read the rest of a device-state packet after the headers read so far."""
        left = packet.next_packet_size - len(packet.raw or b"")
        reply = yield from self._device_data(packet, left)
        if type(reply) is not int:
            self._device_end(packet, reply, "payload", packet.length - left)
            return
        packet.missing = reply
        packet.last = self.reader.last
        self._done(packet.length, reply)
        self.migration.device_packet(self.channel, packet)

    def _vfio_header(self, packet: DevicePacket, raw: bytes) -> None:
        packet.raw = raw
        proofs = self.migration.device(packet).orders
        packet.vfio_version, packet.idx, packet.state_flags = self.framing.read_vfio(raw, proofs)

    def _device_data(self, packet: DevicePacket, left: int) -> Generator[Request, Reply, Reply]:
        """Read the data after the VFIO header: a config state is kept, other data are skipped."""
        sink = None
        if packet.idx is not None:
            sink = self.consumers.device_collector.buffer(self.migration, packet)
        if packet.is_config and left <= CONFIG_KEPT:
            data = yield Take(left)
            if type(data) is bytes:
                packet.config = data
                if sink is not None:
                    sink(data, len(data))
                return 0
            if type(data) is End:
                return data
        reply = yield Deliver(left, sink) if sink is not None else Skip(left)
        return reply

    def _device_end(self, packet: DevicePacket, reply: Reply, part: str, read: int) -> None:
        """Handle the stream's end inside a device-state packet."""
        size = packet.data_size
        headers = packet.length - size
        have = max(0, read + (reply.have if type(reply) is End else 0) - headers)
        self.migration.device_packet_cut(packet, have)
        self._cut(packet)
        name = "a buffer" if packet.idx is None else f"buffer {packet.idx}"
        lost = f"{size - have} of {size} bytes of {name} are missing" if size else ""
        self._end(reply, part, read, lost, packet)

    # -- ends, holes, invalid bytes -----------------------------------------------------------

    def _cut(self, packet: RamPacket | DevicePacket) -> None:
        """Pass on a packet that the stream's end cut off."""
        reader = self.reader
        packet.last = reader.last
        lost = self.start + packet.length - reader.offset
        packet.missing = reader.missing - self.missing_before + lost
        self.migration.packet_cut(self.channel, packet, lost)

    def _done(self, length: int, missing: int) -> None:
        self.channel.decoded += length - missing
        self.channel.missing += missing

    def _short(self, reply: Reply, part: str, before: int) -> Walker:
        """Handle an incomplete header: a hole, or the end of the stream."""
        if type(reply) is Gap:
            yield from self.resume()
        else:
            self._end(reply, part, before)

    def _end(
        self,
        reply: Reply,
        part: str,
        before: int = 0,
        lost: str = "",
        packet: DevicePacket | None = None,
    ) -> None:
        """Handle the stream's end in ``part`` of a packet, of which ``before`` bytes had been read
        before; ``lost`` says which data of a device are missing.
        """
        self.more = False
        have = before + (reply.have if type(reply) is End else 0)
        channel = self.channel
        if not have:
            channel.ended_at_boundary = True
            return
        self._done(self.reader.offset - self.start, self.reader.missing - self.missing_before)
        channel.cut_in = part
        if have == HEADER.size:
            where = "right after the packet's header"
        elif part == OFFSETS and have < RAM.size:
            where = "in the fixed part"
        else:
            where = f"in the {part}"
        detail = f"the stream ends {where}, {have} byte{'s' if have != 1 else ''} into the packet"
        detail += lost and f": {lost}"
        device, index = (packet.device, packet.idx) if packet is not None else (None, None)
        channel.anomalies.note(
            "packet-truncated", self.start, self.reader.last, detail, device, index
        )

    def _no_header(self, header: bytes) -> Walker:
        """Handle twelve bytes, or the last ones of the stream, that are not the packet header
        expected there.
        """
        yield Push(header)
        yield from self.resume(header)

    def resume(self, header: bytes = b"") -> Walker:
        """Find the next packet; account for the bytes passed over.

        ``header`` are the bytes where a header was expected; empty if a hole is the reason.
        """
        channel, reader, start = self.channel, self.reader, self.start
        place, began = reader.first, reader.offset
        if header and (near := (yield from near_packet(self.framing))):
            channel.skipped += near
            self._report_no_header(header, start, place, near, True)
            self.consumers.page_collector.lost(channel)
            channel.resyncs.append((start, reader.offset, near))
            return
        limit = SEARCH_MIDSTREAM if channel.midstream and not channel.packets else None
        found = yield from find_packet(reader, self.framing, limit)
        skipped = began - start + found.skipped
        channel.skipped += skipped
        channel.missing += found.gap
        if header:
            self._report_no_header(header, start, place, skipped + found.gap, bool(found.header))
        self.found(found)

    def found(self, found: Found) -> None:
        """Continue from a packet found by search, which is read from its saved header."""
        self.consumers.page_collector.lost(self.channel)
        if not found.header:
            self.more = False
            return
        self.channel.resyncs.append((self.start, found.offset, found.skipped))
        self._from_header(found)

    def _from_header(self, found: Found) -> None:
        """Pass on a packet found by search, whose payload has been skipped already."""
        header = found.header
        flags = int.from_bytes(header[FLAGS : FLAGS + 4], "big")
        framing = self.framing
        self.start = found.offset
        device = framing.is_device_state(flags)
        if device is None:
            device = framing.decide_bit4(header)
        self._done(found.length, found.missing)
        if device:
            state = self._device_packet(header, found.place)
            raw = header[DEVICE_STATE.size : HEAD_SIZE]
            if len(raw) == BUFFER.size:  # else a hole cut it off
                self._vfio_header(state, raw)
            state.missing = found.missing
            state.last = self.reader.last
            self.migration.device_packet(self.channel, state)
            return
        packet = RamPacket(self.channel.id, found.offset, found.place, COUNTS(header))
        if not framing.page_count and 0 < packet.pages_alloc <= PAGES_MAX:
            framing.page_count = packet.pages_alloc
        # Another channel may have told N since the header was found: it counts as it was read then.
        payload = packet.next_packet_size if packet.normal_pages else 0
        packet.payload = min(payload, found.length)  # less only if a forced dialect is wrong
        packet.header_size = found.length - packet.payload
        if RAM.size <= packet.header_size <= len(header):
            read_names(packet, header[: packet.header_size], COUNTS_SIZE)
        else:
            read_cut_name(packet, header, COUNTS_SIZE)
        packet.missing = found.missing
        packet.last = self.reader.last
        self.migration.ram_packet(self.channel, packet)

    def _report_no_header(
        self, header: bytes, start: int, place: Place, length: int, found: bool
    ) -> None:
        whole = header[4:8] == MAGIC_VERSION[4:] or header.startswith(MAGIC_BYTES)
        goes_on = f"the next packet begins {length} bytes on" if found else "no packet follows"
        if self._behind_sync(start, length):
            slug = "sync-packet-has-payload"
            text = f"{length} bytes follow a SYNC packet without pages, {goes_on}"
        elif found or whole:
            slug = "packet-magic"
            text = f"magic {header[:4].hex()} where a packet must start, {goes_on}"
        else:
            slug = "trailing-bytes"
            text = f"no packet: {length} byte{'s' if length != 1 else ''} at the stream's end"
        self.channel.anomalies.note(slug, start, place, text)

    def _behind_sync(self, start: int, length: int) -> bool:
        """Whether ``length`` bytes at ``start`` look like the payload of a SYNC packet, which must
        not have one: directly after a SYNC packet, and of the length in its next_packet_size, or
        whole pages.
        """
        packet = self.before
        if packet is None or packet.kind != SYNC_PACKET or packet.offset + packet.length != start:
            return False
        page = self.framing.page_size
        return length == packet.next_packet_size or (page > 0 and length % page == 0)

    def _report(self, slug: str, detail: str) -> None:
        self.channel.anomalies.note(slug, self.start, self.reader.last, detail)
