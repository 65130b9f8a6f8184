"""The interface for seeing every packet as it completes."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from analyzer.migration.channel import Channel
    from analyzer.migration.migration import Migration
    from analyzer.migration.rows import DevicePacket, RamPacket

__all__ = ["Watcher"]


class Watcher:
    """Sees every packet of a scan as it completes; the scan does not keep packets.

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

    def ram_cut(self, migration: Migration, channel: Channel, packet: RamPacket, lost: int) -> None:
        """A RAM packet whose stream ended inside its payload; ``lost`` of its missing bytes were
        never sent.
        """

    def device_cut(
        self, migration: Migration, channel: Channel, packet: DevicePacket, lost: int
    ) -> None:
        """The same for a device-state packet."""

    def clash(self, migration: Migration, channel: Channel, packet: RamPacket, page: int) -> None:
        """``packet`` carries the page at offset ``page``, which another channel carried in the same
        round.
        """

    def payload(
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
