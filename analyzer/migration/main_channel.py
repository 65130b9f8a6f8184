"""What a main channel says, filled in while it is walked.

Wire-format page, section 6.
"""

from __future__ import annotations

from analyzer.migration.anomaly import AnomalyList
from analyzer.migration.mark import Mark
from analyzer.migration.ram_facts import OTHERS, RamFacts
from analyzer.migration.room import Room
from dissectors.multifd import device_name, text_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias

    from analyzer.migration.colo import ColoFacts
    from analyzer.tcp.requests import Place

    DeviceKey: TypeAlias = tuple[bytes, int]

__all__ = [
    "BODIES_KEPT",
    "DESCRIPTION_KEPT",
    "DEVICES_MAX",
    "OTHER_DEVICES",
    "PINGS_KEPT",
    "RESYNCS_KEPT",
    "SECTIONS_MAX",
    "MainFacts",
    "Record",
    "Resync",
    "Section",
    "VfioSection",
]

RECORDS_KEPT = 100_000
BODIES_KEPT = 8 << 20
DESCRIPTION_KEPT = 64 << 20
RESYNCS_KEPT = 1000
SECTIONS_MAX = 1 << 16
PINGS_KEPT = 1000
DEVICES_MAX = 4096
OTHER_DEVICES = OTHERS, 0
"""Stands for all devices beyond :data:`DEVICES_MAX`: no guest has more, but hostile bytes may name
more.
"""


class Record:
    """One row of the main channel: a header, configuration, section part, command, EOF or
    description, or a COLO message after them.

    ``kind`` is QEMU's name of the type byte (``HEADER`` for the QEVM words, ``COLO`` for a
    message); ``name`` the idstr, command, message or machine as text.  ``offset`` and ``length``
    are in stream bytes, of which ``missing`` are not in the capture; ``first`` and ``last`` are the
    places of its first and last byte.  ``depth`` is 1 inside a PACKAGED command and in a
    checkpoint's state.  ``broken`` says where the record breaks off, if it does.  ``body_offset``
    and ``body_length`` delimit a section's body; ``by_search`` says that its end was found by
    searching for the footer.  ``body`` holds a FULL section's bytes, up to a limit over all
    sections.  The page counts are those of a ``ram`` part, ``data_bytes`` the device data of a VFIO
    one; ``value`` is a PING's value, the size that a PACKAGED or a VMSTATE_SIZE announces, or the
    number of ranges in a POSTCOPY_RAM_DISCARD.
    """

    __slots__ = (
        "body",
        "body_length",
        "body_offset",
        "broken",
        "by_search",
        "coded_pages",
        "data_bytes",
        "depth",
        "first",
        "flushes",
        "instance_id",
        "kind",
        "last",
        "length",
        "missing",
        "name",
        "normal_pages",
        "offset",
        "section_id",
        "value",
        "zero_pages",
    )

    def __init__(self, kind: str, offset: int, first: Place, depth: int = 0) -> None:
        self.kind = kind
        self.name = ""
        self.offset = offset
        self.length = 0
        self.missing = 0
        self.first = first
        self.last = first
        self.depth = depth
        self.section_id: int | None = None
        self.instance_id: int | None = None
        self.broken = ""
        self.body_offset = 0
        self.body_length = 0
        self.by_search = False
        self.body: bytes | None = None
        self.normal_pages = 0
        self.zero_pages = 0
        self.coded_pages = 0
        self.flushes = 0
        self.data_bytes = 0
        self.value: int | None = None

    @property
    def mark(self) -> Mark:
        """Where it begins."""
        return Mark(self.offset, self.first)

    @property
    def sent_pages(self) -> int:
        """Pages sent with content, encoded or not."""
        return self.normal_pages + self.coded_pages

    @property
    def has_pages(self) -> bool:
        """Whether it has pages, with content or zero."""
        return self.sent_pages > 0 or self.zero_pages > 0

    def __repr__(self) -> str:
        return f"Record({self.kind}, {self.name!r}, {self.offset}+{self.length})"


class Section:
    """A section, as announced by its START or first FULL.

    ``guessed`` says that neither was seen, because of a hole or a wrong id, and that its content
    suggested what it is.
    """

    __slots__ = (
        "ended",
        "full",
        "guessed",
        "idstr",
        "instance_id",
        "parts",
        "section_id",
        "started",
        "version",
    )

    def __init__(self, section_id: int, idstr: bytes, instance_id: int, version: int) -> None:
        self.section_id = section_id
        self.idstr = idstr
        self.instance_id = instance_id
        self.version = version
        self.guessed = False
        self.started: Mark | None = None
        self.ended: Mark | None = None
        self.full: Mark | None = None
        self.parts = 0

    @property
    def key(self) -> DeviceKey:
        """What identifies the device."""
        return self.idstr, self.instance_id

    @property
    def text(self) -> str:
        """The idstr as text, with the instance unless it is 0."""
        name = text_of(self.idstr)
        return f"{name}#{self.instance_id}" if self.instance_id else name


class VfioSection:
    """What main says of one VFIO device.

    ``announced`` is ``multifd`` or ``main``, the way its state travels, known from the FULL section
    at ``announced_at``.  ``main_bytes`` counts the device's bytes in DEV_DATA_STATE,
    ``missing_bytes`` those of them that the capture lacks, ``data_blocks`` the DEV_DATA_STATE tags;
    ``late_bytes`` came after SWITCHOVER_START. ``config_bytes`` is the size of the config state on
    main, from the word after its tag to its END_OF_STATE. ``data_ended`` is where main can carry no
    more of its data.
    """

    __slots__ = (
        "announced",
        "announced_at",
        "completes",
        "config_bytes",
        "data_blocks",
        "data_ended",
        "ends",
        "first_data",
        "idstr",
        "init_data_sent",
        "instance_id",
        "last_data",
        "late_bytes",
        "load_ready",
        "main_bytes",
        "missing_bytes",
        "section_id",
    )

    def __init__(self, key: DeviceKey, section_id: int) -> None:
        self.idstr, self.instance_id = key
        self.section_id = section_id
        self.announced: str | None = None
        self.announced_at: Mark | None = None
        self.main_bytes = 0
        self.missing_bytes = 0
        self.late_bytes = 0
        self.data_blocks = 0
        self.first_data: Mark | None = None
        self.last_data: Mark | None = None
        self.init_data_sent: list[Mark] = []
        self.load_ready: list[Mark] = []
        self.completes: list[Mark] = []
        self.ends = 0
        self.data_ended: Mark | None = None
        self.config_bytes = 0

    @property
    def key(self) -> DeviceKey:
        """What identifies the device."""
        return self.idstr, self.instance_id

    @property
    def name(self) -> str:
        """``idstr#instance`` as text; not escaped for any output."""
        return device_name(self.idstr, self.instance_id)

    @property
    def complete(self) -> bool | None:
        """Whether the whole state came over main; ``None`` where that is unknown."""
        return True if self.data_ended is not None and self.config_bytes else None


class Resync:
    """A range that could not be decoded, from ``start`` to where records continue at ``end``."""

    __slots__ = ("end", "missing", "skipped", "start")

    def __init__(self, start: Mark, end: Mark, skipped: int, missing: int) -> None:
        self.start = start
        self.end = end
        self.skipped = skipped
        self.missing = missing


class MainFacts:
    """What the walk of a main channel found, whose lists share ``room`` with those of other
    migrations.

    Of the bytes walked, ``decoded`` were understood, ``skipped`` were skipped without being
    understood (the first at offset ``first_skipped``), and ``missing`` are absent from the capture.
    ``began_late`` says that the stream's beginning is missing, ``truncated`` where the stream broke
    off inside a record.  ``first_full`` is the first FULL section after a START, ``doubtful_ends``
    counts bodies whose end was guessed because no footer of their own confirmed it.  ``footers``
    says whether sections have footers, ``None`` while that is unknown.  ``trailing`` is the first
    byte that does not belong after the end.
    """

    __slots__ = (
        "advised_page_size",
        "anomalies",
        "began_late",
        "bodies_kept",
        "capabilities",
        "colo",
        "configuration",
        "decoded",
        "description",
        "description_complete",
        "description_length",
        "description_parts",
        "devices",
        "doubtful_ends",
        "ended",
        "eof",
        "first_full",
        "first_section_end",
        "first_skipped",
        "first_start",
        "footers",
        "header_version",
        "machine",
        "missing",
        "opened_return_path",
        "packaged",
        "page_bits",
        "pings",
        "postcopy_advise",
        "postcopy_listen",
        "postcopy_resume",
        "postcopy_run",
        "ram",
        "records",
        "records_dropped",
        "resync_count",
        "resyncs",
        "room",
        "sections",
        "skipped",
        "switchover_start",
        "trailing",
        "truncated",
        "uuid",
    )

    def __init__(self, room: Room | None = None) -> None:
        self.room = room or Room()
        self.anomalies = AnomalyList()
        self.header_version: int | None = None
        self.configuration: Mark | None = None
        self.machine: str | None = None
        self.page_bits: int | None = None
        self.capabilities: list[str] = []
        self.uuid: bytes | None = None
        self.ram = RamFacts(self.anomalies, self.room)
        self.sections: dict[int, Section] = {}
        self.devices: dict[DeviceKey, VfioSection] = {}
        self.records: list[Record] = []
        self.records_dropped = 0
        self.switchover_start: Mark | None = None
        self.postcopy_advise: Mark | None = None
        self.advised_page_size = 0  # announced by POSTCOPY_ADVISE
        self.postcopy_listen: Mark | None = None
        self.postcopy_resume: Mark | None = None
        self.postcopy_run: Mark | None = None
        self.colo: ColoFacts | None = None
        self.packaged: Mark | None = None
        self.opened_return_path: Mark | None = None
        self.pings: list[tuple[int, Mark]] = []
        self.first_section_end: Mark | None = None
        self.first_skipped: int | None = None
        self.first_start: Mark | None = None
        self.first_full: Mark | None = None
        self.footers: bool | None = None
        self.doubtful_ends = 0
        self.eof: Mark | None = None
        self.description: Mark | None = None
        self.description_length = 0
        self.description_complete = False
        self.description_parts: list[bytes] = []
        self.bodies_kept = 0
        self.decoded = 0
        self.skipped = 0
        self.missing = 0
        self.began_late = False
        self.resyncs: list[Resync] = []
        self.resync_count = 0
        self.truncated: Mark | None = None
        self.trailing: tuple[int, Mark] | None = None
        self.ended = False

    @property
    def machine_version(self) -> tuple[int, int] | None:
        """The version that a machine type such as ``pc-q35-10.0`` ends with: the sender is at least
        as new, and uses that version's format (wire-format page 10.1).
        """
        major, _, minor = (self.machine or "").rpartition("-")[2].partition(".")
        if major.isdecimal() and minor.isdecimal():
            return int(major), int(minor)
        return None

    @property
    def interrupted(self) -> bool:
        """Whether a hole or a late start may have hidden what later records depend on."""
        return self.began_late or self.resync_count > 0

    def unread_before(self, end: Mark | None) -> bool:
        """Whether bytes before a place, or in the whole stream, were skipped."""
        skipped = self.first_skipped
        return skipped is not None and (end is None or skipped < end.offset)

    @property
    def unread_records(self) -> bool:
        """Whether bytes that could not be decoded may hold records, which end with the
        description.
        """
        cut = self.truncated is not None and self.description is None
        return cut or self.unread_before(self.description)

    @property
    def in_postcopy(self) -> bool:
        """Whether the guest already runs on the destination: the migration can no longer be
        cancelled.
        """
        return self.postcopy_run is not None or self.postcopy_resume is not None

    def in_switchover(self, place: Place) -> bool:
        """Whether ``place`` was seen after the switchover was announced."""
        mark = self.switchover_start or self.packaged or self.first_section_end
        return mark is not None and place.time >= mark.time

    @property
    def colo_count(self) -> int:
        """Number of COLO checkpoints."""
        return self.colo.count if self.colo is not None else 0

    @property
    def is_background_snapshot(self) -> bool:
        """Whether it looks like a background snapshot (wire-format page 6.4): RAM, sent while the
        guest runs, and then the state that the devices had at the beginning; nothing has an END.

        QEMU refuses that together with what would have left one of the marks asked for here.
        """
        told = self.switchover_start or self.opened_return_path or self.postcopy_advise
        ended = told or self.first_section_end or self.colo or self.devices or self.ram.flushes
        complete = self.eof is not None and self.first_full is not None
        return complete and not ended and not self.interrupted and self.ram.normal_pages > 0

    @property
    def unfinished_sections(self) -> list[Section]:
        """Sections that were started and have not ended."""
        return [s for s in self.sections.values() if s.started is not None and s.ended is None]

    def device(self, section: Section) -> VfioSection:
        """The VFIO device that a section belongs to."""
        key = section.key
        if len(self.devices) >= DEVICES_MAX and key not in self.devices:
            key = OTHER_DEVICES
        device = self.devices.get(key)
        if device is None:
            device = self.devices[key] = VfioSection(key, section.section_id)
        return device

    def description_bytes(self) -> bytes:
        """The JSON text of the VMDESCRIPTION, as far as it was captured and kept (at most 64
        MiB).
        """
        return b"".join(self.description_parts)

    def keep_record(self, record: Record) -> None:
        """Add a row, or count it when there are too many."""
        if self.room.has(len(self.records), RECORDS_KEPT):
            self.records.append(record)
        else:
            self.records_dropped += 1
