"""Where the time of the switchover went: rest of RAM, device state, main, waiting, silence.

Wire-format page, sections 8 and 11.
"""

from __future__ import annotations

from analyzer.migration.intervals import alone, clipped, gaps, intersection, total, union

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from analyzer.migration.activity import MigrationActivity
    from analyzer.migration.intervals import Span
    from analyzer.migration.main_channel import Record
    from analyzer.migration.migration import Migration
    from analyzer.migration.switchover import Switchover

__all__ = ["Downtime", "Use", "data_records", "downtime_of", "record_spans"]


class Use:
    """The time that one kind of traffic took in the switchover.

    ``spans`` are tidy, and reach from the first to the last byte of each of its packets; ``alone``
    is the time (ns) in which no other kind was being sent.
    """

    __slots__ = ("alone", "name", "spans")

    def __init__(self, name: str, spans: list[Span]) -> None:
        self.name = name
        self.spans = spans
        self.alone = 0

    @property
    def busy(self) -> int:
        """Time in which a packet of this kind was being sent, in ns."""
        return total(self.spans)


class Downtime:
    """The time of the ``window``, by use.

    ``uses`` are ``ram`` and ``device-state``, over multifd or main, and ``main`` for vmstate and
    the vmdescription; they overlap.  ``both`` is the time in which RAM and device state were sent
    at the same time; ``idle`` are the spans in which no packet was being sent, ``waits`` those in
    which a device had later buffers but not the next one, ``silence`` those without any frame in
    the capture (of 10 ms and more).  Spans are in ns since the epoch.
    """

    __slots__ = ("both", "idle", "silence", "uses", "waits", "window")

    def __init__(self, window: Switchover, uses: list[Use]) -> None:
        self.window = window
        self.uses = uses
        ram, state = uses[0].spans, uses[1].spans
        self.both = total(intersection(ram, state))
        busy = union(span for use in uses for span in use.spans)
        self.idle = gaps(busy, window.begin, window.end)
        self.waits: list[Span] = []
        self.silence: list[Span] = []
        for use, time in zip(uses, alone([use.spans for use in uses]), strict=True):
            use.alone = time

    @property
    def duration(self) -> int:
        """Length of the window, in ns."""
        return self.window.duration

    @property
    def longest_idle(self) -> Span | None:
        """The longest span in which no packet was being sent."""
        return max(self.idle, key=lambda span: span[1] - span[0], default=None)


def downtime_of(
    migration: Migration,
    activity: MigrationActivity,
    window: Switchover,
    pauses: Iterable[tuple[int, int, int]] = (),
) -> Downtime:
    """Analyse a switchover window.

    ``pauses`` are the capture's times without a frame, as (begin, end, frame).
    """
    begin, end = window.begin, window.end
    channels = activity.channels.values()
    late = list(_late_records(migration, window))
    kinds: tuple[tuple[str, list[Span], Callable[[Record], bool]], ...] = (
        ("ram", [span for c in channels for span in c.ram.spans()], lambda r: r.has_pages),
        ("device-state", [span for c in channels for span in c.state.spans()], _has_data),
        ("main", [], _has_vmstate),
    )
    uses = []
    for name, spans, belongs in kinds:
        records = record_spans(record for record in late if belongs(record))
        uses.append(Use(name, clipped(union([*spans, *records]), begin, end)))
    found = Downtime(window, uses)
    waits = (wait for device in migration.devices.values() for wait in device.queue().waits)
    found.waits = clipped(union(waits), begin, end)
    found.silence = clipped(union((a, b) for a, b, _ in pauses), begin, end)
    return found


def _late_records(migration: Migration, window: Switchover) -> Iterator[Record]:
    """The records on main from the switchover on."""
    facts = migration.main_facts
    if facts is not None:
        yield from (record for record in facts.records if record.offset >= window.offset)


def data_records(migration: Migration, window: Switchover) -> dict[int, list[Record]]:
    """The records on main with data of VFIO devices during the switchover, by the section's id."""
    late: dict[int, list[Record]] = {}
    for record in _late_records(migration, window):
        if record.data_bytes and record.section_id is not None:
            late.setdefault(record.section_id, []).append(record)
    return late


def record_spans(records: Iterable[Record]) -> list[Span]:
    """Tidy spans in which main carried ``records``."""
    return union((record.first.time, record.last.time) for record in records)


def _has_data(record: Record) -> bool:
    return record.data_bytes > 0


def _has_vmstate(record: Record) -> bool:
    """Whether it is a record of kind ``main``.

    Other records are left out: the source may begin one, and be busy elsewhere before it ends it.
    """
    return record.kind in ("SECTION_FULL", "VMDESCRIPTION")
