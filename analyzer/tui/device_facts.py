"""The facts about a device that the Devices screen shows, computed once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analyzer.checks.wording import duration
from analyzer.migration.absent_channels import lacks_channels
from analyzer.migration.device import Device
from analyzer.migration.outcome import is_complete
from analyzer.migration.reassembly import CONFIG, CUT, DUPLICATE, STATES, arrival_states
from analyzer.report.escape import terminal
from analyzer.report.style import size_text
from analyzer.tui.columns import Column
from analyzer.tui.packet_rows import channel_text
from analyzer.tui.quantities import count, seconds
from analyzer.tui.reassembly import GLYPHS, Reassembly
from dissectors.multifd import device_name

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TypeAlias

    from rich.style import Style

    from analyzer.migration.main_channel import VfioSection
    from analyzer.migration.migration import Migration
    from analyzer.migration.rows import Buffer, CutBuffer
    from analyzer.migration.table import PacketTable
    from analyzer.tui.columns import Cell
    from analyzer.tui.document import Document
    from analyzer.tui.palette import Palette

    DeviceId: TypeAlias = tuple[int, bytes, int]
    CutRows: TypeAlias = "dict[tuple[int, bytes, int, int, int | None], int]"

__all__ = ["BufferRows", "DeviceFacts", "DeviceRows", "device_facts"]

NO_INDEX = 1 << 32
"""Sort key of buffers without an index, above every index."""


class DeviceFacts:
    """One device of one migration.

    ``device`` is ``None`` when nothing of it was seen on multifd, ``section`` when main does not
    mention it.  ``arrived`` are the buffers in order of arrival, ``order`` their indexes,
    ``states`` the state of each, ``waits`` how long (ns) the receiver had to wait for it while
    later ones were there; ``cut`` are the buffers that the end of a stream cut off, ``cut_rows``
    their rows in the packet table (``None``: not known); ``span`` are the times (ns) of the first
    and the last byte of all these buffers; ``lack`` says why no buffer is known.
    """

    __slots__ = (
        "arrived", "by_index", "channels", "complete", "cut", "cut_rows", "device", "duplicates",
        "key", "lack", "late", "missing", "name", "order", "queue", "reassembly", "section",
        "span", "states", "waits",
    )  # fmt: skip

    def __init__(
        self,
        migration: Migration,
        key: tuple[bytes, int],
        device: Device | None,
        section: VfioSection | None,
        document: Document,
        rows: CutRows,
    ) -> None:
        """``rows`` are the rows of all cut-off packets, see :meth:`Document.cut_rows`."""
        self.key: DeviceId = (migration.number, *key)
        self.name = terminal(device_name(*key))
        self.device = device
        self.section = section
        seen = device if device is not None else Device(*key)
        self.arrived = seen.arrived()
        self.order = list(self.arrived.idx)
        arrivals = list(zip(self.order, map(bool, self.arrived.is_config), strict=True))
        self.cut = list(seen.cut)
        self.cut_rows = {cut: rows.get((*self.key, cut.channel, cut.idx)) for cut in self.cut}
        cut = {buffer.idx for buffer in self.cut if buffer.idx is not None}
        self.reassembly = Reassembly(arrivals, cut)
        indexes = self.order + [
            buffer.idx if buffer.idx is not None else NO_INDEX for buffer in self.cut
        ]
        self.by_index = sorted(range(len(indexes)), key=indexes.__getitem__)
        self.states = list(arrival_states(arrivals))
        self.missing = self.reassembly.total - len(set(self.order))
        times = list(zip(self.arrived.time, self.arrived.end_time, strict=True))
        times += [_times(document.table, row) for row in self.cut_rows.values() if row is not None]
        self.span = (min(times)[0], max(last for _, last in times)) if times else None
        self.lack = _lack(migration, seen, section, document)
        announced = section is not None and section.announced == "multifd"
        awaited = device is not None or announced
        self.complete = is_complete(seen, migration) if awaited else None
        self.queue = seen.queue()
        self.channels = seen.by_channel()
        self.waits = self.queue.waited
        self.late = seen.out_of_order()
        self.duplicates = self.states.count(DUPLICATE)


def _lack(
    migration: Migration, device: Device, section: VfioSection | None, document: Document
) -> str:
    """Why no index of a device is known: it has no buffer, or the capture lacks bytes."""
    if device.unindexed:
        return f"{count(device.unindexed, 'packet')} arrived, but no index could be read"
    if section is not None and section.announced == "main":
        return "its state went over main"
    flows = [channel.flow for channel in migration.multifd]
    missing, snapped = sum(flow.missing for flow in flows), sum(flow.cut for flow in flows)
    if missing:
        why = "the snaplen cut off" if snapped == missing else "the capture lacks"
        return f"unknown what arrived: {why} {size_text(missing)} of multifd"
    if lacks_channels(migration) or any(c.incomplete_start for c in migration.multifd):
        return "unknown what arrived: the capture lacks multifd channels, or their beginning"
    if not document.done:
        return "no device-state buffer has come over multifd yet"
    return "no device-state buffer came over multifd"


def _times(table: PacketTable, row: int) -> tuple[int, int]:
    """When the first and the last byte of a packet came (ns)."""
    return table.column("time")[row], table.column("end_time")[row]


def device_facts(document: Document, number: int) -> list[DeviceFacts]:
    """All devices of a migration (or of all), including those that only main mentions."""
    found = []
    rows = document.cut_rows()
    for migration in document.migrations(number):
        devices = dict(migration.devices)
        main = migration.main_facts
        sections = dict(main.devices) if main is not None else {}
        for key in sorted({*devices, *sections}):
            facts = DeviceFacts(migration, key, devices.get(key), sections.get(key), document, rows)
            found.append(facts)
    return found


class DeviceRows:
    """One row per device."""

    def __init__(self, facts: list[DeviceFacts], start: int, several: bool) -> None:
        """``start`` is the time to count from (ns since the epoch), ``several`` adds a column with
        the migration's number.
        """
        self.facts = facts
        self._start = start
        self._several = several
        migration = (Column("Mig", 3, right=True),) if several else ()
        missing = any(_missing(one) for one in facts)
        late = any(one.late for one in facts)
        twice = any(one.duplicates for one in facts)
        came = any(one.span for one in facts)
        waits = any(one.queue.longest_wait for one in facts)
        queue = any(one.queue.peak_bytes for one in facts)
        main = any(_main_bytes(one) for one in facts)
        self.columns: Sequence[Column] = (
            *migration,
            Column("Device", 19, grow=3, most=41),
            Column("Buffers", 7, right=True),
            Column("Bytes", 10, right=True),
            Column("Complete?", 13),
            Column("Missing", 7, right=True, filled=missing),
            Column("Late", 5, right=True, optional=1, filled=late),
            Column("Dup", 4, right=True, optional=3, filled=twice),
            Column("First byte", 11, right=True, optional=5, filled=came),
            Column("Last byte", 11, right=True, optional=7, filled=came),
            Column("Longest wait", 12, right=True, optional=2, filled=waits),
            Column("Queue peak", 11, right=True, optional=4, filled=queue),
            Column("On main", 9, right=True, optional=8, filled=main),
            Column("Buffers by channel", 20, optional=6, grow=2),
        )

    def __len__(self) -> int:
        return len(self.facts)

    def row(self, position: int, palette: Palette) -> tuple[Sequence[Cell], Style]:
        """One device."""
        facts = self.facts[position]
        device, queue = facts.device, facts.queue
        word, style = _complete(facts, palette)
        total = sum(facts.arrived.size)
        main = _main_bytes(facts)
        wait = queue.longest_wait
        warn = palette.warning
        cells: list[Cell] = [
            *([str(facts.key[0])] if self._several else []),
            (facts.name, palette.device),
            str(len(facts.arrived)) if device is not None else "-",
            size_text(total) if device is not None else "-",
            (word, style),
            (_missing(facts), palette.error),
            (str(facts.late or ""), warn),
            (str(facts.duplicates or ""), warn),
            *(seconds(when - self._start) if when else "" for when in facts.span or (0, 0)),
            (duration(wait) if wait else "", warn),
            size_text(queue.peak_bytes) if queue.peak_bytes else "",
            size_text(main) if main else "",
            "  ".join(f"{channel_text(k)}:{v}" for k, v in facts.channels.items()),
        ]
        return cells, palette.plain


def _main_bytes(facts: DeviceFacts) -> int:
    return facts.section.main_bytes if facts.section is not None else 0


def _missing(facts: DeviceFacts) -> str:
    """How many indexes are missing, and whether the config state is, whose index is not known."""
    device = facts.device
    if device is None or not device.buffers or device.config is not None:
        return str(facts.missing or "")
    return f"{facts.missing}+{GLYPHS[CONFIG]}" if facts.missing else STATES[CONFIG]


def _complete(facts: DeviceFacts, palette: Palette) -> tuple[str, Style]:
    if facts.complete:
        return "✓ complete", palette.device
    if facts.complete is False:
        return "✗ never came" if facts.device is None else "✗ incomplete", palette.error
    if facts.device is None and facts.section is not None and facts.section.announced == "main":
        return "on main", palette.muted
    return "? cannot tell", palette.warning


def _frames(first: int, last: int) -> str:
    return f"{first}-{last}" if first != last else str(first)


class BufferRows:
    """The buffers of a device, in order of arrival or of index.  By arrival, those that were cut
    off come last.
    """

    def __init__(self, facts: DeviceFacts, table: PacketTable, start: int, by_index: bool) -> None:
        self.facts = facts
        self.table = table
        self.start = start
        waits = bool(facts.queue.longest_wait)
        lost = bool(facts.cut) or any(facts.arrived.missing)
        self.columns: Sequence[Column] = (
            Column("", 1),
            Column("Index", 9, right=True),
            Column("Arrival", 8, right=True),
            Column("Chan", 4, right=True),
            Column("Frames", 15, right=True),
            Column("First byte", 11, right=True, optional=3),
            Column("Last byte", 11, right=True),
            Column("Took", 9, right=True, optional=4),
            Column("Bytes", 10, right=True),
            Column("Waited", 9, right=True, optional=2, filled=waits),
            Column("Lost", 10, right=True, optional=1, filled=lost),
            Column("State", 10, grow=1, optional=5),
        )
        self.order = facts.by_index if by_index else range(len(facts.arrived) + len(facts.cut))
        self._positions: dict[int, int] = {}
        for position in range(len(self.order) - 1, -1, -1):
            index = self.index(position)
            if index is not None:
                self._positions[index] = position

    def __len__(self) -> int:
        return len(self.order)

    def cut(self, position: int) -> CutBuffer | None:
        """The buffer at a position of the list, if it was cut off."""
        at = self.order[position] - len(self.facts.arrived)
        return self.facts.cut[at] if at >= 0 else None

    def buffer(self, position: int) -> Buffer | None:
        """The buffer at a position of the list, unless it was cut off."""
        at, arrived = self.order[position], self.facts.arrived
        return arrived[at] if at < len(arrived) else None

    def index(self, position: int) -> int | None:
        """The index of the buffer at a position of the list."""
        cut = self.cut(position)
        return self.facts.order[self.order[position]] if cut is None else cut.idx

    def position(self, index: int) -> int | None:
        """The position of the first buffer with an index; ``None`` if there is none."""
        return self._positions.get(index)

    def row(self, position: int, palette: Palette) -> tuple[Sequence[Cell], Style]:
        """One buffer."""
        cut = self.cut(position)
        if cut is not None:
            return self._cut_row(cut, palette)
        at = self.order[position]
        buffer, state, wait = self.facts.arrived[at], self.facts.states[at], self.facts.waits[at]
        style = (palette.device, palette.config, palette.warning, palette.sync)[state]
        word = STATES[state]
        if buffer.is_config and state != CONFIG:
            word += f" {STATES[CONFIG]}"
        cells: list[Cell] = [
            (GLYPHS[state], style),
            str(buffer.idx),
            str(at),
            channel_text(buffer.channel),
            _frames(buffer.frame, buffer.end_frame),
            seconds(buffer.time - self.start),
            seconds(buffer.end_time - self.start),
            duration(buffer.end_time - buffer.time),
            size_text(buffer.size),
            (duration(wait) if wait else "", palette.warning),
            (size_text(buffer.missing) if buffer.missing else "", palette.error),
            (word, style),
        ]
        return cells, palette.plain

    def _cut_row(self, cut: CutBuffer, palette: Palette) -> tuple[Sequence[Cell], Style]:
        """One that was cut off; times and frames are taken from its row of the packet table."""
        frames = first = last = took = ""
        row = self.facts.cut_rows[cut]
        if row is not None:
            time, end_time = _times(self.table, row)
            frames = _frames(*(self.table.column(name)[row] for name in ("frame", "end_frame")))
            first, last = seconds(time - self.start), seconds(end_time - self.start)
            took = duration(end_time - time)
        cells: list[Cell] = [
            (GLYPHS[CUT], palette.error),
            str(cut.idx) if cut.idx is not None else "?",
            "",
            channel_text(cut.channel),
            frames,
            first,
            last,
            took,
            size_text(cut.size),
            "",
            (size_text(cut.size - cut.arrived), palette.error),
            (STATES[CUT], palette.error),
        ]
        return cells, palette.plain
