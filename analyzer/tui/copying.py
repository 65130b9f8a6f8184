"""Text for the clipboard: a packet, or any row, as text, JSON or hex dump."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from analyzer.report.escape import terminal
from dissectors.tree import Node

if TYPE_CHECKING:
    from analyzer.migration.table import Row

__all__ = ["fields_text", "hex_dump", "json_text", "tree_text"]


def tree_text(nodes: list[Node], depth: int = 0) -> str:
    """Fields as indented lines."""
    lines = []
    for node in nodes:
        lines.append(f"{'  ' * depth}{terminal(node.name)}: {terminal(node.value)}")
        if node.children:
            lines.append(tree_text(node.children, depth + 1))
    return "\n".join(lines)


def fields_text(nodes: list[Node]) -> str:
    """Fields as JSON."""
    return json.dumps([_node(node) for node in nodes], indent=1)


def json_text(row: Row, nodes: list[Node]) -> str:
    """A packet's columns and fields as JSON."""
    columns: dict[str, Any] = {
        name: value.hex() if isinstance(value, bytes) else value
        for name, value in row.as_dict().items()
        if value is not None
    }
    return json.dumps({"packet": columns, "fields": [_node(node) for node in nodes]}, indent=1)


def _node(node: Node) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": node.name, "value": node.value}
    entry |= {"offset": node.offset, "size": node.size}
    if node.children:
        entry["fields"] = [_node(child) for child in node.children]
    return entry


def hex_dump(data: bytes) -> str:
    """Offset, hexadecimal and ASCII, in the format of ``hexdump -C``, which text2pcap reads."""
    lines = []
    for at in range(0, len(data), 16):
        piece = data[at : at + 16]
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in piece)
        lines.append(f"{at:08x}  {piece[:8].hex(' '):<23}  {piece[8:].hex(' '):<23}  |{text}|")
    return "\n".join(lines)
