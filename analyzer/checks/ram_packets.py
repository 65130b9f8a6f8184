"""MF209 to MF227: counts, sizes, block name and offsets of a RAM packet.

Wire-format page, sections 3.3, 3.4 and 3.9.
"""

from __future__ import annotations

import struct

from analyzer.checks.rule import ERROR, INFO, WARNING, Spot, ram_rule, walker_rule
from analyzer.checks.wording import counted
from analyzer.migration.rows import SYNC_PACKET
from dissectors.multifd import COMPRESSED_MAX, HASHED_COUNT, NAME_SIZE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from analyzer.migration.channel import Channel
    from analyzer.migration.migration import Migration
    from analyzer.migration.rows import RamPacket


def _used(packet: RamPacket) -> tuple[int, ...]:
    """The offsets in use, normal pages first; none when they are not in the capture, or when the
    counts are impossible.
    """
    count = _pages(packet)
    if packet.offsets is None or count > len(packet.offsets) // 8:
        return ()
    return struct.unpack_from(f">{count}Q", packet.offsets)


def _pages(packet: RamPacket) -> int:
    return packet.normal_pages + packet.zero_pages


# -- counts ----------------------------------------------------------------------------------------


@ram_rule("MF209", "alloc-exceeds-capacity", ERROR)
def alloc_exceeds_capacity(packet: RamPacket, channel: Channel, migration: Migration) -> str | None:
    """pages_alloc is larger than the offset array.

    The array always has 512 KiB / page size entries; a packet has no room for more pages.

    Receiver: ``multifd: received packet with %u pages, expected %u``; the migration fails.

    Usual cause: source and destination disagree about the target page size, or a damaged header.
    """
    count = migration.framing.page_count
    if packet.pages_alloc <= count:
        return None
    return f"pages_alloc {packet.pages_alloc} exceeds the {count} entries of the offset array"


@ram_rule("MF210", "alloc-inconsistent", WARNING)
def alloc_inconsistent(packet: RamPacket, channel: Channel, migration: Migration) -> str | None:
    """pages_alloc of a data packet differs from the other data packets of the migration.

    It is the capacity of a packet, which never changes during a migration.

    Receiver: accepts any value that the page counts fit into.

    Usual cause: a damaged header, or a vendor fork that writes the number of used pages here.
    """
    alloc, count = packet.pages_alloc, migration.framing.page_count
    if not _pages(packet) or alloc >= count or _pages(packet) > alloc:
        return None
    return f"pages_alloc is {alloc} in this data packet and {count} in the others"


@ram_rule("MF211", "normal-exceeds-alloc", ERROR)
def normal_exceeds_alloc(packet: RamPacket, channel: Channel, migration: Migration) -> str | None:
    """normal_pages is larger than pages_alloc.

    A packet cannot hold more pages than it has room for.

    Receiver: ``multifd: received packet with %u non-zero pages, which exceeds maximum expected
    pages %u`` (7.2: ``...%u pages and expected maximum pages are %u``); the migration fails.

    Usual cause: a damaged header.
    """
    if packet.normal_pages > packet.pages_alloc:
        return f"normal_pages {packet.normal_pages} exceeds pages_alloc {packet.pages_alloc}"
    return None


@ram_rule("MF212", "zero-exceeds-rest", ERROR)
def zero_exceeds_rest(packet: RamPacket, channel: Channel, migration: Migration) -> str | None:
    """zero_pages is larger than pages_alloc minus normal_pages.

    Normal and zero pages share the offset array.  The field exists since 9.0; before, the word is
    reserved (MF222).

    Receiver: ``multifd: received packet with %u zero pages, expected maximum %u``; the migration
    fails.

    Usual cause: a damaged header.
    """
    era = migration.era
    if era is not None and migration.before_era("9.0"):
        return None
    rest = packet.pages_alloc - packet.normal_pages
    if rest < 0 or packet.zero_pages <= rest:  # if negative, MF211 reports it
        return None
    return f"zero_pages {packet.zero_pages} exceeds the {rest} that normal_pages leaves"


@ram_rule("MF227", "empty-packet", WARNING)
def empty_packet(packet: RamPacket, channel: Channel, migration: Migration) -> Spot | None:
    """A packet has neither pages nor SYNC.

    It has no effect.  Senders up to 8.1 emit it after a SYNC packet with pages, repeating its
    packet_num; later ones never do.  A vendor fork's packets that count skipped pages are not
    meant.

    Receiver: ignores it.

    Usual cause: a sender up to 8.1, for which this is normal (reported as info); otherwise a
    damaged header.
    """
    if packet.kind == SYNC_PACKET or _pages(packet):
        return None
    if packet.reserved and migration.framing.page_count == HASHED_COUNT:
        return None  # all pages skipped
    return Spot("no pages and no SYNC", noted_before="9.0")


# -- block name ------------------------------------------------------------------------------------


@ram_rule("MF213", "ramblock-empty", ERROR)
def ramblock_empty(packet: RamPacket, channel: Channel, migration: Migration) -> str | None:
    """A packet with pages names no RAM block.

    Offsets mean nothing without the block that they refer to.

    Receiver: ``multifd: unknown ram block %s``; the migration fails.

    Usual cause: memory corruption in the sender.
    """
    if not _pages(packet) or packet.ramblock is None or packet.ramblock[0]:
        return None
    return f"{counted(_pages(packet), 'page')} of a block without a name"


@ram_rule("MF215", "ramblock-unterminated", WARNING)
def ramblock_unterminated(packet: RamPacket, channel: Channel, migration: Migration) -> str | None:
    """The block name fills its 256 bytes without a NUL.

    QEMU limits names to 255 bytes, so the field always holds a NUL.

    Receiver: overwrites the last byte with NUL, and then most likely finds no block of that name.

    Usual cause: memory corruption in the sender.
    """
    if packet.ramblock is None or b"\0" in packet.ramblock:
        return None
    return f"no NUL in the {NAME_SIZE} bytes of ramblock"


@ram_rule("MF216", "ramblock-trailing", INFO)
def ramblock_trailing(packet: RamPacket, channel: Channel, migration: Migration) -> str | None:
    """Bytes after the NUL of the block name are not zero.

    QEMU pads the name with zeros; other bytes may be memory that was not meant to be sent.

    Receiver: ignores them.

    Usual cause: a sender that reuses the buffer without clearing it.
    """
    rest = packet.ramblock.partition(b"\0")[2] if packet.ramblock is not None else b""
    odd = len(rest) - rest.count(0)
    return f"not zero after the name {packet.block}: {counted(odd, 'byte')}" if odd else None


# -- offsets ---------------------------------------------------------------------------------------


@ram_rule("MF218", "offset-unaligned", ERROR)
def offset_unaligned(packet: RamPacket, channel: Channel, migration: Migration) -> str | None:
    """An offset is not a multiple of the target page size.

    Pages are sent whole.  With an unaligned offset the content is written across two guest pages.

    Receiver: silent.  It checks only that the offset lies inside the block; the guest's memory is
    wrong afterwards.

    Usual cause: memory corruption, or source and destination with different page sizes.
    """
    size = migration.framing.page_size
    crooked = [offset for offset in _used(packet) if size and offset % size]
    if not crooked:
        return None
    return f"offset {crooked[0]:#x} of {packet.block} is not a multiple of {size}" + _more(crooked)


@ram_rule("MF219", "offset-duplicate", WARNING)
def offset_duplicate(packet: RamPacket, channel: Channel, migration: Migration) -> str | None:
    """An offset occurs twice in one packet.

    A scan of guest memory visits a page once, so the sender has queued it twice.

    Receiver: silent; of two contents the later one wins.

    Usual cause: a bug in the sender's dirty tracking, or memory corruption.
    """
    used = _used(packet)
    normal, zero = used[: packet.normal_pages], used[packet.normal_pages :]
    twice = _repeated(normal) or _repeated(zero)
    if not twice:
        return None
    return f"offset {twice[0]:#x} of {packet.block} occurs twice" + _more(twice)


@ram_rule("MF220", "page-normal-and-zero", ERROR)
def page_normal_and_zero(packet: RamPacket, channel: Channel, migration: Migration) -> str | None:
    """A page is listed both as normal and as zero in the same packet.

    A page either has content or is zero; one of the two entries is wrong.

    Receiver: silent.  Zero pages are applied before the payload, so the page ends up with the
    content.

    Usual cause: a bug in the sender's zero-page detection, or memory corruption.
    """
    used = _used(packet)
    both = sorted(set(used[: packet.normal_pages]) & set(used[packet.normal_pages :]))
    if not both:
        return None
    return f"offset {both[0]:#x} of {packet.block} is normal and zero at once" + _more(both)


@ram_rule("MF221", "stale-offsets", INFO)
def stale_offsets(packet: RamPacket, channel: Channel, migration: Migration) -> Spot | None:
    """Unused entries of the offset array are not zero.

    Senders up to 9.1 leave values of earlier packets there; since 9.2 the array is cleared, so for
    later senders this is a warning.

    Receiver: ignores them.

    Usual cause: a sender up to 9.1.
    """
    if packet.offsets is None:
        return None
    unused = packet.offsets[8 * _pages(packet) :]
    if unused.count(0) == len(unused):
        return None
    text = f"unused offsets after the {_pages(packet)} in use are not zero"
    return Spot(text, severity=WARNING, noted_before="9.2")


def _repeated(offsets: tuple[int, ...]) -> list[int]:
    if len(set(offsets)) == len(offsets):
        return []
    seen: set[int] = set()
    return sorted({offset for offset in offsets if offset in seen or seen.add(offset)})  # type: ignore[func-returns-value]


def _more(found: list[int]) -> str:
    return f", and {len(found) - 1} more" if len(found) > 1 else ""


# -- reserved words and sizes ----------------------------------------------------------------------


@ram_rule("MF222", "reserved-nonzero", INFO)
def reserved_nonzero(packet: RamPacket, channel: Channel, migration: Migration) -> str | None:
    """Reserved words of the header are not zero.

    Released senders send zeros there.  A known vendor fork puts a count of skipped pages in the
    first one.

    Receiver: ignores them.

    Usual cause: a vendor fork, or a newer QEMU than this tool knows.
    """
    if packet.reserved:
        return "bytes 36 to 63 are not all zero"
    era = migration.era
    if packet.zero_pages and era is not None and migration.before_era("9.0"):
        return f"the word at 32, reserved before 9.0, is {packet.zero_pages}"
    return None


@walker_rule("MF223", "size-mismatch-nocomp", ERROR)
def size_mismatch_nocomp() -> None:
    """Without compression, next_packet_size is not normal_pages times the page size.

    The two fields give different payload lengths; the message says which of them matches the
    position of the next packet header.

    Receiver: silent.  It reads normal_pages times the page size whatever next_packet_size says; if
    that is wrong, it looks for the next header in the wrong place (MF201).

    Usual cause: a damaged header, or source and destination with different page sizes.
    """


@ram_rule("MF224", "size-zero-with-pages", ERROR)
def size_zero_with_pages(packet: RamPacket, channel: Channel, migration: Migration) -> str | None:
    """A packet has normal pages but next_packet_size 0.

    The content of normal pages is in the payload, which is announced as empty.

    Receiver: without compression reads the pages anyway; with compression the decoder fails.

    Usual cause: a damaged header.
    """
    # The walker reports the uncompressed ones: it knows where the next packet begins.
    if not packet.compression or not packet.normal_pages or packet.next_packet_size:
        return None
    return f"{counted(packet.normal_pages, 'compressed page')}, but next_packet_size is 0"


@ram_rule("MF225", "size-without-pages", WARNING)
def size_without_pages(packet: RamPacket, channel: Channel, migration: Migration) -> Spot | None:
    """A packet without normal pages has a next_packet_size.

    No payload follows such a packet.  Senders up to 8.1 leave a stale size there (reported as
    info); for later senders the field must be 0, and with compression it is an error.

    Receiver: without compression it is ignored.  With compression 10.0.13 and 11.1 fail with
    ``expected empty packet``; 10.2.2 and others abort on an assertion.

    Usual cause: a sender up to 8.1 that migrates to a newer receiver, with compression.
    """
    if packet.normal_pages or not packet.next_packet_size:
        return None
    severity = ERROR if packet.compression or migration.framing.compression else None
    text = f"no normal pages, but next_packet_size is {packet.next_packet_size}"
    return Spot(text, severity=severity, noted_before="8.2")


@ram_rule("MF226", "size-exceeds-buffer", ERROR)
def size_exceeds_buffer(packet: RamPacket, channel: Channel, migration: Migration) -> str | None:
    """A compressed payload is larger than 1 MiB.

    The receiver's buffer for it holds 1 MiB, twice the size of a packet's pages.

    Receiver: ``next_packet_size %u exceeds allocated %u``; versions without that check (10.2.2, and
    those before 10.0.13) write past the end of the buffer.

    Usual cause: a damaged header, or an attack.
    """
    if not packet.compression or packet.next_packet_size <= COMPRESSED_MAX:
        return None
    return f"{packet.next_packet_size} bytes of compressed payload exceed {COMPRESSED_MAX}"
