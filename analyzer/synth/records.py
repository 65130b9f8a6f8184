"""Records of the main channel and of the return path, as bytes.

Wire-format page, sections 1.7, 5.3 and 6.
"""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any

from dissectors import return_path
from dissectors.main_stream import (
    COMMAND,
    EOS_WORD,
    FILE_HEADER,
    FOOTER,
    FOOTER_BYTE,
    MAGIC,
    SECTION_ID,
    SECTION_VERSIONS,
    VERSION,
    Command,
    RamFlag,
    RecordType,
)
from dissectors.return_path import ReturnPathType
from dissectors.vfio import VfioTag
from dissectors.vfio_config import (
    CAPABILITIES_AT,
    CAPABILITIES_BEGIN,
    CAPABILITIES_BIT,
    CONFIG_SPACE,
    CONFIG_VERSION,
    CONVENTIONAL,
    EXPRESS,
    IRQ_STATE,
    MSIX_CAPABILITY,
    msix_size,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from analyzer.synth.scenario import Device

EOF = bytes((RecordType.EOF,))
START, PART, END, FULL = (
    RecordType.SECTION_START,
    RecordType.SECTION_PART,
    RecordType.SECTION_END,
    RecordType.SECTION_FULL,
)
RAM_ID = 1
FIRST_DEVICE_ID = 0x25
TIMER_ID = 2
GLOBALSTATE_ID = 0x40

OPEN_RETURN_PATH, PING, SWITCHOVER_START = (
    Command.OPEN_RETURN_PATH,
    Command.PING,
    Command.SWITCHOVER_START,
)
POSTCOPY_ADVISE, POSTCOPY_LISTEN, POSTCOPY_RUN, PACKAGED = (
    Command.POSTCOPY_ADVISE,
    Command.POSTCOPY_LISTEN,
    Command.POSTCOPY_RUN,
    Command.PACKAGED,
)
RP_SHUT, RP_PONG, RP_SWITCHOVER_ACK = (
    ReturnPathType.SHUT,
    ReturnPathType.PONG,
    ReturnPathType.SWITCHOVER_ACK,
)

EOS = EOS_WORD
FLUSH = struct.pack(">Q", RamFlag.MULTIFD_FLUSH)
END_OF_STATE = struct.pack(">Q", VfioTag.END_OF_STATE)

TIMER_FIELDS = [
    {"name": "cpu_ticks_offset", "type": "int64", "size": 8},
    {"name": "unused", "type": "unused_buffer", "size": 8},
    {"name": "cpu_clock_offset", "type": "int64", "size": 8},
]
GLOBALSTATE_FIELDS = [
    {"name": "size", "type": "uint32", "size": 4},
    {"name": "runstate", "type": "buffer", "size": 32},
    {"name": "has_vm_was_suspended", "type": "uint8", "size": 1},
    {"name": "vm_was_suspended", "type": "uint8", "size": 1},
    {"name": "unused", "type": "buffer", "size": 66},
]


def device_id(number: int) -> int:
    """The section id of a scenario's device: none that another section has."""
    ident = FIRST_DEVICE_ID + number
    return ident + (ident >= GLOBALSTATE_ID)


def header() -> bytes:
    """Magic and version."""
    return FILE_HEADER.struct.pack(MAGIC, VERSION)


def configuration(machine: str) -> bytes:
    """The CONFIGURATION record without subsections."""
    name = machine.encode()
    return struct.pack(">BI", RecordType.CONFIGURATION, len(name)) + name


def command(number: int, payload: bytes = b"") -> bytes:
    """A COMMAND record."""
    return COMMAND.struct.pack(RecordType.COMMAND, number, len(payload)) + payload


def ping(value: int) -> bytes:
    """The PING command."""
    return command(PING, struct.pack(">I", value))


def counted(name: str) -> bytes:
    """A name preceded by its length byte."""
    raw = name.encode()
    return bytes([len(raw)]) + raw


def section(kind: int, number: int, idstr: str = "", instance: int = 0, version: int = 0) -> bytes:
    """The head of a section; PART and END carry the section id alone."""
    head = SECTION_ID.struct.pack(kind, number)
    if kind in (START, FULL):
        head += counted(idstr) + SECTION_VERSIONS.struct.pack(instance, version)
    return head


def footer(number: int) -> bytes:
    """The footer of a section."""
    return FOOTER.struct.pack(FOOTER_BYTE, number)


def block_list(blocks: Mapping[str, int]) -> bytes:
    """MEM_SIZE and the blocks with their used lengths."""
    return struct.pack(">Q", sum(blocks.values()) | int(RamFlag.MEM_SIZE)) + b"".join(
        counted(name) + struct.pack(">Q", size) for name, size in blocks.items()
    )


def zero_page(block: str, offset: int, again: bool) -> bytes:
    """A ZERO record; ``again``: same block as the record before."""
    return page_record(RamFlag.ZERO, block, offset, again) + b"\0"


def page(block: str, offset: int, again: bool) -> bytes:
    """The head of a PAGE record; the page's content follows."""
    return page_record(RamFlag.PAGE, block, offset, again)


def page_record(kind: RamFlag, block: str, offset: int, again: bool) -> bytes:
    """What all page records begin with: offset and flags, and the block's name unless it is that
    of the record before (``again``).
    """
    flags = int(kind | RamFlag.CONTINUE if again else kind)
    return struct.pack(">Q", offset | flags) + (b"" if again else counted(block))


def tag(value: VfioTag) -> bytes:
    """A VFIO tag."""
    return struct.pack(">Q", value)


def data_state(size: int) -> bytes:
    """The tag and size that precede device data on the main channel."""
    return tag(VfioTag.DEV_DATA_STATE) + struct.pack(">Q", size)


def config_state(device: Device) -> bytes:
    """The embedded stream of a CONFIG_STATE buffer; 4132 bytes for a PCIe device without MSI-X."""
    space = bytearray(EXPRESS if device.config == "pcie" else CONVENTIONAL)
    struct.pack_into("<HH", space, 0, 0x1B36, 0x0010)
    msix = b""
    if device.msix:
        space[CONFIG_SPACE["status"].offset] = CAPABILITIES_BIT
        space[CAPABILITIES_AT] = CAPABILITIES_BEGIN
        entry = MSIX_CAPABILITY, 0, device.msix - 1
        struct.pack_into("<BBH", space, CAPABILITIES_BEGIN, *entry)
        msix = bytes(msix_size(device.msix))
    return b"".join(
        (
            tag(VfioTag.DEV_CONFIG_STATE),
            struct.pack(">I", CONFIG_VERSION),
            bytes(space),
            bytes(IRQ_STATE),
            msix,
            END_OF_STATE,
        )
    )


def timer() -> bytes:
    """The FULL section of the timer, an ordinary device."""
    body = struct.pack(">q8xq", 0x3C47C9CB8, 0x17384091A)
    return section(FULL, TIMER_ID, "timer", 0, 2) + body + footer(TIMER_ID)


def globalstate() -> bytes:
    """The FULL section that carries the run state."""
    body = struct.pack(">I32sBB66s", 8, b"running", 0, 0, b"")
    return section(FULL, GLOBALSTATE_ID, "globalstate", 0, 1) + body + footer(GLOBALSTATE_ID)


def vmdescription(
    machine: str, page_size: int, devices: Iterable[tuple[Device, int]], configured: bool = True
) -> bytes:
    """The VMDESCRIPTION record; ``devices`` with the size of the body of their FULL section."""
    config = {
        "vmsd_name": "configuration",
        "version": 1,
        "fields": [
            {"name": "len", "type": "uint32", "size": 4},
            {"name": "name", "type": "buffer", "size": len(machine.encode())},
        ],
    }
    entries: list[dict[str, Any]] = [entry("timer", 2, TIMER_FIELDS)]
    entries += [
        {
            "name": device.idstr,
            "instance_id": device.instance_id,
            "size": size,
            "fields": [{"name": "data", "size": size, "type": "buffer"}],
        }
        for device, size in devices
    ]
    entries.append(entry("globalstate", 1, GLOBALSTATE_FIELDS))
    described: dict[str, Any] = {"configuration": config} if configured else {}
    return description(described | {"page_size": page_size, "devices": entries})


def redescribed(record: bytes, change: Callable[[dict[str, Any]], object]) -> bytes:
    """A VMDESCRIPTION record with its JSON changed."""
    described = json.loads(record[5:])
    change(described)
    return description(described)


def description(described: dict[str, Any]) -> bytes:
    """A VMDESCRIPTION record with this JSON."""
    text = json.dumps(described).encode()
    return struct.pack(">BI", RecordType.VMDESCRIPTION, len(text)) + text


def packaged(*parts: bytes) -> bytes:
    """The PACKAGED command with an embedded stream."""
    return command(PACKAGED, struct.pack(">I", sum(map(len, parts)))) + b"".join(parts)


def entry(name: str, version: int, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The description of a device with one vmstate."""
    return {
        "name": name,
        "instance_id": 0,
        "vmsd_name": name,
        "version": version,
        "fields": rows,
    }


def message(kind: int, payload: bytes = b"") -> bytes:
    """A message of the return path."""
    return return_path.HEADER.struct.pack(kind, len(payload)) + payload
