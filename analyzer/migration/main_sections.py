"""Sections of the main channel: header, body, footer.

Wire-format page, sections 6.3 and 6.6 to 6.8.
"""

from __future__ import annotations

from analyzer.migration.broken import Broken
from analyzer.migration.main_channel import SECTIONS_MAX, Section
from analyzer.migration.main_ram import WITHOUT_LIST, RamWalk
from analyzer.migration.main_search import kind_by_content
from analyzer.migration.main_vfio import CONFIG_FOLLOWS, walk_vfio
from analyzer.migration.mark import Mark
from analyzer.migration.section_body import walk_unknown_body
from analyzer.tcp.requests import Peek, Push, Take
from dissectors.main_stream import (
    EARLY,
    FOOTER,
    FOOTER_BYTE,
    RAM_SECTION,
    RAM_VERSION,
    SECTION_VERSIONS,
    SECTIONS,
    VFIO_VERSION,
    RecordType,
    is_vfio,
)
from dissectors.multifd import text_of
from dissectors.vfio import VfioTag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from typing import TypeAlias

    from analyzer.migration.broken import Steps
    from analyzer.migration.main_channel import DeviceKey, MainFacts, Record
    from analyzer.tcp.reader import Reader
    from analyzer.tcp.requests import Reply, Request, Sink

    DeviceData: TypeAlias = Callable[[DeviceKey], Sink | None]

__all__ = ["SectionWalk"]

START, PART, END, FULL = SECTIONS
BEGINNINGS = (int(RecordType.EOF), *SECTIONS, int(RecordType.COMMAND))
"""Type bytes of the records that may follow a section."""
DISPLACED_MAX = 64
ID = Take(4)
FOOTER_TAKE = Take(FOOTER.size)
CONFIG_STATE = int(VfioTag.DEV_CONFIG_STATE).to_bytes(8, "big")
TAG_BEGINNING = CONFIG_STATE[: FOOTER.size]
"""What all tags have in common, as far as a footer is long."""


def _kind(section: Section) -> bytes:
    """What :func:`kind_by_content` gives for a section's parts."""
    if is_vfio(section.idstr):
        return b"vfio"
    return section.idstr if section.idstr == RAM_SECTION else b""


class SectionWalk:
    """Walks one section record at a time; ``device_data`` gives the sinks of VFIO data.

    ``displaced`` are sections that were announced with an id that belongs to another section,
    ``ram_ids`` the ids of ``ram`` sections.
    """

    __slots__ = ("device_data", "displaced", "main", "ram_ids", "reader", "sinks")

    def __init__(self, reader: Reader, main: MainFacts, device_data: DeviceData | None) -> None:
        self.reader = reader
        self.main = main
        self.device_data = device_data
        self.sinks: dict[DeviceKey, Sink | None] = {}
        self.displaced: list[Section] = []
        self.ram_ids: set[int] = set()

    def walk(self, kind: int, record: Record, limit: int | None) -> Steps:
        """Walk the section whose type byte ``kind`` was just read; ``limit`` is the end of a
        PACKAGED.
        """
        section = yield from self._header(kind, record)
        if isinstance(section, Broken):
            return section.inside(record.kind)
        record.name = section.text
        record.section_id = section.section_id
        record.instance_id = section.instance_id
        record.body_offset = self.reader.offset
        section.parts += 1
        broken = yield from self._body(kind, section, record, limit)
        record.body_length = self.reader.offset - record.body_offset
        if broken is None:
            if kind == END:
                section.ended = record.mark
                self.main.first_section_end = self.main.first_section_end or section.ended
            broken = yield from self._footer(section)
        return None if broken is None else broken.inside(f"{record.kind} {section.text!r}")

    # -- header -------------------------------------------------------------------------------

    def _header(self, kind: int, record: Record) -> Generator[Request, Reply, Section | Broken]:
        at = record.offset
        head = yield ID
        if not isinstance(head, bytes):
            return Broken(head, "section id", at)
        section_id = int.from_bytes(head, "big")
        section = self.main.sections.get(section_id)
        if kind in (PART, END):
            if section is None:
                section = yield from self._guess(section_id, record)
            elif kind == PART and section.ended is not None and not section.guessed:
                self._note("part-after-end", record, f"section {section_id} {section.text!r}")
            return section
        size = yield Take(1)
        if not isinstance(size, bytes):
            return Broken(size, "idstr", at)
        rest = yield Take(size[0] + SECTION_VERSIONS.size)
        if not isinstance(rest, bytes):
            return Broken(rest, "idstr", at)
        idstr = rest[: size[0]]
        instance_id, version = SECTION_VERSIONS.unpack(rest, size[0])
        known = RAM_VERSION if idstr == RAM_SECTION else VFIO_VERSION if is_vfio(idstr) else version
        if version != known:
            what = f"{text_of(idstr)!r} version {version}, expected {known}"
            self._note("section-version", record, what)
        return self._register(kind, record, Section(section_id, idstr, instance_id, version))

    def _register(self, kind: int, record: Record, section: Section) -> Section | Broken:
        """Register the section of a START or FULL; gives the known one if it has the same id and
        key.
        """
        former = self.main.sections.get(section.section_id)
        if former is not None and not former.guessed:
            section = self._again(kind, record, former, section)
        elif former is not None:
            self._name_device(former, section)
            self._enter(section)
        elif len(self.main.sections) >= SECTIONS_MAX:
            return Broken(None, "section header", record.offset)
        else:
            own = next((s for s in self.displaced if s.key == section.key), None)
            section = section if own is None else self._reclaim(own, section.section_id)
            self._enter(section)
        self._keep_begin(kind, section, record.mark)
        return section

    def _again(self, kind: int, record: Record, former: Section, section: Section) -> Section:
        """The section that a START or FULL with the id of ``former`` begins."""
        if former.key != section.key or (kind == START and former.started):
            self._note(
                "section-id-reused",
                record,
                f"id {section.section_id} of {section.text!r} belongs to {former.text!r}",
            )
        if former.key == section.key:
            return former
        if len(self.displaced) < DISPLACED_MAX:
            self.displaced.append(section)  # the id keeps its first section
        return section

    def _keep_begin(self, kind: int, section: Section, mark: Mark) -> None:
        """Keep where a section began, and the first of all."""
        main = self.main
        if kind == START:
            section.started = section.started or mark
            main.first_start = main.first_start or mark
        else:
            section.full = section.full or mark
            if main.first_start is not None and not section.idstr.endswith(EARLY):
                main.first_full = main.first_full or mark

    def _enter(self, section: Section) -> None:
        """Give an id to its section."""
        self.main.sections[section.section_id] = section
        if section.idstr == RAM_SECTION:
            self.ram_ids.add(section.section_id)
        else:
            self.ram_ids.discard(section.section_id)

    def _reclaim(self, section: Section, section_id: int) -> Section:
        """Give a displaced section the id that it turns out to have."""
        self.displaced.remove(section)
        section.section_id = section_id
        device = self.main.devices.get(section.key)
        if device is not None:
            device.section_id = section_id
        return section

    def _name_device(self, guessed: Section, section: Section) -> None:
        """Transfer the state of a guessed section to its real one, whose name is known now."""
        section.ended = guessed.ended
        section.parts = guessed.parts
        device = self.main.devices.pop(guessed.key, None)
        if device is not None and is_vfio(section.idstr):
            device.idstr = section.idstr
            device.instance_id = section.instance_id
            self.main.devices[section.key] = device

    def _guess(self, section_id: int, record: Record) -> Generator[Request, Reply, Section]:
        """A section whose START was not seen, guessed by its content."""
        ahead = yield Peek(8)
        idstr = kind_by_content(ahead) if isinstance(ahead, bytes) else b""
        if not self.main.interrupted:
            for section in self.displaced:
                if _kind(section) == idstr:
                    self._enter(self._reclaim(section, section_id))
                    return section
            self._note("section-unknown-id", record, f"section {section_id} was never started")
        if idstr == RAM_SECTION and self.ram_ids:
            idstr = b""  # there is a ram section already; storage keys look like RAM records
        instance_id = 0 if idstr else section_id  # distinguishes unnamed devices
        if is_vfio(idstr):
            idstr = b"section %d/%b" % (section_id, idstr)
        section = Section(section_id, idstr, instance_id, 0)
        section.guessed = True
        if len(self.main.sections) < SECTIONS_MAX:
            self._enter(section)
        return section

    # -- body ---------------------------------------------------------------------------------

    def _body(self, kind: int, section: Section, record: Record, limit: int | None) -> Steps:
        reader, main = self.reader, self.main
        if is_vfio(section.idstr):
            return (yield from self._vfio(kind, section, record, limit))
        if section.idstr == RAM_SECTION and kind != FULL:
            return (yield from self._ram(kind, section, record))
        if kind != FULL:
            from analyzer.migration.main_iterables import ITERABLES  # seldom needed

            iterable = ITERABLES.get(section.idstr)
            if iterable is not None:
                return (yield from iterable(reader, kind))
        return (yield from walk_unknown_body(reader, main, section, record, limit))

    def _ram(self, kind: int, section: Section, record: Record) -> Steps:
        ram = self.main.ram
        normal, zero, flushes = ram.normal_pages, ram.zero_pages, ram.flush_count
        coded = ram.sent_pages - normal
        strict = not self.main.interrupted
        told = section.guessed or WITHOUT_LIST in self.main.anomalies.counts
        if kind != START and ram.mem_size is None and strict and not told:
            self._note(WITHOUT_LIST, record, "no section before it listed the blocks")
        walk = RamWalk(
            self.reader,
            ram,
            section_id=section.section_id,
            capabilities=self.main.capabilities,
            strict=strict,
        )
        broken = yield from walk.walk()
        record.normal_pages = ram.normal_pages - normal
        record.zero_pages = ram.zero_pages - zero
        record.coded_pages = ram.sent_pages - ram.normal_pages - coded
        record.flushes = ram.flush_count - flushes
        if kind == END:
            ram.finish(Mark(self.reader.offset, self.reader.last))
        return broken

    def _vfio(self, kind: int, section: Section, record: Record, limit: int | None) -> Steps:
        main = self.main
        device = main.device(section)
        if self.device_data is not None and device.key not in self.sinks:
            self.sinks[device.key] = self.device_data(device.key)
        sink = self.sinks.get(device.key)
        broken = yield from walk_vfio(self.reader, main, device, record, kind, sink)
        if broken is None or broken.path != CONFIG_FOLLOWS:
            return broken
        begin = self.reader.offset
        broken = yield from walk_unknown_body(self.reader, main, section, record, limit)
        device.config_bytes = self.reader.offset - begin
        if record.body is not None:
            record.body = CONFIG_STATE + record.body
            self._note_config(record.body, begin - len(CONFIG_STATE), device.name)
        return broken

    def _note_config(self, data: bytes, begin: int, name: str) -> None:
        """Note what is wrong with a config state on main."""
        from dissectors.vfio_config import parse_config  # only needed where there is one

        note, last = self.main.anomalies.note, self.reader.last
        for problem in parse_config(data).telling:
            note(problem.slug, begin + problem.offset, last, f"on main: {problem.detail}", name)

    # -- footer -------------------------------------------------------------------------------

    def _without_footer(self) -> Generator[Request, Reply, bool]:
        """Whether sections have no footers, as with machine types up to 2.3.

        These do not send CONFIGURATION either; in that case the byte after the first section
        decides.
        """
        main = self.main
        if main.footers is None and (main.configuration is not None or main.interrupted):
            main.footers = True
        if not main.footers:
            ahead = yield Peek(1)
            if isinstance(ahead, bytes) and (ahead[0] == FOOTER_BYTE or main.footers is None):
                main.footers = ahead[0] not in BEGINNINGS
        return main.footers is False

    def _footer(self, section: Section) -> Steps:
        if (yield from self._without_footer()):
            return None
        reader = self.reader
        at = reader.offset
        footer = yield FOOTER_TAKE
        if not isinstance(footer, bytes):
            return Broken(footer, "footer", at)
        mark, section_id = FOOTER.unpack(footer)
        note = self.main.anomalies.note
        if mark != FOOTER_BYTE:
            text = f"section {section.text!r}: {footer.hex()}"
            if footer == TAG_BEGINNING and is_vfio(section.idstr):
                text += ", another VFIO tag after the one that ends the body"
            note("footer-missing", at, reader.last, text)
            if section_id != section.section_id or mark in SECTIONS:
                yield Push(footer)
                if mark not in BEGINNINGS:
                    return Broken(None, "footer", at)
        elif section.guessed and section_id in self.main.sections:
            pass  # the section's own id may be the wrong one
        elif section_id != section.section_id:
            note(
                "footer-mismatch",
                at,
                reader.last,
                f"section {section.text!r}: read {section_id:#x}, expected {section.section_id:#x}",
            )
        return None

    def _note(self, slug: str, record: Record, detail: str) -> None:
        self.main.anomalies.note(slug, record.offset, record.first, detail)
