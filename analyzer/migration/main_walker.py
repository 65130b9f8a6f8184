"""Walks a main channel, record by record, in the order in which QEMU's destination reads it.

Wire-format page, section 6.
"""

from __future__ import annotations

from analyzer.migration.account import Account
from analyzer.migration.broken import Broken
from analyzer.migration.looking import window
from analyzer.migration.main_channel import DESCRIPTION_KEPT, RESYNCS_KEPT, Record, Resync
from analyzer.migration.main_commands import walk_command
from analyzer.migration.main_configuration import walk_configuration
from analyzer.migration.main_search import OVERLAP, RESUMING, Ahead, resumes
from analyzer.migration.main_sections import SectionWalk
from analyzer.migration.mark import Mark
from analyzer.migration.section_body import WINDOW
from analyzer.tcp.requests import REST, Deliver, End, Gap, Push, Skip, Take
from dissectors.main_stream import FILE_HEADER, FOOTER, MAGIC, SECTIONS, VERSION, RecordType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from analyzer.migration.anomaly import Snapshot
    from analyzer.migration.broken import Steps
    from analyzer.migration.colo import ColoFacts
    from analyzer.migration.main_channel import MainFacts
    from analyzer.migration.main_sections import DeviceData
    from analyzer.tcp.reader import Reader
    from analyzer.tcp.requests import Walker

    RecordSink: TypeAlias = Callable[[Record], None]

__all__ = ["walk_main"]

BYTE = Take(1)
FIRST_LOOK = 4096
NAMES = {int(kind): kind.name for kind in RecordType}
EOF = bytes((RecordType.EOF,))
PACKAGED = "PACKAGED"
DESCRIPTION_TEXT = "VMDESCRIPTION text"


def walk_main(
    reader: Reader,
    main: MainFacts,
    *,
    midstream: bool = False,
    device_data: DeviceData | None = None,
    record_sink: RecordSink | None = None,
) -> Walker:
    """Walk the whole stream, from its QEVM header on; ``midstream`` if its beginning is missing, or
    if it is that of a postcopy recovery.

    ``device_data(key)`` gives the sink for a VFIO device's DEV_DATA_STATE bytes, which are skipped
    without it; ``record_sink`` gets every row when it is complete.
    """
    main.began_late = midstream
    walk = _Walk(reader, main, device_data, record_sink)
    yield from walk.first_record() if midstream else walk.header()
    yield from walk.everything()


class _Walk:
    """The walk of one main channel."""

    __slots__ = (
        "account",
        "main",
        "reader",
        "record_sink",
        "section",
        "trial",
    )

    def __init__(
        self,
        reader: Reader,
        main: MainFacts,
        device_data: DeviceData | None,
        record_sink: RecordSink | None,
    ) -> None:
        self.reader = reader
        self.main = main
        self.section = SectionWalk(reader, main, device_data)
        self.record_sink = record_sink
        self.account = Account(reader, main)
        self.trial: Snapshot | None = None

    def close(self, record: Record, broken: Broken | None) -> None:
        """End a record, complete or broken."""
        reader = self.reader
        record.length = reader.offset - record.offset
        record.missing = self.account.missing
        record.last = reader.last
        if broken is not None:
            record.broken = broken.path
        good = reader.offset
        if broken is not None:
            good = broken.good if broken.reply is None else good
        elif record.by_search and self.is_guessed(record):
            good = record.body_offset  # its body is not understood
        self.settle(good)
        self.main.keep_record(record)
        if self.record_sink is not None:
            self.record_sink(record)

    def settle(self, good: int) -> None:
        """Account for what was read: bytes from offset ``good`` on were skipped."""
        main, skipped = self.main, self.main.skipped
        self.account.settle(good)
        if main.first_skipped is None and main.skipped > skipped:
            main.first_skipped = good

    def is_guessed(self, record: Record) -> bool:
        """Whether a record belongs to a section whose START was not seen."""
        section = self.main.sections.get(record.section_id or 0)
        return section is not None and section.guessed

    # -- the stream ---------------------------------------------------------------------------

    def header(self) -> Steps:
        """Walk the QEVM magic and version; without the magic, resynchronise."""
        reader, main = self.reader, self.main
        record = Record("HEADER", reader.offset, reader.last)
        head = yield Take(FILE_HEADER.size)
        record.first = reader.first
        broken = None
        if not isinstance(head, bytes):
            broken = Broken(head, "file header", record.offset)
        else:
            magic, main.header_version = FILE_HEADER.unpack(head)
            record.name = f"version {main.header_version}"
            if magic != MAGIC:
                main.anomalies.note(
                    "main-magic", record.offset, reader.last, f"begins with {magic:#010x}"
                )
                if main.header_version != VERSION:
                    broken = Broken(None, "file header", record.offset)
            elif main.header_version != VERSION:
                main.anomalies.note(
                    "main-version", record.offset, reader.last, f"version {main.header_version}"
                )
        yield from self.finish(record, broken)
        return None

    def first_record(self) -> Steps:
        """Find the first record of a stream without header: its first bytes, or what follows the
        first footer that is followed by a record.
        """
        data, _ = yield from window(RESUMING)
        if not resumes(data):  # a recovery is read at once: pages on other channels need to know
            data, cut = yield from window(OVERLAP)
            if not Ahead(data, self.main.sections, isinstance(cut, End)).plausible_start():
                yield from self.resynchronise()
        return None

    def everything(self) -> Steps:
        """Walk the records, COLO's checkpoints after them, and the rest."""
        yield from self.records(None, 0)
        colo = self.main.colo
        if colo is not None and not self.main.ended:
            yield from self.checkpoints(colo)
        yield from self.rest()
        return None

    def records(self, limit: int | None, depth: int, *, one_state: bool = False) -> Steps:
        """Walk records up to the end of the stream or, in a PACKAGED or a checkpoint (``depth`` 1),
        up to offset ``limit``; with ``one_state`` only until after an EOF.
        """
        reader, main = self.reader, self.main
        while not main.ended and (limit is None or reader.offset < limit):
            at = reader.offset
            head = yield BYTE
            if not isinstance(head, bytes):
                if isinstance(head, End):
                    main.ended = True
                else:
                    yield from self.resynchronise()
                continue
            kind = head[0]
            over = main.description is not None or kind != RecordType.VMDESCRIPTION
            if main.eof is not None and over and depth == 0:
                yield from self.over(head)
                return None
            record = Record(NAMES.get(kind, f"{kind:#04x}"), at, reader.first, depth)
            if main.configuration is None and kind != RecordType.CONFIGURATION:
                self.no_configuration(at)
            broken = yield from self.record(kind, record, limit)
            yield from self.finish(record, broken)
            if broken is None and record.name == PACKAGED:
                yield from self.packaged(record)
            if one_state and kind == RecordType.EOF:
                break
        return None

    def over(self, head: bytes) -> Steps:
        """Handle bytes after the end: COLO messages, or bytes that do not belong there."""
        reader, main = self.reader, self.main
        at = reader.offset - len(head)
        place = reader.last
        yield Push(head)
        if main.colo is None and (head == EOF or main.interrupted):
            from analyzer.migration.main_colo import unannounced  # seldom needed

            main.colo = yield from unannounced(main)
        if main.colo is None:
            main.trailing = head[0], Mark(at, place)
        self.settle(at)
        return None

    def checkpoints(self, colo: ColoFacts) -> Steps:
        """Walk COLO's checkpoints: messages, some followed by RAM sections or a device state."""
        from analyzer.migration.main_colo import LOOK, ColoWalk  # seldom needed

        reader, main = self.reader, self.main
        walk = ColoWalk(reader, main, colo)
        main.ram.ended = True
        while not main.ended:
            resyncs = main.resync_count
            ahead, cut = yield from window(LOOK)
            if not ahead and isinstance(cut, End):
                main.ended = True
                break
            record = Record("COLO", reader.offset, reader.last)
            inside = walk.is_inside(ahead)
            if not inside:
                broken = yield from walk.message(record)
                yield from self.finish(record, broken)
                inside = broken is not None  # resynchronisation stopped inside a state
            if inside or walk.memory_follows:
                yield from self.records(None, 1, one_state=True)
            elif record.value is not None:
                limit = reader.offset + record.value
                yield from self.records(limit, 1, one_state=True)
                walk.finished(limit)
            if inside or main.resync_count != resyncs:
                walk.lost()
        return None

    def no_configuration(self, at: int) -> None:
        """Note that the first record after the header is not the configuration."""
        main = self.main
        if len(main.records) == 1 and not main.interrupted:
            main.anomalies.note(
                "main-no-configuration", at, self.reader.last, "another record comes first"
            )

    def record(self, kind: int, record: Record, limit: int | None) -> Steps:
        """Walk the record whose type byte was just read."""
        reader, main = self.reader, self.main
        if kind in SECTIONS:
            return (yield from self.section.walk(kind, record, limit))
        if kind == RecordType.COMMAND:
            return (yield from walk_command(main, record))
        mark = record.mark
        if kind == RecordType.EOF:
            if record.depth == 0:
                main.eof = mark
            return None
        if kind == RecordType.VMDESCRIPTION and (main.eof is not None or main.interrupted):
            main.description = mark
            return (yield from self.description())
        if kind == RecordType.CONFIGURATION and main.configuration is None:
            main.configuration = mark
            return (yield from walk_configuration(reader, main, record))
        main.anomalies.note(
            "section-unknown-type", record.offset, record.first, f"type {kind:#04x}"
        )
        return Broken(None, "record type", record.offset)

    def description(self) -> Steps:
        """Walk the VMDESCRIPTION, the JSON text that ends the stream."""
        reader, main = self.reader, self.main
        at = reader.offset
        head = yield Take(4)
        if not isinstance(head, bytes):
            return Broken(head, "VMDESCRIPTION length", at)
        size = main.description_length = int.from_bytes(head, "big")
        room = DESCRIPTION_KEPT
        complete = True

        def collect(piece: bytes | memoryview | None, count: int) -> None:
            nonlocal room, complete
            if piece is None or count > room:
                complete = False
                room = 0
            elif room:
                main.description_parts.append(bytes(piece))
                room -= count

        missing = reader.missing
        reply = yield Deliver(size, collect)
        if isinstance(reply, End):
            if reader.missing == missing:
                main.anomalies.note(
                    "vmdesc-length", at, reader.last, f"{size} bytes announced, {reply.have} there"
                )
            return Broken(reply, DESCRIPTION_TEXT, at)
        main.description_complete = complete
        return None

    def packaged(self, command: Record) -> Steps:
        """Walk the records inside a PACKAGED command."""
        reader, main = self.reader, self.main
        if command.depth:
            self.note_packaged(command, "inside another")
            return None
        limit = reader.offset + (command.value or 0)
        before = (reader.missing, main.anomalies.total)
        yield from self.records(limit, 1)
        if reader.offset != limit and (reader.missing, main.anomalies.total) == before:
            self.note_packaged(command, f"of {command.value} bytes ends inside a record")
        return None

    def note_packaged(self, command: Record, what: str) -> None:
        """Note a PACKAGED with wrong content."""
        self.main.anomalies.note(
            "postcopy-order", command.offset, command.first, f"a PACKAGED {what}"
        )

    # -- errors -----------------------------------------------------------------------------

    def finish(self, record: Record, broken: Broken | None) -> Steps:
        """End a record and, if it is broken, resynchronise."""
        main = self.main
        if broken is None:
            self.close(record, None)
            self.trial = None
        elif isinstance(broken.reply, End):
            yield REST
            self.close(record, broken)
            main.ended = True
            main.truncated = Mark(self.reader.offset, self.reader.last)
            if broken.path != DESCRIPTION_TEXT:  # MF636 reports that
                where = f"the stream ends in {broken.path}"
                main.anomalies.note("main-truncated", broken.good, self.reader.last, where)
        else:
            self.close(record, broken)
            if broken.reply is None:
                if self.trial is not None:
                    main.anomalies.restore(self.trial)  # the resync position was wrong
                elif not (record.depth or any(a.offset >= record.offset for a in main.anomalies)):
                    what = f"{broken.path} that cannot be read"
                    main.anomalies.note("record-unreadable", broken.good, self.reader.last, what)
            yield from self.resynchronise()
        return None

    def resynchronise(self) -> Steps:
        """Skip past the next footer that is followed by a record."""
        reader, main = self.reader, self.main
        self.settle(reader.offset)
        start = Mark(reader.offset, reader.last)
        missing = reader.missing
        size = FIRST_LOOK
        while True:
            data, cut = yield from window(size)
            at = Ahead(data, main.sections, isinstance(cut, End)).any_footer()
            if at >= 0:
                yield Skip(at + FOOTER.size)
                break
            if isinstance(cut, End):
                yield REST
                break
            if isinstance(cut, Gap):
                yield Skip(cut.before + cut.last - cut.first + 1)
            elif len(data) < WINDOW:
                size *= 2
            else:
                yield Skip(len(data) - OVERLAP)
        missing = reader.missing - missing
        skipped = reader.offset - start.offset - missing
        self.settle(start.offset)
        main.ram.lose_place()
        main.resync_count += 1
        if len(main.resyncs) < RESYNCS_KEPT:
            end = Mark(reader.offset, reader.last)
            main.resyncs.append(Resync(start, end, skipped, missing))
        self.trial = main.anomalies.snapshot()
        return None

    def rest(self) -> Steps:
        """Skip the rest of the stream."""
        good = self.reader.offset
        yield REST
        self.settle(good)
        self.main.ended = True
        return None
