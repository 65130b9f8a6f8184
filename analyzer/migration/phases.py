"""The phases of a migration as seen on the wire.

Wire-format page, section 8.  Pages and bytes are assigned by position (SYNC rounds on the multifd
channels, FLUSH or EOS records on main), never by comparing times of different connections; only the
switchover is delimited by time.
"""

from __future__ import annotations

from analyzer.migration.activity import MigrationActivity, Tally
from analyzer.migration.memory_scans import RAM, Bounds, scans_of, setup_rounds
from dissectors.multifd import INIT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from analyzer.migration.main_channel import MainFacts, Record
    from analyzer.migration.mark import Mark
    from analyzer.migration.migration import Migration

__all__ = ["Phase", "phases_of"]

PARTS = ("ram-rest", "device-state", "vmstate", "description")
DESCRIPTION_HEADER = 5


class Phase:
    """One phase of a migration.

    ``start`` and ``end`` are in ns since the epoch; ``bytes`` are on the wire, ``main_bytes`` of
    them on main; ``normal_pages`` are those with content (XBZRLE included), besides ``zero_pages``.

    ``name`` is ``setup``, ``iteration`` (``number`` from 1), ``switchover``, its parts
    ``ram-rest``, ``device-state``, ``vmstate`` and ``description``, ``postcopy``, ``colo`` or
    ``end``.  Setup, iterations, switchover, postcopy and COLO together are all that was sent,
    except for a header that was cut off; the parts overlap in time.
    """

    __slots__ = ("bytes", "end", "main_bytes", "name", "normal_pages", "number", "start",
                 "zero_pages")  # fmt: skip

    def __init__(self, name: str, start: int, end: int, number: int = 0) -> None:
        self.name = name
        self.number = number
        self.start = start
        self.end = max(start, end)
        self.bytes = 0
        self.main_bytes = 0
        self.normal_pages = 0
        self.zero_pages = 0

    @property
    def is_part(self) -> bool:
        """Whether it is a part of the switchover."""
        return self.name in PARTS

    @property
    def duration(self) -> int:
        """How long it lasted, in ns."""
        return self.end - self.start

    def add(self, tally: Tally) -> Phase:
        """Add the packets of a tally."""
        self.bytes += tally.bytes
        self.normal_pages += tally.normal_pages
        self.zero_pages += tally.zero_pages
        return self

    def add_main(self, size: int, records: Iterable[Record] = ()) -> Phase:
        """Add ``size`` bytes of main, and the pages in ``records``."""
        self.bytes += size
        self.main_bytes += size
        for record in records:
            self.normal_pages += record.sent_pages
            self.zero_pages += record.zero_pages
        return self


def phases_of(migration: Migration, activity: MigrationActivity) -> list[Phase]:
    """The phases in protocol order; without main, judged by the multifd packets alone."""
    facts, main = migration.main_facts, migration.main
    if facts is None or main is None or not main.flow.carries:
        return list(_without_main(migration, activity))
    return list(_Phases(migration, activity, facts).all())


def _without_main(migration: Migration, activity: MigrationActivity) -> Iterator[Phase]:
    for number, scan in enumerate(scans_of(migration), 1):
        found = _sum(activity.rounds[scan.first : scan.end])
        yield Phase("iteration", found.first, found.last, number).add(found)
    states = _sum(channel.states for channel in activity.channels.values())
    if states:
        yield Phase("device-state", states.first, states.last).add(states)


def _sum(tallies: Iterable[Tally]) -> Tally:
    found = Tally()
    for tally in tallies:
        found.take(tally)
    return found


class _Phases:
    """Derives the phases of a migration whose main was captured."""

    def __init__(self, migration: Migration, activity: MigrationActivity, facts: MainFacts) -> None:
        assert migration.main is not None
        self.migration = migration
        self.activity = activity
        self.facts = facts
        self.flow = migration.main.flow
        self.bounds = Bounds(migration, facts)
        self.window = self.bounds.window
        self.checkpoint = self.bounds.checkpoint
        self.limit, self.stop = self.bounds.limit, self.bounds.stop

    def all(self) -> Iterator[Phase]:
        """Every phase."""
        if self.facts.postcopy_resume is not None:
            yield self._handshake(self.facts.postcopy_resume)
        elif self.bounds.has_setup:
            yield self._setup()
        yield from self._iterations()
        if self.window is not None:
            yield from self._switchover()
        if self.facts.postcopy_resume is not None:
            yield self._postcopy(self.facts.postcopy_resume)
        elif self.window is not None and self.facts.postcopy_run is not None:
            yield self._postcopy(self.facts.postcopy_run)
        elif self.checkpoint is not None:
            yield self._colo(self.checkpoint)
        end = self._end()
        if end is not None:
            yield end

    # -- setup --------------------------------------------------------------------------------

    def _setup(self) -> Phase:
        rounds, end = setup_rounds(self.migration, self.bounds), self.bounds.setup_last
        after = self.activity.rounds[rounds : rounds + 1]
        # Its last bytes may have waited in the source's buffer while the first scan went on.
        end = min([end, *(tally.first for tally in after if tally)])
        phase = Phase("setup", self.flow.first.time, end)
        phase.bytes = INIT.size * sum(c.init is not None for c in self.migration.multifd)
        for found in self.activity.rounds[:rounds]:
            phase.add(found)
        return phase.add_main(self.bounds.setup_end)

    def _handshake(self, resume: Mark) -> Phase:
        """The setup of a recovery, in which both sides compare what has arrived."""
        return Phase("setup", self.flow.first.time, resume.time).add_main(self.stop)

    # -- iterations ---------------------------------------------------------------------------

    def _iterations(self) -> Iterator[Phase]:
        before, offset = self.bounds.setup_last, self.bounds.setup_end
        stop = self.window.begin if self.window is not None else self.flow.last.time
        scans = scans_of(self.migration, self.bounds)
        for number, scan in enumerate(scans, 1):
            end = max(offset, scan.cut.offset if scan.cut is not None else self.limit)
            at = scan.cut.time if scan.cut is not None else stop
            last = scan.end if number < len(scans) else None  # the rest belongs to the last
            tally = _sum(self.activity.rounds[scan.first : last])
            # It begins where the one before ends, as do its bytes; or with its first packet, which
            # may have been seen earlier on another connection.
            start = min(before, tally.first) if tally else before
            phase = Phase("iteration", start, max(at, tally.last), number)
            phase.add(tally).add_main(end - offset)
            phase.normal_pages += scan.normal_pages
            phase.zero_pages += scan.zero_pages
            yield phase
            before, offset = at, end

    # -- switchover ---------------------------------------------------------------------------

    def _switchover(self) -> Iterator[Phase]:
        window, activity = self.window, self.activity
        assert window is not None
        states = _sum(channel.states for channel in activity.channels.values())
        late = [record for record in self.facts.records if self.limit <= record.offset < self.stop]
        whole = Phase("switchover", window.begin, window.end).add(activity.late).add(states)
        yield whole.add_main(self.stop - self.limit, [r for r in late if r.name == RAM])
        ram = _sum(channel.late_ram for channel in activity.channels.values())
        for rest in _part("ram-rest", ram, [r for r in late if r.has_pages]):
            # Its first packet may have begun before the switchover.
            rest.start = min(max(rest.start, window.begin), rest.end)
            yield rest
        data = [r for r in late if r.data_bytes and r.kind != "SECTION_FULL"]
        yield from _part("device-state", states, data)
        yield from self._vmstate(late)
        if self.facts.description is not None:
            yield self._description(self.facts.description)

    def _vmstate(self, late: list[Record]) -> Iterator[Phase]:
        first = self.facts.first_full
        if first is None or not self.limit <= first.offset < self.stop:
            return
        end = self.facts.postcopy_run or self.facts.eof
        if end is None:
            fulls = [record for record in late if record.kind == "SECTION_FULL"]
            last = fulls[-1] if fulls else None
            until = last.last.time if last is not None else first.time
            size = last.offset + last.length - first.offset if last is not None else 0
        else:
            until, size = end.time, end.offset - first.offset
        yield Phase("vmstate", first.time, until).add_main(size)

    def _description(self, mark: Mark) -> Phase:
        records = [r for r in self.facts.records if r.offset == mark.offset]
        end = records[-1].last.time if records else mark.time
        phase = Phase("description", mark.time, end)
        size = DESCRIPTION_HEADER + self.facts.description_length
        return phase.add_main(min(self.flow.offset - mark.offset, size))

    # -- after it -----------------------------------------------------------------------------

    def _postcopy(self, run: Mark) -> Phase:
        lasts = [self.flow.last.time]
        preempt = self.migration.preempt
        if preempt is not None:
            lasts.append(preempt.flow.last.time)
        phase = Phase("postcopy", run.time, max(lasts))
        phase.bytes = preempt.length if preempt is not None else 0
        if self.migration.preempt_facts is not None:
            phase.normal_pages = self.migration.preempt_facts.ram.normal_pages
            phase.zero_pages = self.migration.preempt_facts.ram.zero_pages
        records = self.bounds.between(self.stop, self.flow.offset)
        return phase.add_main(self.flow.offset - self.stop, records)

    def _colo(self, begin: Mark) -> Phase:
        tally = _sum(self.activity.checkpoints)
        phase = Phase("colo", begin.time, max(tally.last, self.flow.last.time)).add(tally)
        records = self.bounds.between(self.stop, self.flow.offset)
        return phase.add_main(self.flow.offset - self.stop, records)

    def _end(self) -> Phase | None:
        """From the end of the switchover to the last close of a connection."""
        closes = [
            end.time
            for channel in self.migration.channels
            for flow in (channel.flow, channel.flow.peer)
            for end in (flow.fin, flow.reset)
            if end is not None
        ]
        if not closes:
            return None
        if self.facts.in_postcopy:
            shut = self.migration.return_facts and self.migration.return_facts.shut_mark
            begin = shut.time if shut else self.flow.last.time
        elif self.window is None or not self.window.finished:
            return None
        elif self.checkpoint is not None:
            begin = self.flow.last.time
        else:
            begin = self.window.end
        return Phase("end", begin, max(closes)) if max(closes) >= begin else None


def _part(name: str, tally: Tally, records: list[Record]) -> Iterator[Phase]:
    """The phase of what multifd channels and main carried of one kind, if anything."""
    starts = [record.first.time for record in records]
    ends = [record.last.time for record in records]
    if tally:
        starts.append(tally.first)
        ends.append(tally.last)
    if starts:
        size = sum(record.length for record in records)
        yield Phase(name, min(starts), max(ends)).add(tally).add_main(size, records)
