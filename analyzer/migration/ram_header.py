"""The header of a RAM packet behind its counts: how long it is, and the names in it.

Wire-format page, section 3.
"""

from __future__ import annotations

from analyzer.migration.framing import PAGES_MAX
from analyzer.tcp.requests import End, Gap, Push, Take
from dissectors.multifd import (
    ARRAY_SIZES,
    COMMON_COUNT,
    HASHED_COUNT,
    MAGIC_VERSION,
    NAME_SIZE,
    RAM,
    RAM_COUNTS,
    ram_header_size,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator

    from analyzer.migration.framing import Framing
    from analyzer.migration.rows import RamPacket
    from analyzer.tcp.flow import Flow
    from analyzer.tcp.requests import Reply, Request

__all__ = ["COUNTS_SIZE", "page_count", "read_cut_name", "read_names"]

COUNTS_SIZE = RAM_COUNTS.size
RESERVED_SIZE = RAM["ramblock"].offset - COUNTS_SIZE
SKIPPED_SIZE = RAM["unused32"].size


def page_count(packet: RamPacket, framing: Framing, flow: Flow) -> Generator[Request, Reply, int]:
    """N, the length of the offset array, of a packet whose counts were read: from pages_alloc or,
    for a packet without payload, from the position of the next one, since pages_alloc is 0 in a
    SYNC packet and may be damaged.
    """
    told = packet.pages_alloc if packet.pages_alloc <= PAGES_MAX else 0
    if told and packet.normal_pages:
        framing.page_count = told
        return told
    data = b""
    count, guess = 0, COMMON_COUNT
    for candidate in sorted({*ARRAY_SIZES, told} - {0}):
        end = ram_header_size(candidate) - COUNTS_SIZE
        more = yield Take(end + len(MAGIC_VERSION) - len(data))
        if type(more) is bytes:
            data += more
            if data.endswith(MAGIC_VERSION):
                count = candidate
                break
        else:
            if type(more) is End:
                data += more.data
                count = candidate if len(data) == end else 0
            elif type(more) is Gap and end == len(data) + more.before:
                count = candidate  # smaller N are excluded, and the next header is in the hole
            elif type(more) is Gap and _is_cut(more, flow):
                length = more.last + 1 - packet.offset  # the next header is in the next frame
                count = next((n for n in ARRAY_SIZES if ram_header_size(n) == length), 0)
                guess = max(guess, candidate) if candidate < HASHED_COUNT else guess
            break
    yield Push(data)
    count = count or told
    if count:
        framing.page_count = framing.page_count or count
    return count or framing.page_count or guess


def _is_cut(gap: Gap, flow: Flow) -> bool:
    """Whether snaplen cut the missing bytes off."""
    hole = flow.hole_in(gap.first, gap.last)
    return hole is not None and hole.cut


def read_names(packet: RamPacket, header: bytes, at: int) -> None:
    """Read what follows the counts, from ``at`` on: reserved words, block name, page offsets.

    While the vendor fork hashes pages, those that the destination has already are counted in the
    first reserved word and listed between the normal and the zero pages; they are left out.
    """
    name = at + RESERVED_SIZE
    packet.reserved = header.count(0, at, name) != RESERVED_SIZE
    packet.ramblock = header[name : name + NAME_SIZE]
    packet.offsets = header[name + NAME_SIZE :]
    if packet.reserved and len(packet.offsets) == 8 * HASHED_COUNT:
        skipped = int.from_bytes(header[at : at + SKIPPED_SIZE], "big")
        normal, zero = 8 * packet.normal_pages, 8 * (packet.normal_pages + skipped)
        packet.offsets = packet.offsets[:normal] + packet.offsets[zero:]


def read_cut_name(packet: RamPacket, header: bytes, at: int) -> None:
    """Read the block name, from ``at`` behind the counts on, of a header that a hole cuts off: it
    is known if its NUL is there, or all of the field.
    """
    field = header[at + RESERVED_SIZE : at + RESERVED_SIZE + NAME_SIZE]
    if b"\0" in field or len(field) == NAME_SIZE:
        packet.ramblock = field.ljust(NAME_SIZE, b"\0")
