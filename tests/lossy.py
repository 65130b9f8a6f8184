"""Captures made worse: frames taken out, whole connections left out, and what is complained of."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from analyzer.analysis import analyze
from analyzer.capture.file import CaptureFile
from analyzer.capture.frames import SLACK
from analyzer.capture.segment import decode
from analyzer.capture.source import open_source
from analyzer.migration.outcome import outcome_of
from analyzer.tcp.flow import Connection
from analyzer.tcp.requests import Place

if TYPE_CHECKING:
    from pathlib import Path

    from analyzer.migration.settings import Settings

Frames = list[tuple[int, bytes, int]]
LOSSES = ("one", "few", "burst", "burst near the end", "beginning", "end")
CONNECTIONS = ("a connection", "what is sent on a connection", "all answers")
TELLS = ("MF90", "MF107", "MF111", "MF229")
"""Rules about what the capture lacks: bytes, or whole channels."""


def frames_of(path: Path | bytes) -> tuple[Frames, int]:
    """All frames as (ns, bytes, original length), and their link type."""
    frames: Frames = []
    link = 1
    for batch in CaptureFile(open_source(path)).batches():
        link = batch.interface.link_type
        for start, stop in zip(batch.starts, batch.stops, strict=True):
            first, second, _, original = batch.record(batch.buffer, start - 16)
            time = batch.interface.clock(first, second)
            frames.append((time, bytes(batch.buffer[start:stop]), original))
    return frames, link


def key_of(frame: tuple[int, bytes, int], link: int) -> bytes | None:
    """The direction that a frame belongs to."""
    _, data, original = frame
    segment = decode(bytearray(data) + bytes(SLACK), 0, len(data), original, link)
    return None if isinstance(segment, str) else segment.key


def kept(loss: str, count: int, chance: random.Random) -> list[int]:
    """Which of ``count`` frames are left."""
    few = min(60, count)
    first, size = chance.randrange(count), chance.randrange(1, few)
    if loss == "one":
        gone = {first}
    elif loss == "few":
        gone = set(chance.sample(range(count), chance.randrange(1, min(12, count))))
    elif loss == "burst":
        gone = set(range(first, first + size))
    elif loss == "burst near the end":
        first = count - chance.randrange(1, few)
        gone = set(range(first, first + chance.randrange(1, few)))
    elif loss == "beginning":
        gone = set(range(size))
    else:
        gone = set(range(count - size, count))
    return [number for number in range(count) if number not in gone]


def without(what: str, frames: Frames, link: int, chance: random.Random) -> Frames:
    """Frames of all but some connections or directions."""
    keys = [key_of(frame, link) for frame in frames]
    known = {key for key in keys if key is not None}
    ports = [key[-2:] for key in known]
    busiest = max(ports, key=ports.count)  # the destination's: most connections go there
    chosen = chance.choice(sorted(key for key in known if key[-2:] == busiest))
    if what == "all answers":
        gone = {key for key in known if key[-2:] != busiest}
    else:
        gone = {chosen}
        if what == "a connection":
            gone |= {flow.key for flow in Connection(0, chosen, Place(0, 0, 0)).flows}
    return [frame for frame, key in zip(frames, keys, strict=True) if key not in gone]


def complaints(data: bytes | Path, settings: Settings | None = None) -> list[str]:
    """What is said against the migration, not against the capture."""
    analysis = analyze(data, settings)
    found = [
        f"{finding.rule.id} {finding.severity}: {finding.message}"
        for finding in analysis.findings
        if finding.severity != "info" and not finding.rule.id.startswith(TELLS)
    ]
    outcomes = map(outcome_of, analysis.migrations)
    return found + [
        f"{o.name}: {o.evidence}" for o in outcomes if o.name in ("failed", "cancelled")
    ]
