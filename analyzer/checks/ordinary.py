"""A quick test of every packet: is anything out of the ordinary?

A packet on which a rule of ``ANSWERED`` would fire must not count as ordinary; a test checks this.
"""

from __future__ import annotations

from analyzer.migration.rows import SYNC
from dissectors.multifd import COMPRESSED_MAX, NAME_SIZE
from dissectors.vfio import BUFFER, BUFFER_DATA_MAX

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from analyzer.migration.channel import Channel
    from analyzer.migration.migration import Migration
    from analyzer.migration.rows import DevicePacket, RamPacket

__all__ = ["ANSWERED", "is_ordinary", "is_ordinary_buffer"]

ANSWERED = frozenset(
    f"MF{number}"
    for first, last in (
        *((204, 204), (206, 213), (215, 216), (218, 222), (224, 227)),
        *((230, 230), (233, 233), (237, 237)),
        *((401, 402), (404, 404), (407, 407), (409, 409), (501, 502), (504, 504), (512, 517)),
    )
    for number in range(first, last + 1)
)
"""Packet rules that never fire on an ordinary packet; all others run on every packet."""

NO_NAME = bytes(NAME_SIZE)


def is_ordinary(
    packet: RamPacket, channel: Channel, migration: Migration, pages: Sequence[int]
) -> bool:
    """Whether a RAM or SYNC packet is one that a current, correct sender sends.

    ``pages`` are the offsets of the pages that it uses.
    """
    name, offsets = packet.ramblock, packet.offsets
    if name is None or offsets is None or packet.reserved:
        return False
    if channel.packet_nums.before >= packet.packet_num:
        return False
    facts = migration.main_facts
    if channel.channel_header is not None or (facts is not None and facts.postcopy_run is not None):
        return False
    if packet.flags == SYNC:
        return (
            not packet.pages_alloc
            and not packet.normal_pages
            and not packet.zero_pages
            and not packet.next_packet_size
            and name == NO_NAME
            and offsets.count(0) == len(offsets)
        )
    return _sizes_fit(packet, migration) and _pages_fit(packet, name, offsets, migration, pages)


def is_ordinary_buffer(packet: DevicePacket, migration: Migration) -> bool:
    """Whether a device-state packet is one that a current, correct sender sends, and holds a data
    buffer, not the config state.
    """
    raw, framing, facts = packet.raw, migration.framing, migration.main_facts
    if raw is None or packet.flags != framing.device_flag or framing.compression:
        return False
    if facts is not None and facts.postcopy_run is not None:
        return False
    if packet.state_flags or packet.vfio_version or framing.settings.dialect is not None:
        return False
    # The version word must not suggest the byte order that the migration does not use.
    if framing.byte_order is None or raw[4 if framing.byte_order == "be" else 7]:
        return False
    if not BUFFER.size < packet.next_packet_size <= BUFFER.size + BUFFER_DATA_MAX:
        return False
    return _is_padded(packet.idstr)


def _sizes_fit(packet: RamPacket, migration: Migration) -> bool:
    """Method, counts and sizes of a packet without SYNC."""
    method, normal, size = packet.flags, packet.normal_pages, packet.next_packet_size
    framing = migration.framing
    if packet.pages_alloc != framing.page_count:
        return False
    if method and (method != framing.compression or migration.devices):
        return False
    if packet.zero_pages and framing.settings.era is not None:
        return False
    if not normal:
        return not size
    if method:
        return 0 < size <= COMPRESSED_MAX
    return framing.compression == 0 and size == normal * framing.page_size


def _pages_fit(
    packet: RamPacket, name: bytes, offsets: bytes, migration: Migration, pages: Sequence[int]
) -> bool:
    """Block name and offsets of a packet with pages."""
    used = packet.normal_pages + packet.zero_pages
    framing = migration.framing
    count = framing.page_count
    if not 0 < used <= count or len(offsets) != 8 * count or len(pages) != used:
        return False
    if offsets.count(0, 8 * used) != 8 * (count - used):
        return False
    if not _is_padded(name):
        return False
    if type(pages) is range:
        return not pages[0] % framing.page_size
    if len(set(pages)) != used:
        return False
    return not int.from_bytes(offsets, "big") & _misaligned(count, framing.page_size)


def _is_padded(name: bytes) -> bool:
    """Whether the field holds a name, padded with zeros."""
    end = name.find(0)
    return end > 0 and name.count(0, end) == len(name) - end


_masks: dict[tuple[int, int], int] = {}


def _misaligned(count: int, page_size: int) -> int:
    """The bits of ``count`` offsets, as one number, that are zero in page-aligned ones."""
    mask = _masks.get((count, page_size))
    if mask is None:
        one = (page_size - 1).to_bytes(8, "big")
        mask = _masks[count, page_size] = int.from_bytes(one * count, "big")
    return mask
