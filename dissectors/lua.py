"""Writes the Wireshark plugin: the logic is in ``multifd.lua.in``, the tables come from here.

Layouts, enumerations, flags and dialects are inserted as Lua tables, so that each field is declared
only once.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from typing import NamedTuple

from dissectors.dialects import DIALECTS
from dissectors.multifd import (
    ARRAY_SIZES,
    CHANNEL_HEADER,
    CHANNEL_HEADER_START,
    COMMON_PAGE_SIZE,
    COMPRESSED_MAX,
    DEVICE_MARKERS,
    DEVICE_STATE,
    HASHED_COUNT,
    HEADER,
    INIT,
    MAGIC,
    MAGIC_VERSION,
    METHODS,
    PACKET_BYTES,
    PAGE_SIZES,
    RAM,
    VERSION,
    ChannelType,
    MultifdFlag,
)
from dissectors.vfio import BUFFER, BUFFER_DATA_MAX, IDX_MAX

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import TypeAlias

    from dissectors.fields import Field, Layout

    Value: TypeAlias = (
        "str | int | bool | Sequence[Value] | Mapping[str, Value] | Mapping[int, Value]"
    )

__all__ = ["EXPERTS", "LAYOUTS", "Expert", "plugin"]


class Expert(NamedTuple):
    """A Wireshark expert item: slug, id and severity of the rule, the text to show, and whether it
    belongs to the group "malformed".
    """

    slug: str
    rule: str
    severity: str
    text: str
    malformed: bool = False


LAYOUTS = {
    "CHANNEL_HEADER": CHANNEL_HEADER,
    "INIT": INIT,
    "HEADER": HEADER,
    "RAM": RAM,
    "DEVICE_STATE": DEVICE_STATE,
    "BUFFER": BUFFER,
}
UNSIGNED = {1: "uint8", 2: "uint16", 4: "uint32", 8: "uint64"}
KINDS = {"uuid": "guid", "name": "string", "bytes": "bytes"}

EXPERTS = (
    Expert("init-version", "MF102", "error", "The initial packet's version is not 1"),
    Expert("packet-magic", "MF201", "error", "No packet header where one must stand", True),
    Expert("packet-version", "MF202", "error", "The packet's version is not 1", True),
    Expert("flags-two-compressions", "MF204", "error", "More than one compression method"),
    Expert("flags-unknown-bits", "MF206", "warning", "Flags that no known version defines"),
    Expert("sync-with-pages", "MF208", "warning", "SYNC packet with pages"),
    Expert("alloc-exceeds-capacity", "MF209", "error", "pages_alloc above the offset array's size"),
    Expert("normal-exceeds-alloc", "MF211", "error", "More normal pages than pages_alloc"),
    Expert("zero-exceeds-rest", "MF212", "error", "More zero pages than there is room for"),
    Expert("ramblock-empty", "MF213", "error", "Pages of no RAM block"),
    Expert("ramblock-unterminated", "MF215", "warning", "Name of the RAM block without a NUL"),
    Expert("offset-unaligned", "MF218", "error", "Page offset is no multiple of the page size"),
    Expert("size-mismatch-nocomp", "MF223", "error", "next_packet_size is not that of the pages"),
    Expert("size-zero-with-pages", "MF224", "error", "Normal pages, but no payload"),
    Expert("size-exceeds-buffer", "MF226", "error", "Compressed payload above 1 MiB"),
    Expert("empty-packet", "MF227", "warning", "Neither pages nor SYNC"),
    Expert("devstate-with-sync", "MF401", "error", "SYNC together with device state"),
    Expert("devstate-empty", "MF402", "error", "Device state without payload"),
    Expert("devstate-idstr-unterminated", "MF403", "error", "idstr without a NUL"),
    Expert("devstate-compression-bits", "MF407", "error", "Device state with a compression method"),
    Expert("vfio-short", "MF501", "error", "Payload shorter than the VFIO header", True),
    Expert("vfio-version", "MF502", "error", "Version of the VFIO header is not 0"),
    Expert("vfio-idx-max", "MF504", "error", "The index that receivers refuse"),
    Expert("vfio-flags-unknown", "MF512", "warning", "Flags other than CONFIG_STATE"),
    Expert("vfio-data-empty", "MF513", "warning", "Buffer without data"),
    Expert("vfio-buffer-large", "MF518", "info", "Buffer of more than 1 MiB"),
    Expert("tcp-hole", "MF901", "warning", "Bytes before this are missing or come later"),
)
"""The rules that can be checked on a single packet, under mfshark's names."""


def plugin(version: str) -> str:
    """The whole script; ``version`` is the mfshark version that it states in its head."""
    template = (files("dissectors") / "multifd.lua.in").read_text(encoding="utf-8")
    return template.replace("@VERSION@", version).replace("@TABLES@", "\n".join(_tables()))


def _tables() -> Iterator[str]:
    yield f"local MAGIC, VERSION = 0x{MAGIC:08x}, {VERSION}"
    yield f"local PACKET_BYTES, COMPRESSED_MAX = {PACKET_BYTES}, {COMPRESSED_MAX}"
    yield f"local BUFFER_DATA_MAX, IDX_MAX = {BUFFER_DATA_MAX}, {IDX_MAX}"
    yield f"local METHODS = {_lua({int(method): True for method in sorted(METHODS)})}"
    dialects: list[Value] = [
        {
            "name": d.name,
            "meaning": d.meaning,
            "device_flag": d.device_flag,
            "host_order": d.host_order,
        }
        for d in DIALECTS.values()
    ]
    yield f"local DIALECTS = {_lua(dialects)}"
    yield "local LAYOUTS = {}"
    for name, layout in LAYOUTS.items():
        fields = ",\n    ".join(_lua(_field(layout, field)) for field in layout)
        yield f"-- {layout.name}, wire-format page {layout.reference}"
        yield f"LAYOUTS.{name} = {{\n    size = {layout.size},\n    {fields},\n}}"
    experts = ",\n    ".join(f"[{_lua(row.slug)}] = {_lua(row._asdict())}" for row in EXPERTS)
    yield f"local EXPERTS = {{\n    {experts},\n}}"
    marks = ", ".join(f"{flag:#04x}" for flag in (MultifdFlag.SYNC, *DEVICE_MARKERS))
    yield f"\nlocal SYNC, DEVICE_STATE, OLD_DEVICE_STATE = {marks}"
    yield f"local PAGE_SIZES = {_lua(PAGE_SIZES)}"
    yield f"local ARRAY_SIZES, HASHED_COUNT = {_lua(ARRAY_SIZES)}, {HASHED_COUNT}"
    yield f"local COMMON_PAGE_SIZE = {COMMON_PAGE_SIZE}"
    kinds = f"{ChannelType.MULTIFD:d}, {ChannelType.DEVICE_STATE:d}"
    yield f"local MULTIFD_CHANNEL, DEVICE_STATE_CHANNEL = {kinds}"
    yield f"local HEADER_BYTES = {_bytes(MAGIC_VERSION)}"
    yield f"local CHANNEL_HEADER_BYTES = {_bytes(CHANNEL_HEADER_START)}"


def _field(layout: Layout, field: Field) -> dict[str, Value]:
    abbr = f"{layout.prefix}.{field.name}"
    row: dict[str, Value] = {
        "abbr": abbr,
        "name": field.name,
        "offset": field.offset,
        "size": field.size,
        "kind": KINDS.get(field.display) or UNSIGNED[field.size],
        "text": field.meaning,
    }
    if field.display in ("hex", "flags"):
        row["hex"] = True
    if field.display == "enum" and field.enum is not None:
        row["values"] = {int(member): str(member.name) for member in field.enum}
    if field.display == "flags" and field.enum is not None:
        row["flags"] = [
            {
                "abbr": f"{abbr}.{str(flag.name).lower()}",
                "name": str(flag.name),
                "mask": int(flag),
                "bits": 8 * field.size,
                "text": f"flag {flag.name}",
            }
            for flag in field.enum
        ]
    return row


def _bytes(data: bytes) -> str:
    """Bytes as Lua source."""
    escaped = "".join(f"\\{byte}" for byte in data)
    return f'"{escaped}"'


def _lua(value: Value) -> str:
    """A value as Lua source."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        return f'"{escaped}"'
    if not isinstance(value, Mapping):
        return "{ " + ", ".join(_lua(inner) for inner in value) + " }"
    parts = []
    for key, inner in value.items():
        bare = isinstance(key, str) and key.isidentifier()
        parts.append(f"{key if bare else f'[{_lua(key)}]'} = {_lua(inner)}")
    return "{ " + ", ".join(parts) + " }"
