"""From a scenario to a capture: script, faults, wire, frames, file."""

from __future__ import annotations

import heapq
import struct
from io import BytesIO
from operator import attrgetter
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from analyzer.synth import faults_channel, faults_device, faults_ram, faults_tcp
from analyzer.synth.capture_file import write
from analyzer.synth.faults import Context, kinds, resolve
from analyzer.synth.framing import Framer
from analyzer.synth.noise import strewn
from analyzer.synth.pattern import Pattern
from analyzer.synth.scenario import ScenarioError, load, parse
from analyzer.synth.script import Script
from analyzer.synth.wire import Wire
from dissectors.multifd import PACKET_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from analyzer.synth.capture_file import Writable
    from analyzer.synth.faults import Fault
    from analyzer.synth.framing import Frame
    from analyzer.synth.scenario import Migration, Scenario
    from analyzer.synth.wire import Segment

__all__ = ["FAULTS", "build", "synth"]

NS = 1_000_000_000
UNWRITABLE = (ValueError, OverflowError, MemoryError, struct.error)
"""The errors that packets raise for numbers that their fields cannot hold, which only faults
set.
"""
FAMILIES = (faults_channel, faults_ram, faults_device, faults_tcp)
FAULTS = kinds()
"""Every kind of fault, with its rules, meaning, keys and an example scenario."""


def build(scenario: Mapping[str, Any]) -> bytes:
    """The capture file that a scenario describes; raises :class:`ScenarioError`."""
    out = BytesIO()
    synth(scenario, out)
    return out.getvalue()


def synth(scenario: Mapping[str, Any] | str | Path, out: Writable | str | Path) -> int:
    """Write the capture that a scenario (a table, or a TOML file's path) describes.

    ``out`` is a path or something with ``write``.  Returns the number of bytes written; memory use
    does not depend on it.  Raises :class:`ScenarioError` before anything is written for an invalid
    key, while writing for a fault with values that a field cannot hold, and at the end for a fault
    that found nothing to apply to; and OSError.
    """
    values = load(scenario) if isinstance(scenario, str | Path) else scenario
    parsed = parse(values)
    runs = [Run(parsed, number) for number in range(len(parsed.migrations))]
    try:
        if isinstance(out, str | Path):
            with Path(out).open("wb") as file:
                return write(frames(parsed, runs), parsed.capture, file)
        return write(frames(parsed, runs), parsed.capture, out)
    except UNWRITABLE as error:
        if not any(run.faults for run in runs):
            raise
        reason = str(error.__cause__ or error).partition("\n")[0] or type(error).__name__
        raise ScenarioError("fault", f"needs a value that cannot be written: {reason}") from error


def frames(scenario: Scenario, runs: list[Run]) -> Iterator[Frame]:
    """All frames of a capture, in order of time."""
    framer = Framer(scenario.capture)
    chains: list[list[Run]] = []
    for run in runs:
        if run.migration.after and chains:
            chains[-1].append(run)
        else:
            chains.append([run])
    streams = [chained(chain, int(scenario.time * NS)) for chain in chains]
    merged = streams[0] if len(streams) == 1 else heapq.merge(*streams, key=attrgetter("time"))
    made = (frame for segment in merged for frame in framer.frames(segment))
    network = scenario.migrations[0].network
    return strewn(made, scenario.noise, scenario.capture, network)


def chained(chain: list[Run], start: int) -> Iterator[Segment]:
    """The segments of consecutive migrations."""
    now = start
    for run in chain:
        last = now
        for segment in run.segments(now):
            last = max(last, segment.time)
            yield segment
        now = last + 1000


class Run:
    """One migration with its faults, ready to be sent."""

    def __init__(self, scenario: Scenario, number: int) -> None:
        self.migration: Migration = scenario.migrations[number]
        self.seed = scenario.seed + number
        self.faults = self._faults(number)

    def _faults(self, number: int) -> list[Fault]:
        where = f"migration[{number}]." if number else ""
        return [
            resolve(spec, f"{where}fault[{place}]")
            for place, spec in enumerate(self.migration.fault)
        ]

    def segments(self, now: int) -> Iterator[Segment]:
        """The segments that the capture shows, beginning ``start`` seconds after ``now``."""
        migration = self.migration
        sizes = [
            size for device in migration.device for size in (device.buffer_size, device.precopy)
        ]
        pattern = Pattern(self.seed, migration.ram.payload, max(PACKET_BYTES, *sizes, 0))
        script = Script(migration, pattern, Random(self.seed))
        wire = Wire(migration, Random(self.seed + 1), now + int(migration.start * NS))
        context = Context(migration, script, Random(self.seed + 2))
        units = script.units()
        for fault in self.faults:
            if fault.kind.stage == "units":
                units = fault.applied(units, context)
        segments = wire.segments(units)
        for fault in self.faults:
            if fault.kind.stage == "segments":
                segments = fault.applied(segments, context)
        return segments
