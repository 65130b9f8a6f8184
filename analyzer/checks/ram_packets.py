"""MF2xx: multifd packet headers and RAM packets (wire-format page, section 3)."""

from __future__ import annotations

from analyzer.checks.rule import ERROR, INFO, WARNING, Spot, ram_rule, walker_rule

TYPE_CHECKING = False
if TYPE_CHECKING:
    from analyzer.migration.channel import Channel
    from analyzer.migration.migration import Migration
    from analyzer.migration.rows import RamPacket


@walker_rule("MF201", "packet-magic", ERROR, holes="G")
def packet_magic() -> None:
    """A packet header does not begin with 0x11223344.

    Every packet on a multifd channel begins with the magic; where it is something else the
    receiver has lost the framing, or never had it.

    Receiver: ``multifd: received packet magic %x, expected %x``; the migration fails.

    Usual cause: the packet before was longer or shorter than its header said (MF223, MF305), a
    sender and receiver of different page sizes, or memory corruption in the sender.
    """


@ram_rule("MF211", "normal-exceeds-alloc", ERROR)
def normal_exceeds_alloc(packet: RamPacket, channel: Channel, migration: Migration) -> str | None:
    """normal_pages is larger than pages_alloc.

    A packet cannot hold more pages than it has room for.

    Receiver: ``multifd: received packet with %u non-zero pages, which exceeds maximum expected
    pages %u``; the migration fails.

    Usual cause: a damaged header.
    """
    if packet.normal_pages > packet.pages_alloc:
        return f"normal_pages {packet.normal_pages} exceeds pages_alloc {packet.pages_alloc}"
    return None


@ram_rule("MF208", "sync-with-pages", WARNING)
def sync_with_pages(packet: RamPacket, channel: Channel, migration: Migration) -> str | Spot | None:
    """A SYNC packet carries pages.

    Senders up to 8.1 do this when a flush catches a packet that is being filled; later ones send
    SYNC alone.

    Receiver: 7.2 to 9.1 and 9.2.1 on read the pages; 9.2.0 skips them and loses the framing.

    Usual cause: a sender up to 8.1, for which this is normal and only noted.
    """
    if not packet.flags & 1 or not packet.normal_pages + packet.zero_pages:
        return None
    text = f"SYNC with {packet.normal_pages} normal and {packet.zero_pages} zero pages"
    return Spot(text, severity=INFO if migration.before_era("9.0") else None)
