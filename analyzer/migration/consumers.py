"""Who gets what a scan reads, which itself keeps neither packets nor payload."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from analyzer.migration.channel import Channel
    from analyzer.migration.main_channel import DeviceKey, Record
    from analyzer.migration.migration import Migration
    from analyzer.migration.ram_facts import RamFacts, RecordTaker
    from analyzer.migration.rows import DevicePacket, RamPacket
    from analyzer.tcp.requests import Sink

__all__ = ["Consumers", "DeviceCollector", "PageCollector", "Watcher"]


class Watcher:
    """Sees every packet and every record of a scan as it completes.

    The base class does nothing: subclasses override the methods they need.
    """

    __slots__ = ()

    def ram(
        self, migration: Migration, channel: Channel, packet: RamPacket, pages: Sequence[int]
    ) -> None:
        """A RAM or SYNC packet; ``pages`` are the offsets of its pages, empty if unreadable (a
        ``range`` where they are consecutive).
        """

    def device(self, migration: Migration, channel: Channel, packet: DevicePacket) -> None:
        """A complete device-state packet."""

    def cut(
        self, migration: Migration, channel: Channel, packet: RamPacket | DevicePacket, lost: int
    ) -> None:
        """A packet whose stream ended inside its payload; ``lost`` of its missing bytes were never
        sent.
        """

    def clash(self, migration: Migration, channel: Channel, packet: RamPacket, page: int) -> None:
        """``packet`` carries the page at offset ``page``, which another channel carried in the same
        round.
        """

    def doubtful_size(
        self,
        migration: Migration,
        channel: Channel,
        packet: RamPacket,
        found: int,
        receiver: int,
    ) -> None:
        """A payload of implausible size was ``found`` bytes long; a receiver reads ``receiver``
        bytes.
        """

    def record(self, migration: Migration, record: Record) -> None:
        """A record of main, complete or broken off."""


class DeviceCollector:
    """Collects the state of devices; the base class wants none of it."""

    __slots__ = ()

    def buffer(self, migration: Migration, packet: DevicePacket) -> Sink | None:
        """The sink for the data of a multifd buffer; ``None`` to skip them."""

    def main_data(self, migration: Migration, key: DeviceKey) -> Sink | None:
        """The sink for a device's DEV_DATA_STATE bytes on main; ``None`` to skip them."""


class PageCollector:
    """Collects the pages of guest memory; the base class wants none of them."""

    __slots__ = ()

    def payload(self, migration: Migration, channel: Channel, packet: RamPacket) -> Sink | None:
        """The sink for the payload of a RAM packet; ``None`` to skip it."""

    def lost(self, channel: Channel) -> None:
        """Payloads of this channel may have been skipped."""

    def records(self, migration: Migration, ram: RamFacts) -> RecordTaker | None:
        """The taker of the pages of main's RAM records, or of the preempt channel's."""


class Consumers:
    """Everything that wants something of one scan: any number of watchers, and one collector of
    each kind.
    """

    __slots__ = ("device_collector", "page_collector", "watchers")

    def __init__(
        self,
        watchers: tuple[Watcher, ...] = (),
        device_collector: DeviceCollector | None = None,
        page_collector: PageCollector | None = None,
    ) -> None:
        self.watchers = watchers
        self.device_collector = device_collector or DeviceCollector()
        self.page_collector = page_collector or PageCollector()
