"""The main channel's records and the return path's messages, in order of time: listed by ``mfshark
records`` and a screen of the terminal interface.
"""

from __future__ import annotations

from analyzer.checks.wording import counted
from analyzer.migration.return_path import COLO
from analyzer.report.style import size_text
from dissectors.multifd import text_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from analyzer.migration.channel import Channel
    from analyzer.migration.main_channel import MainFacts, Record
    from analyzer.migration.migration import Migration
    from analyzer.migration.return_path import Message
    from analyzer.migration.vmdescription import Description
    from analyzer.tcp.requests import Place
    from dissectors.tree import Node

__all__ = ["MainLine", "MainTrees", "main_lines"]


class MainLine:
    """A record of the main channel, or a message of the return path.

    ``place`` is where its first byte was seen, ``offset`` where it begins in its stream, ``kind``
    QEMU's name for it; texts are not escaped.
    """

    __slots__ = (
        "channel",
        "kind",
        "length",
        "message",
        "migration",
        "name",
        "offset",
        "place",
        "record",
    )

    def __init__(
        self,
        migration: Migration,
        channel: Channel,
        *,
        kind: str,
        name: str,
        place: Place,
        offset: int,
        length: int,
        record: Record | None = None,
        message: Message | None = None,
    ) -> None:
        self.migration = migration
        self.channel = channel
        self.kind = kind
        self.name = name
        self.place = place
        self.offset = offset
        self.length = length
        self.record = record
        self.message = message

    @property
    def is_colo(self) -> bool:
        """Whether it is a COLO message."""
        if self.record is not None:
            return self.record.kind == "COLO"
        return self.message is not None and self.message.kind >= COLO

    @property
    def text(self) -> str:
        """Kind and name, to look for text in."""
        return f"{self.kind} {self.name}"

    @property
    def carries(self) -> list[str]:
        """Its contents as readable text."""
        if self.record is not None:
            return _record_parts(self.record)
        return _message_parts(self.message) if self.message is not None else []

    def facts(self, begin: int) -> dict[str, Any]:
        """The line as plain data, times in s since ``begin`` (ns since the epoch)."""
        record, message, place = self.record, self.message, self.place
        found: dict[str, Any] = {
            "migration": self.migration.number,
            "channel": self.channel.kind,
            "tcp_stream": self.channel.stream,
            "frame": place.frame or None,
            "time": (place.time - begin) / 1e9 if place.frame else None,
            "offset": self.offset,
            "length": self.length,
            "record": self.kind,
            "name": self.name,
        }
        if record is None:
            return found | NO_RECORD | {"value": message.value if message is not None else None}
        found |= {name: getattr(record, name) for name in NO_RECORD if name not in RENAMED}
        return found | {
            "last_frame": record.last.frame or None,
            "missing_bytes": record.missing,
            "broken": record.broken or None,
        }


RENAMED = ("last_frame", "missing_bytes", "broken")
NO_RECORD = {
    "depth": 0,
    "section_id": None,
    "instance_id": None,
    "value": None,
    "normal_pages": 0,
    "zero_pages": 0,
    "coded_pages": 0,
    "flushes": 0,
    "data_bytes": 0,
    "last_frame": None,
    "missing_bytes": 0,
    "broken": None,
}
"""The values that messages have for facts that only records have."""


def _record_parts(record: Record) -> list[str]:
    parts = []
    if record.normal_pages:
        parts.append(counted(record.normal_pages, "page"))
    if record.zero_pages:
        parts.append(counted(record.zero_pages, "zero page"))
    if record.coded_pages:
        parts.append(counted(record.coded_pages, "encoded page"))
    if record.flushes:
        parts.append(f"{record.flushes} × MULTIFD_FLUSH")  # noqa: RUF001
    if record.data_bytes:
        parts.append(f"{size_text(record.data_bytes)} of device state")
    if record.value is not None:
        parts.append(_value_text(record, record.value))
    if record.by_search:
        parts.append("end found by its footer")
    if record.missing:
        parts.append(f"{size_text(record.missing)} missing")
    if record.broken:
        parts.append(f"breaks off in {record.broken}")
    return parts


def _value_text(record: Record, value: int) -> str:
    if record.kind == "COLO":
        return f"{size_text(value)} of device state"
    if record.name == "PACKAGED":
        return f"{size_text(value)} of records"
    if record.name == "POSTCOPY_RAM_DISCARD":
        return counted(value, "range")
    return f"value {value:#x}"


def _message_parts(message: Message) -> list[str]:
    parts = []
    if message.value is not None:
        parts.append(f"value {message.value:#x}")
    if message.start is not None:
        parts.append(f"start {message.start:#x}")
    if message.size is not None:
        parts.append(size_text(message.size))
    return parts


def main_lines(migrations: Iterable[Migration]) -> list[MainLine]:
    """All lines of some migrations."""
    lines: list[MainLine] = []
    for migration in migrations:
        facts, main = migration.main_facts, migration.main
        back, returned = migration.return_path, migration.return_facts
        if main is not None and facts is not None:
            lines += [_of_record(migration, main, record) for record in list(facts.records)]
        if back is not None and returned is not None:
            lines += [_of_message(migration, back, sent) for sent in list(returned.messages)]
    lines.sort(key=lambda line: line.place.time)
    return lines


def _of_record(migration: Migration, channel: Channel, record: Record) -> MainLine:
    return MainLine(
        migration,
        channel,
        kind=record.kind,
        name=record.name,
        place=record.first,
        offset=record.offset,
        length=record.length,
        record=record,
    )


def _of_message(migration: Migration, channel: Channel, message: Message) -> MainLine:
    """The line of a message; its name is the RAM block that it concerns."""
    return MainLine(
        migration,
        channel,
        kind=message.name,
        name=text_of(message.block or b""),
        place=message.mark.place,
        offset=message.mark.offset,
        length=message.length,
        message=message,
    )


class MainTrees:
    """Decodes records and messages into fields; a migration's description is loaded once."""

    def __init__(self) -> None:
        self._descriptions: dict[MainFacts, Description | None] = {}

    def nodes(self, line: MainLine, data: bytes) -> list[Node]:
        """The fields of a record or message, whose bytes are ``data``."""
        from dissectors.main_tree import colo_tree, message_tree

        if line.is_colo:
            return colo_tree(data)
        if line.message is not None:
            return message_tree(data)
        facts = line.migration.main_facts
        if line.record is None or facts is None:
            return []
        return self._of_record(line.record, line.migration, facts, data)

    def _of_record(
        self, record: Record, migration: Migration, facts: MainFacts, data: bytes
    ) -> list[Node]:
        from analyzer.migration.sendings import record_page_size
        from analyzer.migration.vmdescription import key_of
        from dissectors.main_tree import record_tree

        section = facts.sections.get(record.section_id) if record.section_id is not None else None
        idstr = section.idstr if section is not None else b""
        device = None
        if record.kind == "SECTION_FULL" and (description := self._described(facts)) is not None:
            device = description.devices.get(key_of(facts, record))
        return record_tree(
            data,
            idstr=idstr,
            device=device,
            page_size=record_page_size(migration, facts.ram),
            capabilities=[c for c in facts.capabilities if c not in facts.ram.belied],
        )

    def _described(self, facts: MainFacts) -> Description | None:
        if not facts.description_complete:
            return None
        if facts not in self._descriptions:
            from analyzer.migration.vmdescription import load

            self._descriptions[facts] = load(facts)
        return self._descriptions[facts]
