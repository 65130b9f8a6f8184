"""What a flaw of a capture could explain is never called an error: real captures made worse.

Frames are taken out of captures of migrations that went well, cut short, put out of order and
doubled, in the ways in which that happens to captures.  Whatever is missing, the migration did not
fail, and was not cancelled.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from analyzer.analysis import analyze
from analyzer.capture.file import CaptureFile
from analyzer.capture.frames import SLACK
from analyzer.capture.link import decode
from analyzer.capture.source import open_source
from analyzer.migration.outcome import outcome_of
from analyzer.tcp.flow import Connection
from analyzer.tcp.requests import Place
from tests.altered import read, with_losses
from tests.capture.files import pcap
from tests.shipped import FILES, capture, stem, truth
from tests.truth import FAULTY, WHOLE, runs

if TYPE_CHECKING:
    from pathlib import Path

    from analyzer.migration.settings import Settings

Frames = list[tuple[int, bytes, int]]

LOSSES = ("one", "few", "burst", "burst near the end", "beginning", "end")
FLAWS = ("cut", "out of order", "twice")
TRIES = 4
CONNECTIONS = ("a connection", "what is sent on a connection", "all answers")
TELLS = ("MF90", "MF107", "MF111", "MF229")
"""Rules about what the capture lacks: bytes, or whole channels."""


def frames_of(path: Path) -> tuple[Frames, int]:
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
    keys = []
    for _, data, original in frames:
        segment = decode(bytearray(data) + bytes(SLACK), 0, len(data), original, link)
        keys.append(None if isinstance(segment, str) else segment.key)
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


def flawed(flaw: str, frames: Frames, chance: random.Random) -> Frames:
    """All frames, but not as they were."""
    made = list(frames)
    if flaw == "cut":
        size = chance.choice([60, 96, 200, 256, 400, 1000])
        return [(time, data[:size], original) for time, data, original in made]
    if flaw == "twice":
        return [frame for frame in made for _ in range(1 + (chance.random() < 0.1))]
    for first in range(0, len(made) - 2, 7):  # times stay in order
        second = first + chance.randrange(1, 3)
        one, two = made[first], made[second]
        made[first], made[second] = (one[0], *two[1:]), (two[0], *one[1:])
    return made


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


def went_well(path: Path) -> bool:
    """Whether it shows, by its truth file, a migration that completed, and lacks nothing."""
    if any(word in path.name for word in (*FAULTY, "truncated", "cancel", "failed", "tls")):
        return False
    ends = [run.get("query_migrate_source") or {} for run in runs(truth(stem(path)))]
    return all(end.get("status") in WHOLE for end in ends)


@pytest.mark.parametrize("path", [path for path in FILES if went_well(path)], ids=stem)
def test_flaws_of_the_capture_are_no_errors(path: Path) -> None:
    assert not complaints(path)
    frames, link = frames_of(path)
    chance = random.Random(stem(path))
    for loss in LOSSES:
        for _ in range(TRIES):
            left = kept(loss, len(frames), chance)
            told = complaints(pcap([frames[number] for number in left], link=link))
            lost = sorted(set(range(len(frames))) - set(left))
            assert not told, f"{loss}, lost {lost[:60]}"
    for what in CONNECTIONS:
        assert not complaints(pcap(without(what, frames, link, chance), link=link)), what
    for flaw in FLAWS:
        assert not complaints(pcap(flawed(flaw, frames, chance), link=link)), flaw


def test_a_device_is_not_counted_again_by_a_section_that_lost_its_name() -> None:
    path = capture("10.0.13-vfio-many-small-buffers-4ch")
    (migration,) = analyze(with_losses(read(path), 0.4, random.Random(3)).pcap()).migrations
    assert migration.main_facts is not None
    assert any(name.startswith(b"section ") for name, _ in migration.main_facts.devices)
    assert len(migration.awaited) == 2
    assert not migration.on_main
