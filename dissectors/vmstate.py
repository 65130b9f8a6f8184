"""The fields of a device's section, read as the stream's own VMDESCRIPTION lists them.

Wire-format page, section 6.9.  The description is untrusted: everything in it is checked where it
is used, and the sizes it states never produce more nodes than there are bytes.
"""

from __future__ import annotations

from dissectors.main_stream import SUBSECTION_BYTE
from dissectors.multifd import text_of
from dissectors.tree import Node, bytes_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TypeAlias

    Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | None"

__all__ = [
    "LISTS",
    "DecodedSection",
    "SectionProblem",
    "decode_section",
    "is_untold",
    "json_list",
    "json_text",
    "with_elements",
]

DEPTH_MAX = 64
NODES_MAX = 1 << 18
"""Most nodes made of a section, each of which takes some hundred bytes."""
FIELDS_MAX = 1 << 22
UNSIGNED = {"uint8": 1, "uint16": 2, "uint32": 4, "uint64": 8}
SIGNED = {"int8": 1, "int16": 2, "int32": 4, "int64": 8, "timer": 8}
TIMER_OFF = -1
TREE = "gtree"
LISTS = ("qtailq", "qlist", TREE)
"""Types of fields whose elements are described one by one, see :func:`with_elements`."""
OF_ELEMENT = ("vmsd_name", "version", "fields", "subsections")
TEXT_MIN = 3
"""A buffer of at least this many printable characters is shown as text."""

COMPARISONS = (" equal", " le")
"""Suffixes of types whose value the destination compares with its own; ``le``: less or equal."""


class SectionProblem:
    """A fault at an offset of a section or config state; ``slug`` names the rule."""

    __slots__ = ("detail", "offset", "slug")

    def __init__(self, slug: str, offset: int, detail: str) -> None:
        self.slug = slug
        self.offset = offset
        self.detail = detail

    def __repr__(self) -> str:
        return f"SectionProblem({self.slug!r}, {self.offset}, {self.detail!r})"


class DecodedSection:
    """A section's body: its fields, the offset behind the last one, and the problems found.

    ``told`` is false if the description does not say how the body goes on, or has too many fields;
    ``fields`` of the description were gone through.
    """

    __slots__ = ("end", "fields", "nodes", "problems", "told")

    def __init__(
        self, nodes: list[Node], end: int, problems: list[SectionProblem], told: bool, fields: int
    ) -> None:
        self.nodes = nodes
        self.end = end
        self.problems = problems
        self.told = told
        self.fields = fields


def json_list(holder: Json, key: str) -> list[Json]:
    """The list under ``key``, empty if there is none."""
    value = holder.get(key) if isinstance(holder, dict) else None
    return value if isinstance(value, list) else []


def json_text(holder: Json, key: str) -> str:
    """The text under ``key``, empty if there is none."""
    value = holder.get(key) if isinstance(holder, dict) else None
    return value if isinstance(value, str) else ""


def _number(holder: Json, key: str, default: int) -> int:
    value = holder.get(key) if isinstance(holder, dict) else None
    if type(value) is int and value >= 0:  # bool, a subclass of int, does not count
        return value
    return default


def with_elements(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    """An object of a description, for :func:`json.loads` to call.

    QEMU describes every element of a list in the list's own object, so the same names are in it
    once for each; they become a list of their own, ``elements``.
    """
    found = dict(pairs)
    if found.get("type") in LISTS:
        elements: list[Json] = []
        for name, value in pairs:
            if name == OF_ELEMENT[0]:
                elements.append({})
            if elements and name in OF_ELEMENT and isinstance(last := elements[-1], dict):
                last[name] = value
        found = {name: value for name, value in found.items() if name not in OF_ELEMENT}
        found["elements"] = elements
    return found


def _elements(field: Json) -> list[Json]:
    """How each element of a list is described, empty if the field is none or has none."""
    return json_list(field, "elements") if json_text(field, "type") in LISTS else []


def _inner(field: Json) -> Json:
    """The structure that a field consists of, ``None`` for a plain field."""
    inner = field.get("struct") if isinstance(field, dict) else None
    if inner is None and json_list(field, "fields"):  # a field copied through a temporary
        return field
    return inner


def is_untold(field: Json) -> bool:
    """Whether a field is an array of pointers that begins with a NULL pointer.

    Before QEMU 9.2 only its first element is described, as an empty structure of one byte; the
    others may be whole structures, whose size the description does not tell.
    """
    return isinstance(field, dict) and field.get("struct") == {} and "array_len" in field


def decode_section(
    device: Json, data: bytes, offset: int = 0, *, values: bool = True, fields: int = FIELDS_MAX
) -> DecodedSection:
    """Read the section body at ``offset`` of ``data`` as ``device``, its entry in the description,
    lists it, going through at most so many ``fields`` of the description.

    Without ``values`` only the structure is verified, and plain fields make no nodes.
    """
    reader = _Reader(data, offset, values, fields)
    nodes = reader.structure(device, 0)
    told = not reader.lost and reader.left > 0
    return DecodedSection(nodes, reader.at, reader.problems, told, fields - reader.left)


class _Reader:
    """Reads fields in order; ``at`` is where the next one begins, ``left`` how many more fields of
    the description may be gone through.
    """

    __slots__ = ("at", "count", "data", "left", "lost", "problems", "sizes", "stopped", "values")

    def __init__(self, data: bytes, at: int, values: bool, left: int) -> None:
        self.values = values
        self.left = left
        self.sizes: dict[int, int] = {}  # fixed_size() by id() of the structure
        self.data = data
        self.at = at
        self.problems: list[SectionProblem] = []
        self.count = 0
        self.stopped = False
        self.lost = False  # stopped because the description lacks the next field's size

    def stop(self, slug: str, detail: str) -> None:
        """Note a problem behind which nothing can be read."""
        self.problems.append(SectionProblem(slug, self.at, detail))
        self.stopped = True

    def structure(self, holder: Json, depth: int) -> list[Node]:
        """Read the fields and subsections of a vmstate structure."""
        nodes: list[Node] = []
        if depth > DEPTH_MAX:
            self.stop("vmdesc-json", f"structures nested deeper than {DEPTH_MAX}")
            return nodes
        for field in json_list(holder, "fields"):
            self.left -= 1
            if self.left <= 0 or is_untold(field):
                self.lost = self.stopped = True
                return nodes
            if not self.values and self.passed(field, depth):
                continue
            for index in self.elements(field):
                if self.count >= NODES_MAX:
                    self.lost = self.stopped = True
                if self.stopped:
                    return nodes
                nodes.append(self.field(field, index, depth))
        for subsection in json_list(holder, "subsections"):
            if self.stopped:
                return nodes
            self.subsection(subsection, depth, nodes)
        return nodes

    def passed(self, field: Json, depth: int) -> bool:
        """Skip a field, or an array of them, that can be verified by its size alone.

        Returns false, and skips nothing, if its parts have to be read or it exceeds the section.
        """
        if self.stopped or not isinstance(field, dict):
            return False
        size = _number(field, "size", 0)
        if (inner := _inner(field)) is not None and self.fixed_size(inner, depth + 1) != size:
            return False
        if _elements(field):
            return False
        end = self.at + size * _number(field, "array_len", 1)
        if end > len(self.data):
            return False
        self.at = end
        return True

    def fixed_size(self, holder: Json, depth: int) -> int:
        """Size in bytes of a structure if the description alone determines it, else -1.

        It does not if the structure has subsections, a list or an untold field, or if a nested
        structure differs in size from the field that holds it.
        """
        size = self.sizes.get(id(holder))
        if size is None:
            size = self.sizes[id(holder)] = self._fixed_size(holder, depth)
        return size

    def _fixed_size(self, holder: Json, depth: int) -> int:
        if depth > DEPTH_MAX or json_list(holder, "subsections"):
            return -1
        total = 0
        for field in json_list(holder, "fields"):
            self.left -= 1
            if self.left <= 0 or is_untold(field) or _elements(field):
                return -1
            if isinstance(field, dict):
                size = _number(field, "size", 0)
                inner = _inner(field)
                if inner is not None and self.fixed_size(inner, depth + 1) != size:
                    return -1
                total += size * _number(field, "array_len", 1)
        return total

    def elements(self, field: Json) -> Iterator[int | None]:
        """Indices of an array's elements; for a single field its own index, or ``None``."""
        if not isinstance(field, dict):
            return
        if "array_len" not in field:
            yield _number(field, "index", 0) if "index" in field else None
            return
        for index in range(_number(field, "array_len", 0)):
            if not _number(field, "size", 0) and index:
                return
            yield index

    def field(self, field: Json, index: int | None, depth: int) -> Node:
        """Read one field, or one element of an array."""
        name = json_text(field, "name")
        if index is not None:
            name = f"{name}[{index}]"
        kind = json_text(field, "type")
        size = _number(field, "size", 0)
        begin = self.at
        self.count += 1
        inner, elements = _inner(field), _elements(field)
        if begin + size > len(self.data) or (inner is None and not elements):
            return self.plain(name, kind, size)
        if elements:
            children = self.listed(name, kind, elements, depth + 1)
            value = "1 element" if len(elements) == 1 else f"{len(elements)} elements"
        else:
            children = self.structure(inner, depth + 1)
            value = json_text(inner, "vmsd_name")
        if self.lost:  # this structure's own size is known, so go on behind it
            self.lost = self.stopped = False
            self.at = begin + size
        if self.at != begin + size and not self.stopped:
            self.problems.append(
                SectionProblem(
                    "vmdesc-section-size",
                    begin,
                    f"structure {name!r} of {size} bytes has fields of {self.at - begin}",
                )
            )
            self.at = begin + size
        return Node(name, value, begin, size, children, kind)

    def plain(self, name: str, kind: str, size: int) -> Node:
        """Read bytes that are shown as one value."""
        begin = self.at
        if begin + size > len(self.data):
            self.stop(
                "vmdesc-section-size",
                f"field {name!r} of {size} bytes ends behind the section's end",
            )
            return Node(name, "behind the section's end", begin, len(self.data) - begin)
        self.at = begin + size
        return Node(name, _value_text(kind, self.data[begin : self.at]), begin, size, meaning=kind)

    def listed(self, name: str, kind: str, elements: list[Json], depth: int) -> list[Node]:
        """Read the elements of a list: in front of each is a byte 1, behind the last a byte 0.

        A tree has their number in front, and each of its values a key, which is either a number
        or described too, in front of the value.
        """
        nodes: list[Node] = []
        each = 1
        if kind == TREE:
            nodes.append(self.plain("nnodes", "uint32", UNSIGNED["uint32"]))
            each = len({json_text(element, "vmsd_name") for element in elements})
        for index, element in enumerate(elements):
            self.count += 1
            self.left -= 1
            if self.count >= NODES_MAX or self.left <= 0:
                self.lost = self.stopped = True
            if index % each == 0 and not self.stopped:
                nodes.append(self.plain("more", "bool", 1))
                if kind == TREE and each == 1 and not self.stopped:
                    nodes.append(self.plain("key", "uint64", UNSIGNED["uint64"]))
            if self.stopped:
                return nodes
            begin = self.at
            children = self.structure(element, depth)
            is_key = each > 1 and index % each == 0
            label = "key" if is_key else f"{name}[{index // each}]"
            value = json_text(element, "vmsd_name")
            nodes.append(Node(label, value, begin, self.at - begin, children, "struct"))
        if not self.stopped:
            nodes.append(self.plain("more", "bool", 1))
        return nodes

    def subsection(self, subsection: Json, depth: int, nodes: list[Node]) -> None:
        """Read a subsection: ``05``, name, version and its fields."""
        begin = self.at
        data = self.data
        name = json_text(subsection, "vmsd_name")
        if data[begin : begin + 1] != bytes((SUBSECTION_BYTE,)) or begin + 2 > len(data):
            self.stop("subsection-bad", f"no subsection {name!r} at byte {begin}")
            return
        end = begin + 2 + data[begin + 1]
        found = text_of(data[begin + 2 : end])
        if found != name or end + 4 > len(data):
            self.stop("subsection-bad", f"subsection {found!r}, described is {name!r}")
            return
        version = int.from_bytes(data[end : end + 4], "big")
        self.at = end + 4
        children = self.structure(subsection, depth + 1)
        nodes.append(
            Node(name, f"version {version}", begin, self.at - begin, children, "subsection")
        )


def _value_text(kind: str, raw: bytes) -> str:
    """A field's value as text, by the name of its type; unknown types are shown as bytes."""
    base = kind
    for suffix in COMPARISONS:
        base = base.removesuffix(suffix)
    if UNSIGNED.get(base) == len(raw):
        value = int.from_bytes(raw, "big")
        return f"{value} ({value:#x})" if value > 9 else str(value)
    if SIGNED.get(base) == len(raw):
        value = int.from_bytes(raw, "big", signed=True)
        return "off" if base == "timer" and value == TIMER_OFF else str(value)
    if base == "bool" and len(raw) == 1:
        return {0: "false", 1: "true"}.get(raw[0], f"{raw[0]:#x}")
    if base == "capability" and raw:
        return text_of(raw[1:])
    if base == "nullptr" and raw == b"0":
        return "NULL"
    text = raw.rstrip(b"\0")
    if base == "buffer" and len(text) >= TEXT_MIN and text.isascii():
        shown = text.decode("ascii")
        return f'"{shown}"' if shown.isprintable() else bytes_text(raw)
    return bytes_text(raw)
