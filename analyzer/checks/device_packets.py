"""MF401 to MF416: device-state packets, alone and compared with main.

Wire-format page, sections 4, 5.4 and 6.8.
"""

from __future__ import annotations

from analyzer.checks.rule import (
    ERROR,
    INFO,
    WARNING,
    Spot,
    device_packet_rule,
    device_rule,
    limit_rule,
    migration_rule,
    packet_rule,
)
from analyzer.checks.wording import counted, duration
from analyzer.migration.framing import marker_of
from analyzer.migration.rows import SYNC, DevicePacket
from dissectors.main_stream import is_vfio
from dissectors.multifd import (
    COMPRESSION_MASK,
    DEVICE_STATE,
    METHODS,
    NAME_SIZE,
)
from dissectors.vfio import BUFFER, BUFFER_DATA_MAX

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from analyzer.checks.selection import Selection
    from analyzer.migration.channel import Channel
    from analyzer.migration.device import Device
    from analyzer.migration.framing import Variant
    from analyzer.migration.migration import Migration
    from analyzer.migration.rows import RamPacket

PAYLOAD_MAX = BUFFER.size + BUFFER_DATA_MAX
PACKET_MIN = DEVICE_STATE.size + BUFFER.size


# -- the packet ------------------------------------------------------------------------------------


@device_packet_rule("MF401", "devstate-with-sync", ERROR)
def devstate_with_sync(packet: DevicePacket, channel: Channel, migration: Migration) -> str | None:
    """SYNC and DEVICE_STATE are set in one packet.

    SYNC belongs to RAM packets; a packet is either a SYNC or device state.

    Receiver: it first reads the data and passes them to the device, then ``multifd: received SYNC
    device state packet``; the migration fails.

    Usual cause: a sender that sets a pending SYNC flag on whichever packet comes next.
    """
    return "SYNC is set in a device-state packet" if packet.flags & SYNC else None


@device_packet_rule("MF402", "devstate-empty", ERROR)
def devstate_empty(packet: DevicePacket, channel: Channel, migration: Migration) -> str | None:
    """A device-state packet announces no payload.

    There is nothing to load into the device.  A RAM or SYNC packet that has the flag of device
    state is read like that, too: where its size would be, the name of the block is padded.

    Receiver: ``multifd: received empty device state packet``; v1 and v2 of the series only fail in
    VFIO, with ``packet too short at 0 (min is 12)``.  The migration fails.

    Usual cause: a damaged header; a sender that does not clear the flag when a channel sends RAM
    again.
    """
    return None if packet.next_packet_size else "next_packet_size is 0"


@device_rule("MF403", "devstate-idstr-unterminated", ERROR)
def devstate_idstr_unterminated(device: Device, migration: Migration) -> Iterator[Spot]:
    """The idstr fills its 256 bytes without a NUL.

    Since 10.0 it must be terminated.  Earlier revisions of the series allowed it to fill the field,
    so for them this is a warning.

    Receiver: reads the payload, then ``unterminated multifd device state idstr``; the migration
    fails.

    Usual cause: a sender of the series with a very long idstr, or memory corruption.
    """
    if len(device.idstr) == NAME_SIZE:
        dialect = migration.framing.dialect
        series = dialect is not None and dialect.host_order
        text = f"no NUL in the {NAME_SIZE} bytes of idstr"
        frame = device.first.frame if device.first is not None else None
        yield Spot(text, frame=frame, severity=WARNING if series else None)


@device_packet_rule("MF404", "devstate-idstr-trailing", INFO)
def devstate_idstr_trailing(
    packet: DevicePacket, channel: Channel, migration: Migration
) -> str | None:
    """Bytes after the NUL of the idstr are not zero.

    QEMU pads the name with zeros; other bytes may be memory that was not meant to be sent.

    Receiver: ignores them.

    Usual cause: a sender that reuses the buffer without clearing it.
    """
    rest = packet.idstr.partition(b"\0")[2]
    odd = len(rest) - rest.count(0)
    return f"not zero after the idstr: {counted(odd, 'byte')}" if odd else None


@packet_rule("MF407", "devstate-compression-bits", ERROR)
def devstate_compression_bits(
    packet: RamPacket | DevicePacket, channel: Channel, migration: Migration
) -> str | None:
    """Device state and compression are used together.

    Device state is not compressed, and a source refuses to send it over multifd when a compression
    method is set.  Here a device-state packet has compression bits, or the RAM packets of the same
    migration are compressed (reported at each device's first packet).

    Receiver: it reads the packet as device state and ignores the other bits; an unexpected method
    in RAM packets fails the migration.

    Usual cause: a damaged header, or channels of two migrations mistaken for one.
    """
    if not isinstance(packet, DevicePacket):
        method = packet.flags & COMPRESSION_MASK
        if method != migration.framing.compression:
            return None  # that packet is the wrong one (MF205)
        if method and method in METHODS and migration.devices:
            return f"a RAM packet with compression (flags {packet.flags:#x}) beside device state"
        return None
    bits = packet.flags & COMPRESSION_MASK & ~marker_of(packet.flags)
    if bits:
        return f"compression bits {bits:#04x} in a device-state packet"
    if migration.framing.compression and migration.device(packet).packets == 1:
        return "device state in a migration whose RAM packets are compressed"
    return None


@migration_rule("MF408", "devstate-dialect-mixed", ERROR)
def devstate_dialect_mixed(migration: Migration) -> Iterator[Spot]:
    """Some device-state packets have flag 0x10 and others 0x40, or neither.

    The RFC, v1 and v2 of the series use 0x10, later revisions and releases 0x40; no sender uses
    both.  The findings are reported at the packets of the rarer kind.  A packet without either flag
    is recognised by its idstr, where a RAM packet has its counts.

    Receiver: it knows only one of the two; it reads the other packets as RAM packets (``multifd:
    received packet with %u pages, expected %u``) and loses the framing.

    Usual cause: a sender that does not set the flag, or sets it in a wrong place; channels of two
    migrations mistaken for one.
    """
    framing = migration.framing
    usual = framing.device_flag
    for marker, variant in framing.markers.items():
        if marker != usual or not usual:
            marked = f"marked by {marker:#x}" if marker else "without its flag"
            most = f", most packets have {usual:#x}" if usual else ""
            yield from variant_spots(variant, f"device state {marked}{most}", migration)


def variant_spots(variant: Variant, text: str, migration: Migration) -> Iterator[Spot]:
    """A finding for each kept packet; the last one also counts the packets that were not kept."""
    for number, (channel, packet) in enumerate(variant.packets, start=1):
        device = migration.device(packet).name
        spot = Spot(text, channel=channel, mark=packet.mark, device=device, index=packet.idx)
        if number == len(variant.packets):
            spot.more = variant.count - number
        yield spot


@device_packet_rule("MF409", "devstate-size-implausible", WARNING)
def devstate_size_implausible(
    packet: DevicePacket, channel: Channel, migration: Migration
) -> str | None:
    """A device-state packet is larger than those that VFIO sends.

    A VFIO source reads at most 1 MiB from the device for a packet; with the header that is 1048588
    bytes.

    Receiver: it allocates a buffer of the announced size, without a limit.

    Usual cause: a newer sender with larger buffers, a damaged header, or an attack on the
    destination's memory.
    """
    size = packet.next_packet_size
    return (
        f"{size} bytes of payload, VFIO sends at most {PAYLOAD_MAX}" if size > PAYLOAD_MAX else None
    )


# -- against main ----------------------------------------------------------------------------------


def _sections(migration: Migration) -> set[tuple[bytes, int]]:
    """The identities of the sections on main: idstr and instance id."""
    facts = migration.main_facts
    return {section.key for section in facts.sections.values()} if facts is not None else set()


def misnamed(migration: Migration) -> list[Device]:
    """The devices that MF405 and MF406 report: packets name them by mistake, and no receiver loads
    them.  Empty if too little of main is known.
    """
    facts, started = migration.main_facts, _sections(migration)
    if facts is None or facts.began_late or facts.missing or not started:
        return []
    if facts.unread_before(facts.first_section_end):
        return []
    return [
        device
        for key, device in migration.devices.items()
        if key not in started or not is_vfio(device.idstr)
    ]


def unread(migration: Migration) -> tuple[int, str]:
    """How many device-state packets may be in bytes that were skipped to find the next packet, and
    a text that says so; 0 if the capture has holes, which are the better explanation.
    """
    channels = [] if migration.lacks_bytes or migration.began_late else migration.multifd
    channel = max(channels, key=lambda c: c.skipped, default=None)
    if channel is None or channel.skipped < PACKET_MIN:
        return 0, ""
    text = f"; {counted(channel.skipped, 'byte')} of {channel.name} could not be decoded"
    return channel.skipped // PACKET_MIN, text


def _of(device: Device, text: str) -> Spot:
    """A finding about a device, at its first packet."""
    frame = device.first.frame if device.first is not None else None
    return Spot(text, device=device.name, frame=frame)


@migration_rule("MF405", "devstate-unknown-device", ERROR, holes="XLB")
def devstate_unknown_device(migration: Migration) -> Iterator[Spot]:
    """Main has no section for the device that a packet names.

    idstr and instance id together identify a device, whose section must have been started on main.
    (An idstr without a NUL is reported by MF403.)

    Receiver: ``Unknown idstr %s or instance id %u for load state buffer``; the migration fails.
    The destination may know the device by an older name or an alias, which the capture cannot show.

    Usual cause: source and destination have different devices, or channels of two migrations taken
    for one.
    """
    started, dialect = _sections(migration), migration.framing.dialect
    series = dialect is not None and dialect.host_order
    for key, device in migration.devices.items():
        told = len(device.idstr) == NAME_SIZE and not series
        if started and key not in started and not told:
            yield _of(device, "main has no section with this idstr and instance id")


@migration_rule("MF406", "devstate-no-handler", ERROR, holes="X")
def devstate_no_handler(migration: Migration) -> Iterator[Spot]:
    """Device-state packets name a device that is not a VFIO device.

    Only VFIO devices load their state from multifd.

    Receiver: ``idstr %s / instance %u has no load state buffer operation``; the migration fails.

    Usual cause: a sender with other devices that support this, or memory corruption.
    """
    started = _sections(migration)
    for key, device in migration.devices.items():
        if key in started and not is_vfio(device.idstr):
            yield _of(device, "its section on main is not that of a VFIO device")


@migration_rule("MF410", "devstate-without-switchover", WARNING, holes="GXLEM", forgiven=True)
def devstate_without_switchover(migration: Migration) -> Iterator[Spot]:
    """Device state was sent, but main has no SWITCHOVER_START.

    Since 10.0 the command tells the destination to start the threads that load device state.

    Receiver: it queues the buffers until the command comes; without it they are never loaded.

    Usual cause: ``send-switchover-start`` is off at the source; device state must then not go over
    multifd.
    """
    facts, dialect = migration.main_facts, migration.framing.dialect
    if facts is None or facts.eof is None or dialect is None or not dialect.switchover:
        return
    if facts.switchover_start is None and any(d.first for d in migration.devices.values()):
        yield Spot("main is complete without SWITCHOVER_START", channel=migration.main)


@device_rule("MF411", "devstate-before-switchover", INFO, holes="X")
def devstate_before_switchover(device: Device, migration: Migration) -> Iterator[Spot]:
    """The first device-state byte was captured before SWITCHOVER_START.

    They travel on different TCP connections, so the order in the capture need not be the order in
    which they were sent; a few milliseconds are normal.

    Receiver: it queues the buffers until the command comes.

    Usual cause: main's connection had more data queued than the channel's.
    """
    facts = migration.main_facts
    start = facts.switchover_start if facts is not None else None
    if start is None or device.first is None or device.first.frame >= start.frame:
        return
    ahead = duration(start.time - device.first.time)
    text = f"first packet {ahead} before SWITCHOVER_START (frame {start.frame})"
    yield Spot(text, frame=device.first.frame)


@device_rule("MF412", "devstate-after-main-end", INFO, holes="X")
def devstate_after_main_end(device: Device, migration: Migration) -> Iterator[Spot]:
    """Device state was still arriving when main's EOF byte had been captured.

    The destination's main thread waits there for the load threads; during this time only device
    state is left to transfer.

    Receiver: normal; main waits.

    Usual cause: much device state, or a slow link.
    """
    facts = migration.main_facts
    eof = facts.eof if facts is not None else None
    if eof is None or device.last is None:
        return
    ends = device.buffers.end_frame
    late = device.buffers.at(at for at, frame in enumerate(ends) if frame > eof.frame)
    if late:
        last = max(late.end_time)
        yield Spot(
            f"{counted(len(late), 'buffer')} of {sum(late.size)} bytes arrived up to "
            f"{duration(last - eof.time)} after the EOF byte (frame {eof.frame})",
            frame=late.end_frame[0],
        )


@migration_rule("MF413", "devstate-announced-missing", ERROR, holes="XELC", forgiven=True)
def devstate_announced_missing(migration: Migration) -> Iterator[Spot]:
    """Main announces that a device's state is on multifd, but no packet of it came.

    The device's FULL section holds only END_OF_STATE or DEV_CONFIG_LOAD_READY, so its state must
    come over multifd.

    Receiver: it hangs: the device's load thread waits for idx 0 without a timeout, and main waits
    for the thread.

    Usual cause: a channel that is not in the capture; otherwise a source that failed to send the
    state without aborting the migration.
    """
    facts = migration.main_facts
    if facts is None or facts.eof is None or not migration.multifd:
        return
    _, lost = unread(migration)
    for key, section in facts.devices.items():
        if section.announced != "multifd" or key in migration.devices:
            continue
        text = "announced to be on multifd, but no packet of it came" + lost
        severity = INFO if lost else None
        if not migration.dialect_known:
            text += "; the revision of the format is unknown"
            severity = severity or WARNING
        yield Spot(
            text,
            channel=migration.main,
            mark=section.announced_at,
            device=section.name,
            severity=severity,
        )


@device_rule("MF414", "devstate-unannounced", ERROR, holes="X")
def devstate_unannounced(device: Device, migration: Migration) -> Iterator[Spot]:
    """A device's state is on multifd, but its FULL section on main holds the config state.

    DEV_CONFIG_STATE on main ends the state of a device that does not use multifd.

    Receiver: ``got DEV_CONFIG_STATE in main migration channel but doing multifd transfer``, or
    ``got device state packet but not doing multifd transfer``, depending on the destination's
    setting.

    Usual cause: a bug in the source, or channels of two migrations mistaken for one.
    """
    section = migration.vfio_sections.get(device.key)
    if section is not None and section.announced == "main":
        yield _of(device, "device state on multifd, DEV_CONFIG_STATE on main")


@limit_rule("MF415", "devstate-in-failed-transfer-mode", WARNING)
def devstate_in_failed_transfer_mode(migration: Migration, selection: Selection) -> Iterator[Spot]:
    """Device state goes over multifd to a destination with multifd transfer turned off.

    The capture does not show the destination's setting; the rule runs only if the user states it.
    The source notices nothing and considers the migration completed.

    Receiver: ``got device state packet but not doing multifd transfer``.  11.1.3 was seen to
    complete nevertheless, with a device that had loaded only the part of its state that went over
    main.

    Usual cause: ``x-migration-multifd-transfer`` is ``off`` at the destination, or ``auto`` in a
    case in which that means off.
    """
    if not selection.destination_transfer_off:
        return
    for device in migration.devices.values():
        if device.first is not None:
            count = counted(len(device.buffers), "buffer")
            yield _of(device, f"{count} to a destination that accepts none")


@migration_rule("MF416", "devstate-single-channel", INFO, holes="X")
def devstate_single_channel(migration: Migration) -> Iterator[Spot]:
    """All device state is on one channel although there are several.

    Each packet goes to the next idle channel, so several buffers normally spread over the channels;
    on one channel the transfer is no faster than without multifd.

    Receiver: normal.

    Usual cause: little device state; other channels busy with RAM; in the RFC only one channel
    dedicated to device state.
    """
    cut = {buffer.channel for device in migration.devices.values() for buffer in device.cut}
    used = [c for c in migration.multifd if c.device_packets or c.id in cut]
    if len(used) != 1 or len(migration.multifd) < 2 or used[0].device_packets < 2:
        return
    count, others = used[0].device_packets, len(migration.multifd) - 1
    text = f"all {count} device-state packets; {counted(others, 'other channel')} carried none"
    yield Spot(text, channel=used[0])
