"""The tables of ``mfshark stats``: the same rows for terminal and web page.  Names are as in the
capture; the code that shows a cell escapes it.
"""

from __future__ import annotations

from analyzer.checks.wording import counted, duration, names
from analyzer.migration.intervals import total
from analyzer.migration.outcome import outcome_of
from analyzer.report.stats_cells import ITERATIONS_SHOWN, Lane, Share, Table
from analyzer.report.style import size_text
from dissectors.multifd import text_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from analyzer.migration.downtime import Downtime
    from analyzer.migration.fairness import Runs
    from analyzer.migration.phases import Phase
    from analyzer.migration.statistics import (
        ChannelFigures,
        CheckpointFigures,
        DeviceFigures,
        Statistics,
    )
    from analyzer.report.stats_cells import Row

__all__ = ["headline", "tables_of"]

CHANNELS_SHOWN = 16
CHECKPOINTS_SHOWN = 16
DEVICES_SHOWN = 16
PAUSE_MEANS = (
    "reply: the secondary stops; then both guests pause while memory and device state are sent and "
    "loaded; silence: of that, without a frame for 10 ms or more"
)
USES = {
    "ram": "RAM left over",
    "device-state": "device state",
    "main": "vmstate, description",
}
CARRIED = {
    "ram": "only RAM",
    "device-state": "only device state",
    "both": "both",
    "idle": "nothing",
}


ALONE = "alone: no RAM and no other device's packet on its way"
OTHERS = "; others only: time in which only other devices were sending, before its last byte"


def headline(figures: Statistics) -> Iterator[tuple[str, bool]]:
    """Lines about the whole migration, and whether each is a warning."""
    migration = figures.migration
    main = migration.main.length if migration.main is not None else 0
    ram = sum(channel.ram_bytes for channel in migration.multifd)
    state = sum(channel.device_bytes for channel in migration.multifd)
    text = f"main {size_text(main)}"
    if migration.multifd:
        text += f", RAM over multifd {size_text(ram)}, device state over multifd {size_text(state)}"
    if migration.preempt is not None:
        text += f", postcopy channel {size_text(migration.preempt.length)}"
    yield text, False
    cut = [channel.cut_bytes for channel in migration.multifd if channel.cut_bytes]
    if cut:
        packets = "a packet that was" if len(cut) == 1 else f"{len(cut)} packets that were"
        yield f"{size_text(sum(cut))} of it in {packets} cut off", False
    if migration.resumes_postcopy:
        yield "recovers a paused postcopy", False
    elif migration.began_late:
        yield "the capture begins in the middle of it", True
    if missing := sum(channel.flow.missing for channel in migration.channels):
        yield f"the capture lacks {size_text(missing)} of it: counts are lower bounds", True
        most = max((len(channel.syncs) for channel in migration.multifd), default=0)
        lossy = [c for c in migration.multifd if c.synchronises and c.flow.missing]
        if behind := names(c for c in lossy if len(c.syncs) < most):
            yield f"fewer SYNCs seen on {behind}: pages there may count to an earlier round", True


def tables_of(
    figures: Statistics, begin: int, *, verbose: bool = False, every_iteration: bool = False
) -> Iterator[Table]:
    """The tables of a migration that have rows; ``begin`` is the time of the first frame (ns).

    ``verbose`` lists all devices and channels; without ``every_iteration``, if there are very many,
    the later ones share a row.
    """
    if figures.phases:
        yield _phases(figures.phases, begin, every_iteration)
    if figures.downtime is not None:
        yield _downtime(figures, figures.downtime)
    if figures.checkpoints:
        yield _checkpoints(figures.checkpoints, begin, verbose)
    if figures.devices:
        yield _devices(figures, verbose)
    if figures.channels:
        yield _channels(figures, verbose)
    if any(tally.again for block in figures.blocks or () for tally in block.rounds.values()):
        from analyzer.report.stats_pages import page_tables

        yield from page_tables(figures, verbose=verbose)


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.0f}%" if whole else ""


def _count(number: int) -> str:
    return f"{number:,}" if number else ""


def _rate(rate: float | None) -> str:
    return f"{size_text(round(rate))}/s" if rate is not None else ""


# -- phases ----------------------------------------------------------------------------------------


def _phases(phases: list[Phase], begin: int, every: bool) -> Table:
    first = min(phase.start for phase in phases)
    last = max(phase.end for phase in phases)
    rows: list[Row] = []
    for group in _grouped(phases, every):
        start, end = min(p.start for p in group), max(p.end for p in group)
        rows.append(
            (
                _name(group),
                Lane([(start, end)], first, last, group[0].name),
                f"{(start - begin) / 1e9:.6f}",
                duration(end - start),
                size_text(sum(phase.bytes for phase in group)),
                _count(sum(phase.normal_pages for phase in group)),
                _count(sum(phase.zero_pages for phase in group)),
            )
        )
    head = ("phase", "when", "start s", "length", "bytes", "pages", "zero pages")
    return Table("Phases", head, rows)


def _grouped(phases: list[Phase], every: bool) -> Iterator[list[Phase]]:
    """Phases by row: if there are very many iterations, the later ones share a row."""
    count = sum(phase.name == "iteration" for phase in phases)
    told = ITERATIONS_SHOWN // 2 if count > ITERATIONS_SHOWN and not every else count
    for phase in phases:
        if phase.number <= told:
            yield [phase]
        elif phase.number == told + 1:
            yield [later for later in phases if later.number > told]


def _name(group: list[Phase]) -> str:
    first, last = group[0], group[-1]
    if first.is_part:
        return f"  {first.name}"
    if not first.number:
        return first.name
    return f"iteration {first.number}" + (f"-{last.number}" if last is not first else "")


# -- the switchover --------------------------------------------------------------------------------


def _downtime(figures: Statistics, downtime: Downtime) -> Table:
    window, whole = downtime.window, downtime.duration
    parts = [(USES[use.name], use.name, use.spans, duration(use.alone)) for use in downtime.uses]
    parts.append(("nothing on its way", "idle", downtime.idle, ""))
    parts.append(("waiting for an index", "waits", downtime.waits, ""))
    parts.append(("silence of 10 ms or more", "silence", downtime.silence, ""))
    rows: list[Row] = [
        (
            name,
            Lane(spans, window.begin, window.end, kind),
            duration(total(spans)),
            _percent(total(spans), whole),
            alone,
        )
        for name, kind, spans, alone in parts
        if whole
    ]
    notes = [_bound(figures)]
    if not whole:
        notes.append("all of it came at once")
    if downtime.both:
        share = _percent(downtime.both, whole)
        notes.append(f"RAM and device state together {duration(downtime.both)} ({share})")
    title = f"Downtime on the wire: {duration(whole)}, from {window.began_by} to {window.ended_by}"
    return Table(title, ("spent by", "when", "time", "share", "nothing else"), rows, notes)


def _bound(figures: Statistics) -> str:
    """How the figure compares with QEMU's own downtime."""
    window, migration = figures.window, figures.migration
    if window is None or not window.finished:
        return "its end is not in the capture"
    outcome = outcome_of(migration)
    if outcome.name == "failed" and not outcome.forgives:  # the source knows of no failure
        return "the destination waits for ever: the guest runs on neither side"
    verb = {"cancelled": "was cancelled", "failed": "failed"}.get(outcome.name)
    if verb is not None:
        return f"the migration {verb}: the guest may run on at the source"
    if migration.return_path is None:
        return (
            "the guest stopped earlier; QEMU's own figure ends earlier too, when the sockets have "
            "taken all"
        )
    return "a lower bound of QEMU's own figure: the guest stopped earlier"


# -- checkpoints -----------------------------------------------------------------------------------


def _checkpoints(checkpoints: list[CheckpointFigures], begin: int, verbose: bool) -> Table:
    shown = checkpoints
    if len(checkpoints) > CHECKPOINTS_SHOWN + 2 and not verbose:
        shown = checkpoints[:CHECKPOINTS_SHOWN]
    head = (
        "checkpoint", "start s", "reply", "pause", "memory", "state", "load", "silence",
        "memory bytes", "device state bytes",
    )  # fmt: skip
    rows = [_checkpoint(number, entry, begin) for number, entry in enumerate(shown, 1)]
    notes = [PAUSE_MEANS]
    return Table("COLO", head, rows, notes, _more(len(checkpoints) - len(shown)))


def _checkpoint(number: int, entry: CheckpointFigures, begin: int) -> Row:
    handshake = entry.handshake
    parts = dict(handshake.parts)
    start, pause = handshake.checkpoint.begin, handshake.pause

    def part(name: str) -> str:
        return duration(parts[name]) if name in parts else ""

    return (
        str(number),
        f"{(start.time - begin) / 1e9:.6f}" if start is not None else "",
        part("reply"),
        duration(pause) if pause is not None else "",
        part("memory"),
        part("state"),
        part("load"),
        duration(entry.silence) if entry.silence else "",
        size_text(entry.memory_bytes),
        size_text(handshake.checkpoint.size),
    )


# -- devices ---------------------------------------------------------------------------------------


def _devices(figures: Statistics, verbose: bool) -> Table:
    devices, window = figures.devices, figures.window
    shown = devices if verbose else devices[:DEVICES_SHOWN]
    begin = min(entry.start for entry in devices)
    end = max(entry.end for entry in devices)
    if window is not None:
        begin, end = min(begin, window.begin), max(end, window.end)
    head = (
        "device", "when", "bytes", "rate", "busy", "alone", "longest gap", "others only",
        "queue peak", "longest wait",
    )  # fmt: skip
    rows = [_device(entry, begin, end) for entry in shown]
    note = ALONE + OTHERS if any(entry.starved for entry in shown) else ALONE
    return Table("Devices", head, rows, [note], _more(len(devices) - len(shown)))


def _device(entry: DeviceFigures, begin: int, end: int) -> Row:
    queue = entry.queue
    peak = wait = ""
    if queue is not None and queue.peak_buffers:
        peak = f"{queue.peak_buffers:,} / {size_text(queue.peak_bytes)}"
    if queue is not None and queue.longest_wait:
        wait = f"{duration(queue.longest_wait)} for {queue.waited_for}"
    instance = f"#{entry.instance_id}" if entry.instance_id else ""
    return (
        text_of(entry.idstr) + instance + (" on main" if entry.on_main else ""),
        Lane(entry.spans, begin, end, "device-state"),
        size_text(entry.bytes),
        _rate(entry.rate),
        duration(total(entry.spans)),
        duration(entry.exclusive),
        duration(entry.longest_gap) if entry.longest_gap else "",
        duration(entry.starved) if entry.starved else "",
        peak,
        wait,
    )


def _more(count: int) -> str:
    return f"... {count} more" if count else ""


# -- channels --------------------------------------------------------------------------------------


def _channels(figures: Statistics, verbose: bool) -> Table:
    channels = figures.channels
    shown = channels
    if len(channels) > CHANNELS_SHOWN + 2 and not verbose:
        shown = channels[:CHANNELS_SHOWN]
    ram = sum(entry.channel.ram_bytes for entry in channels)
    state = sum(entry.channel.device_bytes for entry in channels)
    head = (
        "channel", "RAM share", "", "RAM", "state share", "", "device state", "rate", "switchover",
    )  # fmt: skip
    rows = [_channel(entry, ram, state) for entry in shown]
    notes = [*_fairness(figures), *_slowest(channels)]
    return Table("Channels", head, rows, notes, _more(len(channels) - len(shown)))


def _channel(entry: ChannelFigures, ram: int, state: int) -> Row:
    channel = entry.channel
    return (
        channel.name,
        Share(channel.ram_bytes, ram),
        _percent(channel.ram_bytes, ram),
        size_text(channel.ram_bytes),
        Share(channel.device_bytes, state) if state else "",
        _percent(channel.device_bytes, state),
        size_text(channel.device_bytes) if state else "",
        _rate(entry.rate),
        entry.role,
    )


def _fairness(figures: Statistics) -> Iterator[str]:
    kinds = (
        ("RAM", figures.fairness_ram, figures.runs_ram),
        ("device state", figures.fairness_state, figures.runs_state),
    )
    for name, index, runs in kinds:
        if index is not None:
            yield f"{name}: Jain's index {index:.2f} (1 is even){_runs(runs)}"
    roles = [entry.role for entry in figures.channels]
    if figures.window is not None:
        counts = ((roles.count(role), text) for role, text in CARRIED.items())
        text = ", ".join(f"{count} carried {text}" for count, text in counts if count)
        of, _, rest = text.partition(" ")
        yield f"During switchover {of} of {counted(len(roles), 'channel')} {rest}"


def _slowest(channels: Sequence[ChannelFigures]) -> Iterator[str]:
    """The channels with the lowest and the highest rate, if several can be compared."""
    rates = [(rate, entry.channel.name) for entry in channels if (rate := entry.rate) is not None]
    if len(rates) > 1:
        (low, slow), (high, fast) = min(rates), max(rates)
        yield (
            f"slowest while it carried data: {slow} with {_rate(low)}; fastest: {fast} with "
            f"{_rate(high)}"
        )


def _runs(runs: Runs) -> str:
    if runs.again is None:
        return ""
    return (
        f", same channel again {runs.again:.0%} of {counted(runs.packets, 'packet', ',')}, "
        f"longest run {runs.longest:,}"
    )
