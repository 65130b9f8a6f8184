"""MF501 to MF504 and MF512 to MF518: one VFIO buffer, its header and its config state.

Wire-format page, sections 5.1 to 5.5.
"""

from __future__ import annotations

from analyzer.checks.device_packets import variant_spots
from analyzer.checks.rule import (
    ERROR,
    INFO,
    WARNING,
    Spot,
    device_packet_rule,
    device_rule,
    migration_rule,
)
from analyzer.checks.wording import counted
from dissectors.vfio import BUFFER, BUFFER_DATA_MAX, IDX_MAX, VfioStateFlag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from analyzer.migration.channel import Channel
    from analyzer.migration.device import Device
    from analyzer.migration.migration import Migration
    from analyzer.migration.rows import DevicePacket

KNOWN_STATE_FLAGS = int(VfioStateFlag.CONFIG_STATE)
ORDERS = {"be": "big endian", "le": "little endian"}


# -- the header ------------------------------------------------------------------------------------


@device_packet_rule("MF501", "vfio-short", ERROR)
def vfio_short(packet: DevicePacket, channel: Channel, migration: Migration) -> str | None:
    """A device-state packet's payload is shorter than the VFIO header.

    Every VFIO buffer begins with version, idx and flags, 12 bytes.

    Receiver: ``packet too short at %zu (min is %zu)``; the migration fails.

    Usual cause: a damaged header; device state that is not VFIO's.
    """
    size = packet.next_packet_size
    return f"{counted(size, 'byte')} of payload" if 0 < size < BUFFER.size else None


@device_packet_rule("MF502", "vfio-version", ERROR)
def vfio_version(packet: DevicePacket, channel: Channel, migration: Migration) -> str | None:
    """The version in a VFIO header is not 0.

    There has only ever been version 0, which looks the same in both byte orders.

    Receiver: ``packet has unknown version %u``; the migration fails.

    Usual cause: a newer sender; QEMU 10.0.0 with zero-copy-send, which may send other memory than
    the buffer; a damaged header.
    """
    return f"version is {packet.vfio_version}" if packet.vfio_version else None


@migration_rule("MF503", "vfio-byte-order", ERROR)
def vfio_byte_order(migration: Migration) -> Iterator[Spot]:
    """A VFIO header is in the wrong byte order.

    Releases send it big endian; the RFC and v1 to v6 of the series use the sender's host byte
    order.  This header only makes sense in the order that the dialect, or most of the migration's
    headers, do not use.  mfshark decodes it in the order in which it makes sense.

    Receiver: it reads idx 1 as 16777216 and waits forever for the real one; it reads flags 1 as
    0x01000000 and sees no config state.  It hangs.

    Usual cause: one side was built from the series or from a development tree before 10.0, the
    other is a release.
    """
    framing = migration.framing
    forced, usual = framing.settings.dialect, framing.shown_order
    if forced is not None and (forced.host_order or forced.device_flag != framing.device_flag):
        forced = None  # MF964 reports another flag
    for order, variant in framing.orders.items():
        if forced is not None and order != "be":
            text = f"{ORDERS[order]}, dialect {forced.name} is big endian"
        elif usual is not None and order != usual:
            text = f"{ORDERS[order]}, most of the migration's headers are {ORDERS[usual]}"
        else:
            continue
        yield from variant_spots(variant, text, migration)


@device_packet_rule("MF504", "vfio-idx-max", ERROR)
def vfio_idx_max(packet: DevicePacket, channel: Channel, migration: Migration) -> str | None:
    """The index is 0xffffffff.

    The receiver needs room for idx + 1, so it rejects the highest value.

    Receiver: ``packet index is invalid`` (in the series ``packet has too high idx %u``); the
    migration fails.

    Usual cause: a damaged header.
    """
    return f"idx is {packet.idx:#x}" if packet.idx == IDX_MAX else None


@device_packet_rule("MF512", "vfio-flags-unknown", WARNING)
def vfio_flags_unknown(packet: DevicePacket, channel: Channel, migration: Migration) -> str | None:
    """The flags of a VFIO header have bits other than CONFIG_STATE.

    They may have a meaning for a newer receiver.

    Receiver: ignores them.

    Usual cause: a newer sender, or a damaged header.
    """
    flags = packet.state_flags or 0
    return f"flags are {flags:#x}" if flags & ~KNOWN_STATE_FLAGS else None


@device_packet_rule("MF513", "vfio-data-empty", WARNING)
def vfio_data_empty(packet: DevicePacket, channel: Channel, migration: Migration) -> str | None:
    """A buffer carries no data.

    A source sends what it reads from the device; once there is nothing left to read it sends the
    config state.

    Receiver: accepts it; nothing is written to the device.

    Usual cause: a device driver that returns an empty read before the end of its state.
    """
    if packet.idx is None or packet.is_config or packet.data_size:
        return None
    return f"buffer {packet.idx} has 0 bytes of data"


@device_rule("MF518", "vfio-buffer-large", INFO)
def vfio_buffer_large(device: Device, migration: Migration) -> Iterator[Spot]:
    """Buffers carry more than 1 MiB of data.

    QEMU's source reads at most 1 MiB at a time.

    Receiver: accepts them.

    Usual cause: a newer sender with larger reads, or a vendor fork.
    """
    sizes = device.buffers.size
    if large := sum(size > BUFFER_DATA_MAX for size in sizes):
        largest = device.buffers[sizes.index(max(sizes))]
        yield Spot(
            f"{counted(large, 'buffer')} above {BUFFER_DATA_MAX} bytes, the largest has "
            f"{largest.size}",
            frame=largest.frame,
            index=largest.idx,
        )


# -- the config state ------------------------------------------------------------------------------


def _config_problem(packet: DevicePacket, slug: str) -> str | None:
    """The problem that the decoder of config states reports for a rule, if any."""
    if packet.config is None:
        return None
    from dissectors.vfio_config import parse_config  # only needed where there is one

    problems = {problem.slug: problem.detail for problem in parse_config(packet.config).telling}
    return problems.get(slug)


@device_packet_rule("MF514", "vfio-config-header", ERROR)
def vfio_config_header(packet: DevicePacket, channel: Channel, migration: Migration) -> str | None:
    """A config state does not begin with DEV_CONFIG_STATE (0xffffffffef100002).

    The data of the CONFIG_STATE buffer are an embedded stream that begins with this tag.

    Receiver: ``expected FLAG_DEV_CONFIG_STATE but got %lx``; the migration fails.

    Usual cause: CONFIG_STATE is set on a data buffer, or the data are damaged, as QEMU 10.0.0 with
    zero-copy-send may do.
    """
    return _config_problem(packet, "vfio-config-header")


@device_packet_rule("MF515", "vfio-config-end", ERROR)
def vfio_config_end(packet: DevicePacket, channel: Channel, migration: Migration) -> str | None:
    """A config state does not end with END_OF_STATE (0xffffffffef100001).

    The tag confirms to the receiver that it has read exactly what the source wrote.

    Receiver: ``Failed loading device config space, end flag incorrect ...`` or
    ``vfio_load_device_config_state() failed``; the migration fails.

    Usual cause: source and destination differ in the device's MSI-X table or config space, or the
    data are damaged.
    """
    return _config_problem(packet, "vfio-config-end")


@device_packet_rule("MF516", "vfio-config-size", WARNING)
def vfio_config_size(packet: DevicePacket, channel: Channel, migration: Migration) -> str | None:
    """The size of a config state does not match its contents.

    It is 4132 bytes for a PCIe and 292 for a PCI device, plus the MSI-X table (16 bytes per vector,
    and the pending bits) and subsections; the number of vectors is in the config space.

    Receiver: ``vfio_load_device_config_state() failed: %d`` if the end tag is not where its own
    device expects it.

    Usual cause: a subsection that mfshark does not know, or damaged data.
    """
    return _config_problem(packet, "vfio-config-size")


@device_packet_rule("MF517", "vfio-config-version", WARNING)
def vfio_config_version(packet: DevicePacket, channel: Channel, migration: Migration) -> str | None:
    """The PCI device state in a config state has a version other than 2.

    QEMU has written version 2 ever since VFIO devices can be migrated.

    Receiver: its vmstate loader rejects a version newer than its own.

    Usual cause: a newer sender, or damaged data.
    """
    return _config_problem(packet, "vfio-config-version")
