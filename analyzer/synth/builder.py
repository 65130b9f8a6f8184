"""From a scenario to a capture: script, faults, wire, frames, file."""

from __future__ import annotations

import heapq
from io import BytesIO
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from analyzer.synth.capture_file import write
from analyzer.synth.framing import Framer
from analyzer.synth.pattern import Pattern
from analyzer.synth.scenario import load, parse
from analyzer.synth.script import Script
from analyzer.synth.wire import Wire
from dissectors.multifd import PACKET_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from analyzer.synth.capture_file import Writable
    from analyzer.synth.framing import Frame
    from analyzer.synth.scenario import Migration, Scenario
    from analyzer.synth.wire import Segment

__all__ = ["build", "synth"]

NS = 1_000_000_000


def build(scenario: Mapping[str, Any]) -> bytes:
    """The capture file that a scenario describes; raises :class:`ScenarioError`."""
    out = BytesIO()
    synth(scenario, out)
    return out.getvalue()


def synth(scenario: Mapping[str, Any] | str | Path, out: Writable | str | Path) -> int:
    """Write the capture that a scenario (a table, or a TOML file's path) describes.

    ``out`` is a path or something with ``write``.  Gives the number of bytes written; memory does
    not grow with it.  Raises :class:`ScenarioError` before anything is written, and OSError.
    """
    values = load(scenario) if isinstance(scenario, str | Path) else scenario
    parsed = parse(values)
    if isinstance(out, str | Path):
        with Path(out).open("wb") as file:
            return write(frames(parsed), parsed.capture, file)
    return write(frames(parsed), parsed.capture, out)


def frames(scenario: Scenario) -> Iterator[Frame]:
    """All frames of a capture, in order of time."""
    framer = Framer(scenario.capture)
    streams = [
        segments(migration, scenario, number)
        for number, migration in enumerate(scenario.migrations)
    ]
    merged = streams[0] if len(streams) == 1 else heapq.merge(*streams, key=lambda seg: seg.time)
    return map(framer.frame, merged)


def segments(migration: Migration, scenario: Scenario, number: int) -> Iterator[Segment]:
    """The segments of one migration."""
    seed = scenario.seed + number
    longest = max([PACKET_BYTES, *(device.buffer_size for device in migration.device)])
    longest = max([longest, *(device.precopy for device in migration.device)])
    pattern = Pattern(seed, migration.ram.payload, longest)
    script = Script(migration, pattern, Random(seed))
    start = int(scenario.time * NS) + int(migration.start * NS)
    wire = Wire(migration, Random(seed + 1), start)
    return wire.segments(script.units())
