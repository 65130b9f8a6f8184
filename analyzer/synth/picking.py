"""Building blocks of faults: choosing units, and changing, dropping, delaying and repeating
them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from analyzer.synth.script import multifd
from analyzer.synth.units import MAIN, Unit, encode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from analyzer.synth.faults import Context, Units, Values

    Match = Callable[[Unit], bool]
    Change = Callable[[Unit], object]

PACKETS = ("ram", "sync", "buffer", "config")

__all__ = [
    "PACKETS",
    "after",
    "before",
    "close_all",
    "cut",
    "drop",
    "edit",
    "ended",
    "everyone",
    "held",
    "is_buffer",
    "is_init",
    "is_kind",
    "is_packet",
    "is_ram",
    "is_record",
    "is_sync",
    "nth",
    "setting",
    "unsent",
    "without_channel",
]


# -- choosing ---------------------------------------------------------------------------------


def nth(values: Values, match: Match) -> Match:
    """The unit number ``at`` (from 0) of those that match; counts the hit."""
    left = int(values.at)

    def pick(unit: Unit) -> bool:
        nonlocal left
        if left < 0 or not match(unit):
            return False
        left -= 1
        values.hits += left < 0
        return left < 0

    return pick


def everyone(values: Values, match: Match) -> Match:
    """All units that match; counts the hits."""

    def pick(unit: Unit) -> bool:
        found = match(unit)
        values.hits += found
        return found

    return pick


def on_channel(values: Values) -> Match:
    """Units of the multifd channel ``channel``, of any if it is negative."""
    name = multifd(values.channel)
    return lambda unit: unit.channel == name or (values.channel < 0 and unit.channel != MAIN)


def is_kind(*names: str) -> Match:
    """Units of these kinds."""
    return lambda unit: unit.kind in names


def is_init(values: Values) -> Match:
    """The initial packet of ``channel``."""
    on = on_channel(values)
    return lambda unit: unit.kind == "init" and on(unit)


def is_packet(values: Values) -> Match:
    """Any packet of ``channel`` but the initial one."""
    on = on_channel(values)
    return lambda unit: unit.kind in PACKETS and on(unit)


def is_ram(values: Values, *, normal: int = 1, zero: int = 0, free: int = 0) -> Match:
    """RAM packets of ``channel`` with at least the given numbers of normal, zero and unused
    entries.
    """
    on = on_channel(values)

    def match(unit: Unit) -> bool:
        packet = unit.packet
        if unit.kind != "ram" or packet is None or not on(unit):
            return False
        used = packet.normal_pages + packet.zero_pages
        enough = packet.normal_pages >= normal and packet.zero_pages >= zero
        return bool(enough and packet.page_count - used >= free)

    return match


def is_sync(values: Values) -> Match:
    """The SYNC packet of round ``round`` on ``channel``."""
    on = on_channel(values)
    return lambda unit: unit.kind == "sync" and unit.round == values.round and on(unit)


def is_buffer(values: Values) -> Match:
    """The device-state packet of ``device`` with ``index``; -1 stands for the config state."""

    def match(unit: Unit) -> bool:
        if unit.device != values.device:
            return False
        if values.index < 0:
            return unit.kind == "config"
        return unit.kind == "buffer" and unit.index == values.index

    return match


def is_record(kind: str, values: Values) -> Match:
    """The record of that kind that belongs to ``device``."""
    return lambda unit: unit.kind == kind and unit.device == values.device


# -- changing ---------------------------------------------------------------------------------


def setting(**fields: Any) -> Change:
    """Sets fields of the packet."""

    def change(unit: Unit) -> None:
        assert unit.packet is not None
        for name, value in fields.items():
            unit.packet.setfieldval(name, value)

    return change


def edit(units: Units, pick: Match, change: Change) -> Units:
    """Change the picked units."""
    for unit in units:
        if pick(unit):
            change(unit)
        yield unit


def drop(units: Units, pick: Match) -> Units:
    """Drop the picked units."""
    return (unit for unit in units if not pick(unit))


def unsent(units: Units, pick: Match) -> Units:
    """RAM and SYNC packets that are never filled, so that their numbers go to later ones."""
    lost = 0
    for unit in units:
        if pick(unit):
            lost += 1
            continue
        if unit.kind in ("ram", "sync"):
            assert unit.packet is not None
            unit.packet.packet_num -= lost
        yield unit


def after(units: Units, pick: Match, make: Callable[[Unit], Iterator[Unit]]) -> Units:
    """Add units after the picked ones."""
    for unit in units:
        yield unit
        if pick(unit):
            yield from make(unit)


def before(units: Units, pick: Match, make: Callable[[Unit], Iterator[Unit]]) -> Units:
    """Add units before the picked ones."""
    for unit in units:
        if pick(unit):
            yield from make(unit)
        yield unit


def held(units: Units, pick: Match, release: Match) -> Units:
    """Hold back the picked units until a unit that releases them, or the first FIN."""
    waiting: list[Unit] = []
    for unit in units:
        if unit.kind == "fin":
            yield from waiting
            waiting = []
        if pick(unit):
            waiting.append(unit)
            continue
        yield unit
        if waiting and release(unit):
            yield from waiting
            waiting = []
    yield from waiting


def cut(unit: Unit, keep: int) -> Unit:
    """A unit that writes only the first ``keep`` bytes."""
    data = b"".join(encode(unit))[:keep]
    return Unit(unit.channel, "cut", parts=(data,), side=unit.side)


def without_channel(units: Units, channel: str) -> Units:
    """Drop all further actions of the client on a channel."""
    return (unit for unit in units if unit.channel != channel or unit.side == "server")


def ended(units: Units, pick: Match, keep: Callable[[Unit], int]) -> Units:
    """The picked unit is truncated after some bytes and its channel closed; the others continue."""
    for unit in units:
        if pick(unit):
            yield cut(unit, keep(unit))
            yield Unit(unit.channel, "fin")
            yield from without_channel(units, unit.channel)
            return
        yield unit


def close_all(context: Context, first: str = "client") -> Iterator[Unit]:
    """FINs on every connection, main first, from both sides."""
    script = context.script
    second = "server" if first == "client" else "client"
    channels = [MAIN, *script.shared, *script.dedicated]
    for side in (first, second):
        yield from (Unit(channel, "fin", side=side, wait=1_000_000) for channel in channels)
