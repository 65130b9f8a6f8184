"""What one capture saw of its migrations, packet by packet, for comparison with another capture:
each packet's stream offset, time, and checksums of its bytes.
"""

from __future__ import annotations

from zlib import crc32

from analyzer.migration.consumers import DeviceCollector, PageCollector, Watcher
from analyzer.migration.rows import KINDS
from analyzer.migration.scan import Scan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from analyzer.capture.source import Source
    from analyzer.migration.channel import Channel
    from analyzer.migration.main_channel import MainFacts, Record
    from analyzer.migration.migration import Migration
    from analyzer.migration.return_path import ReturnFacts
    from analyzer.migration.rows import DevicePacket, RamPacket
    from analyzer.migration.settings import Settings
    from analyzer.tcp.requests import Sink

__all__ = ["KEPT_MAX", "Sighting", "Sightings"]

KEPT_MAX = 2_000_000
"""Most packets kept of a capture, some 400 bytes each."""


class Sighting:
    """One packet of a multifd channel, one record of main, or one message of a return path.

    ``what`` distinguishes it from others of its channel, ``name`` is its name in reports (not
    escaped for any output), which captures that began late may not know.  ``offset`` and ``length``
    are in bytes of its stream, ``missing`` how many of them the capture lacks.  ``frame`` is where
    it begins, ``time`` (ns) when its last byte was seen.  ``head`` and ``payload`` are checksums,
    the latter ``None`` if the payload was not read.
    """

    __slots__ = ("frame", "head", "length", "missing", "name", "offset", "payload", "time", "what")

    def __init__(
        self,
        what: str,
        stretch: tuple[int, int, int],
        seen: tuple[int, int],
        sums: tuple[int, int | None],
        name: str | None = None,
    ) -> None:
        self.what = what
        self.name = what if name is None else name
        self.offset, self.length, self.missing = stretch
        self.frame, self.time = seen
        self.head, self.payload = sums

    @property
    def end(self) -> int:
        """Stream offset of the first byte after it."""
        return self.offset + self.length

    @property
    def key(self) -> tuple[str, int, int, int | None]:
        """What is the same in two captures of the same packet, wherever their streams begin."""
        return self.what, self.length, self.head, self.payload

    def agrees(self, other: Sighting) -> bool:
        """Whether it can be the same packet as ``other``, at the same stream offset in another
        capture.
        """
        if self.what != other.what or self.length != other.length:
            return False
        if self.missing or other.missing:
            return True
        unread = self.payload is None or other.payload is None
        return self.head == other.head and (unread or self.payload == other.payload)

    def __repr__(self) -> str:
        return f"Sighting({self.name!r}, {self.offset}+{self.length})"


class Sightings(Watcher):
    """Scans a whole capture; ``scan`` is the pass, ``dropped`` counts packets beyond
    :data:`KEPT_MAX`.

    Raises :class:`analyzer.errors.CaptureError`.
    """

    def __init__(self, source: Source, settings: Settings) -> None:
        self.dropped = 0
        self._kept = 0
        self._packets: dict[Channel, list[Sighting]] = {}
        self._sums = sums = _Sums()
        self.scan = Scan(
            source, settings, watchers=(self,), device_collector=sums, page_collector=sums
        )
        self.scan.run()

    @property
    def path(self) -> str:
        """Name of the capture."""
        return self.scan.source.path

    @property
    def migrations(self) -> list[Migration]:
        """The migrations, in order of appearance."""
        return self.scan.migrations

    @property
    def count(self) -> int:
        """Number of packets, records and messages."""
        return sum(len(self.of(m, channel)) for m in self.migrations for channel in m.channels)

    def of(self, migration: Migration, channel: Channel) -> list[Sighting]:
        """What a channel carried, by stream offset."""
        if channel is migration.main and migration.main_facts is not None:
            return list(_records(migration.main_facts))
        if channel is migration.return_path and migration.return_facts is not None:
            return list(_messages(migration.return_facts))
        return self._packets.get(channel, [])

    # -- as the scan's watcher ----------------------------------------------------------------

    def ram(
        self, migration: Migration, channel: Channel, packet: RamPacket, pages: Sequence[int]
    ) -> None:
        """A RAM or SYNC packet; see Watcher."""
        del migration, pages
        head = crc32(
            b"%d %d %d %d %d %d" % (
                packet.flags, packet.pages_alloc, packet.normal_pages, packet.zero_pages,
                packet.next_packet_size, packet.packet_num,
            )
        )  # fmt: skip
        for part in (packet.ramblock, packet.offsets):
            head = crc32(part or b"", head)
        self._keep(channel, packet, f"{KINDS[packet.kind]} packet {packet.packet_num}", head)

    def device(self, migration: Migration, channel: Channel, packet: DevicePacket) -> None:
        """A device-state packet; see Watcher."""
        del migration
        head = crc32(b"%d " % packet.flags + packet.idstr + (packet.raw or b""))
        idx = "" if packet.idx is None else f" idx {packet.idx}"
        self._keep(channel, packet, f"{packet.device}{idx}", head)

    def _keep(
        self, channel: Channel, packet: RamPacket | DevicePacket, name: str, head: int
    ) -> None:
        payload = self._sums.take(packet)
        if self._kept == KEPT_MAX:
            self.dropped += 1
            return
        self._kept += 1
        self._packets.setdefault(channel, []).append(
            Sighting(
                name,
                (packet.offset, packet.length, packet.missing),
                (packet.first.frame, packet.last.time),
                (head, payload),
            )
        )


class _Sums(DeviceCollector, PageCollector):
    """Checksums of payloads, each kept until its packet is complete."""

    def __init__(self) -> None:
        self._open: dict[RamPacket | DevicePacket, int] = {}

    def take(self, packet: RamPacket | DevicePacket) -> int | None:
        """The checksum of a packet's payload; ``None`` if it was not read."""
        return self._open.pop(packet, None)

    def buffer(self, migration: Migration, packet: DevicePacket) -> Sink | None:
        """See DeviceCollector."""
        del migration
        return self._sink(packet)

    def payload(self, migration: Migration, channel: Channel, packet: RamPacket) -> Sink | None:
        """See PageCollector."""
        del migration, channel
        return self._sink(packet)

    def _sink(self, packet: RamPacket | DevicePacket) -> Sink:
        def sink(piece: bytes | memoryview | None, size: int) -> None:
            del size
            self._open[packet] = crc32(piece or b"", self._open.get(packet, 0))

        return sink


def _records(main: MainFacts) -> Iterator[Sighting]:
    for record in main.records:
        if record.depth or record.broken:
            continue
        yield Sighting(
            record.kind if record.section_id is None else f"{record.kind} {record.section_id}",
            (record.offset, record.length, record.missing),
            (record.first.frame, record.last.time),
            (_counts(record), crc32(record.body or b"")),
            f"{record.kind} {record.name}".strip(),
        )


def _counts(record: Record) -> int:
    values = (
        record.normal_pages, record.zero_pages, record.coded_pages, record.flushes, record.value,
    )  # fmt: skip
    return crc32(repr(values).encode())


def _messages(returned: ReturnFacts) -> Iterator[Sighting]:
    for message in returned.messages:
        told = repr((message.value, message.block, message.start, message.size))
        yield Sighting(
            message.name,
            (message.mark.offset, message.length, 0),
            (message.mark.frame, message.mark.time),
            (crc32(told.encode()), 0),
        )
