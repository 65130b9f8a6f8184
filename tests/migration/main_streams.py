"""Main streams put together byte by byte, and a way to feed them to a walker."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from analyzer.migration.main_channel import MainFacts
from analyzer.migration.main_walker import walk_main
from analyzer.tcp.reader import Reader
from analyzer.tcp.requests import Place
from dissectors.colo import ColoMessage
from dissectors.main_stream import (
    COMMAND,
    FILE_HEADER,
    FOOTER,
    MAGIC,
    MAPPED_RAM_HEADER,
    SECTION_VERSIONS,
    VERSION,
    Command,
    RamFlag,
    RecordType,
)
from dissectors.vfio import VfioTag

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from analyzer.migration.anomaly import AnomalyList
    from analyzer.tcp.requests import Walker

RAM_ID, VFIO_ID, CPU_ID, PIC_ID = 2, 37, 4, 7
PAGE = 4096
VFIO = b"0000:00:02.0/vfio"
EOS = int(RamFlag.EOS).to_bytes(8, "big")
FLUSH = int(RamFlag.MULTIFD_FLUSH).to_bytes(8, "big")
CPU_BODY = bytes(range(40)) * 3
PIC_BODY = b"\0\0\0\5~~~~\0\0\0\4\1"

Piece = bytes | int
"""Bytes of a stream, or a number of missing bytes."""


def header(version: int = VERSION) -> bytes:
    return FILE_HEADER.pack({"magic": MAGIC, "version": version})


def text(name: bytes) -> bytes:
    return bytes((len(name),)) + name


def u32(value: int) -> bytes:
    return value.to_bytes(4, "big")


def u64(value: int) -> bytes:
    return value.to_bytes(8, "big")


def subsection(name: bytes, body: bytes, version: int = 1) -> bytes:
    return b"\x05" + text(name) + u32(version) + body


def configuration(machine: bytes = b"pc-q35-10.0", *subsections: bytes) -> bytes:
    return b"\x07" + u32(len(machine)) + machine + b"".join(subsections)


def footer(section_id: int) -> bytes:
    return FOOTER.pack({"type": 0x7E, "section_id": section_id})


def named(
    kind: RecordType,
    section_id: int,
    idstr: bytes,
    body: bytes,
    instance: int = 0,
    version: int | None = None,
) -> bytes:
    if version is None:
        version = 4 if idstr == b"ram" else 1
    versions = SECTION_VERSIONS.pack({"instance_id": instance, "version_id": version})
    head = bytes((kind,)) + u32(section_id) + text(idstr) + versions
    return head + body + footer(section_id)


def start(section_id: int, idstr: bytes, body: bytes, instance: int = 0) -> bytes:
    return named(RecordType.SECTION_START, section_id, idstr, body, instance)


def full(section_id: int, idstr: bytes, body: bytes, instance: int = 0) -> bytes:
    return named(RecordType.SECTION_FULL, section_id, idstr, body, instance)


def part(section_id: int, body: bytes) -> bytes:
    return b"\x02" + u32(section_id) + body + footer(section_id)


def end(section_id: int, body: bytes) -> bytes:
    return b"\x03" + u32(section_id) + body + footer(section_id)


def command(number: Command | int, payload: bytes = b"") -> bytes:
    return COMMAND.pack({"type": 8, "command": number, "length": len(payload)}) + payload


def tag(which: VfioTag) -> bytes:
    return u64(which)


def data_state(content: bytes) -> bytes:
    return tag(VfioTag.DEV_DATA_STATE) + u64(len(content)) + content


END_OF_STATE = tag(VfioTag.END_OF_STATE)
SETUP = tag(VfioTag.DEV_SETUP_STATE) + END_OF_STATE


def config_state(space: int = 256) -> bytes:
    return tag(VfioTag.DEV_CONFIG_STATE) + u32(2) + bytes(space + 16) + END_OF_STATE


def record(address: int, flags: int, name: bytes | None = None, content: bytes = b"") -> bytes:
    """A RAM record; without a name it continues the block of the previous record."""
    again = RamFlag.CONTINUE if name is None else 0
    return u64(address | flags | again) + (b"" if name is None else text(name)) + content


def page(address: int, name: bytes | None = None, size: int = PAGE) -> bytes:
    return record(address, RamFlag.PAGE, name, bytes((address // size % 251,)) * size)


def zero(address: int, name: bytes | None = None, fill: int = 0) -> bytes:
    return record(address, RamFlag.ZERO, name, bytes((fill,)))


def mem_size(blocks: dict[bytes, int], extra: bytes = b"", total: int | None = None) -> bytes:
    rows = b"".join(text(name) + u64(size) + extra for name, size in blocks.items())
    return u64((sum(blocks.values()) if total is None else total) | RamFlag.MEM_SIZE) + rows


BLOCKS = {b"pc.ram": 16 * PAGE, b"vga.vram": 4 * PAGE}


def mapped_ram_header(bitmap_offset: int, pages_offset: int, version: int = 1) -> bytes:
    return MAPPED_RAM_HEADER.pack(
        {
            "version": version,
            "page_size": PAGE,
            "bitmap_offset": bitmap_offset,
            "pages_offset": pages_offset,
        }
    )


def vmdescription(devices: Iterable[dict[str, Any]] = (), text_: bytes | None = None) -> bytes:
    if text_ is None:
        text_ = json.dumps({"page_size": PAGE, "devices": list(devices)}).encode()
    return b"\x06" + u32(len(text_)) + text_


def buffer_device(name: str, size: int, instance: int = 0) -> dict[str, Any]:
    return {
        "name": name,
        "instance_id": instance,
        "size": size,
        "fields": [{"name": "data", "type": "buffer", "size": size}],
    }


OPENING = header() + configuration()
RAM_START = start(RAM_ID, b"ram", mem_size(BLOCKS) + EOS)
CPU = full(CPU_ID, b"cpu", CPU_BODY)
PIC = full(PIC_ID, b"i8259", PIC_BODY, 1)
DESCRIPTION = vmdescription(
    [buffer_device("cpu", len(CPU_BODY)), buffer_device("i8259", len(PIC_BODY), 1)]
)
CLOSING = CPU + PIC + b"\0" + DESCRIPTION


def plain() -> bytes:
    """No multifd: pages of every kind on main."""
    return (
        OPENING
        + RAM_START
        + part(RAM_ID, page(0, b"pc.ram") + page(PAGE) + zero(2 * PAGE) + zero(3 * PAGE) + EOS)
        + part(RAM_ID, page(PAGE, b"pc.ram") + zero(0, b"vga.vram") + page(PAGE) + EOS)
        + command(Command.SWITCHOVER_START)
        + end(RAM_ID, zero(8 * PAGE, b"pc.ram") + EOS)
        + CLOSING
    )


def with_vfio() -> bytes:
    """multifd, a device with transfer on and one with transfer off, return path."""
    other = b"0000:00:03.0/vfio"
    return (
        OPENING
        + command(Command.OPEN_RETURN_PATH)
        + command(Command.PING, u32(1))
        + start(RAM_ID, b"ram", mem_size(BLOCKS) + FLUSH + EOS)
        + start(VFIO_ID, VFIO, SETUP)
        + start(38, other, SETUP)
        + part(RAM_ID, FLUSH + EOS)
        + part(VFIO_ID, data_state(b"early" * 9) + END_OF_STATE)
        + part(38, tag(VfioTag.DEV_INIT_DATA_SENT))
        + command(Command.SWITCHOVER_START)
        + end(RAM_ID, FLUSH + EOS)
        + end(VFIO_ID, END_OF_STATE)
        + end(38, data_state(b"late") + data_state(b"state") + END_OF_STATE)
        + CPU
        + full(VFIO_ID, VFIO, END_OF_STATE)
        + full(38, other, config_state())
        + b"\0"
        + vmdescription(
            [
                buffer_device("cpu", len(CPU_BODY)),
                buffer_device(VFIO.decode(), 8),
                buffer_device(other.decode(), len(config_state())),
            ]
        )
    )


def postcopy() -> bytes:
    """The switch to postcopy: a packaged device state, then pages on demand."""
    inside = (
        command(Command.POSTCOPY_LISTEN)
        + CPU
        + PIC
        + command(Command.PING, u32(3))
        + command(Command.POSTCOPY_RUN)
    )
    discard = b"\0" + text(b"pc.ram") + b"\0" + u64(0) + u64(PAGE) + u64(4 * PAGE) + u64(PAGE)
    return (
        OPENING
        + command(Command.OPEN_RETURN_PATH)
        + command(Command.PING, u32(1))
        + command(Command.POSTCOPY_ADVISE, u64(PAGE) + u64(PAGE))
        + RAM_START
        + part(RAM_ID, page(0, b"pc.ram") + page(4 * PAGE) + EOS)
        + command(Command.SWITCHOVER_START)
        + command(Command.POSTCOPY_RAM_DISCARD, discard)
        + command(Command.PING, u32(2))
        + command(Command.PACKAGED, u32(len(inside)))
        + inside
        + command(Command.PING, u32(4))
        + part(RAM_ID, page(4 * PAGE, b"pc.ram") + page(0, b"pc.ram") + EOS)
        + end(RAM_ID, EOS)
        + b"\0"
    )


def colo(message: ColoMessage | int, size: int | None = None) -> bytes:
    """A COLO message; ``size`` is that of a VMSTATE_SIZE."""
    return u32(message) + (b"" if size is None else u64(size))


def checkpoint(
    memory: bytes,
    state: bytes = CPU + PIC + b"\0",
    size: int | None = None,
    *,
    ram_id: int = RAM_ID,
) -> bytes:
    """A whole checkpoint; it announces ``size`` bytes of device state, or as many as there are."""
    return (
        colo(ColoMessage.CHECKPOINT_REQUEST)
        + colo(ColoMessage.VMSTATE_SEND)
        + end(ram_id, memory + EOS)
        + b"\0"
        + colo(ColoMessage.VMSTATE_SIZE, len(state) if size is None else size)
        + state
    )


CHECKPOINT = checkpoint(page(3 * PAGE, b"pc.ram") + zero(0, b"vga.vram"))


def with_checkpoints() -> bytes:
    """COLO checkpoints behind the stream of a sender that sends no ENABLE_COLO."""
    return plain() + CHECKPOINT + checkpoint(b"")


STREAMS: dict[str, Callable[[], bytes]] = {
    "plain": plain,
    "vfio": with_vfio,
    "postcopy": postcopy,
    "colo": with_checkpoints,
}


def feed(start_walk: Callable[[Reader], Walker], pieces: Iterable[Piece]) -> Reader:
    """Run a walker over pieces, one frame per piece, to the end of the stream."""
    reader = Reader(start_walk)
    for number, piece in enumerate(pieces, 1):
        place = Place(number, number * 1000, 0)
        if isinstance(piece, int):
            reader.gap(piece, place)
        else:
            reader.feed(piece, place)
    reader.end()
    assert reader.done
    return reader


def walk(*pieces: Piece, **options: Any) -> MainFacts:
    """The facts of a stream given in pieces; asserts that every byte is accounted for."""
    main = MainFacts()
    feed(lambda reader: walk_main(reader, main, **options), pieces)
    there = sum(len(piece) for piece in pieces if isinstance(piece, bytes))
    assert main.decoded + main.skipped == there
    assert main.missing == sum(piece for piece in pieces if isinstance(piece, int))
    assert main.ended
    return main


def slugs(anomalies: AnomalyList) -> set[str]:
    return set(anomalies.counts)


def summary(main: MainFacts) -> dict[str, Any]:
    """The facts that must not depend on how the stream was split into pieces."""
    return {
        "records": [
            (r.kind, r.name, r.offset, r.length, r.section_id, r.broken, r.body, r.normal_pages)
            for r in main.records
        ],
        "anomalies": [(a.slug, a.offset, a.detail) for a in main.anomalies],
        "blocks": [
            (b.name, b.used_length, b.normal_pages, b.zero_pages) for b in main.ram.blocks.values()
        ],
        "iterations": [(i.pages, i.zero_pages, i.bytes, i.reason) for i in main.ram.iterations],
        "accounts": (main.decoded, main.skipped, main.missing),
        "devices": [(d.idstr, d.announced, d.main_bytes) for d in main.devices.values()],
        "description": main.description_bytes(),
        "truncated": main.truncated.offset if main.truncated is not None else None,
    }
