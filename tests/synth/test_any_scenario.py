"""Whatever a scenario says, the rules find nothing in its capture but its faults."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from analyzer.analysis import analyze
from analyzer.migration.outcome import outcome_of
from analyzer.synth import FAULTS, ScenarioError, build
from dissectors.dialects import DIALECTS, RAM_ERAS
from dissectors.multifd import LIKELY_PAGE_SIZES, Compression

if TYPE_CHECKING:
    from analyzer.synth.faults import FaultKind

COUNTS = st.sampled_from([0, 1, 2, 3, 4])
RAM = st.fixed_dictionaries(
    {
        "page_size": st.sampled_from(LIKELY_PAGE_SIZES),
        "normal_pages": st.sampled_from([-1, 0, 1, 5]),
        "dirty_pages": st.sampled_from([0, 1, 2, 8]),
        "iterations": st.integers(1, 4),
        "blocks": st.sampled_from(
            [{"pc.ram": 4 << 20, "pc.bios": 256 << 10}, {"b": 512 << 10}, {"r": 8 << 20}]
        ),
    },
    optional={
        "era": st.sampled_from(list(RAM_ERAS)),
        "zero_pages": st.sampled_from(["multifd", "legacy", "none"]),
    },
)
DEVICE = st.fixed_dictionaries(
    {
        "size": st.sampled_from([0, 1, 4096, 70_000]),
        "buffer_size": st.sampled_from([4096, 65536]),
        "short_reads": st.booleans(),
        "precopy": st.sampled_from([0, 48, 5000]),
        "transfer": st.booleans(),
    }
)
SCENARIOS = st.fixed_dictionaries(
    {
        "dialect": st.sampled_from(list(DIALECTS)),
        "channels": COUNTS,
        "device_channels": COUNTS,
        "compression": st.sampled_from(["none", *(method.name for method in Compression)]),
        "policy": st.sampled_from(["round-robin", "random", "skewed", "single"]),
        "interleave": st.sampled_from(["segment", "packet"]),
        "return_path": st.booleans(),
        "ram": RAM,
        "network": st.fixed_dictionaries({"mtu": st.sampled_from([576, 9000])}),
        "device": st.lists(DEVICE, max_size=2),
    },
    optional={
        "sync": st.sampled_from(["legacy", "round", "final"]),
        "close": st.sampled_from(["source", "destination"]),
        "switchover_ack": st.booleans(),
        "checkpoints": st.integers(0, 2),
    },
)
ORDER_OF_V2 = "MF308"
"""With a last SYNC the device state of v1 and v2 comes behind it: the flaw that v2 had."""


@settings(max_examples=80, suppress_health_check=[HealthCheck.filter_too_much])
@given(scenario=SCENARIOS)
def test_nothing_is_found_in_a_clean_one(scenario: dict[str, Any]) -> None:
    for number, device in enumerate(scenario["device"]):
        device["idstr"] = f"0000:00:{number + 2:02x}.0/vfio"
    try:
        data = build(scenario)
    except ScenarioError:
        assume(False)
    analysis = analyze(data)
    found = {finding.rule.id for finding in analysis.findings if finding.severity != "info"}
    flawed = scenario.get("sync") == "final" and scenario["dialect"] in ("rfc0", "v1")
    assert found <= ({ORDER_OF_V2} if flawed else set())
    (migration,) = analysis.migrations
    assert outcome_of(migration).name == "completed"


@settings(max_examples=60, suppress_health_check=[HealthCheck.filter_too_much])
@given(scenario=SCENARIOS, kinds=st.lists(st.sampled_from(FAULTS), min_size=1, max_size=3))
def test_faults_add_up_or_are_refused(scenario: dict[str, Any], kinds: list[FaultKind]) -> None:
    for number, device in enumerate(scenario["device"]):
        device["idstr"] = f"0000:00:{number + 2:02x}.0/vfio"
    scenario["fault"] = [{"kind": kind.kind} for kind in kinds]
    try:
        data = build(scenario)
    except ScenarioError:
        assume(False)
    analysis = analyze(data)
    last = analysis.scan.engine.frames
    places = [finding.spot.frame for finding in analysis.findings if finding.spot.frame is not None]
    assert all(0 < frame <= last for frame in places)


@pytest.mark.parametrize(
    ("scenario", "key"),
    [
        ({"switchover_ack": True, "return_path": False}, "switchover_ack"),
        ({"ram": {"era": "8.2", "zero_pages": "multifd"}}, "ram.zero_pages"),
        ({"sync": "final"}, "sync"),
        ({"sync": "final", "dialect": "v3", "device": []}, "sync"),
        ({"sync": "final", "ram": {"era": "8.2"}}, "sync"),
    ],
)
def test_what_no_sender_does_is_refused(scenario: dict[str, Any], key: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        build(scenario)
    assert caught.value.key == key


def test_no_page_is_sent_twice_in_the_only_round() -> None:
    scenario = {"channels": 4, "ram": {"iterations": 1, "dirty_pages": 16, "normal_pages": 64}}
    (migration,) = analyze(build(scenario)).migrations
    sent = sum(channel.normal_pages + channel.zero_pages for channel in migration.multifd)
    assert sent == (4 * 1024 + 256) // 4
