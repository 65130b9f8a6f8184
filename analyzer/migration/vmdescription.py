"""The VMDESCRIPTION that ends a main channel: checks, and decoding of every device's fields with
it.

Wire-format page, section 6.9.
"""

from __future__ import annotations

from analyzer.migration.anomaly import Anomaly
from dissectors.main_stream import RecordType, is_vfio
from dissectors.multifd import device_name, text_of
from dissectors.vmstate import (
    LISTS,
    decode_section,
    is_untold,
    json_list,
    json_text,
    with_elements,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from analyzer.migration.main_channel import MainFacts, Record
    from dissectors.tree import Node
    from dissectors.vmstate import DecodedSection, Json

__all__ = ["Description", "DeviceFields", "decode", "key_of", "load", "verify"]

FULL = RecordType.SECTION_FULL.name
SUBSECTION_HEADER = 1 + 1 + 4
DEPTH_MAX = 64
FIELDS_PER_BYTE = 2
"""Most fields gone through for each byte of the description and of the bodies decoded with it: an
entry may be that of many sections, and its fields may have no size.
"""
SIZE_LIMIT = 1 << 62
BAD = "\N{REPLACEMENT CHARACTER}"


class Description:
    """A parsed description: ``devices`` by what :func:`key_of` gives.

    ``page_size`` is the target's in bytes, 0 if it is not given.
    """

    __slots__ = ("devices", "page_size")

    def __init__(self, text: Json) -> None:
        self.devices: dict[tuple[str, int], Json] = {}
        size = text.get("page_size") if isinstance(text, dict) else None
        self.page_size = size if isinstance(size, int) and not isinstance(size, bool) else 0
        for device in json_list(text, "devices"):
            instance = device.get("instance_id") if isinstance(device, dict) else None
            if isinstance(instance, int):
                name = _without_bad(json_text(device, "name"))
                self.devices[name, instance % (1 << 32)] = device


class DeviceFields:
    """A FULL section's decoded body; offsets in ``nodes`` count from the body's beginning.

    ``complete`` says that the fields cover the whole body.
    """

    __slots__ = ("anomalies", "complete", "nodes", "record")

    def __init__(
        self, record: Record, nodes: list[Node], anomalies: list[Anomaly], complete: bool
    ) -> None:
        self.record = record
        self.nodes = nodes
        self.anomalies = anomalies
        self.complete = complete


def load(main: MainFacts) -> Description | None:
    """The description of a walked stream; ``None`` if it is absent, incomplete or not JSON."""
    import json

    if not main.description_complete:
        return None
    data = main.description_bytes()
    # Few streams have lists, and without the call for every object reading takes half the time.
    hook = with_elements if any(b'"%s"' % kind.encode() in data for kind in LISTS) else None
    try:
        text = json.loads(data.decode("utf-8", "replace"), strict=False, object_pairs_hook=hook)
    except (ValueError, RecursionError):
        return None
    return Description(text) if isinstance(text, dict) else None


def _name_of(idstr: bytes) -> str:
    """A device's name in a description: QEMU writes replacement characters for bytes that are not
    UTF-8.
    """
    return _without_bad(idstr.decode("utf-8", "replace"))


def _without_bad(name: str) -> str:
    """A name with runs of replacement characters reduced to one, since QEMU writes another number
    of them.
    """
    while 2 * BAD in name:
        name = name.replace(2 * BAD, BAD)
    return name


def _full_records(main: MainFacts) -> list[Record]:
    return [r for r in main.records if r.kind == FULL and not r.broken]


def key_of(main: MainFacts, record: Record) -> tuple[str, int]:
    """What identifies a section's device in a description."""
    section, instance = main.sections.get(record.section_id or 0), record.instance_id or 0
    if section is not None and section.text == record.name:
        return _name_of(section.idstr), instance
    # Its id belongs to another section (MF609).
    return record.name.removesuffix(f"#{instance}") if instance else record.name, instance


def verify(main: MainFacts, description: Description | None = None) -> list[Anomaly]:
    """Compare the description with the sections, by names and sizes only (no body is decoded).

    How names that are not ASCII appear depends on the source, so they are not reported as missing.
    """
    mark = main.description
    if mark is None or not main.description_complete:
        return []
    description = description or load(main)
    if description is None:
        return [Anomaly("vmdesc-json", mark.offset, mark.place, "not a JSON object")]
    found = []
    sizes: dict[tuple[str, int], int | None] = {}  # of the sections there are
    for record in _full_records(main):
        key = key_of(main, record)
        device = description.devices.get(key)
        if key not in sizes:
            sizes[key] = _size(device, 0)
        if device is None:
            if key[0].isascii():
                missing = f"section {record.name!r} is not in it"
                found.append(_anomaly("vmdesc-json", record, key, missing))
            continue
        size = sizes[key]
        if size is not None and size != record.body_length:
            found.append(
                _undescribed(record, key, device, size)
                or _anomaly(
                    "vmdesc-section-size",
                    record,
                    key,
                    f"{record.body_length} bytes up to the footer, {size} described",
                )
            )
    if not main.interrupted and not main.records_dropped:
        found += [
            Anomaly("vmdesc-json", mark.offset, mark.place, f"no section {name!r} {instance}")
            for name, instance in description.devices
            if (name, instance) not in sizes and name.isascii()
        ]
    return found


def _undescribed(record: Record, key: tuple[str, int], device: Json, size: int) -> Anomaly | None:
    """The anomaly of a subsection after the ``size`` bytes of a body that are described, if there
    is one.
    """
    body = record.body or b""
    if body[size : size + 1] != bytes((RecordType.SUBSECTION,)):
        return None
    name_at = size + 2
    name = body[name_at : name_at + body[name_at - 1]] if len(body) >= name_at else b""
    owner = json_text(device, "vmsd_name") or key[0]
    text = text_of(name)
    if not text.isprintable() or not text.startswith(f"{owner}/"):
        return None
    at = record.body_offset + size
    detail = f"subsection {text!r} is not in the description"
    return Anomaly("subsection-bad", at, record.first, detail, device_name(*key))


def _anomaly(slug: str, record: Record, key: tuple[str, int], detail: str) -> Anomaly:
    return Anomaly(slug, record.offset, record.first, detail, device_name(*key))


def _size(holder: Json, depth: int) -> int | None:
    """Size in bytes of a described structure with its subsections; ``None`` if that is not
    given.
    """
    total = 0
    for field in json_list(holder, "fields"):
        if is_untold(field):
            return None
        if isinstance(field, dict):
            size, count = field.get("size"), field.get("array_len", 1)
            if isinstance(size, int) and isinstance(count, int):
                total += size * count
    if depth < DEPTH_MAX:
        for subsection in json_list(holder, "subsections"):
            name = json_text(subsection, "vmsd_name")
            total += SUBSECTION_HEADER + len(name.encode("utf-8", "surrogatepass"))
            size = _size(subsection, depth + 1)
            if size is None:
                return None
            total += size
    return min(max(total, 0), SIZE_LIMIT)


def decode(
    main: MainFacts, description: Description | None = None, *, values: bool = True
) -> list[DeviceFields]:
    """Every device's fields, from the bodies that were kept; empty without a description.

    Without ``values`` only their structure is verified, which takes a tenth of the time.

    A VFIO device's section is decoded by its tags instead, see :mod:`dissectors.main_tree`.
    """
    description = description or load(main)
    if description is None:
        return []
    decoded = []
    left = FIELDS_PER_BYTE * (main.description_length + main.bodies_kept)
    for record in _full_records(main):
        key = key_of(main, record)
        device = description.devices.get(key)
        if device is None or record.body is None or is_vfio(key[0].encode()):
            continue
        result = decode_section(device, record.body, values=values, fields=left)
        left -= result.fields
        if left <= 0:
            break
        decoded.append(_fields_of(record, key, result))
    return decoded


def _fields_of(record: Record, key: tuple[str, int], result: DecodedSection) -> DeviceFields:
    body = record.body or b""
    anomalies = [
        Anomaly(
            problem.slug,
            record.body_offset + problem.offset,
            record.first,
            problem.detail,
            device_name(*key),
        )
        for problem in result.problems
    ]
    complete = not anomalies and result.told and result.end == len(body)
    if not anomalies and not complete and result.told:
        anomalies.append(
            _anomaly(
                "vmdesc-section-size",
                record,
                key,
                f"fields end at byte {result.end} of {len(body)}",
            )
        )
    return DeviceFields(record, result.nodes, anomalies, complete)
