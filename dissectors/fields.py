"""One declaration per wire format: a :class:`Layout` is an ordered table of :class:`Field` rows.

The precompiled :class:`struct.Struct` of the fast path, the scapy classes, the detail tree, the
display filter's fields, the JSON names, the field reference and the Wireshark plugin are all
derived from layouts; no offset or size is written down twice.
"""

from __future__ import annotations

import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from enum import IntEnum, IntFlag
    from typing import TypeAlias

    Named: TypeAlias = type[IntEnum] | type[IntFlag]

__all__ = ["Field", "Layout"]


class Field:
    """One field of a fixed layout.

    ``code`` is a :mod:`struct` code (``I``, ``Q``, ``16s`` ...); ``display`` says how a value is
    shown: ``dec``, ``hex``, ``bytes``, ``name`` (NUL-padded text), ``uuid``, ``enum`` or ``flags``
    (the last two with ``enum``); ``since`` is the first QEMU version that gives the field this
    meaning.  ``offset`` and ``size`` (bytes) are filled in by the layout.
    """

    __slots__ = ("code", "display", "enum", "meaning", "name", "offset", "since", "size")

    def __init__(
        self,
        name: str,
        code: str,
        meaning: str,
        display: str = "dec",
        *,
        enum: Named | None = None,
        since: str = "4.0",
    ) -> None:
        self.name = name
        self.code = code
        self.meaning = meaning
        self.display = display
        self.enum = enum
        self.since = since
        self.offset = 0
        self.size = struct.calcsize("=" + code)

    def __repr__(self) -> str:
        return f"Field({self.name!r}, {self.code!r}, offset={self.offset})"


class Layout:
    """A fixed-size structure on the wire.

    ``order`` is a :mod:`struct` byte-order mark, ``prefix`` the display-filter prefix
    (``multifd``), ``reference`` the section of ``docs/wire-format.md`` that describes it.
    ``unpack(buffer, offset)`` returns the values in declaration order and raises
    :class:`struct.error` when fewer than ``size`` bytes are left.
    """

    __slots__ = ("fields", "name", "order", "prefix", "reference", "size", "struct", "unpack")

    def __init__(
        self, name: str, prefix: str, reference: str, fields: tuple[Field, ...], order: str = ">"
    ) -> None:
        self.name = name
        self.prefix = prefix
        self.reference = reference
        self.fields = fields
        self.order = order
        self.struct = struct.Struct(order + "".join(field.code for field in fields))
        self.unpack = self.struct.unpack_from
        self.size = self.struct.size
        offset = 0
        for field in fields:
            field.offset = offset
            offset += field.size

    def __iter__(self) -> Iterator[Field]:
        return iter(self.fields)

    def __getitem__(self, name: str) -> Field:
        for field in self.fields:
            if field.name == name:
                return field
        raise KeyError(name)

    def before(self, name: str) -> Layout:
        """A layout of the fields that precede ``name``; raises :class:`KeyError` without it."""
        fields = self.fields[: self.fields.index(self[name])]
        return Layout(self.name, self.prefix, self.reference, fields, self.order)

    def values(self, buffer: bytes, offset: int = 0) -> dict[str, int | bytes]:
        """The values by field name; raises :class:`struct.error` on a short buffer."""
        return dict(
            zip((field.name for field in self.fields), self.unpack(buffer, offset), strict=True)
        )

    def pack(self, values: Mapping[str, int | bytes]) -> bytes:
        """The bytes of a structure; fields left out are zero."""
        return self.struct.pack(
            *(
                values.get(field.name, b"" if field.code.endswith("s") else 0)
                for field in self.fields
            )
        )

    def reordered(self, order: str) -> Layout:
        """The same layout in another byte order."""
        copies = tuple(
            Field(f.name, f.code, f.meaning, f.display, enum=f.enum, since=f.since)
            for f in self.fields
        )
        return Layout(self.name, self.prefix, self.reference, copies, order)
