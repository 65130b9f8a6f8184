from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from analyzer.report.fingerprint import fingerprints

FINDING: dict[str, Any] = {
    "rule": "MF501", "name": "index-missing", "severity": "error", "message": "index 3 is missing",
    "migration": 0, "frame": 17, "channel": 1, "tcp_stream": 2, "offset": 4096,
    "device": "0000:00:02.0/vfio#0", "index": 3, "repeats": 0,
}  # fmt: skip
TOLD_APART = ("rule", "migration", "channel", "device", "index")


def of(changes: dict[str, object] | None = None, capture: str = "a.pcap") -> str:
    return fingerprints([{**FINDING, **(changes or {})}], capture)[0]


def test_what_changes_from_run_to_run_does_not_count() -> None:
    moved = {"frame": 99, "offset": 1, "tcp_stream": 7, "message": "other", "severity": "info"}
    assert of({**moved, "repeats": 4}) == of()


def test_it_is_the_same_in_every_version() -> None:
    """Baselines of other people are compared with it: the value must never change."""
    assert of() == "bd5e74470f7ce1c79397da7c9eb11430"


def test_where_it_is_counts() -> None:
    marks = {of(), of(capture="b.pcap"), *(of({name: None}) for name in TOLD_APART)}
    assert len(marks) == 2 + len(TOLD_APART)


@given(st.lists(st.sampled_from(("MF501", "MF502", "MF503")), max_size=8), st.text(max_size=5))
def test_no_two_are_the_same_and_others_do_not_disturb(rules: list[str], name: str) -> None:
    findings = [{**FINDING, "rule": rule} for rule in rules]
    marks = fingerprints(findings, name)
    assert len(set(marks)) == len(findings)
    alone = fingerprints([f for f in findings if f["rule"] == "MF501"], name)
    assert alone == [mark for mark, rule in zip(marks, rules, strict=True) if rule == "MF501"]
