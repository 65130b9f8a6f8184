"""What a flaw of a capture could explain is never called an error: real captures made worse.

Frames are taken out of captures of migrations that went well, cut short, put out of order and
doubled, in the ways in which that happens to captures.  Whatever is missing, the migration did not
fail, and was not cancelled.
"""

from __future__ import annotations

import random

import pytest

from analyzer.analysis import analyze
from tests.altered import read, with_losses
from tests.capture.files import pcap
from tests.lossy import CONNECTIONS, LOSSES, Frames, complaints, frames_of, kept, without
from tests.shipped import NAMES, capture, truth
from tests.truth import FAULTY, WHOLE, runs

FLAWS = ("cut", "out of order", "twice")
TRIES = 2


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


def went_well(name: str) -> bool:
    """Whether it shows, by its truth file, a migration that completed, and lacks nothing."""
    if any(word in name for word in (*FAULTY, "truncated", "cancel", "failed", "tls")):
        return False
    ends = [run.get("query_migrate_source") or {} for run in runs(truth(name))]
    return all(end.get("status") in WHOLE for end in ends)


@pytest.mark.parametrize("name", [name for name in NAMES if went_well(name)])
def test_flaws_of_the_capture_are_no_errors(name: str) -> None:
    path = capture(name)
    assert not complaints(path)
    frames, link = frames_of(path)
    chance = random.Random(name)
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
