"""Who sees every packet as it completes."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from analyzer.migration.channel import Channel
    from analyzer.migration.migration import Migration
    from analyzer.migration.rows import DevicePacket, RamPacket

__all__ = ["Watcher"]


class Watcher:
    """Sees every packet of a scan as it completes; nothing else keeps the packets.

    This one does nothing: a watcher of its own overrides what it wants to know.
    """

    __slots__ = ()

    def ram(
        self, migration: Migration, channel: Channel, packet: RamPacket, pages: Sequence[int]
    ) -> None:
        """A RAM or SYNC packet; ``pages`` are the offsets of the pages it uses, if readable
        (a ``range`` where they follow one another).
        """

    def device(self, migration: Migration, channel: Channel, packet: DevicePacket) -> None:
        """A device-state packet that arrived whole."""

    def cut(
        self, migration: Migration, channel: Channel, packet: RamPacket | DevicePacket, lost: int
    ) -> None:
        """A packet whose stream ended inside its payload: of its missing bytes ``lost`` were never
        sent.
        """

    def clash(self, migration: Migration, channel: Channel, packet: RamPacket, page: int) -> None:
        """``packet`` carries the page at offset ``page`` that another channel carried in the same
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
        """The payload was ``found`` bytes long; a receiver reads ``receiver`` bytes."""
