"""The script of a migration without faults: the canonical sequence of each dialect.

Wire-format page, sections 1.5, 3.6, 5.7 and 8.1.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final
from uuid import UUID

from analyzer.synth import records
from analyzer.synth.colo import kept_in_sync
from analyzer.synth.ram import Pages, RamSender, dirty_scan, full_scan, held_back
from analyzer.synth.units import MAIN, Unit
from dissectors.multifd import ChannelType, device_name
from dissectors.scapy_layers import (
    ChannelHeader,
    MultiFDInit,
    MultiFDPacketDeviceState,
    VFIODeviceStatePacket,
    VFIODeviceStatePacketHost,
)
from dissectors.vfio import BUFFER, VfioStateFlag, VfioTag

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from random import Random

    from analyzer.synth.pattern import Bytes, Pattern
    from analyzer.synth.scenario import Device, Migration

__all__ = ["Script", "multifd"]

MS: Final = 1_000_000
MACHINES: Final = {"rfc0": "9.0", "v1": "9.0", "v3": "10.0", "upstream": "10.0", "10.1": "10.1"}
MAIN_CHUNK: Final = 1 << 20
LATE_MAIN: Final = (9, 0)  # since then multifd channels are set up before main's header is written


def multifd(number: int) -> str:
    """The name of a multifd connection."""
    return f"multifd {number}"


class Script:
    """Yields the units of one migration in the order in which a capture shows them."""

    def __init__(self, migration: Migration, pattern: Pattern, rng: Random) -> None:
        self.migration = migration
        self.pattern = pattern
        self.rng = rng
        self.ram = RamSender(migration, pattern)
        self.shared = [multifd(number) for number in range(migration.channels)]
        self.dedicated = self._dedicated()
        self.devices = list(enumerate(migration.device))
        self._turn = 0
        self._round = 0

    def _dedicated(self) -> list[str]:
        if not self.migration.spoken.channel_header:
            return []
        first = self.migration.channels
        return [multifd(first + number) for number in range(self.migration.device_channels)]

    @property
    def machine(self) -> str:
        """The machine type that CONFIGURATION names."""
        era = self.migration.era  # one before device state uses its own machine type
        version = MACHINES[self.migration.dialect] if era == "9.2" else era
        return self.migration.machine or f"pc-q35-{version}"

    @property
    def uuid(self) -> UUID:
        """The guest's uuid: given, zero, or made from the seed."""
        text = self.migration.uuid
        if text == "none":
            return UUID(int=0)
        made = (self.pattern.seed + 1) * 0x9E3779B97F4A7C15F39CC0605CEDC835 % (1 << 128)
        return UUID(text) if text else UUID(int=made, version=4)

    def units(self) -> Iterator[Unit]:
        """The whole script."""
        yield from self.connect()
        yield from self.setup()
        yield from self.iterate()
        yield from self.switch_over()
        yield from self.finish()
        if self.migration.checkpoints:
            yield from kept_in_sync(self)
        yield from self.close()

    # -- connections --------------------------------------------------------------------------

    def connect(self) -> Iterator[Unit]:
        """Handshakes, channel headers and initial packets; main's SYN is first."""
        inits = []
        opens = [Unit(MAIN, "open"), *self._channel_header(MAIN, ChannelType.MAIN)]
        numbers = list(enumerate([*self.shared, *self.dedicated]))
        self.rng.shuffle(numbers)
        for number, channel in numbers:
            opens += [Unit(channel, "open", wait=MS)]
            dedicated = channel in self.dedicated
            opens += self._channel_header(
                channel, ChannelType.DEVICE_STATE if dedicated else ChannelType.MULTIFD
            )
            packet = MultiFDInit(uuid=self.uuid, id=number)
            inits.append(Unit(channel, "init", packet, index=number))
        head = list(self.main_head())
        yield from opens
        yield from (inits + head) if self.migration.since >= LATE_MAIN else (head + inits)

    def _channel_header(self, channel: str, kind: int) -> list[Unit]:
        if not self.migration.spoken.channel_header:
            return []
        packet = ChannelHeader(channel_type=kind)
        return [Unit(channel, "channel-header", packet)]

    def main_head(self) -> Iterator[Unit]:
        """QEVM, CONFIGURATION and, with a return path, its opening."""
        yield Unit(MAIN, "qevm", parts=(records.header(),))
        yield Unit(MAIN, "configuration", parts=(records.configuration(self.machine),))
        if self.migration.return_path:
            opening = records.command(records.OPEN_RETURN_PATH)
            yield Unit(MAIN, "open-return-path", parts=(opening,))
            yield Unit(MAIN, "ping", parts=(records.ping(1),))
            yield self.reply("pong", records.RP_PONG, 1)

    def reply(self, kind: str, number: int, *values: int) -> Unit:
        """A message of the return path."""
        payload = b"".join(struct.pack(">I", value) for value in values)
        parts = (records.message(number, payload),)
        return Unit(MAIN, kind, parts=parts, side="server", wait=MS)

    def close(self) -> Iterator[Unit]:
        """SHUT and the FINs, in the order of wire-format page 1.5.  COLO, whose SHUT came before,
        ends with the primary.
        """
        shuts = self.migration.return_path and not self.migration.checkpoints
        order = self.migration.close or ("destination" if shuts else "source")
        first, second = ("server", "client") if order == "destination" else ("client", "server")
        channels = [*self.shared, *self.dedicated]
        yield from (Unit(channel, "fin", side=first, wait=MS) for channel in channels)
        if shuts:
            yield self.reply("shut", records.RP_SHUT, 0)
        yield Unit(MAIN, "fin", side=first, wait=MS)
        if order == "destination":
            yield Unit(MAIN, "fin", side=second)
        yield from (Unit(channel, "fin", side=second, wait=MS) for channel in channels)
        if order == "source":
            yield Unit(MAIN, "fin", side=second)

    # -- precopy ------------------------------------------------------------------------------

    def sync_round(self) -> Iterator[Unit]:
        """One SYNC on every channel that takes part."""
        yield from (self.ram.sync(channel, self._round) for channel in self.shared)
        self._round += 1

    @property
    def last_round(self) -> int:
        """The number of the last sync round, the one of setup being 0."""
        extra = {"legacy": 1, "round": 0, "final": 1}[self.migration.sync_mode]
        return self.migration.ram.iterations + extra

    def ram_body(self, flush: bool) -> Iterator[Bytes]:
        """End of a RAM section's body: FLUSH where the mode has it, EOS."""
        if flush and self.shared and self.migration.sync_mode != "legacy":
            yield records.FLUSH
        yield records.EOS

    def setup(self) -> Iterator[Unit]:
        """The first sync round and the START sections."""
        yield from self.sync_round()
        head = records.section(records.START, records.RAM_ID, "ram", 0, 4)
        blocks = records.block_list(self.migration.ram.blocks)
        body = (head, blocks, *self.ram_body(True), records.footer(records.RAM_ID))
        yield Unit(MAIN, "ram-start", parts=body)
        for number in range(len(self.devices)):
            head = self.section(records.START, number)
            tags = (records.tag(VfioTag.DEV_SETUP_STATE), records.END_OF_STATE)
            yield self.section_unit("vfio-start", number, (head, *tags))

    def section(self, kind: int, number: int) -> bytes:
        """The head of a device's section."""
        device = self.migration.device[number]
        ident = records.device_id(number)
        return records.section(kind, ident, device.idstr, device.instance_id, 1)

    def section_unit(self, kind: str, number: int, parts: tuple[Bytes, ...]) -> Unit:
        """A section of a device, with its footer."""
        end = records.footer(records.device_id(number))
        return Unit(MAIN, kind, parts=(*parts, end), device=number)

    def iterate(self) -> Iterator[Unit]:
        """The RAM rounds, each with its PART sections; the last one ends in the switchover."""
        rounds = self.migration.ram.iterations
        legacy = self.migration.sync_mode == "legacy"
        for number in range(rounds):
            last = number == rounds - 1
            pages = dirty_scan(self.migration, number) if number else full_scan(self.migration)
            if last and self.shared and not legacy:
                pages = held_back(pages, dirty_scan(self.migration, rounds))
            on_main: list[Bytes] = []
            for some in pages:
                yield from self.ram_units(some, on_main)
                if not self.shared and sum(map(len, on_main)) > MAIN_CHUNK:
                    yield self.ram_section("ram-part", records.PART, on_main)
                    on_main = []
            if legacy or not last:
                yield from self.sync_round()
            yield self.ram_section("ram-part", records.PART, on_main, flush=not last)
            for device in range(len(self.devices)):
                yield from self.vfio_part(device, first=number == 0, last=last)

    def ram_section(self, unit: str, kind: int, body: list[Bytes], *, flush: bool = False) -> Unit:
        """A PART or END section of RAM."""
        head = records.section(kind, records.RAM_ID)
        parts = (head, *body, *self.ram_body(flush), records.footer(records.RAM_ID))
        return Unit(MAIN, unit, parts=parts, wait=MS if kind == records.PART else 0)

    def ram_units(self, pages: Pages, on_main: list[Bytes]) -> Iterator[Unit]:
        """The packet for some pages; records of the pages that go over main go to ``on_main``."""
        mode = self.migration.zero_page_mode
        if mode == "none":
            pages = Pages(pages.block, sorted(pages.normal + pages.zero), [])
        if not self.shared:
            self.pages_on_main(pages, on_main)
        elif mode != "legacy":
            yield self.ram.data(self.next_channel(), pages, self._round)
        else:
            on_main += [
                records.zero_page(pages.block, offset, at > 0)
                for at, offset in enumerate(pages.zero)
            ]
            if pages.normal:
                only = Pages(pages.block, pages.normal, [])
                yield self.ram.data(self.next_channel(), only, self._round)

    def pages_on_main(self, pages: Pages, on_main: list[Bytes]) -> None:
        """The PAGE and ZERO records of a migration without multifd."""
        size = self.migration.ram.page_size
        content = self.pattern.pages(0, size * len(pages.normal))
        for at, offset in enumerate(pages.normal):
            on_main.append(records.page(pages.block, offset, at > 0))
            on_main.append(content[at * size : at * size + size])
        for at, offset in enumerate(pages.zero):
            on_main.append(records.zero_page(pages.block, offset, at > 0 or bool(pages.normal)))

    def next_channel(self, channels: list[str] | None = None) -> str:
        """The channel that the next packet goes to, by the scenario's policy."""
        channels = channels or self.shared
        self._turn += 1
        policy = self.migration.policy
        if policy == "round-robin":
            return channels[self._turn % len(channels)]
        if policy == "single":
            return channels[0]
        if policy == "skewed":
            return channels[int(len(channels) * self.rng.random() ** 3)]
        return self.rng.choice(channels)

    def vfio_part(self, number: int, first: bool, last: bool) -> Iterator[Unit]:
        """One PART of a device: what it gave in pre-copy, or nothing."""
        device = self.migration.device[number]
        parts: list[Bytes] = [self.section(records.PART, number)]
        if first and device.precopy:
            parts += [records.data_state(device.precopy), *self.state(number, -1, device.precopy)]
        acknowledged = last and self.migration.switchover_ack
        parts.append(
            records.tag(VfioTag.DEV_INIT_DATA_SENT if acknowledged else VfioTag.END_OF_STATE)
        )
        yield self.section_unit("vfio-part", number, tuple(parts))
        if acknowledged and self.migration.return_path and number == len(self.devices) - 1:
            yield self.reply("switchover-ack", records.RP_SWITCHOVER_ACK)

    # -- switchover ---------------------------------------------------------------------------

    def state(self, number: int, index: int, size: int) -> tuple[Bytes, ...]:
        """``size`` bytes of a device's state; ``index`` -1 is its pre-copy part."""
        device = self.migration.device[number]
        name = device_name(device.idstr, device.instance_id)
        return self.pattern.buffer(name, index & 0xFFFF, size)

    def switch_over(self) -> Iterator[Unit]:
        """The guest is stopped: the rest of RAM and the device state, among each other."""
        if self.migration.switchover_start:
            start = records.command(records.SWITCHOVER_START)
            yield Unit(MAIN, "switchover-start", parts=(start,), wait=5 * MS)
        elif any(self.migration.uses_multifd(device) for _, device in self.devices):
            for number, device in self.devices:
                yield self.begin_end(number, device)
        buffers = self.device_units()
        on_main: list[Bytes] = []
        yield from self.mixed(self.ram_rest(on_main), buffers)
        yield self.ram_section("ram-end", records.END, on_main, flush=True)
        yield from buffers

    def begin_end(self, number: int, device: Device) -> Unit:
        """The extra END record with which v1 and v2 begin a device's state."""
        parts = [self.section(records.END, number)]
        if self.migration.uses_multifd(device):
            parts.append(records.tag(VfioTag.DEV_CONFIG_LOAD_READY))
        return self.section_unit("vfio-begin", number, (*parts, records.END_OF_STATE))

    def ram_rest(self, on_main: list[Bytes]) -> Iterator[Unit]:
        """The last pages and the last SYNCs."""
        for pages in dirty_scan(self.migration, self.migration.ram.iterations):
            yield from self.ram_units(pages, on_main)
        yield from self.sync_round()
        if self.migration.sync_mode == "final":
            yield from self.sync_round()

    def mixed(self, whole: Iterable[Unit], beside: Iterator[Unit]) -> Iterator[Unit]:
        """All of ``whole`` interleaved with some of ``beside``."""
        for unit in whole:
            yield unit
            other = next(beside, None) if self.rng.random() < 0.5 else None
            if other is not None:
                yield other

    def device_units(self) -> Iterator[Unit]:
        """The buffers of all devices in turn, each device's config state last."""
        queues = [
            self.buffers(number, device)
            for number, device in self.devices
            if self.migration.uses_multifd(device)
        ]
        while queues:
            for queue in list(queues):
                unit = next(queue, None)
                if unit is None:
                    queues.remove(queue)
                else:
                    yield unit

    def buffers(self, number: int, device: Device) -> Iterator[Unit]:
        """One device's buffers in index order."""
        left = device.size
        index = 0
        while left:
            size = min(left, device.buffer_size)
            if device.short_reads:
                size = self.rng.randint(1, size)
            yield self.buffer(number, index, self.state(number, index, size))
            left -= size
            index += 1
        config = (records.config_state(device),)
        yield self.buffer(number, index, config, int(VfioStateFlag.CONFIG_STATE), "config")

    def buffer(
        self,
        number: int,
        index: int,
        data: tuple[Bytes, ...],
        flags: int = 0,
        kind: str = "buffer",
    ) -> Unit:
        """A device-state packet."""
        device = self.migration.device[number]
        dialect = self.migration.spoken
        vfio = VFIODeviceStatePacketHost if dialect.host_order else VFIODeviceStatePacket
        packet = MultiFDPacketDeviceState(
            flags=dialect.device_flag,
            idstr=device.idstr,
            instance_id=device.instance_id,
            next_packet_size=BUFFER.size + sum(map(len, data)),
        ) / vfio(idx=index, flags=flags)
        channel = self.next_channel(self.dedicated or self.shared)
        return Unit(channel, kind, packet, data, device=number, index=index)

    # -- the end ------------------------------------------------------------------------------

    def finish(self) -> Iterator[Unit]:
        """END and FULL sections, EOF and the description."""
        described = []
        for number, device in self.devices:
            yield self.vfio_end(number, device)
        yield Unit(MAIN, "full", parts=(records.timer(),))
        for number, device in self.devices:
            body = self.full_body(device)
            described.append((device, len(body)))
            yield self.section_unit("vfio-full", number, (self.section(records.FULL, number), body))
        yield Unit(MAIN, "full", parts=(records.globalstate(),))
        yield Unit(MAIN, "eof", parts=(records.EOF,))
        text = records.vmdescription(
            self.machine,
            self.migration.ram.page_size,
            described,
            configured=self.migration.era != "7.2",
        )
        yield Unit(MAIN, "vmdescription", parts=(text,))

    def vfio_end(self, number: int, device: Device) -> Unit:
        """The END section: with the whole state where it does not go over multifd."""
        parts: list[Bytes] = [self.section(records.END, number)]
        if not self.migration.uses_multifd(device):
            for index, at in enumerate(range(0, device.size, MAIN_CHUNK)):
                size = min(MAIN_CHUNK, device.size - at)
                parts += [records.data_state(size), *self.state(number, index, size)]
        return self.section_unit("vfio-end", number, (*parts, records.END_OF_STATE))

    def full_body(self, device: Device) -> bytes:
        """Body of a device's FULL section: it tells whether the state was on multifd."""
        if not self.migration.uses_multifd(device):
            return records.config_state(device)
        if self.migration.config_after_iter:
            return records.tag(VfioTag.DEV_CONFIG_LOAD_READY)
        return records.END_OF_STATE
