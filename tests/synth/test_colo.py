"""COLO checkpoints behind a migration are those that the analysis expects."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from analyzer.analysis import analyze
from analyzer.checks.rule import INFO
from analyzer.migration.colo_handshake import handshakes_of
from analyzer.migration.outcome import outcome_of
from analyzer.synth import build
from analyzer.synth.scenario import ScenarioError


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"channels": 0},
        {"device": []},
        {"compression": "zlib"},
        {"ram": {"era": "7.2"}},
        {"ram": {"dirty_pages": 0}},
        {"close": "destination"},
    ],
    ids=str,
)
def test_every_checkpoint_is_whole_and_in_order(keys: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "colo.pcap"
    path.write_bytes(build({"checkpoints": 3, **keys}))
    analysis = analyze(path)
    assert [finding for finding in analysis.findings if finding.severity != INFO] == []
    (migration,) = analysis.migrations
    assert outcome_of(migration).name == "completed"
    found = handshakes_of(migration)
    assert len(found) == 3
    for handshake in found:
        parts = [name for name, _ in handshake.parts]
        assert parts == ["reply", "memory", "state", "load"]
        assert handshake.checkpoint.size == 49
    facts = migration.main_facts
    assert facts is not None
    assert facts.skipped == 0


def test_pages_of_a_checkpoint_are_sent_as_those_of_a_round(tmp_path: Path) -> None:
    pages = []
    for count in (0, 2):
        path = tmp_path / f"{count}.pcap"
        path.write_bytes(build({"checkpoints": count, "ram": {"dirty_pages": 7}}))
        (migration,) = analyze(path).migrations
        pages.append(sum(channel.normal_pages for channel in migration.multifd))
    assert pages[1] - pages[0] == 2 * 7


@pytest.mark.parametrize(
    "keys", [{"return_path": False}, {"sync": "final", "ram": {"era": "9.0"}}], ids=str
)
def test_what_no_sender_does_is_refused(keys: dict[str, Any]) -> None:
    with pytest.raises(ScenarioError, match="checkpoints: "):
        build({"checkpoints": 1, **keys})
