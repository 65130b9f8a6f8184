"""Which columns of the packet table hold the fields of filters and of ``packets -e``."""

from __future__ import annotations

from analyzer.migration.rows import DEVICE_STATE, RAM_PACKET, SYNC_PACKET
from analyzer.migration.table import INIT_PACKET, KINDS, SEVERITIES
from dissectors.multifd import MultifdFlag, text_of
from dissectors.registry import FIELDS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeAlias

    from analyzer.migration.table import PacketTable

    Value: TypeAlias = "int | bool | str | bytes | None"

__all__ = ["ALL", "TABLE_FIELDS", "TableField", "flag_of"]

ALL = frozenset(range(len(KINDS)))
PAGES = frozenset((RAM_PACKET, SYNC_PACKET))
STATE = frozenset((DEVICE_STATE,))
HEADED = PAGES | STATE
INIT = frozenset((INIT_PACKET,))


class TableField:
    """How a field is found in the table.

    ``column`` holds it, in packets of the given ``kinds``.  ``texts`` says what the numbers of a
    column refer to: ``names``, ``devices``, ``uuids``, ``kinds`` or ``severities``; empty for plain
    numbers.  ``absent`` is a column and the number in it that means the field is absent.  ``mask``
    selects one flag; ``minus`` is a column, or ``start``, to subtract.
    """

    __slots__ = ("absent", "column", "kinds", "mask", "minus", "texts")

    def __init__(
        self,
        column: str,
        kinds: frozenset[int] = ALL,
        *,
        texts: str = "",
        absent: tuple[str, int] | None = None,
        minus: str = "",
        mask: int = 0,
    ) -> None:
        self.column = column
        self.kinds = kinds
        self.texts = texts
        self.absent = absent
        self.minus = minus
        self.mask = mask

    def value(self, table: PacketTable, row: int) -> Value:
        """The field's value in one row; ``None`` where the packet does not have it.

        Text is not escaped for any output; times are ns.
        """
        kind = table.column("kind")[row]
        if kind not in self.kinds:
            return None
        if self.absent is not None and table.column(self.absent[0])[row] == self.absent[1]:
            return None
        if self.column == "number":
            return table.base + row + 1
        value = table.column(self.column)[row]
        if self.mask:
            return bool(flag_of(value, self.mask, kind))
        if self.minus:
            return value - (table.start if self.minus == "start" else table.column(self.minus)[row])
        return self.text(table, value) if self.texts else value

    def text(self, table: PacketTable, number: int) -> str | bytes:
        """The text that a number refers to, in a column with ``texts``."""
        if self.texts == "names":
            return text_of(table.names[number])
        if self.texts == "uuids":
            return table.names[number]
        if self.texts == "devices":
            return table.device_text(number)
        return (KINDS if self.texts == "kinds" else SEVERITIES)[number]

    def text_count(self, table: PacketTable) -> int:
        """How many texts the numbers of such a column can refer to."""
        if self.texts in ("names", "uuids"):
            return len(table.names)
        if self.texts == "devices":
            return len(table.devices)
        return len(KINDS if self.texts == "kinds" else SEVERITIES)


def flag_of(flags: Any, mask: int, kind: Any) -> Any:
    """Whether a packet has a flag; arrays of flags and kinds give an array.

    In a device-state packet bit 4 is DEVICE_STATE, not UADK, as in the first revisions of the patch
    series (wire-format page 3.2).
    """
    if mask == MultifdFlag.DEVICE_STATE:
        return kind == DEVICE_STATE
    if mask == MultifdFlag.UADK:
        return (flags & mask != 0) & (kind != DEVICE_STATE)
    return flags & mask != 0


NO_BUFFER = ("idx", -1)

TABLE_FIELDS = {
    "number": TableField("number"),
    "frame": TableField("frame"),
    "frame.number": TableField("frame"),
    "frame.last": TableField("end_frame"),
    "time": TableField("time"),
    "time.relative": TableField("time", minus="start"),
    "time.span": TableField("end_time", minus="time"),
    "migration": TableField("migration"),
    "channel": TableField("channel"),
    "tcp.stream": TableField("stream"),
    "kind": TableField("kind", texts="kinds"),
    "offset": TableField("offset"),
    "length": TableField("length"),
    "device": TableField("device", STATE, texts="devices"),
    "missing": TableField("missing"),
    "cut": TableField("cut"),
    "severity": TableField("severity", texts="severities"),
    "multifd.flags": TableField("flags", HEADED),
    "multifd.pages_alloc": TableField("pages_alloc", PAGES),
    "multifd.normal_pages": TableField("normal_pages", PAGES),
    "multifd.next_packet_size": TableField("next_packet_size", HEADED),
    "multifd.packet_num": TableField("packet_num", PAGES),
    "multifd.zero_pages": TableField("zero_pages", PAGES),
    "multifd.ramblock": TableField("name", PAGES, texts="names", absent=("name", 0)),
    "multifd.idstr": TableField("name", STATE, texts="names"),
    "multifd.instance_id": TableField("instance_id", STATE),
    "multifd.init.uuid": TableField("name", INIT, texts="uuids"),
    "multifd.init.id": TableField("channel", INIT),
    "vfio.version": TableField("vfio_version", STATE, absent=NO_BUFFER),
    "vfio.idx": TableField("idx", STATE, absent=NO_BUFFER),
    "vfio.flags": TableField("state_flags", STATE, absent=NO_BUFFER),
}
"""Every field of :data:`dissectors.registry.FIELDS` by name."""


def _flag(name: str, mask: int) -> TableField:
    flags = TABLE_FIELDS[name.rsplit(".", 1)[0]]
    return TableField(flags.column, flags.kinds, absent=flags.absent, mask=mask)


TABLE_FIELDS.update({f.name: _flag(f.name, f.mask) for f in FIELDS.values() if f.mask})
