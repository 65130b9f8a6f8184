"""MF95x: measures are told from a threshold on, and are warnings where the user set it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from analyzer.analysis import analyze
from analyzer.checks.rule import RULES
from analyzer.checks.selection import USUAL, Selection
from analyzer.migration.scan import Scan
from analyzer.migration.switchover import switchover_of
from analyzer.synth import build
from tests.capture.files import pcap
from tests.checks.case import Case, edited, verify
from tests.checks.craft import Craft, Tiny, buffer, config, findings, fired
from tests.lossy import frames_of
from tests.shipped import capture

if TYPE_CHECKING:
    from collections.abc import Callable

OTHER = b"0000:00:03.0/vfio"
SECOND = 1_000_000_000
GUEST = {"blocks": {"pc.ram": 32 << 20}}


def scenario(**values: Any) -> Callable[[], bytes]:
    return lambda: build(values)


def paused(seconds: float) -> Callable[[], bytes]:
    """A stop behind SWITCHOVER_START."""

    def made() -> bytes:
        tiny = Tiny()
        capture = tiny.craft()
        at = next(i for i, f in enumerate(capture.frames) if tiny.main[5] in f.data)
        for frame in capture.frames[at + 3 :]:
            frame.time += int(seconds * SECOND)
        return capture.pcap()

    return made


def starved() -> bytes:
    """The last buffer of one device waits for many of another."""
    tiny = Tiny()
    tiny.multifd[0][-1:] = [buffer(i, bytes(90_000), idstr=OTHER) for i in range(10)]
    tiny.multifd[0] += [config(10, idstr=OTHER), config(2)]
    return tiny.pcap()


def idle_channel(tiny: Tiny) -> None:
    tiny.multifd[1][:] = [unit for unit in tiny.multifd[1] if len(unit) <= 1344]


def colo(slower: int) -> bytes:
    """A real pair whose checkpoints took some 88 ms each, and here so many times as long."""
    frames, link = frames_of(capture("11.1.3-colo-2ch"))
    begin = frames[0][0]
    slowed = [(begin + (at - begin) * slower, data, size) for at, data, size in frames]
    return pcap(slowed, link=link)


def limits(**values: float) -> Selection:
    return Selection(limits={name.replace("_", "-"): value for name, value in values.items()})


CASES = {
    "MF951": Case(
        scenario(policy="single", channels=4, device=[], ram=GUEST),
        scenario(channels=4, device=[], ram=GUEST),
    ),
    "MF952": Case(
        scenario(policy="single", channels=4, device=[{"size": 400_000, "buffer_size": 4096}]),
        scenario(channels=4, device=[{"size": 400_000, "buffer_size": 4096}]),
    ),
    "MF953": Case(starved),
    "MF954": Case(paused(0.5)),
    "MF955": Case(paused(0.5)),
    "MF956": Case(scenario(ram={"iterations": 40}), scenario(ram={"iterations": 3})),
    "MF957": Case(edited(idle_channel, device=False)),
    "MF958": Case(partial(colo, 2), partial(colo, 1)),
}


@pytest.mark.parametrize("rule", CASES)
def test_fires_and_stays_silent(rule: str) -> None:
    verify(rule, CASES[rule])


@pytest.mark.parametrize(
    ("rule", "selection"),
    [
        ("MF951", limits(fairness_ram=0.99)),
        ("MF952", limits(fairness_device=0.99)),
        ("MF953", limits(device_starved=0.01)),
        ("MF954", limits(downtime=0.1)),
        ("MF955", limits(switchover_gap=0.2)),
        ("MF956", limits(iterations=2)),
        ("MF956", limits(resent_pages=1)),
        ("MF957", limits(channels_unused=0)),
        ("MF958", limits(checkpoint_pause=0.12)),
    ],
)
def test_the_users_threshold_makes_a_warning(rule: str, selection: Selection) -> None:
    assert fired(CASES[rule].faulty(), selection=selection)[rule] == "warning"


def untimed(made: bytes) -> bytes:
    """The same frames without times."""
    frames, link = frames_of(made)
    return pcap([(0, data, size) for _, data, size in frames], link=link)


TIMES: dict[str, tuple[str, Callable[[], bytes]]] = {
    "MF953": ("device-starved", starved),
    "MF954": ("downtime", Tiny().pcap),
    "MF955": ("switchover-gap", Tiny().pcap),
    "MF958": ("checkpoint-pause", partial(colo, 1)),
    "MF909": ("tcp-zero-window", Tiny().pcap),
}


@pytest.mark.parametrize("rule", TIMES)
def test_a_time_that_cannot_be_measured_is_not_within_its_limit(rule: str) -> None:
    name, made = TIMES[rule]
    capture, longest = untimed(made()), 1.0 if rule == "MF953" else 60.0
    asked = Selection(limits={name: longest})
    (told,) = (found for found in findings(capture, selection=asked) if found.rule.id == rule)
    assert told.severity == "warning"
    assert told.message == (
        f"cannot tell whether {name} is within its limit: the frames carry no times"
    )
    assert rule not in fired(capture)
    assert rule not in fired(made(), selection=asked)


@pytest.mark.parametrize("rule", ["MF954", "MF955"])
def test_a_switchover_that_the_capture_lacks_is_not_within_its_limit(rule: str) -> None:
    name, _ = TIMES[rule]
    lacking, cancelled = Tiny().craft(), Tiny(return_path=False)
    ends = Tiny().main[5:8]  # SWITCHOVER_START and the first END sections
    lacking.frames = [f for f in lacking.frames if not any(end in f.data for end in ends)]
    del cancelled.main[6:]
    asked = Selection(limits={name: 60.0})
    (told,) = (f for f in findings(lacking.pcap(), selection=asked) if f.rule.id == rule)
    assert "the capture does not show the whole switchover" in told.message
    assert rule not in fired(cancelled.pcap(), selection=asked)


def test_every_threshold_has_a_rule() -> None:
    slugs = {rule.slug for rule in RULES.values()}
    assert set(USUAL) - {"resent-pages"} <= slugs


def test_generous_threshold_silences() -> None:
    assert "MF954" not in fired(paused(0.5)(), selection=limits(downtime=60))


def test_downtime_is_measured() -> None:
    (migration,) = Scan(paused(2.0)()).run().migrations
    switchover = switchover_of(migration)
    assert switchover is not None
    assert switchover.began_by == "SWITCHOVER_START"
    assert switchover.ended_by == "SHUT on the return path"
    assert 2.0 <= switchover.duration / SECOND < 2.1


def test_downtime_without_return_path_ends_with_the_last_byte() -> None:
    (migration,) = Scan(Tiny(return_path=False).pcap()).run().migrations
    switchover = switchover_of(migration)
    assert switchover is not None
    assert switchover.ended_by == "the last byte of the state"
    assert switchover.last == max(channel.flow.last.frame for channel in migration.channels)


def test_pause_is_measured_between_the_frames_around_it() -> None:
    (finding,) = [f for f in findings(paused(0.5)()) if f.rule.id == "MF955"]
    assert "501.0 ms" in finding.message


def test_the_longest_checkpoint_is_told() -> None:
    (finding,) = [f for f in findings(colo(2)) if f.rule.id == "MF958"]
    assert "of 3 paused both guests for 176." in finding.message
    assert "; 3 did so for more than 100.0 ms" in finding.message


def test_pauses_of_a_slow_capture_are_all_found() -> None:
    scan = Scan(Tiny().craft(Craft(step=50_000_000)).pcap()).run()
    assert len(scan.engine.pauses) == scan.engine.frames - 1
    assert {end - begin for begin, end, _ in scan.engine.pauses} == {50_000_000}
    assert [frame for _, _, frame in scan.engine.pauses] == list(range(2, scan.engine.frames + 1))


def test_a_downtime_is_told_with_its_limit() -> None:
    analysis = analyze(capture("10.0.13-vfio-3dev-4ch"), selection=limits(downtime=0.1))
    (told,) = [finding.message for finding in analysis.findings if finding.rule.id == "MF954"]
    ends = "from SWITCHOVER_START to the last byte of the state"
    assert told == f"downtime at least 198.1 ms (limit 100 ms), {ends}"
