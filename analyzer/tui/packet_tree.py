"""A multifd packet as a tree of fields.

Wire-format page, sections 2 to 5; the layouts are those of :mod:`dissectors`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dissectors.multifd import DEVICE_STATE, INIT, RAM
from dissectors.tree import Node, bytes_text, layout_tree
from dissectors.vfio import BUFFER, BUFFER_HOST, VfioStateFlag
from dissectors.vfio_config_tree import config_tree

if TYPE_CHECKING:
    from analyzer.migration.framing import Framing
    from analyzer.migration.table import Row

__all__ = ["CONFIG_STATE", "DEVICE_DATA_AT", "device_header", "find_node", "packet_tree"]

CONFIG_STATE = int(VfioStateFlag.CONFIG_STATE)
DEVICE_DATA_AT = DEVICE_STATE.size + BUFFER.size
"""Offset of a VFIO buffer's data in its packet."""


def packet_tree(row: Row, data: bytes, framing: Framing | None) -> list[Node]:
    """The fields of a packet as one or more groups; ``data`` are its bytes, or its first ones."""
    if row.kind == "init":
        return [_group("Initial packet", INIT.name, layout_tree(INIT, data), 0, len(data))]
    if row.idstr is not None:
        return _device(row, data, framing)
    return _ram(row, data, framing)


def _group(name: str, value: str, nodes: list[Node], offset: int, size: int) -> Node:
    return Node(name, value, offset, size, nodes)


def _ram(row: Row, data: bytes, framing: Framing | None) -> list[Node]:
    count = framing.page_count if framing is not None else 0
    page_size = framing.page_size if framing is not None else 0
    fixed = layout_tree(RAM, data)
    end = RAM.size + 8 * count
    title = "SYNC packet" if row.kind == "sync" else "RAM packet"
    groups = [_group(title, RAM.name, fixed, 0, min(RAM.size, len(data)))]
    normal, zero = row.normal_pages or 0, row.zero_pages or 0
    offsets = []
    for at in range(count):
        begin = RAM.size + 8 * at
        if begin + 8 > len(data):
            break
        value = int.from_bytes(data[begin : begin + 8], "big")
        use = "normal page" if at < normal else "zero page" if at < normal + zero else "unused"
        where = f"page {value // page_size}" if page_size and use != "unused" else ""
        offsets.append(
            Node(f"offset[{at}]", f"{value:#x}", begin, 8, meaning=f"{use} {where}".rstrip())
        )
    shown = f"{normal} normal, {zero} zero, {max(0, count - normal - zero)} unused"
    groups.append(
        _group("Offsets", shown, offsets, RAM.size, max(0, min(end, len(data)) - RAM.size))
    )
    if row.length > end and len(data) > end:
        payload = _group("Payload", f"{row.length - end} bytes", [], end, row.length - end)
        payload.children = _pages(row, offsets[:normal], end, page_size)
        groups.append(payload)
    return groups


def _pages(row: Row, offsets: list[Node], begin: int, page_size: int) -> list[Node]:
    """The pages of an uncompressed payload; none if it is compressed or of another size."""
    if not page_size or row.length - begin != len(offsets) * page_size:
        return []
    return [
        Node(f"page {at}", f"at {node.value} of the block", begin + at * page_size, page_size)
        for at, node in enumerate(offsets)
    ]


def _device(row: Row, data: bytes, framing: Framing | None) -> list[Node]:
    header = layout_tree(DEVICE_STATE, data)
    groups = [
        _group(
            "Device-state packet", DEVICE_STATE.name, header, 0, min(DEVICE_STATE.size, len(data))
        )
    ]
    begin = DEVICE_STATE.size
    fields = device_header(data, framing)
    if fields:
        size = min(BUFFER.size, len(data) - begin)
        groups.append(_group("VFIO buffer", BUFFER.name, fields, begin, size))
    body = DEVICE_DATA_AT
    if row.length > body:
        name = "Config state" if (row.state_flags or 0) & CONFIG_STATE else "Device data"
        node = _group(name, f"{row.length - body} bytes", [], body, row.length - body)
        if (row.state_flags or 0) & CONFIG_STATE:
            node.children = config_tree(data, body)
        elif data[body:]:
            node.children = [
                Node("data", bytes_text(data[body : body + 64]), body, row.length - body)
            ]
        groups.append(node)
    return groups


def device_header(data: bytes, framing: Framing | None) -> list[Node]:
    """The fields of the VFIO header, in the byte order that the migration uses."""
    host = framing is not None and framing.byte_order == "le"
    return layout_tree(BUFFER_HOST if host else BUFFER, data, DEVICE_STATE.size)


def find_node(nodes: list[Node], offset: int) -> list[Node]:
    """The path, from the outermost group, to the field that holds the byte at ``offset``."""
    for node in nodes:
        if node.offset <= offset < node.offset + node.size:
            return [node, *find_node(node.children, offset)]
    return []
