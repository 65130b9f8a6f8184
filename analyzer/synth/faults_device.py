"""Faults of device-state packets and of the VFIO buffers in them.

Wire-format page, sections 4 and 5; rules MF4xx and MF5xx.  ``device`` is the number of a device in
the scenario, ``index`` a buffer's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from analyzer.synth import records
from analyzer.synth.faults import unit_fault
from analyzer.synth.picking import (
    after,
    drop,
    edit,
    everyone,
    held,
    is_buffer,
    is_kind,
    is_record,
)
from analyzer.synth.units import Unit, vfio_header
from dissectors.multifd import MultifdFlag
from dissectors.scapy_layers import VFIODeviceStatePacket, VFIODeviceStatePacketHost
from dissectors.vfio import BUFFER, BUFFER_DATA_MAX, IDX_MAX, VfioTag

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from scapy.packet import Packet

    from analyzer.synth.faults import Context, Units, Values
    from analyzer.synth.pattern import Bytes
    from analyzer.synth.scenario import Device

ONE: dict[str, Any] = {"device": 0, "index": 1}
CONFIG: dict[str, Any] = {"device": 0, "index": -1}
DEVICE_STATE = ("buffer", "config")


def changed(units: Units, values: Values, change: Callable[[Packet], object]) -> Units:
    """The chosen buffer with its device-state packet changed."""

    def on_unit(unit: Unit) -> None:
        assert unit.packet is not None
        change(unit.packet)

    return edit(units, everyone(values, is_buffer(values)), on_unit)


def resized(unit: Unit, *parts: Bytes) -> None:
    """Give the unit other data, and its packet the matching size."""
    assert unit.packet is not None
    unit.parts = parts
    unit.packet.next_packet_size = BUFFER.size + sum(map(len, parts))


def added(units: Units, values: Values, change: Callable[[Unit], object]) -> Units:
    """A changed copy after the chosen buffer, which stays unchanged."""

    def copy(unit: Unit) -> Iterator[Unit]:
        other = unit.copy()
        change(other)
        yield other

    return after(units, everyone(values, is_buffer(values)), copy)


def of_device(values: Values) -> Callable[[Unit], bool]:
    """All device-state packets of ``device``."""
    return lambda unit: unit.kind in DEVICE_STATE and unit.device == values.device


def on_multifd(context: Context, values: Values) -> Device | None:
    """The ``device``, if there is one of that number whose state goes over multifd."""
    device = dict(enumerate(context.migration.device)).get(values.device)
    return device if device is not None and context.migration.uses_multifd(device) else None


# -- the packet -------------------------------------------------------------------------------


@unit_fault("MF401", **ONE)
def devstate_with_sync(units: Units, _context: Context, values: Values) -> Units:
    """SYNC and DEVICE_STATE in one packet."""
    return flagged(units, values, MultifdFlag.SYNC)


@unit_fault("MF407", **ONE)
def devstate_compression_bits(units: Units, _context: Context, values: Values) -> Units:
    """A device-state packet names a compression method."""
    return flagged(units, values, MultifdFlag.ZLIB)


def flagged(units: Units, values: Values, flags: int) -> Units:
    """The chosen packet with additional flags."""

    def change(packet: Packet) -> None:
        packet.flags = int(packet.flags) | flags

    return changed(units, values, change)


@unit_fault("MF402", **ONE)
def devstate_empty(units: Units, _context: Context, values: Values) -> Units:
    """An additional device-state packet without payload."""

    def change(unit: Unit) -> None:
        assert unit.packet is not None
        unit.packet.remove_payload()
        unit.packet.next_packet_size = 0
        unit.parts = ()

    return added(units, values, change)


@unit_fault("MF403", device=0)
def devstate_idstr_unterminated(units: Units, context: Context, values: Values) -> Units:
    """The same state again with an idstr that fills all 256 bytes."""
    device = on_multifd(context, values)
    return units if device is None else for_another(units, values, device.idstr.ljust(256, "x"))


@unit_fault("MF404", **ONE)
def devstate_idstr_trailing(units: Units, _context: Context, values: Values) -> Units:
    """Bytes after an idstr's NUL are not zero."""

    def change(packet: Packet) -> None:
        packet.idstr = bytes(packet.idstr).rstrip(b"\0") + b"\0stale"

    return changed(units, values, change)


@unit_fault("MF405", device=0, idstr="0000:00:1f.7/vfio")
def devstate_unknown_device(units: Units, _context: Context, values: Values) -> Units:
    """The same state again for a device that main never started."""
    return for_another(units, values, values.idstr)


@unit_fault("MF406", device=0, idstr="timer")
def devstate_no_handler(units: Units, _context: Context, values: Values) -> Units:
    """The same state again for a device that is not a VFIO device."""
    return for_another(units, values, values.idstr)


def for_another(units: Units, values: Values, idstr: str) -> Units:
    """Every packet of ``device`` is followed by a copy for another idstr."""

    def copy(unit: Unit) -> Iterator[Unit]:
        other = unit.copy()
        assert other.packet is not None
        other.packet.idstr = idstr
        yield other

    return after(units, everyone(values, of_device(values)), copy)


@unit_fault("MF408", **ONE)
def devstate_dialect_mixed(units: Units, _context: Context, values: Values) -> Units:
    """One packet has the device-state flag of another revision."""

    def change(packet: Packet) -> None:
        now = int(packet.flags) & MultifdFlag.DEVICE_STATE
        packet.flags = int(MultifdFlag.UADK if now else MultifdFlag.DEVICE_STATE)

    return changed(units, values, change)


@unit_fault("MF409 MF518", **ONE)
def devstate_size_implausible(units: Units, context: Context, values: Values) -> Units:
    """A buffer larger than the 1 MiB that a sender puts in one."""
    return larger(units, context, values, 3 * BUFFER_DATA_MAX)


@unit_fault("MF518 MF409", **ONE)
def vfio_buffer_large(units: Units, context: Context, values: Values) -> Units:
    """A buffer one page larger than 1 MiB."""
    return larger(units, context, values, BUFFER_DATA_MAX + 4096)


def larger(units: Units, context: Context, values: Values, size: int) -> Units:
    """The chosen buffer with ``size`` bytes of data."""

    def change(unit: Unit) -> None:
        piece = context.script.pattern.pages(values.index, 4096)
        resized(unit, *([piece] * (size // 4096)))

    return edit(units, everyone(values, is_buffer(values)), change)


# -- against the main channel -----------------------------------------------------------------


@unit_fault("MF410")
def devstate_without_switchover(units: Units, _context: Context, values: Values) -> Units:
    """SWITCHOVER_START is missing."""
    return drop(units, everyone(values, is_kind("switchover-start")))


@unit_fault("MF411")
def devstate_before_switchover(units: Units, _context: Context, values: Values) -> Units:
    """SWITCHOVER_START is captured after the first device-state packet."""
    pick = everyone(values, is_kind("switchover-start"))
    return held(units, pick, is_kind(*DEVICE_STATE))


@unit_fault("MF412", **ONE)
def devstate_after_main_end(units: Units, _context: Context, values: Values) -> Units:
    """Buffers from ``index`` on come after the end of main."""

    def late(unit: Unit) -> bool:
        return of_device(values)(unit) and (unit.index or 0) >= values.index

    return held(units, everyone(values, late), is_kind("vmdescription"))


@unit_fault("MF413", device=0)
def devstate_announced_missing(units: Units, _context: Context, values: Values) -> Units:
    """Main announces that the state is on multifd, but there is none."""
    return drop(units, everyone(values, of_device(values)))


@unit_fault("MF414 MF631", device=0)
def devstate_unannounced(units: Units, context: Context, values: Values) -> Units:
    """The FULL section has the config state, although the state is on multifd."""
    device = on_multifd(context, values)
    return units if device is None else full_body(units, values, records.config_state(device))


def full_body(units: Units, values: Values, body: bytes) -> Units:
    """Replaces the body of the device's FULL section, and its size in the description."""
    pick = everyone(values, is_record("vfio-full", values))

    def describe(described: dict[str, Any]) -> None:
        entry = described["devices"][1 + values.device]
        entry["size"] = entry["fields"][0]["size"] = len(body)

    for unit in units:
        if pick(unit):
            unit.parts = (unit.parts[0], body, unit.parts[-1])
        elif unit.kind == "vmdescription":
            unit.parts = (records.redescribed(bytes(unit.parts[0]), describe),)
        yield unit


@unit_fault("MF416", {"channels": 3})
def devstate_single_channel(units: Units, context: Context, values: Values) -> Units:
    """All device state is on the first channel."""

    def change(unit: Unit) -> None:
        unit.channel = context.script.shared[0]

    return edit(units, everyone(values, is_kind(*DEVICE_STATE)), change)


@unit_fault("MF524", {"dialect": "10.1"}, **CONFIG)
def vfio_config_load_ready_mismatch(units: Units, _context: Context, values: Values) -> Units:
    """DEV_CONFIG_LOAD_READY on main, but no config state on multifd."""
    body = records.tag(VfioTag.DEV_CONFIG_LOAD_READY)
    return drop(full_body(units, values, body), is_buffer(values))


# -- the VFIO header --------------------------------------------------------------------------


@unit_fault("MF501", device=0, index=1, size=5)
def vfio_short(units: Units, _context: Context, values: Values) -> Units:
    """An additional packet whose payload is too short for a VFIO header."""

    def change(unit: Unit) -> None:
        assert unit.packet is not None
        unit.packet.remove_payload()
        unit.packet.next_packet_size = values.size
        unit.parts = (bytes(values.size),)

    return added(units, values, change)


def header(units: Units, values: Values, **fields: int) -> Units:
    """The chosen buffer with fields of its VFIO header set."""

    def change(unit: Unit) -> None:
        for name, value in fields.items():
            vfio_header(unit).setfieldval(name, value)

    return edit(units, everyone(values, is_buffer(values)), change)


@unit_fault("MF502", device=0, index=1, version=1)
def vfio_version(units: Units, _context: Context, values: Values) -> Units:
    """The version of a VFIO header is wrong."""
    return header(units, values, version=values.version)


@unit_fault("MF503", device=0, index=1, whole=False)
def vfio_byte_order(units: Units, _context: Context, values: Values) -> Units:
    """A buffer's VFIO header has the other byte order; with ``whole``, all headers of the
    device.
    """
    match = of_device(values) if values.whole else is_buffer(values)

    def change(unit: Unit) -> None:
        assert unit.packet is not None
        old = vfio_header(unit)
        host = isinstance(old, VFIODeviceStatePacketHost)
        kind = VFIODeviceStatePacket if host else VFIODeviceStatePacketHost
        new = kind(version=old.version, idx=old.idx, flags=int(old.flags))
        unit.packet.remove_payload()
        unit.packet.add_payload(new)

    return edit(units, everyone(values, match), change)


@unit_fault("MF512", device=0, index=1, flags=0x80)
def vfio_flags_unknown(units: Units, _context: Context, values: Values) -> Units:
    """A VFIO header has unknown flags."""
    return header(units, values, flags=values.flags)


@unit_fault("MF513", **ONE)
def vfio_data_empty(units: Units, _context: Context, values: Values) -> Units:
    """A buffer without data."""
    return edit(units, everyone(values, is_buffer(values)), resized)


# -- indices ----------------------------------------------------------------------------------


def renumbering(index: Callable[[int], int]) -> Callable[[Unit], None]:
    """Changes a buffer's index as ``index`` says."""

    def change(unit: Unit) -> None:
        made = vfio_header(unit)
        made.idx = index(made.idx)

    return change


@unit_fault("MF504", **ONE)
def vfio_idx_max(units: Units, _context: Context, values: Values) -> Units:
    """An additional buffer with index 0xffffffff."""
    return added(units, values, renumbering(lambda _index: IDX_MAX))


@unit_fault("MF521", device=0, index=1, idx=50_000_000)
def vfio_idx_huge(units: Units, _context: Context, values: Values) -> Units:
    """An additional buffer with an index far above all others."""
    return added(units, values, renumbering(lambda _index: int(values.idx)))


@unit_fault("MF505", **ONE)
def vfio_idx_duplicate(units: Units, _context: Context, values: Values) -> Units:
    """A buffer is sent twice."""
    return added(units, values, lambda _unit: None)


@unit_fault("MF506", **ONE)
def vfio_idx_gap(units: Units, _context: Context, values: Values) -> Units:
    """A buffer is lost: never sent."""
    return drop(units, everyone(values, is_buffer(values)))


@unit_fault("MF507 MF511", **CONFIG)
def vfio_idx_above_last(units: Units, _context: Context, values: Values) -> Units:
    """An additional data buffer with an index above the config state's."""

    def change(unit: Unit) -> None:
        made = vfio_header(unit)
        made.idx += 1
        made.flags = 0

    return added(units, values, change)


@unit_fault("MF508", device=0)
def vfio_idx_start(units: Units, _context: Context, values: Values) -> Units:
    """The indices of a device begin with 1."""
    change = renumbering(lambda index: index + 1)
    return edit(units, everyone(values, of_device(values)), change)


@unit_fault("", device=0, index=0, other=2)
def vfio_idx_swapped(units: Units, _context: Context, values: Values) -> Units:
    """Two buffers have swapped indices: the state is out of order, undetectably."""
    pair = {values.index: values.other, values.other: values.index}

    def match(unit: Unit) -> bool:
        return unit.kind == "buffer" and unit.device == values.device and unit.index in pair

    yield from edit(units, everyone(values, match), renumbering(lambda index: int(pair[index])))
    if values.hits < len(pair):
        values.hits = 0  # one alone is a gap, not a swap


@unit_fault("MF509", **CONFIG)
def vfio_no_config(units: Units, _context: Context, values: Values) -> Units:
    """The config state is missing."""
    return drop(units, everyone(values, is_buffer(values)))


@unit_fault("MF510", **CONFIG)
def vfio_config_twice(units: Units, _context: Context, values: Values) -> Units:
    """The config state occurs twice, with two indices."""
    return added(units, values, renumbering(lambda index: index + 1))


@unit_fault("MF511 MF505", **CONFIG)
def vfio_config_not_last(units: Units, _context: Context, values: Values) -> Units:
    """The config state has the index of the last data buffer."""
    change = renumbering(lambda index: index - 1)
    return edit(units, everyone(values, is_buffer(values)), change)


# -- the config state -------------------------------------------------------------------------


def config(units: Units, values: Values, change: Callable[[bytearray], object]) -> Units:
    """The config state's data, changed."""

    def on_unit(unit: Unit) -> None:
        data = bytearray(b"".join(unit.parts))
        change(data)
        resized(unit, bytes(data))

    return edit(units, everyone(values, is_buffer(values)), on_unit)


def overwriting(at: int, new: bytes) -> Callable[[bytearray], None]:
    """Writes ``new`` at a place, counted from the end if negative."""

    def change(data: bytearray) -> None:
        start = at % len(data)
        data[start : start + len(new)] = new

    return change


@unit_fault("MF514", **CONFIG)
def vfio_config_header(units: Units, _context: Context, values: Values) -> Units:
    """The config state does not begin with its tag."""
    return config(units, values, overwriting(0, bytes(8)))


@unit_fault("MF515", **CONFIG)
def vfio_config_end(units: Units, _context: Context, values: Values) -> Units:
    """The config state does not end with END_OF_STATE."""
    return config(units, values, overwriting(-8, bytes(8)))


@unit_fault("MF516", device=0, index=-1, size=24)
def vfio_config_size(units: Units, _context: Context, values: Values) -> Units:
    """The config state is longer than its parts account for."""

    def change(data: bytearray) -> None:
        data[-8:-8] = bytes(values.size)

    return config(units, values, change)


@unit_fault("MF517", device=0, index=-1, version=3)
def vfio_config_version(units: Units, _context: Context, values: Values) -> Units:
    """The PCI device state in the config state has another version."""
    return config(units, values, overwriting(8, int(values.version).to_bytes(4, "big")))


# -- order ------------------------------------------------------------------------------------


@unit_fault("MF523 MF522", {"interleave": "packet"}, device=0, index=0, distance=2, seconds=0.0)
def vfio_reordered(units: Units, _context: Context, values: Values) -> Units:
    """A buffer comes late: after ``distance`` later ones of its device and some seconds."""
    passed = 0

    def enough(unit: Unit) -> bool:
        nonlocal passed
        passed += values.hits > 0 and of_device(values)(unit)
        return passed >= int(values.distance)

    def pick(unit: Unit) -> bool:
        found = is_buffer(values)(unit)
        values.hits += found
        if found:
            unit.wait = int(values.seconds * 1e9)
        return found

    return held(units, pick, enough)


@unit_fault("MF525", {"interleave": "packet"}, **ONE)
def vfio_config_before_data(units: Units, _context: Context, values: Values) -> Units:
    """The config state comes before the buffers from ``index`` on."""

    def late(unit: Unit) -> bool:
        own = unit.kind == "buffer" and unit.device == values.device
        return own and (unit.index or 0) >= values.index

    def released(unit: Unit) -> bool:
        return unit.kind == "config" and unit.device == values.device

    return held(units, everyone(values, late), released)
