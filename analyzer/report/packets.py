"""The output of ``mfshark packets``, one line per packet, as text, JSON, JSON lines or CSV.

Lines are made from the rows that are currently in the table; a caller that drops them afterwards
lists a capture of any size in fixed memory.
"""

from __future__ import annotations

from functools import lru_cache

from analyzer.checks.wording import counted
from analyzer.errors import UsageError
from analyzer.migration.framing import marker_of
from analyzer.migration.rows import DEVICE_STATE, KINDS
from analyzer.migration.table_fields import TABLE_FIELDS
from analyzer.report.escape import csv_cell, terminal
from analyzer.report.parts import iso_time
from analyzer.report.style import Style, size_text
from dissectors.multifd import MultifdFlag, uuid_text
from dissectors.registry import FIELDS, nearest
from dissectors.vfio import VfioStateFlag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from enum import IntFlag
    from typing import Any

    from analyzer.migration.table import PacketTable, Row
    from analyzer.migration.table_fields import Value
    from dissectors.registry import FilterField

__all__ = ["LATE", "USUAL", "Listing", "chosen_fields", "flags_text", "pages_text"]

SECOND = 1_000_000_000
DEVICE = KINDS[DEVICE_STATE]
LATE = frozenset(("severity",))
"""Fields that are only known once the whole capture has been read."""
ALIASES = frozenset(("frame.number",))
USUAL = tuple(
    name for name, field in FIELDS.items() if not field.mask and name not in LATE | ALIASES
)
"""The fields listed by default; flags as one number."""
HEADINGS = (
    ("No.", 7, ">"),
    ("Frame", 8, ">"),
    ("Time", 12, ">"),
    ("Mig", 3, ">"),
    ("Chan", 4, ">"),
    ("Kind", 12, "<"),
    ("Block or device", 24, "<"),
    ("Number", 9, ">"),
    ("Flags", 12, "<"),
    ("Pages", 9, ">"),
    ("Size", 10, ">"),
    ("Notes", 0, "<"),
)
"""Columns of the text listing: heading, width, alignment."""


def chosen_fields(names: Iterable[str]) -> tuple[str, ...]:
    """Field names, each of which may be a comma-separated list.  Raises :class:`UsageError` for an
    unknown field.
    """
    chosen = [part.strip() for name in names for part in name.split(",") if part.strip()]
    for name in chosen:
        if name not in FIELDS:
            meant = nearest(name)
            hint = f"did you mean {meant}?" if meant else "'mfshark packets -G' lists all fields"
            raise UsageError(f"no field is called {name!r}; {hint}")
    return tuple(chosen)


class Listing:
    """Turns rows into the lines of one format: ``text``, ``json``, ``jsonl`` or ``csv``.

    ``fields`` are the chosen ones; without any, text has columns for people, and the other formats
    have :data:`USUAL`.  Print :meth:`head`, then :meth:`rows` whenever there are new rows, then
    :meth:`tail`.
    """

    def __init__(
        self,
        format: str = "text",  # noqa: A002 - what it is called everywhere
        fields: Sequence[str] = (),
        style: Style | None = None,
    ) -> None:
        self._format = format
        self._fields = tuple(fields) or USUAL
        self._columns = format == "text" and not fields
        self._style = style or Style()
        self._listed = 0

    def head(self) -> Iterator[str]:
        """The text before the first packet."""
        if self._columns:
            yield self._style.dim(_aligned([heading for heading, _, _ in HEADINGS]))
        elif self._format == "csv":
            yield ",".join(self._fields)
        elif self._format == "json":
            yield "["

    def rows(self, table: PacketTable, rows: Iterable[int]) -> Iterator[str]:
        """The lines of some rows."""
        if self._columns:
            for row in rows:
                yield self._for_people(table, table.row(row))
            return
        values = [(FIELDS[name], TABLE_FIELDS[name]) for name in self._fields]
        for row in rows:
            yield self._line([(field, place.value(table, row)) for field, place in values])

    def tail(self) -> Iterator[str]:
        """The text after the last packet."""
        if self._format == "json":
            yield "\n]" if self._listed else "]"

    def _line(self, values: list[tuple[FilterField, Value]]) -> str:
        if self._format == "text":
            return "\t".join(terminal(_text(field, value)) for field, value in values)
        if self._format == "csv":
            return ",".join(_cell(field, value) for field, value in values)
        from analyzer.report.json_text import json_text

        line = json_text({field.name: _plain(field, value) for field, value in values})
        if self._format == "jsonl":
            return line
        self._listed += 1
        return f",\n {line}" if self._listed > 1 else f"\n {line}"

    @property
    def separator(self) -> str:
        """The separator after every line of :meth:`head` and :meth:`rows`."""
        return "" if self._format == "json" else "\n"

    # -- for people ---------------------------------------------------------------------------

    def _for_people(self, table: PacketTable, row: Row) -> str:
        cells = [
            str(row.number),
            str(row.frame),
            f"{(row.time - table.start) / SECOND:.6f}",
            str(row.migration),
            str(row.channel) if row.channel >= 0 else "?",
            row.kind,
            terminal(row.device or row.ramblock or ""),
            _number(row),
            flags_text(row.kind == DEVICE, row.flags or 0, row.state_flags or 0),
            pages_text(row.normal_pages or 0, row.zero_pages or 0),
            size_text(row.length),
            ", ".join(_notes(row)),
        ]
        line = _aligned(cells)
        return self._style.severity(row.severity, line) if row.severity != "none" else line


def _aligned(cells: Sequence[str]) -> str:
    parts = [
        f"{cell:{align}{width}}" if width else cell
        for cell, (_, width, align) in zip(cells, HEADINGS, strict=True)
    ]
    return " ".join(parts).rstrip()


def _number(row: Row) -> str:
    if row.packet_num is not None:
        return f"#{row.packet_num}"
    if row.kind != DEVICE:
        return ""
    return f"idx {row.idx}" if row.idx is not None else "idx ?"


@lru_cache(maxsize=1024)
def flags_text(device: bool, flags: int, state_flags: int) -> str:
    """Names of the flags that the kind of a packet does not already imply; of a ``device`` state
    packet those of its buffer too.
    """
    if not device:
        return _names(MultifdFlag, flags)
    parts = _names(MultifdFlag, flags & ~marker_of(flags)), _names(VfioStateFlag, state_flags)
    return "|".join(filter(None, parts))


def _names(enum: type[IntFlag], flags: int) -> str:
    names = [str(flag.name) for flag in enum if flags & flag]
    unknown = flags & ~sum(int(flag) for flag in enum)
    return "|".join([*names, f"{unknown:#x}"] if unknown else names)


def pages_text(normal: int, zero: int) -> str:
    """How many pages a packet has with content, and how many zero pages: ``3+125z``."""
    return f"{normal}+{zero}z" if zero else str(normal or "")


def _notes(row: Row) -> Iterator[str]:
    if row.uuid is not None and any(row.uuid):
        yield f"uuid {uuid_text(row.uuid)}"
    if row.severity != "none":
        yield row.severity
    if row.missing:
        cut = "cut off: " if row.cut else ""
        yield f"{cut}{counted(row.missing, 'byte')} missing"


# -- single values ----------------------------------------------------------------------------


def _text(field: FilterField, value: Value) -> str:
    """A value as text, not escaped; empty where the packet does not have the field."""
    if value is None:
        return ""
    if isinstance(value, bytes):
        return uuid_text(value) if field.display == "uuid" else value.hex()
    if isinstance(value, str):
        return value
    if field.type == "bool":
        return "1" if value else "0"
    if field.type == "time":
        return iso_time(value) or (str(value) if value else "")
    if field.type == "duration":
        sign = "-" if value < 0 else ""
        return f"{sign}{abs(value) // SECOND}.{abs(value) % SECOND:09d}"
    return f"{value:#x}" if field.display in ("hex", "flags") else str(value)


def _cell(field: FilterField, value: Value) -> str:
    if not isinstance(value, str):
        return _text(field, value)
    text = csv_cell(value)
    return '"' + text.replace('"', '""') + '"' if any(c in text for c in '",\n\r') else text


def _plain(field: FilterField, value: Value) -> Any:
    """A value for JSON: numbers as numbers, durations in seconds, times as ISO 8601."""
    if value is None or isinstance(value, str):
        return value
    if field.type == "time":
        return _text(field, value) or None
    if isinstance(value, bytes):
        return _text(field, value)
    return value / SECOND if field.type == "duration" else value
