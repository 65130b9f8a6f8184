"""Faults of connections and initial packets, and the ways in which a migration ends early.

Wire-format page, sections 1 and 2; rules MF1xx.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from analyzer.synth import records
from analyzer.synth.faults import unit_fault
from analyzer.synth.picking import (
    PACKETS,
    after,
    close_all,
    cut,
    drop,
    edit,
    ended,
    everyone,
    is_init,
    is_kind,
    is_packet,
    nth,
    setting,
    unsent,
)
from analyzer.synth.script import multifd
from analyzer.synth.units import MAIN, Unit, encode
from dissectors.scapy_layers import MultiFDInit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from analyzer.synth.faults import Context, Units, Values
    from analyzer.synth.picking import Match


# -- initial packets --------------------------------------------------------------------------


@unit_fault("MF101", channel=0, magic=0xDEADBEEF)
def init_magic(units: Units, _context: Context, values: Values) -> Units:
    """The magic of an initial packet is wrong."""
    return edit(units, everyone(values, is_init(values)), setting(magic=values.magic))


@unit_fault("MF102", channel=0, version=2)
def init_version(units: Units, _context: Context, values: Values) -> Units:
    """The version of an initial packet is wrong."""
    return edit(units, everyone(values, is_init(values)), setting(version=values.version))


@unit_fault("MF103", channel=0, keep=20)
def init_short(units: Units, _context: Context, values: Values) -> Units:
    """A channel's stream ends inside the initial packet."""
    return ended(units, everyone(values, is_init(values)), lambda _unit: int(values.keep))


@unit_fault("MF104", channel=1, uuid="00000000-0000-0000-0000-00000000beef")
def uuid_mismatch(units: Units, _context: Context, values: Values) -> Units:
    """One channel's initial packet has the uuid of another guest."""
    return edit(units, everyone(values, is_init(values)), setting(uuid=UUID(values.uuid)))


@unit_fault("MF105")
def uuid_zero(units: Units, _context: Context, values: Values) -> Units:
    """The guest has no uuid: it is zero on every channel."""
    pick = everyone(values, is_kind("init"))
    return edit(units, pick, setting(uuid=UUID(int=0)))


@unit_fault("MF106", channel=1, id=0)
def init_duplicate_id(units: Units, _context: Context, values: Values) -> Units:
    """A channel has the same id as another."""
    return edit(units, everyone(values, is_init(values)), setting(id=values.id))


@unit_fault("MF107", {"channels": 3}, channel=1)
def init_id_gap(units: Units, context: Context, values: Values) -> Units:
    """A channel's connection does not exist; the others carry its packets."""
    name = multifd(values.channel)
    other = context.another(name)
    kept = (unit for unit in units if unit.channel != name or unit.kind != "fin")
    return rerouted(kept, values, other)


@unit_fault("MF108", channel=1, id=9)
def init_id_out_of_count(units: Units, _context: Context, values: Values) -> Units:
    """A channel's id is greater than or equal to the number of channels."""
    return edit(units, everyone(values, is_init(values)), setting(id=values.id))


@unit_fault("MF109", channel=0)
def init_reserved_nonzero(units: Units, _context: Context, values: Values) -> Units:
    """Reserved bytes of an initial packet are not zero."""
    return edit(units, everyone(values, is_init(values)), setting(unused1=b"\1" * 7))


# -- connections ------------------------------------------------------------------------------


@unit_fault("MF110")
def main_missing(units: Units, _context: Context, values: Values) -> Units:
    """The main connection is not in the capture."""
    return drop(units, everyone(values, lambda unit: unit.channel == MAIN))


@unit_fault("MF111")
def multifd_missing(units: Units, _context: Context, values: Values) -> Units:
    """No multifd connection is in the capture."""
    return drop(units, everyone(values, lambda unit: unit.channel != MAIN))


@unit_fault("MF112")
def channel_count_mismatch(units: Units, context: Context, values: Values) -> Units:
    """The source has one channel more than the destination, which resets it and gives up."""
    extra = multifd(len(context.script.shared) + len(context.script.dedicated))
    for unit in units:
        if unit.kind == "ram-start":
            values.hits += 1
            yield cut(unit, len(b"".join(encode(unit))) - 5)
            yield from close_all(context, "server")
            return
        if unit.kind == "qevm":
            yield Unit(extra, "open")
            packet = MultiFDInit(uuid=context.script.uuid, id=int(extra.split()[1]))
            yield Unit(extra, "init", packet)
            yield Unit(extra, "rst", side="server")
        yield unit


@unit_fault("MF113", channel=0, at=1, size=16)
def channel_reverse_data(units: Units, _context: Context, values: Values) -> Units:
    """The destination sends bytes on a multifd channel."""

    def reply(unit: Unit) -> Iterator[Unit]:
        yield Unit(unit.channel, "reverse", parts=(bytes(values.size),), side="server")

    return after(units, nth(values, is_packet(values)), reply)


@unit_fault("MF114")
def roles_swapped(units: Units, _context: Context, values: Values) -> Units:
    """The main connection is opened after the multifd ones."""
    pick = everyone(values, lambda unit: unit.channel == MAIN and unit.kind == "open")
    opened: list[Unit] = []
    for unit in units:
        if pick(unit):
            opened.append(unit)
            continue
        if opened and unit.channel == MAIN:
            yield from opened
            opened = []
        yield unit


@unit_fault("MF115", channel=0)
def channel_unterminated(units: Units, _context: Context, values: Values) -> Units:
    """A channel ends without a FIN."""
    name = multifd(values.channel)
    return drop(units, everyone(values, lambda unit: unit.kind == "fin" and unit.channel == name))


@unit_fault("MF116", {"channels": 3}, channel=1, at=2)
def channel_ended_early(units: Units, context: Context, values: Values) -> Units:
    """The source closes a channel after some packets; the others carry the rest."""
    name = multifd(values.channel)
    other = context.another(name)
    yield from up_to(units, nth(values, is_packet(values)))
    yield Unit(name, "fin")
    kept = unsent(units, lambda unit: unit.kind == "sync" and unit.channel == name)
    yield from rerouted(kept, values, other)


@unit_fault("MF117", channel=0, at=4)
def channel_reset(units: Units, context: Context, values: Values) -> Units:
    """The destination resets one channel; the migration fails."""
    yield from up_to(units, nth(values, is_packet(values)))
    name = multifd(values.channel)
    yield Unit(name, "rst", side="server")
    yield from (unit for unit in close_all(context, "server") if unit.channel != name)


@unit_fault("MF120", {"dialect": "rfc0"}, channel=0, type=7)
def rfc0_channel_type(units: Units, _context: Context, values: Values) -> Units:
    """A channel header names a type that does not exist."""
    name = multifd(values.channel)

    def match(unit: Unit) -> bool:
        return unit.kind == "channel-header" and unit.channel == name

    return edit(units, everyone(values, match), setting(channel_type=values.type))


@unit_fault("MF121", {"device": []})
def preempt_unannounced(units: Units, context: Context, values: Values) -> Units:
    """A connection without magic, like a postcopy preempt channel, although postcopy is not
    announced.
    """
    block = next(iter(context.migration.ram.blocks))
    record = records.page(block, 0, again=False)
    page = context.script.pattern.pages(0, context.migration.ram.page_size)

    def opened(_unit: Unit) -> Iterator[Unit]:
        yield Unit("preempt", "open")
        yield Unit("preempt", "urgent", parts=(record, page))
        yield Unit("preempt", "fin")
        yield Unit("preempt", "fin", side="server")

    return after(units, everyone(values, is_kind("switchover-start")), opened)


# -- endings ----------------------------------------------------------------------------------


@unit_fault("MF118", at=6, cut_packet=True)
def cancelled(units: Units, context: Context, values: Values) -> Units:
    """The source cancels: main is closed inside a record, a packet is truncated."""
    pick = nth(values, is_kind(*PACKETS))
    for unit in units:
        if pick(unit):
            if values.cut_packet:
                yield cut(unit, len(b"".join(encode(unit))) // 2)
            break
        yield unit
    yield Unit(MAIN, "cut", parts=(records.section(records.PART, records.RAM_ID)[:3],))
    yield from close_all(context)


@unit_fault("MF203 MF509", {"return_path": False}, device=0, index=1, keep=5000)
def devstate_cut_off(units: Units, context: Context, values: Values) -> Units:
    """The source completes main, then closes the channels before all device state is sent."""

    def late(unit: Unit) -> bool:
        return (
            unit.device == values.device
            and unit.kind in ("buffer", "config")
            and (unit.index or 0) >= values.index
        )

    pick = everyone(values, late)
    waiting: list[Unit] = []
    for unit in units:
        if pick(unit):
            waiting.append(unit)
            continue
        yield unit
        if unit.kind == "vmdescription" and waiting:
            yield cut(waiting[0], values.keep)
            yield from close_all(context)
            return


@unit_fault("MF117", at=6)
def destination_reset(units: Units, context: Context, values: Values) -> Units:
    """The destination dies: it resets every connection, and nothing follows."""
    return reset_by(units, context, values, "server")


@unit_fault("MF117", at=6)
def source_reset(units: Units, context: Context, values: Values) -> Units:
    """The source dies or is yanked: it resets every connection."""
    return reset_by(units, context, values, "client")


@unit_fault("MF704", error=1)
def rp_shut_error(units: Units, context: Context, values: Values) -> Units:
    """The destination reports that it failed: SHUT with a value other than 0."""
    for unit in units:
        if unit.kind == "shut":
            values.hits += 1
            yield context.script.reply("shut", records.RP_SHUT, values.error)
        else:
            yield unit


@unit_fault("MF906")
def destination_hangs(units: Units, _context: Context, values: Values) -> Units:
    """The destination waits forever: it sends no SHUT, and no connection is closed."""
    return drop(units, everyone(values, is_kind("shut", "fin")))


# -- parts of the above -----------------------------------------------------------------------


def rerouted(units: Units, values: Values, other: str) -> Units:
    """Packets of ``channel`` move to another one, its SYNCs are dropped; the server's FIN is
    kept.
    """
    name = multifd(values.channel)
    for unit in units:
        if unit.channel != name:
            yield unit
        elif unit.kind in ("ram", "buffer", "config"):
            values.hits += 1
            unit.channel = other
            yield unit
        elif unit.kind == "fin" and unit.side == "server":
            yield unit


def reset_by(units: Units, context: Context, values: Values, side: str) -> Units:
    """Everything up to the chosen packet, then an RST on every connection."""
    yield from up_to(units, nth(values, is_kind(*PACKETS)))
    script = context.script
    for channel in (MAIN, *script.shared, *script.dedicated):
        yield Unit(channel, "rst", side=side)


def up_to(units: Units, pick: Match) -> Units:
    """The units up to and including the picked one."""
    for unit in units:
        yield unit
        if pick(unit):
            return
