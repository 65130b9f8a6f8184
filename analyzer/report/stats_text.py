"""``mfshark stats`` as text, with small bars that show when and how much."""

from __future__ import annotations

from analyzer.migration.intervals import Coverage, total
from analyzer.migration.outcome import outcome_of
from analyzer.report.escape import terminal
from analyzer.report.style import Style, size_text, table
from dissectors.multifd import text_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from analyzer.migration.downtime import Downtime
    from analyzer.migration.fairness import Runs
    from analyzer.migration.intervals import Span
    from analyzer.migration.phases import Phase
    from analyzer.migration.statistics import ChannelFigures, DeviceFigures, Statistics
    from analyzer.migration.switchover import Switchover

__all__ = ["Bars", "stats_text"]

LANE = 32
DEVICE_LANE = 24
SHARE = 11
CHANNELS_SHOWN = 16
DEVICES_SHOWN = 16
PHASES_SHOWN = 24
_VERBS = {"cancelled": "was cancelled", "failed": "failed"}
_CARRIED = {
    "ram": "RAM only",
    "device-state": "device state only",
    "both": "both",
    "idle": "nothing",
}
STEPS = "▁▂▃▄▅▆▇█"
PLAIN_STEPS = ".:-=+*%#"


class Bars:
    """Draws times and shares in a line of characters, with what ``encoding`` has."""

    __slots__ = ("steps",)

    def __init__(self, encoding: str = "utf-8") -> None:
        self.steps = STEPS if "utf" in encoding.lower() else PLAIN_STEPS

    def lane(self, spans: Sequence[Span], begin: int, end: int, width: int = LANE) -> str:
        """When, between two moments: how much of each character's time tidy spans cover."""
        lasts = max(1, end - begin)
        cover = Coverage(list(spans))
        starts = {(span[0] - begin) * width // lasts for span in spans}
        cells = []
        for column in range(width):
            a = begin + lasts * column // width
            b = begin + lasts * (column + 1) // width
            part = cover.until(b) - cover.until(a)
            last = column == width - 1 and width in starts
            if part or column in starts or last:
                level = part * len(self.steps) // max(1, b - a)
                cells.append(self.steps[min(len(self.steps) - 1, level)])
            else:
                cells.append(" ")
        return f"[{''.join(cells)}]"

    def share(self, part: int, whole: int, width: int = SHARE) -> str:
        """How much of a whole."""
        full = round(width * part / whole) if whole else 0
        return (self.steps[-1] * full).ljust(width)


def stats_text(
    figures: Sequence[Statistics], style: Style, bars: Bars, begin: int, verbose: bool = False
) -> Iterator[str]:
    """The lines; ``begin`` is the time of the capture's first frame (ns).

    ``verbose`` lists everything that is otherwise summed up.
    """
    for number, entry in enumerate(figures):
        if number:
            yield ""
        yield from _Text(entry, style, bars, begin, verbose).lines()


def _ms(time: int) -> str:
    if time < 10_000:
        return "<0.01 ms" if time else "0"
    digits = 2 if time < 10_000_000 else 1
    return f"{time / 1e6:.{digits}f} ms"


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.0f}%" if whole else ""


def _rate(rate: float | None) -> str:
    return f"{size_text(round(rate))}/s" if rate is not None else ""


class _Text:
    """One migration's lines."""

    def __init__(
        self, figures: Statistics, style: Style, bars: Bars, begin: int, verbose: bool
    ) -> None:
        self.figures = figures
        self.style = style
        self.bars = bars
        self.begin = begin
        self.verbose = verbose

    def lines(self) -> Iterator[str]:
        """All of them."""
        yield from self._head()
        yield from self._phases()
        if self.figures.downtime is not None:
            yield from self._downtime(self.figures.downtime)
        if self.figures.devices:
            yield from self._devices()
        if self.figures.channels:
            yield from self._channels()

    def _title(self, text: str) -> Iterator[str]:
        yield ""
        yield self.style.bold(text)

    def _head(self) -> Iterator[str]:
        migration, style = self.figures.migration, self.style
        outcome = outcome_of(migration)
        yield style.bold(f"Migration {migration.number + 1}") + (
            f"  {migration.source} -> {migration.destination}  "
            f"{style.outcome(outcome.name)}: {terminal(outcome.evidence)}"
        )
        main = migration.main.length if migration.main is not None else 0
        ram = sum(channel.ram_bytes for channel in migration.multifd)
        state = sum(channel.device_bytes for channel in migration.multifd)
        yield (
            f"  main {size_text(main)}, RAM over multifd {size_text(ram)}, "
            f"device state over multifd {size_text(state)}"
        )
        if migration.began_late:
            yield style.severity("warning", "  the capture begins in the middle of it")
        if missing := sum(channel.flow.missing for channel in migration.channels):
            text = f"  the capture lacks {size_text(missing)} of it: counts are lower bounds"
            yield style.severity("warning", text)

    # -- phases -------------------------------------------------------------------------------

    def _phases(self) -> Iterator[str]:
        phases = self.figures.phases
        if not phases:
            return
        first = min(phase.start for phase in phases)
        last = max(phase.end for phase in phases)
        yield from self._title("Phases")
        head = ("phase", "when", "start s", "length", "bytes", "pages", "zero pages")
        rows = [
            (
                name,
                self.bars.lane([(start, end)], first, last),
                f"{(start - self.begin) / 1e9:.6f}",
                _ms(end - start),
                size_text(size),
                str(normal or ""),
                str(zero or ""),
            )
            for name, start, end, size, normal, zero in self._phase_rows(phases)
        ]
        yield from table(head, rows, self.style, left=2)

    def _phase_rows(self, phases: list[Phase]) -> Iterator[tuple[str, int, int, int, int, int]]:
        """A row for each phase; iterations are summed up where there are many."""
        for name, group in _grouped(phases, self.verbose):
            yield (
                name,
                min(phase.start for phase in group),
                max(phase.end for phase in group),
                sum(phase.bytes for phase in group),
                sum(phase.normal_pages for phase in group),
                sum(phase.zero_pages for phase in group),
            )

    # -- the switchover -----------------------------------------------------------------------

    def _downtime(self, downtime: Downtime) -> Iterator[str]:
        window, whole = downtime.window, downtime.duration
        yield from self._title(
            f"Downtime on the wire: {_ms(whole)}, from {window.began_by} to {window.ended_by}"
        )
        yield f"  {self.style.dim(self._bound(window))}"
        names = {
            "ram": "RAM left over",
            "device-state": "device state",
            "main": "vmstate, description",
        }
        rows = []
        for use in downtime.uses:
            lane = self.bars.lane(use.spans, window.begin, window.end)
            share = _percent(use.busy, whole)
            rows.append((names[use.name], lane, _ms(use.busy), share, _ms(use.alone)))
        spans = {
            "nothing on its way": downtime.idle,
            "waiting for an index": downtime.waits,
            "no frame (10 ms up)": downtime.silence,
        }
        for name, found in spans.items():
            lane = self.bars.lane(found, window.begin, window.end)
            rows.append((name, lane, _ms(total(found)), _percent(total(found), whole), ""))
        head = ("spent by", "when", "time", "share", "nothing else")
        yield from table(head, rows, self.style, left=2)
        if downtime.both:
            text = f"RAM and device state together {_ms(downtime.both)}"
            yield f"  {text} ({_percent(downtime.both, whole)})"

    def _bound(self, window: Switchover) -> str:
        """How QEMU's own figure compares."""
        outcome = outcome_of(self.figures.migration)
        if not window.finished:
            return "its end is not in the capture"
        if outcome.name in ("cancelled", "failed"):
            return f"the migration {_VERBS[outcome.name]}: the guest may run on at the source"
        if self.figures.migration.return_path is None:
            return (
                "the guest stopped earlier; QEMU's own figure ends earlier too, when the sockets "
                "have taken all"
            )
        return "a lower bound of QEMU's own figure: the guest stopped earlier"

    # -- devices and channels -----------------------------------------------------------------

    def _devices(self) -> Iterator[str]:
        figures, window = self.figures, self.figures.window
        shown = figures.devices if self.verbose else figures.devices[:DEVICES_SHOWN]
        begin = min(entry.start for entry in figures.devices)
        end = max(entry.end for entry in figures.devices)
        if window is not None:
            begin, end = min(begin, window.begin), max(end, window.end)
        yield from self._title("Devices")
        head = (
            "device", "when", "bytes", "rate", "busy", "alone", "longest gap", "others only",
            "queue peak", "longest wait",
        )  # fmt: skip
        yield from table(
            head, [self._device(entry, begin, end) for entry in shown], self.style, left=2
        )
        if len(shown) < len(figures.devices):
            yield f"  ... {len(figures.devices) - len(shown)} more; --verbose shows all"

    def _device(self, entry: DeviceFigures, begin: int, end: int) -> tuple[str, ...]:
        queue = entry.queue
        name = text_of(entry.idstr) + (f"#{entry.instance_id}" if entry.instance_id else "")
        peak = wait = ""
        if queue is not None and queue.peak_buffers:
            peak = f"{queue.peak_buffers} / {size_text(queue.peak_bytes)}"
        if queue is not None and queue.longest_wait:
            wait = f"{_ms(queue.longest_wait)} for {queue.waited_for}"
        return (
            terminal(name) + (" on main" if entry.on_main else ""),
            self.bars.lane(entry.spans, begin, end, DEVICE_LANE),
            size_text(entry.bytes),
            _rate(entry.rate),
            _ms(total(entry.spans)),
            _ms(entry.exclusive),
            _ms(entry.longest_gap) if entry.longest_gap else "",
            _ms(entry.starved) if entry.starved else "",
            peak,
            wait,
        )

    def _channels(self) -> Iterator[str]:
        channels = self.figures.channels
        shown = channels
        if len(channels) > CHANNELS_SHOWN + 2 and not self.verbose:
            shown = channels[:CHANNELS_SHOWN]
        yield from self._title("Channels")
        yield from self._fairness()
        ram = sum(entry.channel.ram_bytes for entry in channels)
        state = sum(entry.channel.device_bytes for entry in channels)
        head = (
            "channel", "RAM share", "", "RAM", "state share", "", "device state", "rate",
            "switchover",
        )  # fmt: skip
        rows = [self._channel(entry, ram, state) for entry in shown]
        yield from table(head, rows, self.style, left=2)
        if len(shown) < len(channels):
            yield f"  ... {len(channels) - len(shown)} more; --verbose shows all"

    def _channel(self, entry: ChannelFigures, ram: int, state: int) -> tuple[str, ...]:
        channel = entry.channel
        return (
            channel.name,
            self.bars.share(channel.ram_bytes, ram),
            _percent(channel.ram_bytes, ram),
            size_text(channel.ram_bytes),
            self.bars.share(channel.device_bytes, state) if state else "",
            _percent(channel.device_bytes, state),
            size_text(channel.device_bytes) if state else "",
            _rate(entry.rate),
            entry.role,
        )

    def _fairness(self) -> Iterator[str]:
        figures = self.figures
        kinds = (
            ("RAM", figures.fairness_ram, figures.runs_ram),
            ("device state", figures.fairness_state, figures.runs_state),
        )
        for name, index, runs in kinds:
            if index is not None:
                yield f"  {name}: Jain's index {index:.2f} {_runs(runs)}".rstrip()
        roles = [entry.role for entry in figures.channels]
        if figures.window is not None:
            counts = ((roles.count(role), text) for role, text in _CARRIED.items())
            text = ", ".join(f"{count} carried {text}" for count, text in counts if count)
            yield f"  of {len(roles)} channels in the switchover, {text}"


def _runs(runs: Runs) -> str:
    if runs.again is None:
        return ""
    return (
        f"(1 is even), same channel again {runs.again:.0%} of {runs.packets} packets, "
        f"longest run {runs.longest}"
    )


def _grouped(phases: list[Phase], verbose: bool) -> Iterator[tuple[str, list[Phase]]]:
    """Phases by row: iterations without pages together, and the middle ones of very many."""
    group: list[Phase] = []
    many = sum(phase.name == "iteration" for phase in phases) > PHASES_SHOWN
    count = 0
    for phase in phases:
        plain = phase.name == "iteration" and not verbose
        empty = not phase.normal_pages and not phase.zero_pages
        joins = plain and (empty or (many and count >= PHASES_SHOWN // 2))
        if group and not (joins and _empty(group) == empty):
            yield _name(group), group
            group = []
        if joins:
            group.append(phase)
        else:
            yield _name([phase]), [phase]
        count += plain
    if group:
        yield _name(group), group


def _empty(group: list[Phase]) -> bool:
    return not any(phase.normal_pages or phase.zero_pages for phase in group)


def _name(group: list[Phase]) -> str:
    first, last = group[0], group[-1]
    if first.is_part:
        return f"  {first.name}"
    if not first.number:
        return first.name
    return f"iteration {first.number}" + (f"-{last.number}" if last is not first else "")
