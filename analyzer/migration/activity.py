"""What each channel and device carried, and when: noted while the capture streams by.

Wire-format page, sections 8 and 11.
"""

from __future__ import annotations

from array import array

from analyzer.migration.consumers import Watcher
from analyzer.migration.intervals import Busy
from analyzer.migration.pages import ROUNDS_KEPT
from analyzer.migration.rows import SYNC_PACKET, DevicePacket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from analyzer.migration.channel import Channel
    from analyzer.migration.migration import Migration
    from analyzer.migration.rows import RamPacket

__all__ = ["Activity", "ChannelActivity", "MigrationActivity", "Tally"]


class Tally:
    """A count of packets: ``bytes`` on the wire, pages, and the times of the ``first`` and the
    ``last`` byte (ns; 0 while there is none).

    ``packets`` and the page counts include complete packets only; ``cut`` counts packets cut off by
    the end of their stream, whose received bytes and times do count.
    """

    __slots__ = ("bytes", "cut", "first", "last", "normal_pages", "packets", "zero_pages")

    def __init__(self) -> None:
        self.packets = 0
        self.cut = 0
        self.bytes = 0
        self.normal_pages = 0
        self.zero_pages = 0
        self.first = 0
        self.last = 0

    def __bool__(self) -> bool:
        """Whether any packet was counted."""
        return bool(self.packets or self.cut)

    def add(self, packet: RamPacket | DevicePacket, lost: int = 0) -> None:
        """Count one packet; ``lost`` bytes of it never came, 0 if it is complete."""
        begin, end = sorted((packet.first.time, packet.last.time))
        if not self or begin < self.first:
            self.first = begin
        if end > self.last:
            self.last = end
        if lost:
            self.cut += 1
        else:
            self.packets += 1
        self.bytes += packet.length - lost

    def add_ram(self, packet: RamPacket, lost: int = 0) -> None:
        """Count one RAM packet, with its pages if it is complete."""
        self.add(packet, lost)
        if not lost:
            self.normal_pages += packet.normal_pages
            self.zero_pages += packet.zero_pages

    def take(self, other: Tally) -> None:
        """Add the counts of ``other``."""
        if not other:
            return
        self.first = min(self.first, other.first) if self else other.first
        self.last = max(self.last, other.last)
        self.packets += other.packets
        self.cut += other.cut
        self.bytes += other.bytes
        self.normal_pages += other.normal_pages
        self.zero_pages += other.zero_pages


class ChannelActivity:
    """The activity of one multifd channel.

    ``ram`` and ``state`` are the times with RAM and device state; ``late_ram`` counts its RAM
    packets in the switchover, ``states`` all its device-state packets; ``sync_nums`` are the
    packet_num of its SYNCs.  ``timed`` counts the bytes of packets with a measurable duration, or
    inside the time of another packet: a packet that lies in one frame has no duration of its own.
    """

    __slots__ = ("late_ram", "ram", "state", "states", "sync_nums", "timed")

    def __init__(self) -> None:
        self.ram = Busy()
        self.state = Busy()
        self.late_ram = Tally()
        self.states = Tally()
        self.sync_nums = array("Q")
        self.timed = 0

    def carry(self, busy: Busy, packet: RamPacket | DevicePacket, lost: int) -> None:
        """Add a packet's time to ``busy``, which is ``ram`` or ``state``."""
        begin, end = packet.first.time, packet.last.time
        if begin != end or busy.lasts(begin):
            self.timed += packet.length - lost
        busy.add(begin, end)


class DeviceActivity(Tally):
    """One device's packets, and their times (``busy``)."""

    __slots__ = ("busy",)

    def __init__(self) -> None:
        super().__init__()
        self.busy = Busy()


class MigrationActivity:
    """What one migration's multifd channels carried.

    ``rounds`` counts the packets whose last byte came before the switchover began, by SYNC round;
    ``late`` those after that, ``checkpoints`` those of COLO's checkpoints.  ``channels`` is keyed
    by Wireshark's ``tcp.stream``, ``devices`` by (idstr, instance id).
    """

    __slots__ = ("channels", "checkpoints", "devices", "late", "rounds")

    def __init__(self) -> None:
        self.checkpoints: list[Tally] = []
        self.rounds: list[Tally] = []
        self.late = Tally()
        self.channels: dict[int, ChannelActivity] = {}
        self.devices: dict[tuple[bytes, int], DeviceActivity] = {}

    def round(self, number: int) -> Tally:
        """The tally of round ``number``, from 0."""
        return _nth(self.rounds, number)

    def checkpoint(self, number: int) -> Tally:
        """The tally of checkpoint ``number``, from 0."""
        return _nth(self.checkpoints, number)

    def channel(self, channel: Channel) -> ChannelActivity:
        """The activity of a channel, created if there is none yet."""
        found = self.channels.get(channel.stream)
        if found is None:
            found = self.channels[channel.stream] = ChannelActivity()
        return found


def _nth(tallies: list[Tally], number: int) -> Tally:
    """The tally at index ``number``; missing ones up to it are created."""
    number = min(number, ROUNDS_KEPT - 1)
    while len(tallies) <= number:
        tallies.append(Tally())
    return tallies[number]


class Activity(Watcher):
    """The activity of all migrations of one scan.

    Packets are sorted by when the capture shows them: multifd channels are separate connections,
    and nothing in them marks the switchover.
    """

    __slots__ = ("migrations",)

    def __init__(self) -> None:
        self.migrations: dict[int, MigrationActivity] = {}

    def of(self, migration: Migration) -> MigrationActivity:
        """The activity of a migration, created if there is none yet."""
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
        self._ram(migration, channel, packet)

    def _ram(
        self, migration: Migration, channel: Channel, packet: RamPacket, lost: int = 0
    ) -> None:
        activity = self.of(migration)
        own = activity.channel(channel)
        is_sync = packet.kind == SYNC_PACKET
        if is_sync:
            own.sync_nums.append(packet.packet_num)
        else:
            own.carry(own.ram, packet, lost)
        facts = migration.main_facts
        if facts is not None and facts.colo_count:
            # Each checkpoint's packets follow its request and reply.
            activity.checkpoint(facts.colo_count - 1).add_ram(packet, lost)
            return
        if facts is not None and facts.in_switchover(packet.last):
            activity.late.add_ram(packet, lost)
            if not is_sync:
                own.late_ram.add_ram(packet, lost)
            return
        # A SYNC that was cut off did not end its round.
        number = len(channel.syncs) if lost else channel.round_of(packet)
        activity.round(number).add_ram(packet, lost)

    def device(self, migration: Migration, channel: Channel, packet: DevicePacket) -> None:
        """A device-state packet; see Watcher."""
        self._device(migration, channel, packet)

    def cut(
        self, migration: Migration, channel: Channel, packet: RamPacket | DevicePacket, lost: int
    ) -> None:
        """A packet that the stream's end cut off; see Watcher."""
        if isinstance(packet, DevicePacket):
            self._device(migration, channel, packet, lost)
        else:
            self._ram(migration, channel, packet, lost)

    def _device(
        self, migration: Migration, channel: Channel, packet: DevicePacket, lost: int = 0
    ) -> None:
        activity = self.of(migration)
        own = activity.channel(channel)
        own.carry(own.state, packet, lost)
        own.states.add(packet, lost)
        key = migration.device_key(packet)
        device = activity.devices.get(key)
        if device is None:
            device = activity.devices[key] = DeviceActivity()
        device.add(packet, lost)
        device.busy.add(packet.first.time, packet.last.time)
