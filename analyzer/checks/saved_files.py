"""The rules that apply to a saved migration: those that need nothing but its main stream."""

from __future__ import annotations

from analyzer.checks.checker import main_spots
from analyzer.checks.families import load
from analyzer.checks.finding import Finding
from analyzer.checks.rule import INFO
from analyzer.checks.selection import Selection

TYPE_CHECKING = False
if TYPE_CHECKING:
    from analyzer.migration.saved_file import SavedFile

__all__ = ["judge"]

UNREADABLE = "the file cannot be read to its end"


def judge(saved: SavedFile, selection: Selection | None = None) -> list[Finding]:
    """Everything found, the gravest first, then in the order of the file.

    The description is always held against the sections.
    """
    load()
    selection = selection or Selection()
    found = []
    last: dict[str, Finding] = {}
    for rule, spot in main_spots(saved.main, None, verify=True):
        if not selection.takes(rule):
            continue
        excuse = UNREADABLE if "E" in rule.holes and saved.damage is not None else ""
        severity = selection.severity.get(rule.id) or spot.severity or rule.severity
        finding = Finding(rule, spot, None, INFO if excuse else severity, excuse)
        found.append(finding)
        last[rule.slug] = finding
    kept = [anomaly.slug for anomaly in saved.main.anomalies]
    for slug, count in saved.main.anomalies.counts.items():
        if slug in last:
            last[slug].repeats = count - kept.count(slug)
    found.sort(key=lambda f: (-f.rank, f.spot.offset or 0, f.rule.id))
    return found
