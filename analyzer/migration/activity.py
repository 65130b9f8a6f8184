"""What each channel and device was busy with, and when: noted while the capture streams by.

Wire-format page, sections 8 and 11.
"""

from __future__ import annotations

from array import array

from analyzer.migration.intervals import Busy
from analyzer.migration.page_rounds import ROUNDS_KEPT
from analyzer.migration.rows import SYNC, SYNC_PACKET
from analyzer.migration.switchover import in_switchover
from analyzer.migration.watcher import Watcher

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from analyzer.migration.channel import Channel
    from analyzer.migration.migration import Migration
    from analyzer.migration.rows import DevicePacket, RamPacket

__all__ = ["Activity", "ChannelActivity", "MigrationActivity", "Tally"]


class Tally:
    """Packets counted together: ``bytes`` on the wire, pages, and when the ``first`` byte and the
    ``last`` one were seen (ns; 0 while there is none).
    """

    __slots__ = ("bytes", "first", "last", "normal_pages", "packets", "zero_pages")

    def __init__(self) -> None:
        self.packets = 0
        self.bytes = 0
        self.normal_pages = 0
        self.zero_pages = 0
        self.first = 0
        self.last = 0

    def add(self, packet: RamPacket | DevicePacket) -> None:
        """One packet."""
        begin, end = sorted((packet.first.time, packet.last.time))
        if not self.packets or begin < self.first:
            self.first = begin
        if end > self.last:
            self.last = end
        self.packets += 1
        self.bytes += packet.length

    def add_ram(self, packet: RamPacket) -> None:
        """One packet, with its pages."""
        self.add(packet)
        self.normal_pages += packet.normal_pages
        self.zero_pages += packet.zero_pages

    def take(self, other: Tally) -> None:
        """Everything that another one counted."""
        if not other.packets:
            return
        self.first = min(self.first, other.first) if self.packets else other.first
        self.last = max(self.last, other.last)
        self.packets += other.packets
        self.bytes += other.bytes
        self.normal_pages += other.normal_pages
        self.zero_pages += other.zero_pages


class ChannelActivity:
    """One multifd channel: when it carried RAM and device state (``ram``, ``state``), how much of
    it in the switchover (``late_ram``; ``states``, all there was), and its SYNCs' packet_num.
    """

    __slots__ = ("late_ram", "ram", "state", "states", "sync_nums")

    def __init__(self) -> None:
        self.ram = Busy()
        self.state = Busy()
        self.late_ram = Tally()
        self.states = Tally()
        self.sync_nums = array("Q")


class DeviceActivity(Tally):
    """One device's packets, and their times (``busy``)."""

    __slots__ = ("busy",)

    def __init__(self) -> None:
        super().__init__()
        self.busy = Busy()


class MigrationActivity:
    """What one migration's multifd channels did.

    ``rounds`` holds the packets seen before the switchover began, by SYNC round; ``late`` those
    whose last byte came later, ``checkpoints`` those of COLO's checkpoints.  ``channels`` is by
    Wireshark's ``tcp.stream``, ``devices`` by (idstr, instance id).
    """

    __slots__ = ("channels", "checkpoints", "devices", "late", "rounds")

    def __init__(self) -> None:
        self.checkpoints: list[Tally] = []
        self.rounds: list[Tally] = []
        self.late = Tally()
        self.channels: dict[int, ChannelActivity] = {}
        self.devices: dict[tuple[bytes, int], DeviceActivity] = {}

    def round(self, number: int) -> Tally:
        """The round of that number, from 0."""
        return _nth(self.rounds, number)

    def checkpoint(self, number: int) -> Tally:
        """The checkpoint of that number, from 0."""
        return _nth(self.checkpoints, number)

    def channel(self, channel: Channel) -> ChannelActivity:
        """A channel's account."""
        found = self.channels.get(channel.stream)
        if found is None:
            found = self.channels[channel.stream] = ChannelActivity()
        return found


def _nth(tallies: list[Tally], number: int) -> Tally:
    """The one of that number, made with all before it where they are not there yet."""
    number = min(number, ROUNDS_KEPT - 1)
    while len(tallies) <= number:
        tallies.append(Tally())
    return tallies[number]


class Activity(Watcher):
    """The account of one scan.

    Packets are told apart by when the capture shows them: channels are connections of their own,
    and nothing on them says that the switchover has begun.
    """

    __slots__ = ("migrations",)

    def __init__(self) -> None:
        self.migrations: dict[int, MigrationActivity] = {}

    def of(self, migration: Migration) -> MigrationActivity:
        """One migration's account."""
        found = self.migrations.get(migration.number)
        if found is None:
            found = self.migrations[migration.number] = MigrationActivity()
        return found

    def ram(
        self,
        migration: Migration,
        channel: Channel,
        packet: RamPacket,
        pages: Sequence[int],  # noqa: ARG002 - the migration keeps their places
    ) -> None:
        """A RAM or SYNC packet; see Watcher."""
        account = self.of(migration)
        own = account.channel(channel)
        is_sync = packet.kind == SYNC_PACKET
        if is_sync:
            own.sync_nums.append(packet.packet_num)
        else:
            own.ram.add(packet.first.time, packet.last.time)
        facts = migration.main_facts
        if facts is not None and facts.colo_count:
            # Request and reply stand between what belongs to one checkpoint and to the next.
            account.checkpoint(facts.colo_count - 1).add_ram(packet)
            return
        if in_switchover(packet, facts):
            account.late.add_ram(packet)
            if not is_sync:
                own.late_ram.add_ram(packet)
            return
        ended = 1 if packet.flags & SYNC else 0  # a SYNC belongs to the round that it ends
        account.round(len(channel.syncs) - ended).add_ram(packet)

    def device(self, migration: Migration, channel: Channel, packet: DevicePacket) -> None:
        """A device-state packet; see Watcher."""
        account = self.of(migration)
        own = account.channel(channel)
        begin, end = packet.first.time, packet.last.time
        own.state.add(begin, end)
        own.states.add(packet)
        key = migration.device_key(packet)
        device = account.devices.get(key)
        if device is None:
            device = account.devices[key] = DeviceActivity()
        device.add(packet)
        device.busy.add(begin, end)
