"""A record of the main channel, or a message of the return path, as a tree of fields.

Wire-format page, sections 1.7, 6 and 7.  The data are one record, from its type byte to its last
byte (a section's footer included); what cannot be decoded is shown as bytes and never raises.
"""

from __future__ import annotations

import json

from dissectors import colo
from dissectors import main_stream as wire
from dissectors import return_path as back
from dissectors.fields import Field, Layout
from dissectors.main_stream import Command, RamFlag, RecordType
from dissectors.multifd import COMMON_PAGE_SIZE, text_of
from dissectors.tree import Node, bytes_text, field_node, layout_tree
from dissectors.vfio import VfioTag
from dissectors.vfio_config import TAG
from dissectors.vfio_config_tree import config_tree
from dissectors.vmstate import decode_section, with_elements

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from dissectors.vmstate import Json

__all__ = ["colo_tree", "message_tree", "record_tree"]

CHILDREN_MAX = 2000
DEPTH_MAX = 32
TEXT_SHOWN = 120
TYPE = Field("type", "B", "what record this is", "enum", enum=RecordType)
LENGTH = Field("length", "I", "bytes that follow")
ID = Field("section_id", "I", "number of the section")
SIZE = Field("size", "Q", "bytes that follow")
USED = Field("used_length", "Q", "bytes of the block", "hex")
PAGE_SIZE = Field("page_size", "Q", "page size of the block, if it is not the common one")
ADDRESS = Field("gpa", "Q", "guest physical address", "hex")
SHORT = Field("length", "H", "bytes that follow")
BYTE = Field("value", "B", "what fills the page")
ENCODING = Field("encoding", "B", "1")
VERSION = Field("version_id", "I", "version of the layout")
PAGE_BITS = Field("bits", "I", "the target's page size is 2 to this power")
UUID = Field("uuid", "16s", "uuid of the guest", "uuid")
COUNT = Field("count", "I", "how many follow")
PING = Field("value", "I", "answered by a PONG of the same value", "hex")
PACKAGED_SIZE = Field("size", "I", "bytes of records that follow")
WORD = 8


def record_tree(
    data: bytes,
    *,
    idstr: bytes = b"",
    device: Json = None,
    page_size: int = COMMON_PAGE_SIZE,
    capabilities: Sequence[str] = (),
) -> list[Node]:
    """The fields of the record ``data``.

    ``idstr`` is that of the section, as PART and END do not carry it; ``device`` the section's
    entry in the VMDESCRIPTION, if any; ``page_size`` the target page size in bytes;
    ``capabilities`` are those listed in the CONFIGURATION.
    """
    if data.startswith(wire.MAGIC_BYTES):
        return layout_tree(wire.FILE_HEADER, data)
    cursor = _Cursor(data, page_size, capabilities)
    kind = data[0] if data else -1
    if kind in wire.SECTIONS:
        cursor.section(kind, idstr, device)
    elif kind == RecordType.COMMAND:
        cursor.command()
    elif kind == RecordType.CONFIGURATION:
        cursor.configuration()
    elif kind == RecordType.VMDESCRIPTION:
        cursor.field(TYPE)
        cursor.field(LENGTH)
        cursor.description(len(data) - cursor.at)
    elif data:
        cursor.field(TYPE)
    cursor.raw("undecoded", len(data) - cursor.at)
    return cursor.nodes


def _json_nodes(
    value: Mapping[str, Any] | Sequence[Any], at: int, size: int, budget: list[int], depth: int = 0
) -> list[Node]:
    """The members of a JSON object or array as nodes, whose bytes are the whole text; ``budget[0]``
    is how many nodes may still be made.  An object in an array is shown under its name.
    """
    nodes = []
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    for key, child in pairs:
        if not budget[0] or depth > DEPTH_MAX:
            break
        budget[0] -= 1
        name = str(key)
        if isinstance(child, dict) and not isinstance(value, dict):
            name = str(child.get("name") or child.get("vmsd_name") or key)
        if isinstance(child, dict | list):
            inner = _json_nodes(child, at, size, budget, depth + 1)
            nodes.append(Node(name, f"{len(child)} entries", at, size, inner))
        else:
            nodes.append(Node(name, json.dumps(child), at, size))
    return nodes


def message_tree(data: bytes) -> list[Node]:
    """The fields of a return-path message."""
    nodes = layout_tree(back.HEADER, data)
    kind = int.from_bytes(data[:2], "big")
    at = back.HEADER.size
    layout = back.PAYLOADS.get(kind)
    if layout is not None and len(data) >= at + layout.size:
        nodes += layout_tree(layout, data, at)
        at += layout.size
    if at < len(data):
        nodes.append(Node("payload", bytes_text(data[at:]), at, len(data) - at))
    return nodes


def colo_tree(data: bytes) -> list[Node]:
    """The fields of a COLO message, on main or on the return path."""
    nodes = layout_tree(colo.MESSAGE, data)
    if len(data) >= colo.MESSAGE.size + colo.SIZE.size:
        nodes += layout_tree(colo.SIZE, data, colo.MESSAGE.size)
    return nodes


class _Cursor:
    """Reads ``data`` from front to back; ``nodes`` is the list that new nodes are appended to.

    ``short`` is set when a field does not fit into the data; no field is read after that.
    """

    __slots__ = ("at", "capabilities", "data", "nodes", "page_size", "short")

    def __init__(self, data: bytes, page_size: int, capabilities: Sequence[str]) -> None:
        self.data = data
        self.page_size = page_size
        self.capabilities = capabilities
        self.at = 0
        self.nodes: list[Node] = []
        self.short = False

    # -- pieces -------------------------------------------------------------------------------

    def field(self, field: Field) -> int:
        """Read a field; returns an integer's value, 0 for bytes or if the field does not fit."""
        if self.short or self.at + field.size > len(self.data):
            self.short = True
            return 0
        self.nodes.append(field_node(field, self.data, self.at))
        raw = self.data[self.at : self.at + field.size]
        self.at += field.size
        return 0 if field.code.endswith("s") else int.from_bytes(raw, "big")

    def layout(self, layout: Layout) -> None:
        """Read all fields of a structure."""
        for field in layout:
            self.field(field)

    def raw(self, name: str, size: int, meaning: str = "") -> None:
        """Take ``size`` bytes, or what is left; shown in hexadecimal, or as a count if over 64."""
        size = min(size, len(self.data) - self.at)
        if size > 0:
            value = bytes_text(self.data[self.at : self.at + min(size, 64)])
            if size > 64:
                value = f"{size} bytes"
            self.nodes.append(Node(name, value, self.at, size, meaning=meaning))
            self.at += size

    def description(self, size: int) -> None:
        """Read the JSON of a VMDESCRIPTION; its members become children if it is well formed."""
        begin = self.at
        self.text("description", size, "JSON")
        if self.short:
            return
        try:
            text = self.data[begin : begin + size].decode("utf-8", "replace")
            found = json.loads(text, object_pairs_hook=with_elements)
        except (ValueError, RecursionError):
            return
        if isinstance(found, dict):
            self.nodes[-1].children = _json_nodes(found, begin, size, [CHILDREN_MAX])

    def text(self, name: str, size: int, meaning: str = "") -> None:
        """Read ``size`` bytes as text; of a long text only the beginning is shown."""
        if self.short or self.at + size > len(self.data):
            self.short = True
            return
        value = text_of(self.data[self.at : self.at + min(size, TEXT_SHOWN)])
        self.nodes.append(
            Node(name, value + "…" * (size > TEXT_SHOWN), self.at, size, meaning=meaning)
        )
        self.at += size

    def counted(self, name: str, meaning: str = "") -> bytes:
        """Read a length byte and a text of that length; returns the text's bytes."""
        if self.short or self.at >= len(self.data):
            self.short = True
            return b""
        size = self.data[self.at]
        self.at += 1
        begin = self.at
        self.text(name, size, meaning)
        return self.data[begin : self.at]

    def group(self, name: str, value: str = "") -> _Group:
        """A context manager: nodes made in its ``with`` block become children of one node."""
        return _Group(self, name, value)

    # -- records ------------------------------------------------------------------------------

    def configuration(self) -> None:
        """CONFIGURATION."""
        self.field(TYPE)
        self.text("machine", self.field(LENGTH), "machine type")
        while self.at < len(self.data) and not self.short:
            with self.group("subsection") as group:
                self.field(TYPE)
                name = self.counted("name")
                group.node.value = text_of(name)
                self.field(VERSION)
                if name == wire.CONFIGURATION_PAGE_BITS:
                    self.field(PAGE_BITS)
                elif name == wire.CONFIGURATION_UUID:
                    self.field(UUID)
                elif name == wire.CONFIGURATION_CAPABILITIES:
                    for _ in range(self.field(COUNT)):
                        self.counted("capability")
                        if self.short:
                            break
                else:
                    self.raw("undecoded", len(self.data) - self.at)

    def command(self) -> None:
        """COMMAND and its payload."""
        self.layout(wire.COMMAND)
        if self.short:
            return
        command = int.from_bytes(self.data[1:3], "big")
        if command == Command.PING:
            self.field(PING)
        elif command == Command.PACKAGED:
            self.field(PACKAGED_SIZE)
        elif command == Command.POSTCOPY_ADVISE and self.at < len(self.data):
            self.layout(wire.POSTCOPY_ADVISE)
        elif command == Command.RECV_BITMAP:
            self.counted("ramblock", "name of the RAM block")
        elif command == Command.POSTCOPY_RAM_DISCARD:
            self.raw("version", 1, "0")
            self.counted("ramblock", "name of the RAM block")
            self.raw("terminator", 1, "0")
            while self.at + wire.DISCARD_RANGE.size <= len(self.data):
                with self.group("range"):
                    self.layout(wire.DISCARD_RANGE)

    def section(self, kind: int, idstr: bytes, device: Json) -> None:
        """A section: header, body, footer."""
        self.field(TYPE)
        self.field(ID)
        if kind in (RecordType.SECTION_START, RecordType.SECTION_FULL):
            idstr = self.counted("idstr", "name of the device")
            self.layout(wire.SECTION_VERSIONS)
        footer = len(self.data) - wire.FOOTER.size
        whole = footer >= self.at and self.data[footer] == wire.FOOTER_BYTE
        end = footer if whole else len(self.data)
        full = kind == RecordType.SECTION_FULL
        if not self.short and end > self.at:
            with self.group("body", f"{end - self.at} bytes"):
                self.body(full, idstr, device, end)
        if whole:
            self.layout(wire.FOOTER)

    def body(self, full: bool, idstr: bytes, device: Json, end: int) -> None:
        """A section's body, up to ``end``."""
        if wire.is_vfio(idstr):
            self.vfio(end)
        elif idstr == wire.RAM_SECTION and not full:
            self.ram(end)
        elif full and device is not None:
            decoded = decode_section(device, self.data[:end], self.at)
            self.nodes += decoded.nodes
            self.at = decoded.end
        self.raw("undecoded" if full else "content", end - self.at)

    # -- VFIO ---------------------------------------------------------------------------------

    def vfio(self, end: int) -> None:
        """Tags of a VFIO section."""
        while self.at + WORD <= end and not self.short:
            tag = int.from_bytes(self.data[self.at : self.at + WORD], "big")
            if tag == VfioTag.DEV_CONFIG_STATE:
                self.nodes += config_tree(self.data[:end], self.at)
                self.at = end
                return
            self.field(TAG)
            if tag == VfioTag.DEV_DATA_STATE:
                size = self.field(SIZE)
                self.raw("data", min(size, end - self.at), "device state")

    # -- RAM ----------------------------------------------------------------------------------

    def ram(self, end: int) -> None:
        """RAM records; if there are very many, only the first ones."""
        while self.at + WORD <= end and not self.short:
            if len(self.nodes) >= CHILDREN_MAX:
                self.raw("more records", end - self.at)
                return
            word = int.from_bytes(self.data[self.at : self.at + WORD], "big")
            flags = word & (self.page_size - 1)
            known = RamFlag(flags & wire.RAM_FLAG_BITS)
            names = " | ".join(str(flag.name) for flag in RamFlag if flag & known)
            with self.group(names or "unknown") as group:
                address = word ^ flags
                group.node.value = f"{address:#x}" if address else ""
                self.nodes.append(
                    Node("word", f"{word:#018x}", self.at, WORD, meaning="address and flags")
                )
                self.at += WORD
                if not self.ram_record(flags, address, end):
                    return

    def ram_record(self, flags: int, address: int, end: int) -> bool:
        """Read what follows the word; returns whether another record can follow."""
        if flags == RamFlag.MEM_SIZE:
            self.block_list(address, end)
        elif flags & wire.RAM_PAGE_KINDS:
            if not flags & RamFlag.CONTINUE:
                self.counted("ramblock", "name of the RAM block")
            if flags & RamFlag.ZERO:
                self.field(BYTE)
            elif flags & RamFlag.PAGE:
                self.raw("content", self.page_size)
            elif flags & RamFlag.XBZRLE:
                self.field(ENCODING)
                self.raw("content", self.field(SHORT), "XBZRLE")
            else:
                self.raw("content", self.field(LENGTH), "zlib")
        return flags != RamFlag.EOS and not self.short

    def block_list(self, total: int, end: int) -> None:
        """The list of RAM blocks, with their mapped-ram regions if there are any."""
        announced = wire.MAPPED_RAM in self.capabilities
        shared = wire.IGNORE_SHARED in self.capabilities
        while total > 0 and self.at < end and not self.short:
            with self.group("block") as group:
                group.node.value = text_of(self.counted("name"))
                used = self.field(USED)
                total -= used
                ahead = self.data[self.at : min(self.at + 2 * WORD, end)]
                mapped = announced or (not shared and wire.is_mapped_header(ahead))
                if not mapped and wire.page_size_follows(ahead, shared=shared, last=total <= 0):
                    self.field(PAGE_SIZE)
                if shared:
                    self.field(ADDRESS)
                if mapped:
                    self.mapped(used, end)

    def mapped(self, used: int, end: int) -> None:
        """A mapped-ram header, bitmap and pages, sized by the offsets in the header."""
        begin = self.at
        with self.group("mapped-ram header"):
            self.layout(wire.MAPPED_RAM_HEADER)
        if self.short:
            return
        values = wire.MAPPED_RAM_HEADER.values(self.data, begin)
        bitmap, pages = int(values["bitmap_offset"]), int(values["pages_offset"])
        self.raw("bitmap", min(pages - bitmap, end - self.at), "one bit a page, and padding")
        self.raw("pages", min(used, end - self.at))


class _Group:
    """Makes the nodes of a ``with`` block the children of one node."""

    __slots__ = ("cursor", "node", "outer")

    def __init__(self, cursor: _Cursor, name: str, value: str) -> None:
        self.cursor = cursor
        self.node = Node(name, value, cursor.at, 0)
        self.outer = cursor.nodes

    def __enter__(self) -> _Group:
        self.outer.append(self.node)
        self.cursor.nodes = self.node.children
        return self

    def __exit__(self, *_error: object) -> None:
        self.cursor.nodes = self.outer
        self.node.size = self.cursor.at - self.node.offset
