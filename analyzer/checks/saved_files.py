"""Applies the rules to a saved migration: those that only need its main stream."""

from __future__ import annotations

from analyzer.checks.checker import main_spots
from analyzer.checks.expected import not_saved
from analyzer.checks.families import load
from analyzer.checks.finding import Finding
from analyzer.checks.main_description import description_anomalies
from analyzer.checks.rule import BY_SLUG, INFO
from analyzer.checks.selection import Selection
from analyzer.checks.tally import Tally

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from analyzer.checks.payload import PayloadRules
    from analyzer.checks.rule import Rule, Spot
    from analyzer.migration.consumers import PageCollector
    from analyzer.migration.migration import Migration
    from analyzer.migration.saved_file import SavedFile

__all__ = ["SavedFileChecker"]

UNREADABLE = "the file cannot be read to its end"


class SavedFileChecker:
    """Checks one saved migration: pass ``page_collector`` to its reader, then call
    :meth:`findings`.

    The description is always compared with the sections.
    """

    def __init__(self, selection: Selection | None = None) -> None:
        load()
        self.selection = selection or Selection()
        self.page_collector: PageCollector | None = None
        self._payload: PayloadRules | None = None
        if self.selection.deep:
            from analyzer.checks.payload import PayloadRules
            from analyzer.migration.page_payloads import PagePayloads

            self._payload = PayloadRules(_no_packets)
            self.page_collector = PagePayloads(self._payload, self._payload.records)

    def findings(self, saved: SavedFile) -> list[Finding]:
        """All findings, the most severe first, then in file order."""

        def judge(rule: Rule, spot: Spot, _migration: Migration | None) -> Finding:
            excuse = UNREADABLE if "E" in rule.holes and saved.damage is not None else ""
            severity = self.selection.severity.get(rule.id) or spot.severity or rule.severity
            return Finding(rule, spot, None, INFO if excuse else severity, excuse)

        tally = Tally()
        for rule, spot in self._spots(saved):
            if self.selection.takes(rule):
                tally.add(rule, spot, None)
        # What is about the whole file comes before what is about a place in it.
        return sorted(tally.findings(judge), key=lambda f: (-f.rank, f.spot.offset or 0, f.rule.id))

    def _spots(self, saved: SavedFile) -> Iterator[tuple[Rule, Spot]]:
        yield from main_spots(saved.main, None, description_anomalies(saved.main))
        for spot in not_saved(saved.main):
            yield BY_SLUG["not-completed"], spot
        for slug, spot, _ in self._payload.ends() if self._payload is not None else ():
            spot.channel = None
            yield BY_SLUG[slug], spot


def _no_packets(_slug: str, _spot: Spot, _migration: Migration) -> None:
    """Does nothing: a saved migration has no multifd packets."""
