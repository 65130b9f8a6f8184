"""A fault put into a real capture is found, and nothing else that is not its consequence.

Each case changes bytes of a migration that QEMU really made; what must be told stands beside it.
"""

from __future__ import annotations

import functools
import struct
from typing import TYPE_CHECKING

import pytest

from analyzer.analysis import analyze
from tests.edited import (
    ALLOC,
    BLOCK,
    DEVICE_SIZE,
    FIXED,
    FLAGS,
    IDSTR,
    INSTANCE,
    NORMAL,
    NUM,
    SIZE,
    ZERO,
    Stream,
    Unit,
    put_together,
    take_apart,
)
from tests.shipped import capture

if TYPE_CHECKING:
    from collections.abc import Callable

UPSTREAM, SERIES = "10.0.13-vfio-many-small-buffers-4ch", "derived-v1-vfio-3dev-4ch"
MARKS = {UPSTREAM: (0x40, ">I"), SERIES: (0x10, "<I")}
"""The flag of device state, and the order of VFIO's words."""


class Edit:
    """A migration to be edited: its streams by what they are."""

    def __init__(self, name: str, streams: list[Stream]) -> None:
        self.flag, self.order = MARKS[name]
        self.streams = [stream.copy() for stream in streams]
        self.channels = [s for s in self.streams if s.units[0].kind == "init"]
        self.main = next(s for s in self.streams if s.units[0].kind == "bytes")

    def first(
        self, kind: str, wanted: Callable[[Unit], bool] = lambda _: True, skip: int = 0
    ) -> Unit:
        """The first packet of a kind that is wanted."""
        return self.place(kind, wanted, skip)[1]

    def place(
        self, kind: str, wanted: Callable[[Unit], bool] = lambda _: True, skip: int = 0
    ) -> tuple[list[Unit], Unit]:
        """It, and the packets of its channel."""
        for stream in self.channels:
            for unit in stream.units:
                if unit.kind == kind and wanted(unit):
                    if not skip:
                        return stream.units, unit
                    skip -= 1
        raise LookupError(kind)

    def word(self, unit: Unit, number: int) -> int:
        """Version, index or flags of a buffer."""
        value: int = struct.unpack_from(self.order, unit.payload, 4 * number)[0]
        return value

    def put(self, unit: Unit, number: int, value: int) -> None:
        """Write it."""
        struct.pack_into(self.order, unit.payload, 4 * number, value)

    def data(self, index: int | None = None) -> tuple[list[Unit], Unit]:
        """A data buffer, the first or the one of that index, and the packets of its channel."""
        return self.place(
            "device",
            lambda u: not self.word(u, 2) & 1 and index in (None, self.word(u, 1)),
        )

    def config(self) -> tuple[list[Unit], Unit]:
        """A config state."""
        return self.place("device", lambda u: self.word(u, 2) & 1 == 1)


@functools.cache
def real(name: str) -> list[Stream]:
    return take_apart(capture(name), MARKS[name][0])


def found_in(name: str, edit: Callable[[Edit], object]) -> dict[str, str]:
    """The rules that fire on it then, each with its gravest severity."""
    migration = Edit(name, real(name))
    edit(migration)
    findings = analyze(put_together(migration.streams)).findings
    order = ("info", "warning", "error")
    told: dict[str, str] = {}
    for finding in sorted(findings, key=lambda f: order.index(f.severity)):
        told[finding.rule.id] = finding.severity
    return told


def pages(unit: Unit) -> bool:
    return unit[NORMAL] > 2


def roomy(unit: Unit) -> bool:
    return 0 < unit[NORMAL] + unit[ZERO] < 100


def flags(edit: Edit, kind: str, bits: int, wanted: Callable[[Unit], bool] = pages) -> None:
    unit = edit.first(kind, wanted if kind == "ram" else lambda _: True)
    unit[FLAGS] ^= bits


def words(edit: Edit, at: int, value: int, wanted: Callable[[Unit], bool] = pages) -> None:
    edit.first("ram", wanted)[at] = value


def raw(edit: Edit, kind: str, at: int, data: bytes) -> None:
    wanted = pages if kind == "ram" else lambda _: True
    edit.first(kind, wanted).head[at : at + len(data)] = data


def first_allocs(edit: Edit) -> None:
    for stream in edit.channels:
        next(unit for unit in stream.units if unit.kind == "sync")[ALLOC] = 200


def init(edit: Edit, at: int, byte: int) -> None:
    edit.channels[1].units[0].head[at] = byte


def offset(edit: Edit, change: Callable[[Unit], int]) -> None:
    unit = edit.first("ram", pages)
    unit.set_number(FIXED, change(unit))


def without(units: tuple[list[Unit], Unit]) -> None:
    units[0].remove(units[1])


def again(units: tuple[list[Unit], Unit]) -> Unit:
    packets, unit = units
    packets.insert(packets.index(unit) + 1, unit.copy())
    return packets[packets.index(unit) + 1]


def without_round(edit: Edit) -> None:
    for stream in edit.channels:
        stream.units.remove([unit for unit in stream.units if unit.kind == "sync"][-1])


def closed_early(edit: Edit) -> None:
    stream = edit.channels[0]
    first = next(at for at, unit in enumerate(stream.units) if unit.kind == "sync")
    del stream.units[first + 1 :]
    stream.closed = {"client": stream.units[-1].time}


def cut(edit: Edit) -> None:
    packets, unit = edit.place("ram", pages)
    del packets[packets.index(unit) + 1 :], unit.payload[100:]


def resized(edit: Edit, size: int) -> None:
    _, unit = edit.data()
    unit.payload[:] = unit.payload[:size].ljust(size, b"\0")
    unit[DEVICE_SIZE] = size


def sizes_without_header(edit: Edit) -> None:
    for stream in edit.channels:
        for unit in stream.units:
            if unit.kind == "device":
                unit[DEVICE_SIZE] -= 12


def above(edit: Edit) -> None:
    packets, unit = edit.config()
    later = unit.copy()
    edit.put(later, 1, edit.word(unit, 1) + 1)
    edit.put(later, 2, 0)
    packets.insert(packets.index(unit), later)


def backwards(edit: Edit) -> None:
    _, unit = edit.data(2)
    unit.payload[4:8] = unit.payload[4:8][::-1]


def swapped_numbers(edit: Edit) -> None:
    for stream in edit.channels:
        first, second = [unit for unit in stream.units if unit.kind == "ram"][:2]
        one, other = first.number(), second.number()
        first.set_number(NUM, other)
        second.set_number(NUM, one)
        return


def nothing_of_a_device(edit: Edit) -> None:
    name = bytes(edit.first("device").head[IDSTR:INSTANCE])
    for stream in edit.channels:
        stream.units = [u for u in stream.units if bytes(u.head[IDSTR:INSTANCE]) != name]


def on_main(change: Callable[[bytes], bytes]) -> Callable[[Edit], None]:
    """An edit of the bytes of main."""

    def edit(migration: Edit) -> None:
        units = migration.main.units
        changed = change(b"".join(bytes(unit.head) for unit in units))
        for unit in units:
            unit.head, changed = bytearray(changed[: len(unit.head)]), changed[len(unit.head) :]
        units[-1].head += changed

    return edit


def replaced(old: bytes, new: bytes, at: int = 0) -> Callable[[Edit], None]:
    """Bytes of main replaced where they stand first, ``at`` bytes further on."""

    def change(stream: bytes) -> bytes:
        begin = stream.index(old) + at
        return stream[:begin] + new + stream[begin + len(new) :]

    return on_main(change)


def removed(old: bytes, size: int = 0, at: int = 0) -> Callable[[Edit], None]:
    """Bytes of main left out: all of ``old``, or ``size`` of them, ``at`` bytes behind."""

    def change(stream: bytes) -> bytes:
        begin = stream.index(old) + at
        return stream[:begin] + stream[begin + (size or len(old)) :]

    return on_main(change)


LOST = {"MF506", "MF508", "MF509"}
FAULTS: dict[str, tuple[Callable[[Edit], object], set[str], set[str]]] = {
    # what is done: (how, rules that must be told, rules that may be told of what follows from it)
    "init magic": (lambda e: init(e, 0, 0x12), {"MF101"}, set()),
    "init version": (lambda e: init(e, 7, 2), {"MF102"}, set()),
    "another uuid": (lambda e: init(e, 9, 0x55), {"MF104"}, set()),
    "id twice": (lambda e: init(e, 24, e.channels[0].units[0].head[24]), {"MF106"}, set()),
    "id too large": (lambda e: init(e, 24, 77), {"MF108"}, set()),
    "closed early": (closed_early, {"MF116"}, {"MF301", *LOST}),
    "answer": (lambda e: e.channels[0].answers.append(Unit("bytes", 0, b"hi")), {"MF113"}, set()),
    "magic": (lambda e: raw(e, "ram", 2, b"\0"), {"MF201"}, set()),
    "version": (lambda e: raw(e, "ram", 7, b"\3"), {"MF202"}, set()),
    "magic of a buffer's packet": (lambda e: raw(e, "device", 2, b"\0"), {"MF201"}, set()),
    "version of a buffer's packet": (lambda e: raw(e, "device", 7, b"\3"), {"MF202"}, set()),
    "cut": (cut, {"MF203"}, {"MF116", "MF229", "MF301", *LOST}),
    "two methods": (lambda e: flags(e, "ram", 6), {"MF204"}, set()),
    "another method": (lambda e: flags(e, "ram", 2), {"MF205"}, set()),
    "unknown flags": (lambda e: flags(e, "ram", 0x20000), {"MF206"}, set()),
    "SYNC with pages": (lambda e: flags(e, "ram", 1), {"MF208"}, {"MF301", "MF302", "MF308"}),
    "SYNC without its flag": (lambda e: flags(e, "sync", 1), {"MF227"}, {"MF301"}),
    "alloc too large": (lambda e: words(e, ALLOC, 500), {"MF209"}, set()),
    "alloc of the first packets": (first_allocs, {"MF209"}, set()),
    "alloc smaller": (lambda e: words(e, ALLOC, 120, roomy), {"MF210"}, set()),
    "too many pages": (lambda e: words(e, NORMAL, 200), {"MF211"}, {"MF223"}),
    "too many zero pages": (lambda e: words(e, ZERO, 200), {"MF212"}, set()),
    "no block": (lambda e: raw(e, "ram", BLOCK, bytes(256)), {"MF213"}, set()),
    "unknown block": (lambda e: raw(e, "ram", BLOCK, b"XX"), {"MF214"}, set()),
    "block without end": (lambda e: raw(e, "ram", BLOCK, b"a" * 256), {"MF215"}, {"MF214"}),
    "beyond the block": (lambda e: offset(e, lambda _: 1 << 40), {"MF217"}, set()),
    "crooked offset": (lambda e: offset(e, lambda u: u.number(FIXED) + 1), {"MF218"}, set()),
    "offset twice": (lambda e: offset(e, lambda u: u.number(FIXED + 8)), {"MF219"}, set()),
    "size of the payload": (lambda e: words(e, SIZE, 4096 * 60), {"MF223"}, set()),
    "size 0": (lambda e: words(e, SIZE, 0), {"MF224"}, set()),
    "size without pages": (
        lambda e: words(e, SIZE, 4096, lambda u: not u[NORMAL]), {"MF225"}, set(),
    ),
    "numbers swapped": (swapped_numbers, {"MF230"}, set()),
    "packet lost": (lambda e: without(e.place("ram", pages)), {"MF229"}, set()),
    "packet twice": (lambda e: again(e.place("ram", pages)), {"MF228", "MF230"}, set()),
    "more behind the end": (
        lambda e: e.channels[0].units.append(Unit("bytes", 1 << 62, b"no packet at all")),
        {"MF236"}, set(),
    ),
    "SYNC lost": (lambda e: without(e.place("sync", skip=1)), {"MF301"}, {"MF229", "MF307"}),
    "round lost": (without_round, {"MF302"}, {"MF229", "MF307"}),
    "payload behind SYNC": (
        lambda e: e.first("sync", skip=1).payload.extend(bytes(4096)), {"MF305"}, set(),
    ),
    "SYNC of device state": (lambda e: flags(e, "device", 1), {"MF401"}, set()),
    "idstr without end": (lambda e: raw(e, "device", IDSTR, b"q" * 256), {"MF403"},
                          {"MF405"}),  # in the series, where MF403 is but a warning
    "unknown device": (lambda e: raw(e, "device", IDSTR, b"9999"), {"MF405"}, set()),
    "another instance": (lambda e: raw(e, "device", INSTANCE, b"\0\0\0\3"), {"MF405"}, set()),
    "no flag": (lambda e: flags(e, "device", e.flag), {"MF408"}, set()),
    "flag of device state": (lambda e: flags(e, "ram", 0x40), {"MF402"}, set()),
    "flag of device state in SYNC": (lambda e: flags(e, "sync", 0x40), {"MF402"}, set()),
    "sizes without the header": (sizes_without_header, {"MF201", "MF515"}, {"MF236"}),
    "mixed flags": (lambda e: flags(e, "device", 0x50), {"MF408"}, set()),
    "nothing of a device": (nothing_of_a_device, {"MF413"}, set()),
    "short": (lambda e: resized(e, 8), {"MF501"}, LOST),
    "VFIO version": (lambda e: e.put(e.data()[1], 0, 1), {"MF502"}, set()),
    "one backwards": (backwards, {"MF503"}, {"MF506"}),
    "highest index": (lambda e: e.put(e.data()[1], 1, 0xFFFFFFFF), {"MF504"}, LOST),
    "buffer twice": (lambda e: again(e.data()), {"MF505"}, set()),
    "buffer lost": (lambda e: without(e.data(2)), {"MF506"}, set()),
    "first buffer lost": (lambda e: without(e.data(0)), {"MF508"}, set()),
    "config lost": (lambda e: without(e.config()), {"MF509"}, set()),
    "config not said": (lambda e: e.put(e.config()[1], 2, 0), {"MF509"}, set()),
    "data above the config": (above, {"MF507", "MF511"}, {"MF526"}),
    "unknown VFIO flags": (lambda e: e.put(e.data()[1], 2, 4), {"MF512"}, set()),
    "no data": (lambda e: resized(e, 12), {"MF513"}, set()),
    "config tag": (lambda e: e.config()[1].payload.__setitem__(19, 9), {"MF514"}, set()),
    "config end": (lambda e: e.config()[1].payload.__setitem__(-1, 9), {"MF515"}, set()),
    "config version": (lambda e: e.config()[1].payload.__setitem__(23, 3), {"MF517"}, set()),
    "large": (lambda e: resized(e, 3 << 20), {"MF409"}, set()),
    "huge index": (lambda e: e.put(e.data()[1], 1, 50_000_000), {"MF521"}, LOST),
}  # fmt: skip


@pytest.mark.parametrize("name", MARKS)
def test_taken_apart_and_put_together_it_is_as_good(name: str) -> None:
    told = found_in(name, lambda _: None)
    assert set(told.values()) == {"info"}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", MARKS)
def test_a_fault_is_found(name: str, fault: str) -> None:
    edit, wanted, allowed = FAULTS[fault]
    told = found_in(name, edit)
    assert wanted <= set(told), told
    grave = {rule for rule, severity in told.items() if severity != "info"}
    assert grave <= wanted | allowed, told


def told_of(edit: Callable[[Edit], object], rule: str) -> str:
    """The message of the only finding of a rule."""
    migration = Edit(UPSTREAM, real(UPSTREAM))
    edit(migration)
    findings = analyze(put_together(migration.streams)).findings
    (message,) = [finding.message for finding in findings if finding.rule.id == rule]
    return message


def state_counted(edit: Edit) -> None:
    """A sender that gives device-state packets a number, too."""
    states = sum(unit.kind == "device" for stream in edit.channels for unit in stream.units)
    for stream in edit.channels:
        last = [unit for unit in stream.units if unit.kind == "sync"][-1]
        last.set_number(NUM, last.number() + states)


def test_as_many_numbers_are_missing_as_there_are_device_state_packets() -> None:
    assert "there are as many device-state packets" in told_of(state_counted, "MF229")


def sizes_swapped(edit: Edit) -> None:
    for stream in edit.channels:
        for unit in stream.units:
            if unit.kind == "device":
                size = bytes(unit.head[DEVICE_SIZE:])
                unit.head[DEVICE_SIZE:] = size[::-1]


def test_a_size_in_the_wrong_byte_order_is_told_where_it_cuts_the_state_off() -> None:
    migration = Edit(UPSTREAM, real(UPSTREAM))
    sizes_swapped(migration)
    worst = analyze(put_together(migration.streams)).findings[0]
    assert worst.rule.id == "MF509"
    assert "(next_packet_size in the other byte order: " in worst.message


def test_a_tag_behind_the_one_that_ends_the_body_of_vfio_is_named() -> None:
    end = struct.pack(">Q", 0xFFFFFFFFEF100001)
    full = b"\x110000:00:02.0/vfio" + struct.pack(">II", 0, 1) + end

    def edit(stream: bytes) -> bytes:
        at = stream.rindex(full) + len(full)
        return stream[: at - 8] + end[:7] + b"\6" + stream[at - 8 :]

    assert "another VFIO tag" in told_of(on_main(edit), "MF610")


def far_number(edit: Edit) -> None:
    edit.first("ram", pages).set_number(NUM, 1 << 40)


def packets_lost(edit: Edit) -> None:
    for _ in range(3):  # more than there are SYNC rounds
        without(edit.place("ram", pages))


@pytest.mark.parametrize(
    ("fault", "told_of_it"), [(far_number, {"MF229", "MF230"}), (packets_lost, {"MF229"})]
)
def test_numbers_that_are_missing_do_not_excuse_a_lost_buffer(
    fault: Callable[[Edit], None], told_of_it: set[str]
) -> None:
    def both(edit: Edit) -> None:
        fault(edit)
        without(edit.data(2))

    told = found_in(UPSTREAM, both)
    assert {rule for rule, severity in told.items() if severity != "info"} == told_of_it | {"MF506"}


FOOTER, FLUSH, EOS = b"\x7e\0\0\0", struct.pack(">Q", 0x200), struct.pack(">Q", 0x10)
SWITCHOVER, SETUP = b"\x08\0\x0b\0\0", struct.pack(">Q", 0xFFFFFFFFEF100003)
ON_MAIN: dict[str, tuple[Callable[[Edit], object], set[str], set[str]]] = {
    "magic": (replaced(b"QEVM", b"QEVX"), {"MF601"}, set()),
    "version": (replaced(b"QEVM", b"\2", 7), {"MF602"}, set()),
    "cut": (on_main(lambda b: b[: b.index(SWITCHOVER) + 3]), {"MF604"}, set()),
    "more behind the end": (on_main(lambda b: b + b"more"), {"MF606"}, set()),
    "EOF too early": (replaced(SWITCHOVER, b"\0"), {"MF606"}, set()),
    "no record": (replaced(FOOTER, b"\x99", 5), {"MF607"}, set()),
    "no type of a section": (replaced(b"\x06fw_cfg", b"\x33", -5), {"MF607"}, set()),
    "no record in place of a footer": (replaced(EOS + FOOTER, b"\x33" * 5, 8), {"MF610"}, set()),
    "no footer": (removed(FOOTER, 5), {"MF610"}, set()),
    "another footer": (replaced(FOOTER, b"\x55", 4), {"MF611"}, set()),
    "no SWITCHOVER_START": (removed(SWITCHOVER), {"MF617"}, {"MF410"}),
    "unknown command": (replaced(SWITCHOVER, b"\x77", 1), {"MF614"}, {"MF410", "MF617"}),
    "FLUSH forgotten": (removed(FLUSH), {"MF302"}, {"MF303"}),
    "RAM flags": (replaced(FLUSH, b"\x06\x02", 6), {"MF619"}, {"MF302"}),
    "length of a block": (replaced(b"\x06pc.ram", b"\x09", 10), {"MF622"}, {"MF214"}),
    "no EOS": (removed(EOS + FOOTER, 8), {"MF626"}, set()),
    "unknown VFIO tag": (replaced(SETUP, b"\x77", 7), {"MF629"}, set()),
    "no JSON": (replaced(b'"devices"', b"devizes;"), {"MF637"}, set()),
    "another description": (replaced(b'"name": "timer"', b"x", 9), {"MF637"}, set()),
    "length of the description": (replaced(b'{"', b"\0\x99", -4), {"MF636"}, set()),
}


@pytest.mark.parametrize("fault", ON_MAIN)
def test_a_fault_of_main_is_found(fault: str) -> None:
    edit, wanted, allowed = ON_MAIN[fault]
    told = found_in(UPSTREAM, edit)
    assert wanted <= set(told), told
    grave = {rule for rule, severity in told.items() if severity != "info"}
    assert grave <= wanted | allowed, told


EXCUSED_BY_MAIN: dict[str, tuple[Callable[[Edit], object], set[str]]] = {
    # what could be excused by bytes of main that cannot be decoded: (how, all that is told of it)
    "unknown block": (FAULTS["unknown block"][0], {"MF214"}),
    "unknown device": (FAULTS["unknown device"][0], {"MF405"}),
    "round lost": (without_round, {"MF302", "MF229", "MF307"}),
    "no SWITCHOVER_START": (removed(SWITCHOVER), {"MF617", "MF410"}),
}


def told_beside(fault: str, damage: str) -> set[str]:
    """The errors and warnings about a fault beside a damage of main."""

    def both(migration: Edit) -> None:
        EXCUSED_BY_MAIN[fault][0](migration)
        ON_MAIN[damage][0](migration)

    return {rule for rule, severity in found_in(UPSTREAM, both).items() if severity != "info"}


@pytest.mark.parametrize("fault", EXCUSED_BY_MAIN)
def test_a_damaged_description_of_main_excuses_nothing(fault: str) -> None:
    told = told_beside(fault, "length of the description")
    assert told == EXCUSED_BY_MAIN[fault][1] | {"MF636"}


@pytest.mark.parametrize("fault", ["unknown block", "unknown device"])
def test_what_cannot_be_decoded_behind_the_setup_excuses_no_unknown_name(fault: str) -> None:
    told = told_beside(fault, "no type of a section")
    assert told == EXCUSED_BY_MAIN[fault][1] | {"MF607"}
