"""MF201 to MF208, MF236, MF237: headers, flags and ends of multifd packets.

Wire-format page, sections 3.1, 3.2 and 3.6.
"""

from __future__ import annotations

from analyzer.checks.rule import (
    ERROR,
    INFO,
    WARNING,
    Spot,
    channel_rule,
    packet_rule,
    ram_rule,
    walker_rule,
)
from analyzer.checks.wording import counted
from analyzer.migration.rows import SYNC
from dissectors.multifd import (
    COMPRESSION_MASK,
    KNOWN_FLAGS,
    METHODS,
    ChannelType,
    Compression,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from analyzer.migration.channel import Channel
    from analyzer.migration.migration import Migration
    from analyzer.migration.rows import DevicePacket, RamPacket


@walker_rule("MF201", "packet-magic", ERROR, holes="G")
def packet_magic() -> None:
    """A packet header does not begin with 0x11223344.

    Every packet on a multifd channel begins with the magic; anything else means that the receiver
    has lost the framing, or never had it.

    Receiver: ``multifd: received packet magic %x, expected %x``; the migration fails.

    Usual cause: the packet before was longer or shorter than its header said (MF223, MF305), source
    and destination with different page sizes, or memory corruption in the sender.
    """


@walker_rule("MF202", "packet-version", ERROR, holes="G")
def packet_version() -> None:
    """The version in a packet header is not 1.

    There has only ever been version 1; the receiver rejects anything else without reading further.
    mfshark decodes the packet as version 1.

    Receiver: ``multifd: received packet version %u, expected %u``; the migration fails.

    Usual cause: a vendor fork, or a damaged header.
    """


@walker_rule("MF203", "packet-truncated", ERROR, holes="EA", forgiven=True)
def packet_truncated() -> None:
    """The stream ends inside a packet.

    The rest of the packet never came: pages or device state are missing at the destination.  The
    message says where the stream stops: in the 12-byte header, the fixed part, the offset array or
    the payload.

    Receiver: ``multifd: unexpected EOF after packet header`` right after the header, ``Unexpected
    end-of-file before all data were read`` further in.  A device's load thread that waits for the
    buffer gets no notice and waits forever.

    Usual cause: the source shut its channels down before they were drained.  Without the
    ``return-path`` capability it does so as soon as its own work is done, however much data is
    still queued; otherwise a cancel, a yank, or the end of the process.
    """


@ram_rule("MF204", "flags-two-compressions", ERROR)
def flags_two_compressions(packet: RamPacket, channel: Channel, migration: Migration) -> str | None:
    """The flags name more than one compression method.

    The compression bits form one field, compared as a whole; two bits at once are not a valid
    method.

    Receiver: ``multifd %u: flags received %x flags expected %x``; the migration fails.

    Usual cause: a vendor fork that reuses a bit, or a damaged header.
    """
    if packet.compression in METHODS:
        return None
    return f"compression bits {packet.compression:#04x} in flags {packet.flags:#x} are invalid"


@channel_rule("MF205", "flags-method-changes", ERROR)
def flags_method_changes(channel: Channel, migration: Migration) -> Iterator[Spot]:
    """Data packets use a different compression method than the rest of the migration.

    The method is a parameter of the whole migration; all channels use it from the first data packet
    to the last, and packets with only zero pages name it too.  The finding is reported at the
    channel's first packet of the rarer method.

    Receiver: ``multifd %u: flags received %x flags expected %x``; the migration fails.

    Usual cause: memory corruption in the sender, or two senders on one port.
    """
    for method, use in channel.methods.items():
        if method == migration.framing.compression:
            continue
        here, usual = Compression(method).name, Compression(migration.framing.compression or 0).name
        others = migration.framing.methods[migration.framing.compression]
        yield Spot(
            f"compression is {here} in {counted(use.packets, 'data packet')}; "
            f"it is {usual} in the migration's {others} others",
            mark=use.first,
        )


@packet_rule("MF206", "flags-unknown-bits", WARNING)
def flags_unknown_bits(
    packet: RamPacket | DevicePacket, channel: Channel, migration: Migration
) -> str | None:
    """The flags have bits that no known version defines.

    They may imply a different layout, so whatever is decoded after them may be wrong.

    Receiver: ignores them.

    Usual cause: a QEMU newer than mfshark knows, or a vendor fork.
    """
    unknown = packet.flags & ~KNOWN_FLAGS
    return f"unknown bits {unknown:#x} in flags {packet.flags:#x}" if unknown else None


@ram_rule("MF207", "flags-sync-compression", INFO)
def flags_sync_compression(packet: RamPacket, channel: Channel, migration: Migration) -> str | None:
    """A SYNC packet without pages names a compression method.

    It has nothing to compress; released senders do not set the bits.

    Receiver: ignores them.

    Usual cause: a sender that sets the method once for all packets.
    """
    if not packet.flags & SYNC or not packet.compression:
        return None
    if packet.normal_pages or packet.zero_pages:
        return None
    return f"SYNC without pages has compression bits {packet.flags & COMPRESSION_MASK:#04x}"


@ram_rule("MF208", "sync-with-pages", WARNING)
def sync_with_pages(packet: RamPacket, channel: Channel, migration: Migration) -> str | Spot | None:
    """A SYNC packet carries pages.

    Senders up to 8.1 do this when a sync coincides with a packet that is being filled; later ones
    send SYNC alone.

    Receiver: 7.2 to 9.1, and 9.2.1 and later, read the pages; 9.2.0 skips them and loses the
    framing.

    Usual cause: a sender up to 8.1, for which this is normal (reported as info).
    """
    if not packet.flags & SYNC or not packet.normal_pages + packet.zero_pages:
        return None
    text = f"SYNC with {packet.normal_pages} normal and {packet.zero_pages} zero pages"
    return Spot(text, noted_before="9.0")


@walker_rule("MF236", "trailing-bytes", ERROR, holes="AE", forgiven=True)
def trailing_bytes() -> None:
    """After its last packet the stream continues with bytes that are not a packet.

    A channel ends at a packet boundary, so these bytes should have been a packet.

    Receiver: ``multifd: received packet magic %x, expected %x`` if there are enough bytes for a
    header; the migration fails unless it was already complete.

    Usual cause: the last packet is longer than its header said, or something else wrote to the
    connection.
    """


@ram_rule("MF237", "unexpected-non-device-packet", INFO)
def unexpected_non_device_packet(
    packet: RamPacket, channel: Channel, migration: Migration
) -> Spot | None:
    """A channel that the RFC dedicates to device state carries a RAM packet.

    Channels of type 3 take no part in RAM transfer or SYNC; a receiver of the RFC accepts nothing
    but device state there, so this is an error.

    Receiver: ``multifd: received non-device-state packet on device-state-dedicated thread``.

    Usual cause: a sender that chose the channel from the wrong set.
    """
    header = channel.channel_header
    if header is None or header[1] != ChannelType.DEVICE_STATE:
        return None
    return Spot("a RAM packet on a channel dedicated to device state", severity=ERROR)
