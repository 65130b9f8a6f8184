"""MF214, MF217, MF232 to MF235: pages against the block list, and over the whole migration.

Wire-format page, sections 3.4, 3.9, 6.4 and 6.6.
"""

from __future__ import annotations

from analyzer.checks.rule import (
    ERROR,
    INFO,
    WARNING,
    Spot,
    migration_rule,
    packet_rule,
    walker_rule,
)
from analyzer.checks.wording import counted
from analyzer.migration.rows import RamPacket
from dissectors.multifd import text_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from analyzer.migration.channel import Channel
    from analyzer.migration.main_channel import MainFacts
    from analyzer.migration.mark import Mark
    from analyzer.migration.migration import Migration
    from analyzer.migration.pages import BlockPages
    from analyzer.migration.rows import DevicePacket

NAME_MAX = 255
PAGE_SIZE_KEY = b'"page_size":'
DESCRIPTION_LOOK = 1 << 16
"""Bytes at the start of the description in which its page_size is searched: it precedes the
devices.
"""


def _at(block: BlockPages, text: str) -> Spot:
    """A finding at the packet that used the block's highest offset."""
    return Spot(text, channel=block.highest_on, mark=block.highest_at)


@migration_rule("MF214", "ramblock-unknown", ERROR, holes="XLB")
def ramblock_unknown(migration: Migration) -> Iterator[Spot]:
    """Packets name a RAM block that main's block list does not have.

    The list in the ``ram`` START section names all RAM blocks of the guest.

    Receiver: ``multifd: unknown ram block %s``; the migration fails.

    Usual cause: channels of two migrations mistaken for one, or memory corruption in the sender.
    """
    facts = migration.main_facts
    if facts is None or facts.ram.mem_size is None:
        return
    for name, block in migration.pages.blocks.items():
        if name and facts.ram.lacks(name[:NAME_MAX]):
            pages = counted(block.normal + block.zero, "page")
            yield _at(block, f"block {text_of(name)} ({pages}) is not in the block list")


@migration_rule("MF217", "offset-beyond-block", ERROR, holes="X")
def offset_beyond_block(migration: Migration) -> Iterator[Spot]:
    """A page lies beyond the end of its RAM block.

    The message gives the highest offset used in the block and the length that main announced.

    Receiver: ``multifd: offset too long %lu (max %lx)``; the migration fails.  It checks against
    the length of its own block, which may have been resized since.

    Usual cause: the block was resized during the migration, or memory corruption.
    """
    facts, size = migration.main_facts, migration.framing.page_size
    if facts is None or not size:
        return
    for name, block in migration.pages.blocks.items():
        listed = facts.ram.blocks.get(name[:NAME_MAX])
        if listed is None or not listed.listed:
            continue
        if block.highest > listed.used_length - size:
            yield _at(
                block,
                f"offset {block.highest:#x} of {text_of(name)}, whose length is "
                f"{listed.used_length:#x}",
            )


@migration_rule("MF232", "page-size-conflict", ERROR)
def page_size_conflict(migration: Migration) -> Iterator[Spot]:
    """The multifd packets and main disagree about the target page size.

    The length of the offset array determines the page size; main states it in CONFIGURATION
    (target-page-bits), in POSTCOPY_ADVISE and in the vmdescription.

    Receiver: a destination with another page size rejects the configuration; otherwise it loses the
    framing of the channels.

    Usual cause: channels of two migrations mistaken for one, or memory corruption.
    """
    facts, size = migration.main_facts, migration.framing.page_size
    if facts is None or not size or not migration.multifd or migration.framing.settings.page_size:
        return  # MF964 compares with a size that is forced
    for told, where, mark in told_page_sizes(facts):
        if told != size:
            text = f"multifd packets are laid out for pages of {size} bytes, {where} {told}"
            yield Spot(text, channel=migration.main, mark=mark)


def told_page_sizes(facts: MainFacts) -> Iterator[tuple[int, str, Mark | None]]:
    """The page sizes that main states, each with the words for it and its record."""
    if facts.page_bits is not None:
        yield 1 << min(facts.page_bits, 64), "target-page-bits says", facts.configuration
    if facts.advised_page_size:
        yield facts.advised_page_size, "POSTCOPY_ADVISE says", facts.postcopy_advise
    head = b""
    for part in facts.description_parts:
        head += part
        if len(head) >= DESCRIPTION_LOOK:
            break
    digits, comma, _ = head.partition(PAGE_SIZE_KEY)[2].lstrip()[:12].partition(b",")
    if comma and digits.strip().isdigit():  # without the comma a hole truncated it
        yield int(digits), "the description says", facts.description


@packet_rule("MF233", "data-in-postcopy", ERROR, holes="GLX")
def data_in_postcopy(
    packet: RamPacket | DevicePacket, channel: Channel, migration: Migration
) -> str | None:
    """A multifd channel carries pages or device state after the switch to postcopy.

    From POSTCOPY_RUN on the guest runs on the destination, and pages travel over main or the
    preempt channel only.  A page that arrives over multifd now may overwrite newer memory.  Only
    packets after the last SYNC that main's FLUSH records require are reported: earlier ones may
    merely have been delayed by their connection.

    Receiver: 10.1 and later abort (``!migration_in_postcopy()``); older ones corrupt memory.

    Usual cause: a sender that does not flush its channels before it switches to postcopy.
    """
    facts = migration.main_facts
    if facts is None or facts.postcopy_run is None:
        return None
    if packet.first.frame <= facts.postcopy_run.frame:  # only seen completely later, after a hole
        return None
    if isinstance(packet, RamPacket) and not (packet.normal_pages or packet.zero_pages):
        return None
    if len(channel.syncs) < (facts.ram.flush_count or facts.ram.section_end_count):
        return None
    return f"data after POSTCOPY_RUN (frame {facts.postcopy_run.frame})"


@migration_rule("MF234", "page-resent", INFO)
def page_resent(migration: Migration) -> Iterator[Spot]:
    """Pages were sent again in a later round.

    The guest wrote to them during the migration; their number shows how much extra work its writes
    caused.

    Receiver: normal.

    Usual cause: a busy guest, or too little bandwidth.
    """
    pages = migration.pages
    if not pages.resent:
        return
    parts = [f"{b.resent} of {text_of(b.name)}" for b in pages.blocks.values() if b.resent]
    least = "at least " if pages.untracked else ""
    more = f" and {len(parts) - 5} more blocks" if len(parts) > 5 else ""
    resent = counted(pages.resent, "page")
    yield Spot(f"{least}{resent} sent again: {', '.join(parts[:5])}{more}")


@walker_rule("MF235", "page-twice-in-round", WARNING, holes="GXLS")
def page_twice_in_round() -> None:
    """A page was sent on two channels without a SYNC round in between.

    Between two SYNCs the order of packets across channels is undefined, so the older content may be
    applied last and remain.  Senders up to 7.2 sometimes repeat the last page of a packet in the
    next one, because of a race between their threads; such a page is reported as info.

    Receiver: silent; the one loaded last wins.

    Usual cause: a sender that scans memory again without flushing its channels first.
    """
