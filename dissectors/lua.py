"""A dissector for Wireshark, in Lua: the logic of ``multifd.lua.in``, the tables of this package.

Layouts, enumerations, flags and dialects are written into it as Lua tables, so that a field has
one declaration.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files

from dissectors.dialects import DIALECTS
from dissectors.multifd import (
    CHANNEL_HEADER,
    DEVICE_STATE,
    HEADER,
    INIT,
    MAGIC,
    METHODS,
    RAM,
    VERSION,
)
from dissectors.vfio import BUFFER, BUFFER_DATA_MAX

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import TypeAlias

    from dissectors.fields import Field, Layout

    Value: TypeAlias = (
        "str | int | bool | Sequence[Value] | Mapping[str, Value] | Mapping[int, Value]"
    )

__all__ = ["EXPERTS", "LAYOUTS", "plugin"]

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

EXPERTS = {
    "packet-magic": ("malformed", "error", "No packet header where one must stand"),
    "init-version": ("malformed", "error", "Version of the initial packet is not 1"),
    "flags-unknown": ("protocol", "warning", "Unknown flags"),
    "flags-two-compressions": ("protocol", "error", "Two compression methods at once"),
    "devstate-with-sync": ("protocol", "error", "SYNC together with device state"),
    "devstate-with-compression": ("protocol", "warning", "Device state with a compression method"),
    "devstate-empty": ("protocol", "error", "Empty device-state packet"),
    "devstate-idstr-unterminated": ("protocol", "error", "idstr without a NUL"),
    "ramblock-unterminated": ("protocol", "warning", "Name of the RAM block without a NUL"),
    "pages-alloc-too-big": ("protocol", "error", "pages_alloc is more than a packet holds"),
    "normal-pages-too-many": ("protocol", "error", "More normal pages than pages_alloc"),
    "zero-pages-too-many": ("protocol", "error", "More zero pages than are left"),
    "payload-size": ("protocol", "warning", "next_packet_size is not that of the pages"),
    "payload-too-big": ("protocol", "error", "Payload larger than the receiver's buffer"),
    "offset-unaligned": ("protocol", "warning", "Page offset is no multiple of the page size"),
    "vfio-too-short": ("protocol", "error", "Payload shorter than the VFIO header"),
    "vfio-version": ("protocol", "error", "Unknown version of the VFIO header"),
    "vfio-flags-unknown": ("protocol", "warning", "Unknown flags in the VFIO header"),
    "vfio-idx-max": ("protocol", "error", "The index that receivers refuse"),
    "vfio-buffer-too-big": ("protocol", "warning", "Larger than QEMU's sender makes a buffer"),
}
"""What a single packet can show: group, severity and text by name."""


def plugin(version: str) -> str:
    """The whole script; ``version`` says in it which mfshark wrote it."""
    template = (files("dissectors") / "multifd.lua.in").read_text(encoding="utf-8")
    return template.replace("@VERSION@", version).replace("@TABLES@", "\n".join(_tables()))


def _tables() -> Iterator[str]:
    yield f"local MAGIC, VERSION = 0x{MAGIC:08x}, {VERSION}"
    yield f"local BUFFER_DATA_MAX = {BUFFER_DATA_MAX}"
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
    experts: dict[str, Value] = {
        slug: {"group": group, "severity": severity, "text": text}
        for slug, (group, severity, text) in EXPERTS.items()
    }
    rows = ",\n    ".join(f"[{_lua(slug)}] = {_lua(expert)}" for slug, expert in experts.items())
    yield f"local EXPERTS = {{\n    {rows},\n}}"


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
