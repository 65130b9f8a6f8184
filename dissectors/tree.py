"""Decoded bytes as a tree of named values, for detail views.

Every node knows where its bytes are in the decoded data, so that a view can mark them.
"""

from __future__ import annotations

from dissectors.multifd import text_of, uuid_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from enum import IntEnum, IntFlag

    from dissectors.fields import Field, Layout

__all__ = ["Node", "bytes_text", "field_node", "layout_tree", "shown"]

BYTES_SHOWN = 32
SMALL = 15
"""Named numbers above this are written in hex, as QEMU's source and the wire format have them."""


class Node:
    """A field, or a group of fields.

    ``value`` is the value as text, not escaped for any output; ``meaning`` explains the field;
    ``offset`` and ``size`` are bytes in the decoded data; ``children`` are in wire order.
    """

    __slots__ = ("children", "meaning", "name", "offset", "size", "value")

    def __init__(
        self,
        name: str,
        value: str,
        offset: int,
        size: int,
        children: list[Node] | None = None,
        meaning: str = "",
    ) -> None:
        self.name = name
        self.value = value
        self.meaning = meaning
        self.offset = offset
        self.size = size
        self.children = [] if children is None else children

    def __repr__(self) -> str:
        return f"Node({self.name!r}, {self.value!r}, {self.offset}+{self.size})"


def bytes_text(data: bytes) -> str:
    """Bytes in hexadecimal; of more than 32 the first ones and the count."""
    if len(data) > BYTES_SHOWN:
        return f"{data[:BYTES_SHOWN].hex()}… ({len(data)} bytes)"
    return data.hex()


def layout_tree(layout: Layout, data: bytes, offset: int = 0) -> list[Node]:
    """The fields of the structure at ``offset``; fields beyond the end of ``data`` are left out."""
    nodes = []
    for field in layout:
        begin = offset + field.offset
        if begin + field.size > len(data):
            break
        nodes.append(field_node(field, data, begin, layout.order))
    return nodes


def field_node(field: Field, data: bytes, begin: int, order: str = ">") -> Node:
    """The node of a field whose bytes begin at ``begin``."""
    raw = data[begin : begin + field.size]
    value: int | bytes = raw
    if not field.code.endswith("s"):
        signed = field.code.islower()
        value = int.from_bytes(raw, "little" if order == "<" else "big", signed=signed)
    return Node(field.name, shown(field, value), begin, field.size, meaning=field.meaning)


def shown(field: Field, value: int | bytes) -> str:
    """A field's value as text."""
    if isinstance(value, bytes):
        if field.display == "name":
            return text_of(value)
        return uuid_text(value) if field.display == "uuid" else bytes_text(value)
    if field.display == "hex":
        return f"{value:#0{2 + 2 * field.size}x}"
    if field.enum is not None and field.display == "enum":
        return _enum_text(field.enum, value)
    if field.enum is not None and field.display == "flags":
        return _flags_text(field.enum, value)
    return str(value)


def _enum_text(enum: type[IntEnum] | type[IntFlag], value: int) -> str:
    number = f"{value:#x}" if value > SMALL else str(value)
    for member in enum:
        if member.value == value:
            return f"{member.name} ({number})"
    return f"unknown ({number})"


def _flags_text(enum: type[IntEnum] | type[IntFlag], value: int) -> str:
    left = value
    names = []
    for member in enum:
        if member.value and value & member.value == member.value:
            names.append(str(member.name))
            left &= ~member.value
    if left:
        names.append(f"{left:#x}")
    return f"{' | '.join(names)} ({value:#x})" if names else f"{value:#x}"
