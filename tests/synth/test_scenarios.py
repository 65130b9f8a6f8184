"""The scenarios that are shipped build, and the page about them tells of every key and fault."""

from __future__ import annotations

import tracemalloc
from dataclasses import fields
from pathlib import Path

import pytest

from analyzer.analysis import analyze
from analyzer.synth import FAULTS, FaultKind, build, load, override, synth
from analyzer.synth.scenario import Capture, Device, Migration, Network, Noise, Ram, ScenarioError

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/synth.md").read_text("utf-8")
SHIPPED = sorted((ROOT / "captures/scenarios").glob("*.toml"))


class Count:
    """Counts what is written to it."""

    def __init__(self) -> None:
        self.size = 0

    def write(self, data: bytes, /) -> None:
        self.size += len(data)


def test_some_are_shipped() -> None:
    names = {path.stem for path in SHIPPED}
    assert {"clean", "two-devices", "lost-buffer", "v1-dialect", "benchmark"} <= names


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_scenario_builds(path: Path) -> None:
    scenario = load(path)
    if path.stem == "benchmark":
        small = ["ram.blocks.ram=2 MiB", "device.0.size=1 MiB", "device.1.size=4096"]
        scenario = override(scenario, small)
    assert synth(scenario, Count()) > 100_000


@pytest.mark.parametrize("size", ["8 KiB", "8KiB", "8K", "0.0078125 MiB", 8192])
def test_a_size_is_written_as_in_settings_and_filters(size: object) -> None:
    assert build({"device": [{"size": size}]}) == build({"device": [{"size": 8192}]})


@pytest.mark.parametrize("size", ["8 kilos", "0.3 KiB", "many", "1 KiB 2"])
def test_what_is_no_whole_size_is_refused(size: str) -> None:
    with pytest.raises(ScenarioError, match="is not a whole number"):
        build({"device": [{"size": size}]})


def test_memory_does_not_grow_with_the_capture() -> None:
    scenario = override(load(ROOT / "captures/scenarios/benchmark.toml"), ["network.mtu=65535"])
    out = Count()
    tracemalloc.start()
    try:
        synth(scenario, out)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert out.size > 250 << 20
    assert peak < 40 << 20


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.kind)
def test_page_tells_of_every_fault(fault: FaultKind) -> None:
    row = f"| `{fault.kind}` | {', '.join(fault.rules) or '-'} | {fault.meaning} |"
    assert row in PAGE
    line = next(line for line in PAGE.splitlines() if line.startswith(row))
    assert all(f"`{name}` = " in line for name in fault.keys)


@pytest.mark.parametrize("cls", [Capture, Device, Migration, Network, Noise, Ram])
def test_page_tells_of_every_key(cls: type[Migration]) -> None:
    for item in fields(cls):
        assert f"`{item.name}`" in PAGE or f"`[{item.name}]`" in PAGE or f"[[{item.name}]]" in PAGE


@pytest.mark.parametrize("config", ["pci", "pcie"])
def test_vectors_of_msi_x_are_no_fault(config: str) -> None:
    """The config space says that it has a list of capabilities."""
    scenario = {"device": [{"size": 5000, "msix": 65, "config": config}]}
    assert {finding.severity for finding in analyze(build(scenario)).findings} <= {"info"}


def test_a_shipped_scenario_without_faults_is_clean() -> None:
    found = analyze(build(load(ROOT / "captures/scenarios/two-devices.toml"))).findings
    assert {finding.severity for finding in found} <= {"info"}
