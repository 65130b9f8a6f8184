"""Faults of packet headers, RAM packets and SYNCs.

Wire-format page, section 3; rules MF2xx and MF3xx.  ``channel`` is the number of a multifd channel,
-1 for any; ``at`` is the number, from 0, among the packets that the fault can apply to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from analyzer.synth import records
from analyzer.synth.faults import unit_fault
from analyzer.synth.picking import (
    after,
    before,
    edit,
    ended,
    everyone,
    held,
    is_kind,
    is_packet,
    is_ram,
    is_sync,
    nth,
    setting,
    unsent,
)
from analyzer.synth.ram import Pages
from analyzer.synth.script import multifd
from analyzer.synth.units import MAIN, Unit, encode
from dissectors.multifd import RAM, MultifdFlag, text_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from scapy.packet import Packet

    from analyzer.synth.faults import Context, Units, Values
    from analyzer.synth.picking import Match

ANY: dict[str, Any] = {"channel": -1, "at": 0}
SYNC: dict[str, Any] = {"channel": 0, "round": 1}
MIB = 1 << 20


def changed(
    units: Units, values: Values, match: Match, change: Callable[[Packet], object]
) -> Units:
    """Changes packet number ``at`` of those that match."""

    def on_unit(unit: Unit) -> None:
        assert unit.packet is not None
        change(unit.packet)

    return edit(units, nth(values, match), on_unit)


def first_pages(context: Context, place: int = 0) -> Pages:
    """One page of the first block, for an additional packet."""
    block = next(iter(context.migration.ram.blocks))
    return Pages(block, [place * context.migration.ram.page_size], [])


# -- the common header ------------------------------------------------------------------------


@unit_fault("MF201", channel=0, at=2, magic=0xDEADBEEF)
def packet_magic(units: Units, _context: Context, values: Values) -> Units:
    """The magic of a packet is wrong."""
    return edit(units, nth(values, is_packet(values)), setting(magic=values.magic))


@unit_fault("MF202", channel=0, at=2, version=2)
def packet_version(units: Units, _context: Context, values: Values) -> Units:
    """The version of a packet is wrong."""
    return edit(units, nth(values, is_packet(values)), setting(version=values.version))


@unit_fault("MF203", channel=0, at=1, where="payload")
def packet_truncated(units: Units, _context: Context, values: Values) -> Units:
    """A channel ends inside a RAM packet: its ``header``, ``fixed`` part, ``offsets`` or
    ``payload``, or right ``after-header``.
    """
    places = {"header": 7, "after-header": 12, "fixed": 100, "offsets": RAM.size + 20}

    def keep(unit: Unit) -> int:
        return places.get(values.where) or len(b"".join(encode(unit))) - 1000

    return ended(units, nth(values, is_ram(values)), keep)


@unit_fault("MF236", channel=0, size=40)
def trailing_bytes(units: Units, _context: Context, values: Values) -> Units:
    """The last packet of a channel is followed by bytes that are not a packet."""
    name = multifd(values.channel)
    seen = False

    def first_fin(unit: Unit) -> bool:
        nonlocal seen
        found = unit.kind == "fin" and unit.channel == name and not seen
        seen |= found
        values.hits += found
        return found

    def garbage(unit: Unit) -> Iterator[Unit]:
        yield Unit(unit.channel, "garbage", parts=(b"\xa5" * values.size,))

    return before(units, first_fin, garbage)


# -- flags ------------------------------------------------------------------------------------


def flag_fault(units: Units, values: Values, match: Match, flags: int) -> Units:
    """Sets additional flags."""

    def change(packet: Packet) -> None:
        packet.flags = int(packet.flags) | flags

    return changed(units, values, match, change)


@unit_fault("MF204", **ANY)
def flags_two_compressions(units: Units, _context: Context, values: Values) -> Units:
    """A packet names two compression methods."""
    return flag_fault(units, values, is_ram(values), MultifdFlag.ZLIB | MultifdFlag.ZSTD)


@unit_fault("MF205", {"compression": "zlib"}, channel=-1, at=3)
def flags_method_changes(units: Units, _context: Context, values: Values) -> Units:
    """A packet names a different method than those before it."""

    def change(packet: Packet) -> None:
        zstd = int(packet.flags) == MultifdFlag.ZSTD
        packet.flags = int(MultifdFlag.ZLIB if zstd else MultifdFlag.ZSTD)

    return changed(units, values, is_ram(values), change)


@unit_fault("MF206", channel=-1, at=0, flags=0x100)
def flags_unknown_bits(units: Units, _context: Context, values: Values) -> Units:
    """A packet has unknown flags."""
    return flag_fault(units, values, is_ram(values), values.flags)


@unit_fault("MF207", **SYNC)
def flags_sync_compression(units: Units, _context: Context, values: Values) -> Units:
    """A SYNC packet without pages names a compression method."""
    flags = int(MultifdFlag.SYNC | MultifdFlag.ZLIB)
    return edit(units, everyone(values, is_sync(values)), setting(flags=flags))


# -- page counts ------------------------------------------------------------------------------


@unit_fault("MF208", **SYNC)
def sync_with_pages(units: Units, context: Context, values: Values) -> Units:
    """A SYNC packet carries a page, as with old senders."""
    pick = everyone(values, is_sync(values))
    last: dict[str, Pages] = {}
    for unit in units:
        assert unit.packet is not None or unit.kind not in ("ram", "sync")
        if unit.kind == "ram" and unit.packet is not None and unit.packet.normal_pages:
            block = text_of(bytes(unit.packet.ramblock))
            last[unit.channel] = Pages(block, unit.packet.offset[:1], [])
        if not pick(unit) or unit.packet is None:
            yield unit
            continue
        number = unit.packet.packet_num
        again = last.get(unit.channel, first_pages(context))
        made = context.script.ram.data(unit.channel, again, unit.round, number)
        assert made.packet is not None
        made.packet.flags = int(made.packet.flags) | MultifdFlag.SYNC
        yield made


@unit_fault("MF209", channel=-1, at=1)
def alloc_exceeds_capacity(units: Units, _context: Context, values: Values) -> Units:
    """pages_alloc is larger than a packet's capacity."""

    def change(packet: Packet) -> None:
        packet.pages_alloc = packet.page_count + 1

    return changed(units, values, is_ram(values), change)


@unit_fault("MF210", **ANY)
def alloc_inconsistent(units: Units, _context: Context, values: Values) -> Units:
    """pages_alloc is smaller in one packet, but sufficient for its pages."""

    def change(packet: Packet) -> None:
        packet.pages_alloc = packet.page_count - 1

    return changed(units, values, is_ram(values, free=1), change)


@unit_fault("MF211", **ANY)
def normal_exceeds_alloc(units: Units, _context: Context, values: Values) -> Units:
    """More normal pages than pages_alloc."""

    def change(packet: Packet) -> None:
        packet.pages_alloc = packet.normal_pages - 1

    return changed(units, values, is_ram(values, normal=2), change)


@unit_fault("MF212", **ANY)
def zero_exceeds_rest(units: Units, _context: Context, values: Values) -> Units:
    """More zero pages than pages_alloc leaves room for."""

    def change(packet: Packet) -> None:
        packet.zero_pages = packet.pages_alloc - packet.normal_pages + 1

    return changed(units, values, is_ram(values, zero=1), change)


@unit_fault("MF227", channel=0, at=2)
def empty_packet(units: Units, context: Context, values: Values) -> Units:
    """A packet without SYNC and without pages."""

    def empty(unit: Unit) -> Iterator[Unit]:
        yield context.script.ram.data(unit.channel, Pages("", [], []))

    return after(units, nth(values, is_packet(values)), empty)


# -- block and offsets ------------------------------------------------------------------------


def named(units: Units, values: Values, name: bytes) -> Units:
    """Changes the block name of a RAM packet."""
    return edit(units, nth(values, is_ram(values)), setting(ramblock=name))


@unit_fault("MF213", **ANY)
def ramblock_empty(units: Units, _context: Context, values: Values) -> Units:
    """A packet with pages names no block."""
    return named(units, values, b"")


@unit_fault("MF214", channel=-1, at=0, name="pc.nowhere")
def ramblock_unknown(units: Units, _context: Context, values: Values) -> Units:
    """A packet's block is not in the block list."""
    return named(units, values, values.name.encode())


@unit_fault("MF215", **ANY)
def ramblock_unterminated(units: Units, _context: Context, values: Values) -> Units:
    """A block name fills all 256 bytes."""
    return named(units, values, b"A" * 256)


@unit_fault("MF216", **ANY)
def ramblock_trailing(units: Units, context: Context, values: Values) -> Units:
    """Bytes after a block name's NUL are not zero."""
    block = next(iter(context.migration.ram.blocks))
    return named(units, values, block.encode() + b"\0stale")


def offsets(
    units: Units, values: Values, match: Match, change: Callable[[list[int], Packet], object]
) -> Units:
    """Changes the offsets of a packet; the function gets all entries of the array."""

    def on_packet(packet: Packet) -> None:
        entries = [*packet.offset, *(0,) * (packet.page_count - len(packet.offset))]
        change(entries, packet)
        packet.offset = entries

    return changed(units, values, match, on_packet)


@unit_fault("MF217", **ANY)
def offset_beyond_block(units: Units, context: Context, values: Values) -> Units:
    """An offset lies beyond the end of the block."""

    def change(entries: list[int], packet: Packet) -> None:
        blocks = context.migration.ram.blocks
        entries[0] = blocks.get(text_of(bytes(packet.ramblock)), max(blocks.values()))

    return offsets(units, values, is_ram(values), change)


@unit_fault("MF218", **ANY)
def offset_unaligned(units: Units, _context: Context, values: Values) -> Units:
    """An offset is not a multiple of the page size."""

    def change(entries: list[int], _packet: Packet) -> None:
        entries[0] += 512

    return offsets(units, values, is_ram(values), change)


@unit_fault("MF219", **ANY)
def offset_duplicate(units: Units, _context: Context, values: Values) -> Units:
    """An offset occurs twice in a packet."""

    def change(entries: list[int], _packet: Packet) -> None:
        entries[1] = entries[0]

    return offsets(units, values, is_ram(values, normal=2), change)


@unit_fault("MF220", **ANY)
def page_normal_and_zero(units: Units, _context: Context, values: Values) -> Units:
    """A page is both normal and zero in a packet."""

    def change(entries: list[int], packet: Packet) -> None:
        entries[packet.normal_pages] = entries[0]

    return offsets(units, values, is_ram(values, zero=1), change)


@unit_fault("MF221", **ANY)
def stale_offsets(units: Units, context: Context, values: Values) -> Units:
    """Unused offsets are not zero."""

    def change(entries: list[int], _packet: Packet) -> None:
        entries[-1] = context.migration.ram.page_size

    return offsets(units, values, is_ram(values, free=1), change)


@unit_fault("MF222", **ANY)
def reserved_nonzero(units: Units, _context: Context, values: Values) -> Units:
    """Reserved words of a packet are not zero."""
    return edit(units, nth(values, is_ram(values)), setting(unused64=b"\1" * 24))


# -- sizes ------------------------------------------------------------------------------------


@unit_fault("MF223", channel=-1, at=1, payload="pages")
def size_mismatch_nocomp(units: Units, context: Context, values: Values) -> Units:
    """next_packet_size is a page too small; the payload is as long as the ``pages`` need, or as
    the ``field`` says.
    """
    page = context.migration.ram.page_size
    pick = nth(values, is_ram(values, normal=2))

    def change(unit: Unit) -> None:
        assert unit.packet is not None
        unit.packet.next_packet_size -= page
        if values.payload == "field":
            unit.parts = (b"".join(unit.parts)[:-page],)

    return edit(units, pick, change)


@unit_fault("MF224", channel=-1, at=1)
def size_zero_with_pages(units: Units, _context: Context, values: Values) -> Units:
    """next_packet_size is 0 although pages follow."""
    return edit(units, nth(values, is_ram(values)), setting(next_packet_size=0))


@unit_fault("MF225", channel=0, round=1, size=4096)
def size_without_pages(units: Units, _context: Context, values: Values) -> Units:
    """A packet without normal pages has a size, but no payload."""
    pick = everyone(values, is_sync(values))
    return edit(units, pick, setting(next_packet_size=values.size))


@unit_fault("MF226", {"compression": "zlib"}, channel=-1, at=1)
def size_exceeds_buffer(units: Units, _context: Context, values: Values) -> Units:
    """A compressed payload is larger than the receiver's buffer of 1 MiB."""

    def change(unit: Unit) -> None:
        assert unit.packet is not None
        unit.parts = (b"".join(unit.parts).ljust(MIB + 1, b"\0"),)
        unit.packet.next_packet_size = MIB + 1

    return edit(units, nth(values, is_ram(values)), change)


# -- packet numbers ---------------------------------------------------------------------------


def renumbered(units: Units, values: Values, match: Match, by: int, onwards: bool) -> Units:
    """Adds ``by`` to the chosen packet's number; with ``onwards``, also to those of all later
    packets.
    """
    pick = nth(values, match)
    moving = False
    for unit in units:
        if unit.kind in ("ram", "sync"):
            assert unit.packet is not None
            found = pick(unit)
            moving |= found
            if found or (moving and onwards):
                unit.packet.packet_num += by
        yield unit


@unit_fault("MF228", channel=-1, at=3)
def packet_num_duplicate(units: Units, _context: Context, values: Values) -> Units:
    """A packet has the number of the one before it."""
    return renumbered(units, values, is_ram(values), -1, False)


@unit_fault("MF229", channel=-1, at=3, gap=5)
def packet_num_gap(units: Units, _context: Context, values: Values) -> Units:
    """Some packet numbers are skipped."""
    return renumbered(units, values, is_ram(values), values.gap, True)


@unit_fault("MF231", channel=-1, at=0, start=7)
def packet_num_start(units: Units, _context: Context, values: Values) -> Units:
    """The packet numbers do not begin with 0."""
    return renumbered(units, values, is_packet(values), values.start, True)


def overtaken(units: Units, pick: Match) -> Units:
    """Swaps the picked packet with the next one of its channel."""
    channel = ""

    def taken(unit: Unit) -> bool:
        nonlocal channel
        found = pick(unit)
        channel = unit.channel if found else channel
        return found

    return held(units, taken, lambda unit: unit.channel == channel)


@unit_fault("MF230", channel=0, at=1)
def packet_num_not_increasing(units: Units, _context: Context, values: Values) -> Units:
    """Two packets of a channel are swapped."""
    return overtaken(units, nth(values, is_ram(values)))


# -- pages over the whole migration -----------------------------------------------------------


@unit_fault("MF232", page_size=65536)
def page_size_conflict(units: Units, _context: Context, values: Values) -> Units:
    """The vmdescription has a different page size than the packets."""

    def change(unit: Unit) -> None:
        other = {"page_size": values.page_size}
        unit.parts = (records.redescribed(bytes(unit.parts[0]), lambda d: d.update(other)),)

    return edit(units, everyone(values, is_kind("vmdescription")), change)


@unit_fault("MF233", {"device": []})
def data_in_postcopy(units: Units, context: Context, values: Values) -> Units:
    """Pages on multifd after POSTCOPY_RUN."""
    page = context.migration.ram.page_size
    advise = records.command(
        records.POSTCOPY_ADVISE, page.to_bytes(8, "big") + page.to_bytes(8, "big")
    )
    run = records.packaged(
        records.command(records.POSTCOPY_LISTEN), records.command(records.POSTCOPY_RUN)
    )
    for unit in units:
        if unit.kind == "ram-start":
            yield Unit(MAIN, "postcopy-advise", parts=(advise,))
        yield unit
        if unit.kind == "switchover-start":
            values.hits += 1
            yield Unit(MAIN, "packaged", parts=(run,))


@unit_fault("MF235", {"channels": 3}, **ANY)
def page_twice_in_round(units: Units, context: Context, values: Values) -> Units:
    """A page is sent again on another channel without a SYNC in between."""

    def again(unit: Unit) -> Iterator[Unit]:
        assert unit.packet is not None
        other = context.another(unit.channel)
        block = text_of(bytes(unit.packet.ramblock))
        yield context.script.ram.data(other, Pages(block, unit.packet.offset[:1], []), unit.round)

    return after(units, nth(values, is_ram(values)), again)


@unit_fault("MF237", {"dialect": "rfc0"})
def unexpected_non_device_packet(units: Units, context: Context, values: Values) -> Units:
    """A RAM packet on a channel that is dedicated to device state."""

    def stray(_unit: Unit) -> Iterator[Unit]:
        for channel in context.script.dedicated[:1]:
            values.hits += 1
            yield context.script.ram.data(channel, first_pages(context))

    return after(units, is_kind("ram-start"), stray)


# -- synchronisation --------------------------------------------------------------------------


@unit_fault("MF301", **SYNC)
def sync_count_differs(units: Units, _context: Context, values: Values) -> Units:
    """One channel lacks a SYNC."""
    return unsent(units, everyone(values, is_sync(values)))


@unit_fault("MF302", extra=False)
def sync_vs_flush(units: Units, context: Context, values: Values) -> Units:
    """The last FLUSH is missing, or there is one more SYNC round than FLUSHes (``extra``)."""
    for unit in units:
        if unit.kind == "ram-end":
            values.hits += 1
            if values.extra:
                yield from context.script.sync_round()
            else:
                unit.parts = tuple(part for part in unit.parts if part != records.FLUSH)
        yield unit


@unit_fault("MF303")
def sync_mode_mixed(units: Units, context: Context, values: Values) -> Units:
    """A sync round before the EOS of every RAM section, as old senders do, and FLUSHes as well."""

    def bare(unit: Unit) -> bool:
        return unit.kind in ("ram-part", "ram-end") and records.FLUSH not in unit.parts

    return before(units, everyone(values, bare), lambda _unit: context.script.sync_round())


@unit_fault("MF304", {"channels": 0, "device": []})
def flush_without_multifd(units: Units, _context: Context, values: Values) -> Units:
    """FLUSH records on main in a migration without multifd."""

    def change(unit: Unit) -> None:
        unit.parts = (*unit.parts[:-2], records.FLUSH, *unit.parts[-2:])

    return edit(units, everyone(values, is_kind("ram-part", "ram-end")), change)


@unit_fault("MF305", channel=0, round=1, size=64)
def sync_packet_has_payload(units: Units, _context: Context, values: Values) -> Units:
    """Bytes follow a SYNC packet that carries no pages."""

    def change(unit: Unit) -> None:
        unit.parts = (b"\x5a" * values.size,)
        setting(next_packet_size=values.size)(unit)

    return edit(units, everyone(values, is_sync(values)), change)


@unit_fault("MF306", channel=0, round=0)
def sync_first(units: Units, context: Context, values: Values) -> Units:
    """A RAM packet before a channel's first SYNC."""

    def more(unit: Unit) -> Iterator[Unit]:
        assert unit.packet is not None
        number = unit.packet.packet_num
        made = context.script.ram.data(unit.channel, first_pages(context))
        assert made.packet is not None
        unit.packet.packet_num = made.packet.packet_num
        made.packet.packet_num = number
        yield made

    return before(units, everyone(values, is_sync(values)), more)


@unit_fault("MF307", channel=0)
def data_after_last_sync(units: Units, context: Context, values: Values) -> Units:
    """A RAM packet after a channel's last SYNC."""
    name = multifd(values.channel)
    last = context.script.last_round

    def match(unit: Unit) -> bool:
        return unit.kind == "sync" and unit.channel == name and unit.round == last

    def more(unit: Unit) -> Iterator[Unit]:
        yield context.script.ram.data(unit.channel, first_pages(context, 1))

    return after(units, everyone(values, match), more)


@unit_fault("MF308", {"dialect": "v1"})
def device_state_after_unpaired_sync(units: Units, context: Context, values: Values) -> Units:
    """After all RAM comes a sync round without FLUSH, followed by device state."""
    waiting: list[Unit] = []
    for unit in units:
        if unit.kind in ("buffer", "config") and not values.hits:
            waiting.append(unit)
            continue
        if unit.kind == "ram-end":
            values.hits += 1
            yield from context.script.sync_round()
            yield unit
            yield from waiting
            continue
        yield unit
