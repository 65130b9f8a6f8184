"""The figures of one migration: phases, downtime, channels, devices.

Wire-format page, sections 8 and 11.
"""

from __future__ import annotations

from heapq import merge
from itertools import pairwise
from operator import itemgetter

from analyzer.migration.colo_handshake import handshakes_of
from analyzer.migration.downtime import data_records, downtime_of, record_spans
from analyzer.migration.fairness import Runs, jain, ram_channels, runs_of, state_channels
from analyzer.migration.intervals import Coverage, alone, clipped, total, union
from analyzer.migration.phases import phases_of
from analyzer.migration.switchover import switchover_window

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from analyzer.migration.activity import Activity, MigrationActivity
    from analyzer.migration.channel import Channel
    from analyzer.migration.colo_handshake import Handshake
    from analyzer.migration.device import Device
    from analyzer.migration.downtime import Downtime
    from analyzer.migration.intervals import Span
    from analyzer.migration.migration import Migration
    from analyzer.migration.reassembly import Queue
    from analyzer.migration.scan import Scan
    from analyzer.migration.sendings import BlockSendings, SentPages
    from analyzer.migration.switchover import Switchover

__all__ = [
    "ChannelFigures",
    "CheckpointFigures",
    "DeviceFigures",
    "Statistics",
    "figures_of",
]


MEASURABLE = 1_000_000
"""Shortest busy time, in ns, that gives a rate: below that single frames and their time stamps
dominate.
"""


class ChannelFigures:
    """Figures of one multifd channel.

    ``ram`` and ``state`` are tidy spans in which it carried RAM and device state, over the whole
    migration; ``late_ram_bytes`` are its RAM bytes in the switchover, where all device state is;
    ``role`` says what it carried in the switchover: ``ram``, ``device-state``, ``both`` or
    ``idle``.  ``timed`` is as in :class:`analyzer.migration.activity.ChannelActivity`.
    """

    __slots__ = ("channel", "late_ram_bytes", "ram", "role", "state", "timed")

    def __init__(self, channel: Channel, activity: MigrationActivity) -> None:
        found = activity.channel(channel)
        self.channel = channel
        self.ram = found.ram.spans()
        self.state = found.state.spans()
        self.late_ram_bytes = found.late_ram.bytes
        self.timed = found.timed
        ram, state = bool(found.late_ram), bool(found.states)
        self.role = ("both" if state else "ram") if ram else ("device-state" if state else "idle")

    @property
    def rate(self) -> float | None:
        """Bytes per second while it was busy.

        ``None`` where that time is too short, or most bytes came in packets of a single frame,
        which have no duration.
        """
        busy = total(union([*self.ram, *self.state]))
        size = self.channel.ram_bytes + self.channel.device_bytes
        if busy < MEASURABLE or 2 * self.timed < size:
            return None
        return self.timed * 1e9 / busy


class DeviceFigures:
    """Figures of one device: ``bytes`` of state in the switchover, over multifd or (``on_main``) on
    main.

    ``buffers`` counts complete ones, ``cut`` those cut off by the end of their stream, whose
    received bytes count.  ``spans`` are the tidy times of its packets, ``exclusive`` is the time
    (ns) in which only its packets were being sent, without RAM or other devices, ``longest_gap``
    the longest time between two of its packets in which others were sent, ``starved`` the time
    before its last byte in which other devices' packets were being sent and none of its own.
    """

    __slots__ = (
        "buffers", "bytes", "cut", "device", "exclusive", "idstr", "instance_id", "longest_gap",
        "on_main", "queue", "spans", "starved",
    )  # fmt: skip

    def __init__(self, idstr: bytes, instance_id: int, spans: list[Span]) -> None:
        self.idstr = idstr
        self.instance_id = instance_id
        self.spans = spans
        self.device: Device | None = None
        self.queue: Queue | None = None
        self.buffers = 0
        self.cut = 0
        self.bytes = 0
        self.on_main = False
        self.exclusive = 0
        self.longest_gap = 0
        self.starved = 0

    @property
    def start(self) -> int:
        """Time of its first byte, ns since the epoch."""
        return self.spans[0][0]

    @property
    def end(self) -> int:
        """Time of its last byte, ns since the epoch."""
        return self.spans[-1][1]

    @property
    def rate(self) -> float | None:
        """Bytes per second from its first byte to its last."""
        lasted = self.end - self.start
        return self.bytes * 1e9 / lasted if lasted else None


class CheckpointFigures:
    """Figures of a COLO checkpoint.

    ``memory_bytes`` are those of guest memory, on all channels; ``silence`` is the time (ns)
    without any frame in its pause.
    """

    __slots__ = ("handshake", "memory_bytes", "silence")

    def __init__(self, handshake: Handshake, multifd_bytes: int, silence: list[Span]) -> None:
        self.handshake = handshake
        self.memory_bytes = handshake.memory_bytes + multifd_bytes
        span = handshake.pause_span
        self.silence = total(clipped(silence, *span)) if span is not None else 0


class Statistics:
    """Everything that ``mfshark stats`` reports of a migration whose capture was read to the end;
    times in ns since the epoch.

    ``activity`` is what an :class:`analyzer.migration.activity.Activity` noted of it, ``pauses``
    are the capture's times without a frame (:class:`analyzer.tcp.engine.Engine`).

    ``window`` is the switchover as far as it was seen, ``downtime`` where its time went;
    ``fairness_ram`` and ``fairness_state`` are Jain's indices; ``runs_ram`` is in the order of
    packet_num, ``runs_state`` in the order of first bytes.  ``blocks`` says how often pages were
    sent, ``None`` if they were not counted; ``uncounted`` that there were more than could be
    counted.  ``checkpoints`` are COLO's.
    """

    __slots__ = (
        "blocks", "channels", "checkpoints", "devices", "downtime", "fairness_ram",
        "fairness_state", "migration", "phases", "runs_ram", "runs_state", "uncounted", "window",
    )  # fmt: skip

    def __init__(
        self,
        migration: Migration,
        activity: MigrationActivity,
        pauses: Sequence[tuple[int, int, int]] = (),
    ) -> None:
        self.migration = migration
        self.phases = phases_of(migration, activity)
        self.window = switchover_window(migration)
        self.downtime: Downtime | None = None
        if self.window is not None and migration.timed:
            self.downtime = downtime_of(migration, activity, self.window, pauses)
        self.channels = [ChannelFigures(channel, activity) for channel in migration.multifd]
        self.devices = _devices(migration, activity, self.window)
        self.fairness_ram = jain([c.ram_bytes for c in ram_channels(migration.multifd)])
        self.fairness_state = jain([c.device_bytes for c in state_channels(migration.multifd)])
        self.runs_ram = _ram_runs(migration, activity)
        self.runs_state = _state_runs(migration)
        self.checkpoints = _checkpoints(migration, activity, pauses)
        self.blocks: list[BlockSendings] | None = None
        self.uncounted = False

    def count_pages(self, sent: SentPages) -> None:
        """Take over the counts of pages."""
        self.blocks = sent.of(self.migration)
        self.uncounted = self.migration.number in sent.untracked

    @property
    def iterations(self) -> int:
        """Scans over guest memory before the switchover that carried pages."""
        return sum(
            phase.name == "iteration" and bool(phase.normal_pages or phase.zero_pages)
            for phase in self.phases
        )

    @property
    def wire_downtime(self) -> int | None:
        """From the switchover's beginning to its end, in ns; ``None`` unless both were seen, and
        when they were.
        """
        whole = self.downtime is not None and self.downtime.window.finished
        return self.downtime.duration if self.downtime is not None and whole else None


def figures_of(
    scan: Scan, activity: Activity, migrations: Iterable[Migration] | None = None
) -> list[Statistics]:
    """The figures of all migrations of a capture that has been read, or of some of them."""
    chosen = scan.migrations if migrations is None else migrations
    return [Statistics(one, activity.of(one), scan.engine.pauses) for one in chosen]


def _checkpoints(
    migration: Migration, activity: MigrationActivity, pauses: Sequence[tuple[int, int, int]]
) -> list[CheckpointFigures]:
    silence = union((begin, end) for begin, end, _ in pauses)
    tallies = activity.checkpoints  # the last ones may have no packets on multifd channels
    return [
        CheckpointFigures(entry, tallies[at].bytes if at < len(tallies) else 0, silence)
        for at, entry in enumerate(handshakes_of(migration))
    ]


# -- devices -----------------------------------------------------------------------------------


def _devices(
    migration: Migration, activity: MigrationActivity, window: Switchover | None
) -> list[DeviceFigures]:
    figures = []
    for key, found in activity.devices.items():
        entry = DeviceFigures(*key, found.busy.spans())
        device = entry.device = migration.devices[key]
        entry.queue = device.queue()
        entry.buffers = found.packets
        entry.cut = found.cut
        entry.bytes = device.bytes + sum(buffer.arrived for buffer in device.cut)
        figures.append(entry)
    figures.extend(_on_main(migration, window))
    ram = union(span for c in activity.channels.values() for span in c.ram.spans())
    own = [entry.spans for entry in figures]
    for entry, time in zip(figures, alone([*own, ram]), strict=False):
        entry.exclusive = time
    states = Coverage(union(span for spans in own for span in spans))
    everything = Coverage(union([*states.spans, *ram]))
    for entry in figures:
        entry.starved = states.until(entry.end) - total(entry.spans)
        entry.longest_gap = _longest_gap(entry.spans, everything)
    return sorted(figures, key=lambda entry: (entry.idstr, entry.instance_id))


def _on_main(migration: Migration, window: Switchover | None) -> list[DeviceFigures]:
    """Devices whose state went through main."""
    facts = migration.main_facts
    if facts is None or window is None:
        return []
    figures = []
    carried = data_records(migration, window)
    for (idstr, instance_id), section in facts.devices.items():
        records = carried.get(section.section_id)
        if records and (idstr, instance_id) not in migration.devices:
            entry = DeviceFigures(idstr, instance_id, record_spans(records))
            entry.bytes = sum(record.data_bytes for record in records)
            entry.on_main = True
            figures.append(entry)
    return figures


def _longest_gap(spans: list[Span], everything: Coverage) -> int:
    between = ((before[1], after[0]) for before, after in pairwise(spans))
    return max((end - begin for begin, end in between if everything.touches(begin, end)), default=0)


# -- order of channels -------------------------------------------------------------------------


def _ram_runs(migration: Migration, activity: MigrationActivity) -> Runs:
    """Runs by packet_num: the source numbers RAM packets as it assigns them to channels."""

    def numbered(channel: Channel) -> Iterator[tuple[int, int]]:
        syncs = frozenset(activity.channel(channel).sync_nums)
        return ((num, channel.id) for num in sorted(channel.packet_nums) if num not in syncs)

    in_order = merge(*map(numbered, migration.multifd), key=itemgetter(0))
    return runs_of(channel for _, channel in in_order)


def _state_runs(migration: Migration) -> Runs:
    """Runs by first bytes: device-state packets have no number."""
    buffers = [buffer for device in migration.devices.values() for buffer in device.buffers]
    buffers.sort(key=lambda buffer: (buffer.frame, buffer.offset))
    return runs_of(buffer.channel for buffer in buffers)
