"""``mfshark stats`` as plain data, in the shape of ``analyzer/report/schema/stats-1.json``.

Points in time are in seconds since the capture's first frame, durations in seconds.
"""

from __future__ import annotations

from analyzer.migration.channel import known_number
from analyzer.migration.intervals import clipped, total, union
from analyzer.migration.outcome import outcome_of
from analyzer.version import VERSION
from dissectors.multifd import text_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from analyzer.migration.downtime import Downtime
    from analyzer.migration.fairness import Runs
    from analyzer.migration.intervals import Span
    from analyzer.migration.phases import Phase
    from analyzer.migration.sendings import BlockSendings
    from analyzer.migration.statistics import (
        ChannelFigures,
        CheckpointFigures,
        DeviceFigures,
        Statistics,
    )
    from analyzer.report.parts import Json

__all__ = ["SCHEMA", "stats_json"]

SCHEMA = "mfshark/stats/1"
SPANS_LISTED = 1000
HEAT_CELLS = 256


def stats_json(figures: Sequence[Statistics], path: str, begin: int) -> Json:
    """The whole report; ``begin`` is the time of the capture's first frame (ns)."""
    return {
        "schema": SCHEMA,
        "tool": {"name": "mfshark", "version": VERSION},
        "path": path,
        "migrations": [_Migration(entry, begin).report() for entry in figures],
    }


def _seconds(time: int) -> float:
    return round(time / 1e9, 9)


def _rate(rate: float | None) -> float | None:
    return None if rate is None else round(rate, 1)


class _Migration:
    """One migration's report."""

    def __init__(self, figures: Statistics, begin: int) -> None:
        self.figures = figures
        self.migration = figures.migration
        self.begin = begin

    def at(self, time: int) -> float:
        """A moment."""
        return _seconds(time - self.begin)

    def report(self) -> Json:
        """All of it."""
        figures, migration = self.figures, self.migration
        outcome, wire = outcome_of(migration), figures.wire_downtime
        counted: Json = {}
        if figures.blocks is not None:
            counted = {"ram_blocks": _blocks(figures.blocks), "uncounted": figures.uncounted}
        return {
            "number": migration.number,
            "source": migration.source,
            "destination": migration.destination,
            "outcome": outcome.name,
            "phases": [self._phase(phase) for phase in figures.phases],
            "iterations": figures.iterations,
            "wire_downtime": None if wire is None else _seconds(wire),
            "switchover": self._switchover(),
            "downtime": None if figures.downtime is None else self._downtime(figures.downtime),
            "bytes": {
                "main": migration.main.length if migration.main is not None else 0,
                "multifd_ram": sum(c.ram_bytes for c in migration.multifd),
                "multifd_device_state": sum(c.device_bytes for c in migration.multifd),
                "postcopy": migration.preempt.length if migration.preempt is not None else 0,
            },
            "pages": self._pages(),
            **counted,
            **self._checkpoints(),
            "fairness": {
                "ram": _fairness(figures.fairness_ram),
                "device_state": _fairness(figures.fairness_state),
                "ram_runs": _runs(figures.runs_ram),
                "device_state_runs": _runs(figures.runs_state),
            },
            "channels": [self._channel(channel) for channel in figures.channels],
            "devices": [self._device(device) for device in figures.devices],
        }

    def _checkpoints(self) -> Json:
        if not self.figures.checkpoints:
            return {}
        return {"checkpoints": [self._checkpoint(entry) for entry in self.figures.checkpoints]}

    def _checkpoint(self, entry: CheckpointFigures) -> Json:
        handshake = entry.handshake
        begin, pause = handshake.checkpoint.begin, handshake.pause
        return {
            "start": None if begin is None else self.at(begin.time),
            "frame": None if begin is None else begin.frame,
            "pause": None if pause is None else _seconds(pause),
            "parts": {name: _seconds(time) for name, time in handshake.parts},
            "silence": _seconds(entry.silence),
            "memory_bytes": entry.memory_bytes,
            "device_state_bytes": handshake.checkpoint.size,
        }

    def _phase(self, phase: Phase) -> Json:
        return {
            "name": phase.name,
            "number": phase.number,
            "start": self.at(phase.start),
            "end": self.at(phase.end),
            "bytes": phase.bytes,
            "main_bytes": phase.main_bytes,
            "normal_pages": phase.normal_pages,
            "zero_pages": phase.zero_pages,
        }

    def _switchover(self) -> Json | None:
        window = self.figures.window
        if window is None:
            return None
        return {
            "start": self.at(window.begin),
            "end": self.at(window.end),
            "began_by": window.began_by,
            "ended_by": window.ended_by,
            "finished": window.finished,
            "first_frame": window.first,
            "last_frame": window.last,
        }

    def _downtime(self, downtime: Downtime) -> Json:
        longest = downtime.longest_idle
        return {
            "uses": [
                {"name": use.name, "busy": _seconds(use.busy), "alone": _seconds(use.alone)}
                for use in downtime.uses
            ],
            "ram_and_device_state": _seconds(downtime.both),
            "idle": _seconds(total(downtime.idle)),
            "longest_idle": None if longest is None else self._spans([longest])[0],
            "waiting_for_index": _seconds(total(downtime.waits)),
            "silence": self._spans(downtime.silence),
        }

    def _spans(self, spans: list[Span]) -> list[list[float]]:
        return [[self.at(begin), self.at(end)] for begin, end in spans[:SPANS_LISTED]]

    def _pages(self) -> Json:
        facts, channels = self.migration.main_facts, self.migration.multifd
        main = facts.ram if facts is not None else None
        preempt = self.migration.preempt_facts
        return {
            "multifd_normal": sum(channel.normal_pages for channel in channels),
            "multifd_zero": sum(channel.zero_pages for channel in channels),
            "main_normal": main.normal_pages if main is not None else 0,
            "main_zero": main.zero_pages if main is not None else 0,
            "main_xbzrle": main.xbzrle_pages if main is not None else 0,
            "main_compressed": main.compressed_pages if main is not None else 0,
            "postcopy_normal": preempt.ram.normal_pages if preempt is not None else 0,
            "postcopy_zero": preempt.ram.zero_pages if preempt is not None else 0,
            "resent": self.migration.pages.resent,
            "resent_uncounted": self.migration.pages.untracked,
        }

    def _channel(self, figures: ChannelFigures) -> Json:
        channel, window = figures.channel, self.figures.window
        busy = union([*figures.ram, *figures.state])
        late = total(clipped(busy, window.begin, window.end)) if window is not None else 0
        return {
            "id": channel.known_id,
            "tcp_stream": channel.stream,
            "ram_bytes": channel.ram_bytes,
            "device_state_bytes": channel.device_bytes,
            "switchover": figures.role,
            "ram_packets": channel.ram_packets,
            "device_state_packets": channel.device_packets,
            "cut_bytes": channel.cut_bytes,
            "switchover_ram_bytes": figures.late_ram_bytes,
            "busy": _seconds(total(busy)),
            "switchover_busy": _seconds(late),
            "rate": _rate(figures.rate),
        }

    def _device(self, figures: DeviceFigures) -> Json:
        queue = figures.queue
        return {
            "idstr": text_of(figures.idstr),
            "instance_id": figures.instance_id,
            "transfer": "main" if figures.on_main else "multifd",
            "start": self.at(figures.start),
            "end": self.at(figures.end),
            "bytes": figures.bytes,
            "buffers": figures.buffers,
            "cut_buffers": figures.cut,
            "busy": _seconds(total(figures.spans)),
            "exclusive": _seconds(figures.exclusive),
            "longest_gap": _seconds(figures.longest_gap),
            "starved": _seconds(figures.starved),
            "queue_peak_buffers": queue.peak_buffers if queue is not None else 0,
            "queue_peak_bytes": queue.peak_bytes if queue is not None else 0,
            "longest_wait": _seconds(queue.longest_wait) if queue is not None else 0.0,
            "waited_for_index": queue.waited_for if queue is not None else None,
            "waited": _seconds(total(queue.waits)) if queue is not None else 0.0,
            "channels": self._carriers(figures),
            "rate": _rate(figures.rate),
        }

    def _carriers(self, figures: DeviceFigures) -> list[int]:
        device = figures.device
        return [] if device is None else [c for c in device.by_channel() if c >= 0]


def _blocks(blocks: Sequence[BlockSendings]) -> list[Json]:
    """How often pages were sent."""
    return [
        {
            "name": text_of(block.name),
            "page_size": block.page_size,
            "pages_sent": block.pages,
            **block.report(),
            "heat": block.heat(block.end, HEAT_CELLS),
        }
        for block in blocks
    ]


def _fairness(index: float | None) -> float | None:
    return None if index is None else round(index, 6)


def _runs(runs: Runs) -> Json:
    again = runs.again
    return {
        "packets": runs.packets,
        "runs": runs.runs,
        "longest": runs.longest,
        "longest_on": None if runs.longest_on is None else known_number(runs.longest_on),
        "again": None if again is None else round(again, 6),
    }
