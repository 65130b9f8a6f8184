"""The one quick question asked of every RAM packet: is anything out of the ordinary?

Must say no whenever a packet rule would fire; a test holds it against the rules.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from analyzer.migration.channel import Channel
    from analyzer.migration.migration import Migration
    from analyzer.migration.rows import RamPacket

__all__ = ["is_ordinary"]

METHODS = frozenset((0x00, 0x02, 0x04, 0x08, 0x10, 0x20))
BUFFER_MAX = 1 << 20


def is_ordinary(
    packet: RamPacket, channel: Channel, migration: Migration, pages: list[int]
) -> bool:
    """Whether a RAM or SYNC packet is one that a current, correct sender makes.

    ``pages`` are the page numbers that it uses.
    """
    name, offsets = packet.ramblock, packet.offsets
    if name is None or offsets is None or packet.reserved or packet.version != 1:
        return False
    nums = channel.packet_nums
    if len(nums) > 1 and nums[-2] >= packet.packet_num:
        return False
    if packet.flags == 1:
        return (
            not packet.pages_alloc
            and not packet.normal_pages
            and not packet.zero_pages
            and not packet.next_packet_size
            and name.count(0) == 256
            and offsets.count(0) == len(offsets)
        )
    method = packet.flags
    used = packet.normal_pages + packet.zero_pages
    count = migration.framing.page_count
    if method not in METHODS or not used or used > count or packet.pages_alloc != count:
        return False
    if method != migration.compression and packet.normal_pages:
        return False
    size = packet.next_packet_size
    if not packet.normal_pages:
        if size:
            return False
    elif not method:
        if size != packet.normal_pages * migration.framing.page_size:
            return False
    elif not 0 < size <= BUFFER_MAX:
        return False
    text, _, rest = name.partition(b"\0")
    if not text or len(text) == 256 or rest.count(0) != len(rest):
        return False
    unused = offsets[used * 8 :]
    if unused.count(0) != len(unused) or len(set(pages)) != used:
        return False
    return not int.from_bytes(offsets, "big") & _misaligned(count, migration.framing.page_size)


_masks: dict[tuple[int, int], int] = {}


def _misaligned(count: int, page_size: int) -> int:
    """The bits of ``count`` offsets, as one number, that are zero in page-aligned ones."""
    mask = _masks.get((count, page_size))
    if mask is None:
        one = (page_size - 1).to_bytes(8, "big")
        mask = _masks[count, page_size] = int.from_bytes(one * count, "big")
    return mask
