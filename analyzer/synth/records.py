"""Records of the main channel and of the return path, as bytes.

Wire-format page, sections 1.7, 5.3 and 6.
"""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any

from dissectors.vfio import VfioTag
from dissectors.vfio_config import (
    CAPABILITIES_AT,
    CAPABILITIES_BEGIN,
    CAPABILITIES_BIT,
    CONFIG_SPACE,
    PciCapability,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from analyzer.synth.scenario import Device

EOF = b"\x00"
START, PART, END, FULL = 1, 2, 3, 4
RAM_ID = 1
FIRST_DEVICE_ID = 0x25
TIMER_ID = 2
GLOBALSTATE_ID = 0x40

OPEN_RETURN_PATH, PING, SWITCHOVER_START = 1, 2, 11
POSTCOPY_ADVISE, POSTCOPY_LISTEN, POSTCOPY_RUN, PACKAGED = 3, 4, 5, 7
RP_SHUT, RP_PONG, RP_SWITCHOVER_ACK = 1, 2, 7

RAM_ZERO, RAM_MEM_SIZE, RAM_PAGE, RAM_EOS, RAM_CONTINUE = 0x02, 0x04, 0x08, 0x10, 0x20
EOS = struct.pack(">Q", RAM_EOS)
FLUSH = struct.pack(">Q", 0x200)
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


def header() -> bytes:
    """Magic and version."""
    return struct.pack(">II", 0x5145564D, 3)


def configuration(machine: str) -> bytes:
    """The CONFIGURATION record without subsections."""
    name = machine.encode()
    return struct.pack(">BI", 7, len(name)) + name


def command(number: int, payload: bytes = b"") -> bytes:
    """A COMMAND record."""
    return struct.pack(">BHH", 8, number, len(payload)) + payload


def ping(value: int) -> bytes:
    """The PING command."""
    return command(PING, struct.pack(">I", value))


def counted(name: str) -> bytes:
    """A name preceded by its length byte."""
    raw = name.encode()
    return bytes([len(raw)]) + raw


def section(kind: int, number: int, idstr: str = "", instance: int = 0, version: int = 0) -> bytes:
    """The head of a section; PART and END carry the section id alone."""
    head = struct.pack(">BI", kind, number)
    if kind in (START, FULL):
        head += counted(idstr) + struct.pack(">II", instance, version)
    return head


def footer(number: int) -> bytes:
    """The footer of a section."""
    return struct.pack(">BI", 0x7E, number)


def block_list(blocks: Mapping[str, int]) -> bytes:
    """MEM_SIZE and the blocks with their used lengths."""
    return struct.pack(">Q", sum(blocks.values()) | RAM_MEM_SIZE) + b"".join(
        counted(name) + struct.pack(">Q", size) for name, size in blocks.items()
    )


def zero_page(block: str, offset: int, again: bool) -> bytes:
    """A ZERO record; ``again``: same block as the record before."""
    flags = RAM_ZERO | (RAM_CONTINUE if again else 0)
    return struct.pack(">Q", offset | flags) + (b"" if again else counted(block)) + b"\0"


def page(block: str, offset: int, again: bool) -> bytes:
    """The head of a PAGE record; the page's content follows."""
    flags = RAM_PAGE | (RAM_CONTINUE if again else 0)
    return struct.pack(">Q", offset | flags) + (b"" if again else counted(block))


def tag(value: VfioTag) -> bytes:
    """A VFIO tag."""
    return struct.pack(">Q", value)


def data_state(size: int) -> bytes:
    """The tag and size that precede device data on the main channel."""
    return tag(VfioTag.DEV_DATA_STATE) + struct.pack(">Q", size)


def config_state(device: Device) -> bytes:
    """The embedded stream of a CONFIG_STATE buffer; 4132 bytes for a PCIe device without MSI-X."""
    space = bytearray(4096 if device.config == "pcie" else 256)
    struct.pack_into("<HH", space, 0, 0x1B36, 0x0010)
    msix = b""
    if device.msix:
        space[CONFIG_SPACE["status"].offset] = CAPABILITIES_BIT
        space[CAPABILITIES_AT] = CAPABILITIES_BEGIN
        entry = PciCapability.MSIX, 0, device.msix - 1
        struct.pack_into("<BBH", space, CAPABILITIES_BEGIN, *entry)
        msix = bytes(16 * device.msix + (device.msix + 7) // 8)
    return b"".join(
        (
            tag(VfioTag.DEV_CONFIG_STATE),
            struct.pack(">I", 2),
            bytes(space),
            bytes(16),
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
    text = json.dumps(described | {"page_size": page_size, "devices": entries}).encode()
    return struct.pack(">BI", 6, len(text)) + text


def redescribed(record: bytes, change: Callable[[dict[str, Any]], object]) -> bytes:
    """A VMDESCRIPTION record with its JSON changed."""
    described = json.loads(record[5:])
    change(described)
    text = json.dumps(described).encode()
    return struct.pack(">BI", 6, len(text)) + text


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
    return struct.pack(">HH", kind, len(payload)) + payload
