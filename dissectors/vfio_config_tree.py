"""The config state of a VFIO PCI device as a tree of fields.

Wire-format page, section 5.3.
"""

from __future__ import annotations

from enum import IntEnum

from dissectors.main_stream import SUBSECTION_BYTE
from dissectors.multifd import text_of
from dissectors.tree import Node, bytes_text, field_node, layout_tree
from dissectors.vfio_config import (
    CONFIG_SPACE,
    IRQ_STATE,
    MSIX_CAPABILITY,
    MSIX_ENTRY,
    TAG,
    VERSION,
    msix_size,
    parse_config,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from dissectors.vfio_config import ConfigState

__all__ = ["PciCapability", "config_tree"]


class PciCapability(IntEnum):
    """Ids of the capabilities that a config space lists."""

    PM = 0x01
    AGP = 0x02
    VPD = 0x03
    SLOTID = 0x04
    MSI = 0x05
    CHSWP = 0x06
    PCIX = 0x07
    HT = 0x08
    VNDR = 0x09
    DBG = 0x0A
    CCRC = 0x0B
    SHPC = 0x0C
    SSVID = 0x0D
    AGP3 = 0x0E
    SECDEV = 0x0F
    EXP = 0x10
    MSIX = MSIX_CAPABILITY
    SATA = 0x12
    AF = 0x13
    EA = 0x14


def config_tree(data: bytes, offset: int = 0) -> list[Node]:
    """The fields of the config state that begins at ``offset`` and fills the rest of ``data``.

    Offsets of nodes count from the beginning of ``data``.
    """
    state = parse_config(data[offset:])
    if len(data) - offset < state.space_at:
        return [Node("config state", bytes_text(data[offset:]), offset, len(data) - offset)]
    nodes = [field_node(TAG, data, offset), field_node(VERSION, data, offset + TAG.size)]
    end = offset + state.end_at
    at = offset + state.space_at
    if state.space_size:
        nodes.append(_space_node(state, data, at))
        at += state.space_size
        irq = [
            Node(f"irq_state[{i}]", str(int.from_bytes(data[p : p + 4], "big")), p, 4)
            for i, p in enumerate(range(at, at + IRQ_STATE, 4))
        ]
        nodes.append(Node("irq_state", "", at, IRQ_STATE, irq, "INTA to INTD"))
        at += IRQ_STATE
        if state.msix_entries:
            nodes.append(_msix_node(state, at, end))
        at = offset + state.rest_at
    if at < end:
        nodes.append(_rest_node(data, at, end))
    if end < len(data):
        nodes.append(field_node(TAG, data, end))
    return nodes


def _space_node(state: ConfigState, data: bytes, at: int) -> Node:
    children = layout_tree(CONFIG_SPACE, data, at)
    for kind, where in state.capabilities:
        known = kind in PciCapability.__members__.values()
        name = PciCapability(kind).name if known else f"{kind:#04x}"
        detail = f"{state.msix_entries} entries" if kind == MSIX_CAPABILITY else ""
        children.append(Node(f"capability {name}", detail, at + where, 2, meaning=f"at {where:#x}"))
    return Node(
        "config",
        f"{state.vendor_id:04x}:{state.device_id:04x}",
        at,
        state.space_size,
        children,
        "config space, little endian",
    )


def _msix_node(state: ConfigState, at: int, end: int) -> Node:
    table = min(MSIX_ENTRY * state.msix_entries, end - at)
    pending = min(msix_size(state.msix_entries) - table, end - at - table)
    children = [
        Node("table", f"{state.msix_entries} entries", at, table, meaning="MSI-X table"),
        Node("pending", "", at + table, pending, meaning="pending bits"),
    ]
    return Node("msix", f"{state.msix_entries} entries", at, table + pending, children)


def _rest_node(data: bytes, at: int, end: int) -> Node:
    if data[at] != SUBSECTION_BYTE or at + 2 > end:
        return Node("unknown", bytes_text(data[at:end]), at, end - at)
    name = text_of(data[at + 2 : min(at + 2 + data[at + 1], end)])
    return Node("subsection", name, at, end - at)
