"""The fields of display filters and of ``packets -e``, derived from the layout tables.

Fields that are the same in every packet (magic, version, reserved words) are left out: where they
differ, a rule reports it.
"""

from __future__ import annotations

from dissectors.multifd import DEVICE_STATE, HEADER, INIT, RAM
from dissectors.vfio import BUFFER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from dissectors.fields import Field, Layout

__all__ = ["FIELDS", "FilterField", "field_lines", "nearest"]

TYPES = {
    "dec": "uint",
    "hex": "uint",
    "enum": "uint",
    "flags": "uint",
    "name": "string",
    "bytes": "bytes",
    "uuid": "bytes",
}
"""Type of a filter field by ``display`` of the layout's field."""


class FilterField:
    """A field that filters and column lists accept.

    ``type`` is ``uint``, ``int``, ``bool``, ``string``, ``bytes``, ``time`` (ns since the epoch) or
    ``duration`` (ns).  ``mask`` is the bit of a flag (0 for other fields), ``display`` how a value
    is shown (see :class:`dissectors.fields.Field`), ``reference`` the section of
    ``docs/wire-format.md``, empty for fields that are not on the wire.
    """

    __slots__ = ("description", "display", "mask", "name", "reference", "type")

    def __init__(
        self,
        name: str,
        type: str,  # noqa: A002 - what it is called everywhere
        description: str,
        *,
        display: str = "dec",
        mask: int = 0,
        reference: str = "",
    ) -> None:
        self.name = name
        self.type = type
        self.description = description
        self.display = display
        self.mask = mask
        self.reference = reference

    def __repr__(self) -> str:
        return f"FilterField({self.name!r}, {self.type!r})"


GENERATED = (
    FilterField("number", "uint", "number of the packet in the list, from 1"),
    FilterField("frame", "uint", "frame of the packet's first byte"),
    FilterField("frame.number", "uint", "the same as frame"),
    FilterField("frame.last", "uint", "frame of the packet's last byte"),
    FilterField("time", "time", "when the first byte was seen"),
    FilterField("time.relative", "duration", "the same, since the first frame of the capture"),
    FilterField("time.span", "duration", "from the packet's first byte to its last one"),
    FilterField("migration", "uint", "number of the migration, from 0"),
    FilterField("channel", "int", "id of the multifd channel; negative where it is not known"),
    FilterField("tcp.stream", "uint", "Wireshark's number of the TCP connection"),
    FilterField("kind", "string", "ram, sync, device-state or init"),
    FilterField("offset", "uint", "offset of the packet in the stream, bytes"),
    FilterField("length", "uint", "length of the packet, payload included, bytes"),
    FilterField("device", "string", "idstr#instance of a device-state packet"),
    FilterField("missing", "uint", "bytes of the packet that are not in the capture"),
    FilterField("cut", "uint", "missing bytes that were never sent, as the stream ended first"),
    FilterField(
        "severity",
        "string",
        "highest severity of the packet's findings: none, info, warning or "
        "error; findings about a device or a channel do not count",
    ),
)


def _of_layout(layout: Layout) -> Iterator[FilterField]:
    for field in layout:
        if field.name in ("magic", "version") and layout.fields[0].name == "magic":
            continue
        if not field.name.startswith("unused"):
            yield from _of_field(layout, field)


def _of_field(layout: Layout, field: Field) -> Iterator[FilterField]:
    name = f"{layout.prefix}.{field.name}"
    yield FilterField(
        name,
        TYPES[field.display],
        field.meaning,
        display=field.display,
        reference=layout.reference,
    )
    if field.display == "flags" and field.enum is not None:
        for flag in field.enum:
            yield FilterField(
                f"{name}.{str(flag.name).lower()}",
                "bool",
                f"flag {flag.name}, {int(flag):#x}",
                mask=int(flag),
                reference=layout.reference,
            )


def _register() -> dict[str, FilterField]:
    fields = {field.name: field for field in GENERATED}
    for layout in (HEADER, RAM, DEVICE_STATE, INIT, BUFFER):
        for field in _of_layout(layout):
            fields.setdefault(field.name, field)
    return fields


FIELDS = _register()
"""Every field by name: first those that every packet has, then those on the wire in wire order."""


def nearest(name: str) -> str | None:
    """The field name most similar to ``name``; ``None`` if none is similar."""
    import difflib

    name = name.lower()
    if name in FIELDS:
        return name
    tails = [known for known in FIELDS if known.rsplit(".", 1)[-1] == name.rsplit(".", 1)[-1]]
    close = difflib.get_close_matches(name[:64], tails or FIELDS, 1, 0.4 if tails else 0.6)
    return close[0] if close else None


def field_lines() -> Iterator[str]:
    """One line per field: name, type, description, section of the wire format; tab-separated."""
    for field in FIELDS.values():
        yield f"{field.name}\t{field.type}\t{field.description}\t{field.reference}"
