"""One migration: its channels, what they carried, and what is known of the sender."""

from __future__ import annotations

from analyzer.migration.consumers import Consumers
from analyzer.migration.device import Device
from analyzer.migration.framing import Framing
from analyzer.migration.main_channel import DEVICES_MAX, OTHER_DEVICES
from analyzer.migration.mark import Mark
from analyzer.migration.number_list import NumberSet
from analyzer.migration.pages import PageRoom, PageTracker, offsets_of
from analyzer.migration.rows import CutBuffer, DevicePacket
from dissectors.dialects import RAM_ERAS, era_of
from dissectors.multifd import name_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from analyzer.migration.channel import Channel
    from analyzer.migration.main_channel import MainFacts, VfioSection
    from analyzer.migration.preempt_walker import PreemptFacts
    from analyzer.migration.ram_facts import RamFacts
    from analyzer.migration.return_path import ReturnFacts
    from analyzer.migration.rows import RamPacket
    from analyzer.migration.settings import Settings
    from analyzer.tcp.flow import Connection
    from dissectors.dialects import RamEra

__all__ = ["Migration"]

REPEATED_KEPT = 50
OLD_STYLE_UP_TO = RAM_ERAS["8.2"].since
"""Eras before this one are recognised by SYNCs with pages, or empty packets."""


class Migration:
    """Channels that belong together, and the state they share.

    ``number`` counts migrations from 0; ``key`` are the hosts and the destination port; ``began``
    is the frame in which its first connection began; ``main``, ``return_path`` and ``preempt`` are
    channels, ``main_facts``, ``return_facts`` and ``preempt_facts`` what their walkers found.
    ``strangers`` are connections to the same destination that are not channels.  ``framing`` is how
    the sender makes its packets, ``pages`` what they carried of guest memory.  ``repeated`` are the
    first packets with a packet_num that occurred before, by packet_num.
    """

    __slots__ = (
        "began",
        "by_id",
        "channels",
        "consumers",
        "devices",
        "earlier",
        "flow_keys",
        "framing",
        "key",
        "main",
        "main_facts",
        "number",
        "packet_nums",
        "pages",
        "preempt",
        "preempt_facts",
        "recovery",
        "repeated",
        "return_facts",
        "return_path",
        "silent",
        "strangers",
    )

    def __init__(
        self,
        number: int,
        key: tuple[bytes | int, ...],
        settings: Settings,
        page_room: PageRoom | None = None,
        consumers: Consumers | None = None,
    ) -> None:
        self.number = number
        self.key = key
        self.framing = Framing(settings)
        self.channels: list[Channel] = []
        self.by_id: dict[int, Channel] = {}  # the first multifd channel of every id
        self.flow_keys: set[bytes] = set()  # of its channels
        self.began = 0
        self.main: Channel | None = None
        self.main_facts: MainFacts | None = None
        self.return_path: Channel | None = None
        self.return_facts: ReturnFacts | None = None
        self.preempt: Channel | None = None
        self.preempt_facts: PreemptFacts | None = None
        self.strangers: list[Channel] = []
        self.silent: list[Connection] = []  # known at the end of the capture
        self.devices: dict[tuple[bytes, int], Device] = {}
        self.pages = PageTracker(page_room or PageRoom())
        self.consumers = consumers or Consumers()
        self.packet_nums = NumberSet()  # of all channels
        self.repeated: dict[int, tuple[Channel, Mark]] = {}
        self.recovery: Migration | None = None  # a later attempt that may continue this one
        self.earlier: Migration | None = None  # the attempt whose ``recovery`` this one may be

    # -- channels ---------------------------------------------------------------------------------

    def add(self, channel: Channel) -> None:
        """Add a channel; main comes first."""
        began = channel.flow.connection.began.frame
        self.began = min(self.began or began, began)
        self.flow_keys.add(channel.flow.key)
        if channel.kind == "multifd":
            self.by_id.setdefault(channel.id, channel)
        if channel is self.main:
            self.channels.insert(0, channel)
        else:
            self.channels.append(channel)

    def add_return_path(self, channel: Channel, facts: ReturnFacts) -> None:
        """Add main's reverse direction."""
        self.return_path, self.return_facts = channel, facts
        self.add(channel)

    @property
    def multifd(self) -> list[Channel]:
        """The multifd channels, by id; behind them those without a known one, by stream."""
        found = (channel for channel in self.channels if channel.kind == "multifd")
        return sorted(found, key=lambda channel: (channel.id < 0, abs(channel.id)))

    @property
    def streams(self) -> list[Channel]:
        """Main, if it is known, and the multifd channels."""
        return [*([self.main] if self.main is not None else []), *self.multifd]

    @property
    def ram_streams(self) -> list[RamFacts]:
        """The streams that carry RAM records: main, and the preempt channel."""
        found = (self.main_facts, self.preempt_facts)
        return [facts.ram for facts in found if facts is not None]

    @property
    def reference(self) -> Channel:
        """The channel whose endpoints represent the migration: main, else that with the lowest
        id.
        """
        if self.main is not None:
            return self.main
        channels = self.multifd
        return channels[0] if channels else self.channels[0]

    @property
    def source(self) -> str:
        """``ip:port`` of the source."""
        return self.reference.client

    @property
    def destination(self) -> str:
        """``ip:port`` of the destination."""
        return self.reference.server

    def facts_of(self, channel: Channel) -> Channel | MainFacts | ReturnFacts | PreemptFacts:
        """Who has the byte counts and the anomalies of one of its channels: what its walker found,
        or a multifd channel itself.
        """
        if channel is self.main:
            return self.main_facts or channel
        if channel is self.return_path:
            return self.return_facts or channel
        if channel is self.preempt:
            return self.preempt_facts or channel
        return channel

    @property
    def lacks_bytes(self) -> bool:
        """Whether the capture lacks bytes of any channel."""
        return any(channel.flow.missing for channel in self.channels)

    @property
    def began_late(self) -> bool:
        """Whether the capture lacks the beginning of any channel."""
        return any(channel.incomplete_start for channel in self.channels)

    @property
    def ends_early(self) -> bool:
        """Whether the capture does not show how every channel ended."""
        return any(channel.incomplete_end for channel in self.channels)

    @property
    def timed(self) -> bool:
        """Whether its frames carry times; without, all times are 0 and nothing can be measured."""
        return any(channel.flow.last.time for channel in self.channels)

    @property
    def silent_main(self) -> Connection | None:
        """The connection that must be main, if that was opened and carried nothing."""
        if self.main is not None:
            return None
        return next((c for c in self.silent if c.began.frame < self.began), None)

    # -- rows -------------------------------------------------------------------------------------

    def ram_packet(self, channel: Channel, packet: RamPacket) -> None:
        """Count a complete RAM or SYNC packet, and pass it on."""
        channel.add_ram(packet)
        if self.packet_nums.add(packet.packet_num) and len(self.repeated) < REPEATED_KEPT:
            again = channel, packet.mark
            self.repeated.setdefault(packet.packet_num, again)
        self.framing.saw_ram(channel, packet)
        page_size = self.framing.page_size
        offsets = offsets_of(packet, page_size)
        for watcher in self.consumers.watchers:
            watcher.ram(self, channel, packet, offsets)
        clash = self.pages.saw(channel, packet, offsets, page_size, self.main_facts)
        if clash is not None:
            for watcher in self.consumers.watchers:
                watcher.clash(self, channel, packet, clash)

    def doubtful_size(self, channel: Channel, packet: RamPacket, found: int, receiver: int) -> None:
        """Pass on the length of a payload with an implausible size: ``found`` bytes up to the next
        packet; a receiver would read ``receiver``.
        """
        for watcher in self.consumers.watchers:
            watcher.doubtful_size(self, channel, packet, found, receiver)

    def device_packet(self, channel: Channel, packet: DevicePacket) -> None:
        """Count a complete device-state packet."""
        channel.add_device(packet)
        self.device(packet).add(packet)
        self.framing.keep(channel, packet)
        for watcher in self.consumers.watchers:
            watcher.device(self, channel, packet)

    def device_packet_cut(self, packet: DevicePacket, have: int) -> None:
        """Note that the stream ended inside a device-state packet, after ``have`` bytes of its
        data.
        """
        self.device(packet).cut.append(CutBuffer(packet, have))

    def packet_cut(self, channel: Channel, packet: RamPacket | DevicePacket, lost: int) -> None:
        """Note that the stream ended inside a packet's payload, ``lost`` bytes before its end."""
        channel.cut_bytes = packet.length - lost
        if isinstance(packet, DevicePacket):
            channel.device_bytes += channel.cut_bytes
        else:
            channel.ram_bytes += channel.cut_bytes
        for watcher in self.consumers.watchers:
            watcher.cut(self, channel, packet, lost)

    # -- devices ----------------------------------------------------------------------------------

    def device(self, packet: DevicePacket) -> Device:
        """The device that a packet belongs to, created if there is none yet."""
        key = self.device_key(packet)
        device = self.devices.get(key)
        if device is None:
            device = self.devices[key] = Device(*key)
        return device

    def device_key(self, packet: DevicePacket) -> tuple[bytes, int]:
        """(idstr, instance id) of a packet's device.

        From the :data:`DEVICES_MAX`-th device on new ones share :data:`OTHER_DEVICES`: no guest has
        so many, but a hostile capture may.
        """
        key = name_of(packet.idstr), packet.instance_id
        if len(self.devices) >= DEVICES_MAX and key not in self.devices:
            return OTHER_DEVICES
        return key

    @property
    def vfio_sections(self) -> Mapping[tuple[bytes, int], VfioSection]:
        """The devices that have sections on main, by key."""
        return self.main_facts.devices if self.main_facts is not None else {}

    @property
    def awaited(self) -> list[Device]:
        """The devices that a receiver waits for: those with packets and, if main is complete, those
        that it announced for the multifd channels but that sent none.
        """
        facts = self.main_facts
        if facts is None or facts.eof is None or not self.multifd or not self.dialect_known:
            return list(self.devices.values())
        announced = [key for key, found in facts.devices.items() if found.announced == "multifd"]
        absent = [Device(*key) for key in announced if key not in self.devices]
        return [*self.devices.values(), *absent]

    @property
    def on_main(self) -> list[VfioSection]:
        """The devices whose state travelled over main only, as far as it came.

        A section whose name is lost may be that of a device that is awaited.
        """
        awaited = {device.key for device in self.awaited}
        unnamed: set[int] = set()
        if awaited and self.main_facts is not None:
            unnamed = {s.section_id for s in self.main_facts.sections.values() if s.guessed}
        return [
            section
            for key, section in self.vfio_sections.items()
            if key not in awaited
            and section.section_id not in unnamed
            and (section.main_bytes or section.config_bytes)
        ]

    # -- the sender -------------------------------------------------------------------------------

    @property
    def uuid(self) -> bytes | None:
        """The guest's uuid, from the initial packets or main's configuration; ``None`` without
        one.
        """
        for channel in self.multifd:
            if channel.init is not None:
                return channel.init.uuid
        return self.main_facts.uuid if self.main_facts is not None else None

    @property
    def dialect_known(self) -> bool:
        """Whether the dialect is known, be it by signs other than device-state packets."""
        facts = self.main_facts
        if self.framing.dialect is not None or facts is None:
            return self.framing.dialect is not None
        if facts.switchover_start is not None:
            return True
        return any(device.completes for device in facts.devices.values())

    @property
    def era(self) -> RamEra | None:
        """The era of the RAM packets, forced or detected; ``None`` if unknown."""
        return self.framing.settings.era or self.found_era

    @property
    def found_era(self) -> RamEra | None:
        """The detected era, whatever the user forces.

        Packets without zero pages may look older than they are: unless their era is sure, it is
        taken to be no older than the machine type.
        """
        found = self.framing.era
        machine = self.main_facts.machine_version if self.main_facts is not None else None
        is_old = found is not None and found.since < OLD_STYLE_UP_TO
        if machine is None or is_old or not self.multifd:
            return found
        dialect = self.framing.dialect
        oldest = era_of(machine if dialect is None else min(machine, dialect.applied_up_to))
        if found is None or (oldest is not None and oldest.since > found.since):
            return oldest
        return found

    def before_era(self, name: str) -> bool:
        """Whether the sender is, or may be, older than the given era."""
        era = self.era
        return era is None or era.since < RAM_ERAS[name].since

    @property
    def sync_rounds(self) -> int:
        """Number of SYNC rounds: the most SYNCs on any channel."""
        return max((len(channel.syncs) for channel in self.multifd), default=0)

    @property
    def page_size(self) -> int:
        """Target page size in bytes, by the multifd packets or else by main; 0 while unknown."""
        main = self.main_facts.ram.page_size if self.main_facts is not None else 0
        return self.framing.page_size or main

    def bitmap_size(self, name: bytes) -> int | None:
        """Size in bytes of the bitmap of a RAM block's received pages: one bit per page, in words
        of 8 bytes.

        ``None`` unless main has listed the block and the page size is known.
        """
        facts = self.main_facts
        block = facts.ram.blocks.get(name) if facts is not None else None
        if block is None or not block.listed or not self.page_size:
            return None
        return -(-(block.used_length // self.page_size) // 64) * 8

    # -- attempts ---------------------------------------------------------------------------------

    @property
    def resumes_postcopy(self) -> bool:
        """Whether this is the recovery of a postcopy, which began in another attempt."""
        return self.main_facts is not None and self.main_facts.postcopy_resume is not None

    @property
    def recovered_by(self) -> Migration | None:
        """The later attempt that continues this one's postcopy, which was paused."""
        later = self.recovery
        return later if later is not None and later.resumes_postcopy else None

    @property
    def origin(self) -> Migration:
        """The attempt in which the transfer of memory began: itself, unless it recovered one."""
        first = self
        while first.earlier is not None and first.resumes_postcopy:
            first = first.earlier
        return first

    @property
    def in_colo(self) -> bool:
        """Whether the first state was loaded and COLO started."""
        facts, returned = self.main_facts, self.return_facts
        if facts is not None and facts.colo_count:
            return True
        return returned is not None and returned.ready is not None
