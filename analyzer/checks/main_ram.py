"""MF619 to MF628, MF640 and MF641: RAM on the main stream (wire-format page, 6.6 and 7)."""

from __future__ import annotations

from analyzer.checks.rule import ERROR, INFO, Spot, migration_rule, walker_rule
from analyzer.checks.wording import counted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from analyzer.migration.migration import Migration


@walker_rule("MF619", "ram-flags-unknown", ERROR, holes="LG")
def ram_flags_unknown() -> None:
    """The flags of a RAM record are unknown, or contradict each other.

    The flags alone determine what follows the record's first word.

    Receiver: ``Unknown combination of migration flags: 0x%x`` or ``Unexpected RAM flags: %d``; the
    migration fails.

    Usual cause: an earlier record was read with the wrong length; damaged bytes.
    """


@walker_rule("MF620", "ram-continue-first", ERROR, holes="LG")
def ram_continue_first() -> None:
    """A RAM record says "same block as before", but no block was named before.

    With the CONTINUE flag the record omits the block's name.

    Receiver: ``Ack, bad migration stream!``; the migration fails.

    Usual cause: a modified source, or damaged bytes.
    """


@walker_rule("MF621", "ram-unknown-block", ERROR)
def ram_unknown_block() -> None:
    """A RAM record names a block that is not in the list of the START section.

    The list defines which RAM blocks the migration transfers.

    Receiver: ``Can't find block %s``; the migration fails.

    Usual cause: memory that was plugged in during the migration; damaged bytes.
    """


@walker_rule("MF622", "ram-block-list-sum", ERROR, holes="LG")
def ram_block_list_sum() -> None:
    """The lengths of the RAM blocks do not add up to the total in MEM_SIZE.

    The list has no other end mark: it ends when the lengths add up to the total.

    Receiver: it continues, takes the following bytes for a block, and fails with a garbage name:
    ``Unknown ramblock "%s", cannot accept migration``.

    Usual cause: a modified source, or damaged bytes.
    """


@walker_rule("MF623", "ram-offset-beyond", ERROR)
def ram_offset_beyond() -> None:
    """A page's address lies outside its block.

    The block list gives the length of each block.

    Receiver: ``Illegal RAM offset %lx``; the migration fails.  Its own block may be longer.

    Usual cause: a block that grew during the migration; damaged bytes.
    """


@walker_rule("MF624", "ram-zero-value", ERROR)
def ram_zero_value() -> None:
    """A zero page has a fill byte that is not zero.

    The byte dates from when a page could be filled with any value.

    Receiver: ``Found a zero page with value %d``, and the migration fails; older ones fill the page
    with the byte.

    Usual cause: damaged bytes.
    """


@walker_rule("MF625", "ram-xbzrle", ERROR)
def ram_xbzrle() -> None:
    """A page encoded with XBZRLE cannot be decoded.

    After the flag byte 1 and a length come runs, alternately of bytes to keep and of bytes to
    replace, which together must not exceed a page.

    Receiver: ``Failed to load XBZRLE page - wrong compression!``, ``len overflow!`` or ``decode
    error!``; the migration fails.

    Usual cause: damaged bytes.
    """


@walker_rule("MF626", "ram-no-eos", ERROR, holes="LG")
def ram_no_eos() -> None:
    """A RAM section ends with its footer, but without the EOS record.

    EOS ends the body; for older senders it is also the sync point of the channels.

    Receiver: it takes the footer for a record: ``Unknown combination of migration flags: 0x%x``, or
    later fails to find the footer.

    Usual cause: a modified source.
    """


@walker_rule("MF627", "ram-section-without-start", ERROR, holes="L")
def ram_section_without_start() -> None:
    """A RAM section comes before the one that lists the blocks.

    Without the list the destination does not know the RAM blocks.

    Receiver: ``Can't find block %s`` or ``Unknown section %d``; the migration fails.

    Usual cause: a stream that was assembled wrongly, or damaged bytes.
    """


@migration_rule("MF628", "pages-on-main-with-multifd", INFO)
def pages_on_main_with_multifd(migration: Migration) -> Iterator[Spot]:
    """Pages are on main although there are multifd channels.

    With multifd, pages go over its channels, except zero pages with ``zero-page-detection=legacy``
    (senders up to 8.2) and all pages during postcopy.

    Receiver: loads them; normal.

    Usual cause: one of these two.
    """
    facts = migration.main_facts
    if facts is None or not migration.multifd:
        return
    ram = facts.ram
    if ram.sent_pages or ram.zero_pages:
        text = f"{counted(ram.sent_pages, 'page')} and {counted(ram.zero_pages, 'zero page')}"
        if facts.postcopy_run is not None:
            text += ", in postcopy"
        elif not ram.sent_pages:
            text += ": zero pages are detected by main"
        yield Spot(text, channel=migration.main)


@walker_rule("MF640", "mapped-ram-header", ERROR)
def mapped_ram_header() -> None:
    """The header of a block's mapped-ram region has invalid values.

    Its version must be 1, its page size the target's, and its pages must begin at a multiple of 1
    MiB.

    Receiver: ``Migration mapped-ram capability version not supported (expected <= %d, got %d)``,
    ``Migration mapped-ram header has invalid page_size %lu (expected %d)`` or ``Error reading
    ramblock %s pages, region has bad alignment``.

    Usual cause: damaged bytes, a target with another page size, or a newer format.
    """


@walker_rule("MF641", "mapped-ram-in-stream", ERROR)
def mapped_ram_in_stream() -> None:
    """A stream with mapped-ram contains page or FLUSH records.

    With mapped-ram every page has a fixed place in the file; the stream holds only the block list.

    Receiver: ``Unexpected RAM flags: %d``; the load fails.

    Usual cause: a file assembled from two migrations, or a modified source.
    """
