"""Clean scenarios: deterministic, decodable, and whole."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import pytest

from analyzer.analysis import analyze
from analyzer.synth import ScenarioError, build, override, synth


def test_same_bytes_every_time() -> None:
    assert build({}) == build({})


def test_seed_changes_the_bytes() -> None:
    assert build({}) != build({"seed": 2})


def test_sections_of_many_devices_have_ids_of_their_own() -> None:
    devices = [{"idstr": f"0000:00:{n:02x}.0/vfio", "size": 100} for n in range(32)]
    (main,) = [m.main_facts for m in analyze(build({"device": devices})).migrations]
    assert main is not None
    assert not main.anomalies
    assert len(main.sections) == 35


def test_writes_to_a_path_and_to_a_file_object(tmp_path: Path) -> None:
    out = BytesIO()
    size = synth({}, out)
    assert synth({}, tmp_path / "x.pcap") == size
    assert (tmp_path / "x.pcap").read_bytes() == out.getvalue() == build({})


@pytest.mark.parametrize(
    ("scenario", "key", "nearest"),
    [
        ({"chanels": 2}, "chanels", "channels"),
        ({"ram": {"page_sise": 4096}}, "ram.page_sise", "page_size"),
        ({"dialect": "upstrem"}, "dialect", "upstream"),
        ({"device": [{"idst": "x"}]}, "device[0].idst", "idstr"),
        ({"capture": {"format": "pcapn"}}, "capture.format", "pcapng"),
        ({"channels": "two"}, "channels", None),
        ({"channels": -1}, "channels", None),
        ({"network": {"source": "nowhere"}}, "network.source", None),
        ({"network": {"delay": float("inf")}}, "network.delay", None),
        ({"network": {"rate": float("nan")}}, "network.rate", None),
        ({"noise": 1}, "noise", None),
        ({"capture": "pcap"}, "capture", None),
        ({"ram": []}, "ram", None),
        ({"start": 1e300}, "start", None),
        ({"start": 9e8, "time": 4e9}, "time", None),
    ],
)
def test_errors_name_key_and_nearest(
    scenario: dict[str, object], key: str, nearest: str | None
) -> None:
    with pytest.raises(ScenarioError) as caught:
        build(scenario)
    assert caught.value.key == key
    assert caught.value.nearest == nearest


@pytest.mark.parametrize("assignment", ["seed.x=1", "channels.0=1", "device.7.size=1", "nothing"])
def test_overrides_of_what_is_not_there(assignment: str) -> None:
    with pytest.raises(ScenarioError):
        override({"seed": 1, "channels": 2}, [assignment])


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ({"kind": "packet-version", "version": -1}, "'version'"),
        ({"kind": "packet-num-start", "start": 1 << 64}, "'packet_num'"),
        ({"kind": "uuid-mismatch", "uuid": "x"}, "UUID"),
        ({"kind": "tcp-keep-alive", "garbage": 1 << 62}, "cannot be written"),
        ({"kind": "devstate-idstr-unterminated", "device": 7}, "nothing to apply to"),
    ],
)
def test_faults_that_no_packet_can_have(fault: dict[str, object], told: str) -> None:
    with pytest.raises(ScenarioError, match=told):
        build({"fault": [fault]})


@pytest.mark.parametrize(
    ("fault", "scenario"),
    [
        ({"kind": "devstate-unannounced"}, {"device": []}),
        ({"kind": "devstate-unannounced"}, {"compression": "zlib"}),
        ({"kind": "devstate-unannounced", "device": -1}, {}),
        ({"kind": "vfio-idx-swapped"}, {"device": [{"size": 100}]}),
    ],
)
def test_faults_for_which_there_is_no_state(
    fault: dict[str, object], scenario: dict[str, object]
) -> None:
    with pytest.raises(ScenarioError, match="nothing to apply to"):
        build({**scenario, "fault": [fault]})


@pytest.mark.parametrize(
    "kinds",
    [
        ("main-missing", "cancelled"),
        ("init-id-gap", "cancelled"),
        ("multifd-missing", "sync-mode-mixed"),
        ("ramblock-trailing", "offset-beyond-block"),
        ("ramblock-unknown", "offset-beyond-block"),
    ],
)
def test_a_fault_need_not_know_what_another_took_away(kinds: tuple[str, ...]) -> None:
    assert analyze(build({"fault": [{"kind": kind} for kind in kinds]})).migrations


def test_a_late_buffer_comes_before_its_channel_is_closed() -> None:
    fault = {"kind": "vfio-reordered", "distance": 99}
    analysis = analyze(build({"device": [{"size": 100}], "fault": [fault], "interleave": "packet"}))
    assert {"MF522", "MF523"} <= {finding.rule.id for finding in analysis.findings}
    assert all(finding.severity == "info" for finding in analysis.findings)


def test_an_override_leaves_the_scenario_it_changes_alone() -> None:
    base = {"ram": {"normal_pages": 1}, "device": [{"size": 1}]}
    out = override(base, ["ram.normal_pages=7", "device.0.size=9", "dialect=v1", "device.1.size=3"])
    assert out == {
        "ram": {"normal_pages": 7},
        "device": [{"size": 9}, {"size": 3}],
        "dialect": "v1",
    }
    assert base == {"ram": {"normal_pages": 1}, "device": [{"size": 1}]}
