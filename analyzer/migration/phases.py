"""The phases of a migration as the wire shows them.

Wire-format page, section 8.  Pages and bytes are told apart by position (SYNC rounds on the
multifd channels, FLUSH or EOS records on main), never by times of different connections; only what
belongs to the switchover is told by its time.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from operator import attrgetter

from analyzer.migration.activity import MigrationActivity, Tally
from analyzer.migration.switchover import switchover_window
from dissectors.main_stream import RAM_SECTION
from dissectors.multifd import INIT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from analyzer.migration.activity import Round
    from analyzer.migration.main_channel import MainChannel, Record
    from analyzer.migration.mark import Mark
    from analyzer.migration.migration import Migration

__all__ = ["Phase", "phases_of"]

RAM = RAM_SECTION.decode()
PARTS = ("ram-rest", "device-state", "vmstate", "description")
DESCRIPTION_HEADER = 5
OFFSET = attrgetter("offset")


class Phase:
    """``start`` and ``end`` in ns since the epoch; ``bytes`` on the wire, ``main_bytes`` of them on
    main; pages with content (XBZRLE's included) and zero pages.

    ``name`` is ``setup``, ``iteration`` (``number`` from 1), ``switchover``, its parts
    ``ram-rest``, ``device-state``, ``vmstate`` and ``description``, ``postcopy``, ``colo`` or
    ``end``.  Setup, iterations, switchover, postcopy and COLO together are all that was sent, but
    for a packet that was cut off; parts overlap each other in time.
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
        """Packets that belong to it."""
        self.bytes += tally.bytes
        self.normal_pages += tally.normal_pages
        self.zero_pages += tally.zero_pages
        return self

    def add_main(self, size: int, records: Iterable[Record] = ()) -> Phase:
        """Bytes of main that belong to it, and the pages in them."""
        self.bytes += size
        self.main_bytes += size
        for record in records:
            self.normal_pages += record.normal_pages + record.coded_pages
            self.zero_pages += record.zero_pages
        return self


def phases_of(migration: Migration, account: MigrationActivity) -> list[Phase]:
    """The phases in the order of the protocol.  Without main only its packets can tell."""
    facts, main = migration.main_facts, migration.main
    if facts is None or main is None or not main.flow.carries:
        return list(_without_main(account))
    return list(_Phases(migration, account, facts).all())


def _without_main(account: MigrationActivity) -> Iterator[Phase]:
    number = 0
    for found in account.rounds:
        if found.normal_pages or found.zero_pages:
            number += 1
            yield Phase("iteration", found.first, found.last, number).add(found)
    states = _sum(channel.states for channel in account.channels.values())
    if states.packets:
        yield Phase("device-state", states.first, states.last).add(states)


def _sum(tallies: Iterable[Tally]) -> Tally:
    found = Tally()
    for tally in tallies:
        found.take(tally)
    return found


class _Piece:
    """A scan over guest memory: its packets, where on main it ends (``None``: where the switchover
    begins), and its pages on main.
    """

    __slots__ = ("cut", "normal_pages", "tally", "zero_pages")

    def __init__(self, cut: Mark | None) -> None:
        self.cut = cut
        self.tally = Tally()
        self.normal_pages = 0
        self.zero_pages = 0

    @property
    def has_pages(self) -> bool:
        """Whether anything was sent in it."""
        tally = self.tally
        on_channels = tally.normal_pages or tally.zero_pages
        return bool(on_channels or self.normal_pages or self.zero_pages)


class _Phases:
    """Puts the phases of a migration together whose main was seen."""

    def __init__(
        self, migration: Migration, account: MigrationActivity, facts: MainChannel
    ) -> None:
        assert migration.main is not None
        self.migration = migration
        self.account = account
        self.facts = facts
        self.flow = migration.main.flow
        self.window = switchover_window(migration)
        self.checkpoint = facts.colo.begin if facts.colo is not None else None
        stop = facts.postcopy_run if self.window is not None else None
        stop = stop or self.checkpoint
        self.stop = stop.offset if stop is not None else self.flow.offset
        self.limit = self.window.offset if self.window is not None else self.stop
        self.ram = [record for record in facts.records if record.name == RAM]

    def all(self) -> Iterator[Phase]:
        """Every phase."""
        setup, offset = self._setup()
        if setup is not None:
            yield setup
        yield from self._iterations(setup, offset)
        if self.window is not None:
            yield from self._switchover()
        if self.window is not None and self.facts.postcopy_run is not None:
            yield self._postcopy(self.facts.postcopy_run)
        elif self.checkpoint is not None:
            yield self._colo(self.checkpoint)
        end = self._end()
        if end is not None:
            yield end

    # -- setup --------------------------------------------------------------------------------

    def _setup(self) -> tuple[Phase | None, int]:
        """The phase, and where on main it ends."""
        starts = [r for r in self.facts.records if r.kind == "SECTION_START"]
        starts = [r for r in starts if r.offset < self.limit]
        if self.facts.began_late or not starts:
            return None, 0
        last = starts[-1]
        end = min(last.offset + last.length, self.limit)
        phase = Phase("setup", self.flow.first.time, last.last.time)
        phase.bytes = INIT.size * sum(c.init is not None for c in self.migration.multifd)
        rounds = self.account.rounds
        if rounds and not rounds[0].normal_pages and not rounds[0].zero_pages:
            phase.add(rounds[0])
        return phase.add_main(end), end

    # -- iterations ---------------------------------------------------------------------------

    def _iterations(self, setup: Phase | None, offset: int) -> Iterator[Phase]:
        before = setup.end if setup is not None else self.flow.first.time
        stop = self.window.begin if self.window is not None else self.flow.last.time
        for number, piece in enumerate(self._pieces(setup is not None, offset), 1):
            end = max(offset, piece.cut.offset if piece.cut is not None else self.limit)
            at = piece.cut.time if piece.cut is not None else stop
            tally = piece.tally
            start = tally.first if tally.normal_pages or tally.zero_pages else before
            phase = Phase("iteration", start, max(at, tally.last), number)
            phase.add(tally).add_main(end - offset)
            phase.normal_pages += piece.normal_pages
            phase.zero_pages += piece.zero_pages
            yield phase
            before, offset = at, end

    def _pieces(self, has_setup: bool, offset: int) -> list[_Piece]:
        """The scans before the switchover; the last one may go on in it."""
        rounds = self.account.rounds
        if has_setup and rounds and not rounds[0].normal_pages and not rounds[0].zero_pages:
            rounds = rounds[1:]
        if rounds and not self.facts.flushes:
            pieces = self._legacy(rounds)
        else:
            pieces = self._by_flush(rounds, offset)
        if not pieces and has_setup and self.limit > offset:
            pieces.append(_Piece(None))
        return self._closed(pieces)

    def _by_flush(self, rounds: list[Round], offset: int) -> list[_Piece]:
        """A FLUSH ends each scan; without multifd, that addresses begin again."""
        pieces = []
        for scan in self.facts.iterations:
            if scan.end is None or not offset < scan.end.offset <= self.limit:
                continue
            pieces.append(_Piece(scan.end))
            pieces[-1].normal_pages = scan.pages
            pieces[-1].zero_pages = scan.zero_pages
        for number, found in enumerate(rounds):
            if number == len(pieces):
                pieces.append(_Piece(None))
            pieces[number].tally.take(found)
        return pieces

    def _legacy(self, rounds: list[Round]) -> list[_Piece]:
        """With a SYNC round to each RAM section, a scan is over where addresses begin again."""
        ends = self.facts.section_ends[len(self.account.rounds) - len(rounds) :]
        wraps = [i.end.offset for i in self.facts.iterations if i.end and i.reason == "wrap"]
        pieces: list[_Piece] = []
        top: tuple[int, int] | None = None
        begin = 0
        for number, found in enumerate(rounds):
            cut = ends[number] if number < len(ends) and ends[number].offset <= self.limit else None
            end = cut.offset if cut is not None else self.limit
            again = top is not None and found.lowest is not None and found.lowest <= top
            if again or not pieces or bisect_right(wraps, end) > bisect_right(wraps, begin):
                pieces.append(_Piece(None))
                top = None
            pieces[-1].cut = cut
            pieces[-1].tally.take(found)
            for record in self._between(begin, end):
                pieces[-1].normal_pages += record.normal_pages + record.coded_pages
                pieces[-1].zero_pages += record.zero_pages
            if found.highest is not None:
                top = found.highest if top is None else max(top, found.highest)
            begin = end
        return pieces

    def _closed(self, pieces: list[_Piece]) -> list[_Piece]:
        """Pages on main that no scan has yet are the last one's, which ends where the switchover
        begins; if there are none, it is but the remainder of the one before.
        """
        ram, late = self.facts.ram, self._between(self.limit, self.flow.offset)
        normal = ram.sent_pages - sum(r.normal_pages + r.coded_pages for r in late)
        zero = ram.zero_pages - sum(r.zero_pages for r in late)
        normal -= sum(piece.normal_pages for piece in pieces)
        zero -= sum(piece.zero_pages for piece in pieces)
        if normal > 0 or zero > 0:
            if not pieces or pieces[-1].cut is not None:
                pieces.append(_Piece(None))
            pieces[-1].normal_pages += max(0, normal)
            pieces[-1].zero_pages += max(0, zero)
        elif len(pieces) > 1 and not pieces[-1].has_pages and pieces[-1].cut is None:
            pieces[-2].tally.take(pieces.pop().tally)
        if pieces:
            pieces[-1].cut = None
        return pieces

    def _between(self, begin: int, end: int) -> list[Record]:
        """The RAM records that start between two offsets of main."""
        first, last = (bisect_left(self.ram, offset, key=OFFSET) for offset in (begin, end))
        return self.ram[first:last]

    # -- switchover ---------------------------------------------------------------------------

    def _switchover(self) -> Iterator[Phase]:
        window, account = self.window, self.account
        assert window is not None
        states = _sum(channel.states for channel in account.channels.values())
        late = [record for record in self.facts.records if self.limit <= record.offset < self.stop]
        whole = Phase("switchover", window.begin, window.end).add(account.late).add(states)
        yield whole.add_main(self.stop - self.limit, [r for r in late if r.name == RAM])
        ram = _sum(channel.late_ram for channel in account.channels.values())
        pages = (r for r in late if r.normal_pages or r.zero_pages or r.coded_pages)
        for rest in _part("ram-rest", ram, list(pages)):
            # Its first packet may have begun before.
            rest.start = min(max(rest.start, window.begin), rest.end)
            yield rest
        data = (r for r in late if r.data_bytes and r.kind != "SECTION_FULL")
        yield from _part("device-state", states, list(data))
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
        return phase.add_main(min(self.flow.offset - mark.offset, self._description_size()))

    def _description_size(self) -> int:
        return DESCRIPTION_HEADER + self.facts.description_length

    # -- after it -----------------------------------------------------------------------------

    def _postcopy(self, run: Mark) -> Phase:
        lasts = [self.flow.last.time]
        preempt = self.migration.preempt
        if preempt is not None:
            lasts.append(preempt.flow.last.time)
        phase = Phase("postcopy", run.time, max(lasts))
        phase.bytes = preempt.length if preempt is not None else 0
        records = [record for record in self.ram if record.offset >= self.stop]
        return phase.add_main(self.flow.offset - self.stop, records)

    def _colo(self, begin: Mark) -> Phase:
        tally = _sum(self.account.checkpoints)
        phase = Phase("colo", begin.time, max(tally.last, self.flow.last.time)).add(tally)
        records = [record for record in self.ram if record.offset >= self.stop]
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
        if not closes or self.window is None or not self.window.finished:
            return None
        begin = self.window.end
        if self.facts.postcopy_run is not None:
            shut = self.migration.return_facts and self.migration.return_facts.shut_mark
            begin = shut.time if shut else self.flow.last.time
        elif self.checkpoint is not None:
            begin = self.flow.last.time
        return Phase("end", begin, max(closes)) if max(closes) >= begin else None


def _part(name: str, tally: Tally, records: list[Record]) -> Iterator[Phase]:
    """What the multifd channels and main carried of one kind, if anything."""
    starts = [record.first.time for record in records]
    ends = [record.last.time for record in records]
    if tally.packets:
        starts.append(tally.first)
        ends.append(tally.last)
    if starts:
        size = sum(record.length for record in records)
        yield Phase(name, min(starts), max(ends)).add(tally).add_main(size, records)
