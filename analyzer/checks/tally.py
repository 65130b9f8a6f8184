"""What rules found: the first violations of each kind are listed, the others counted."""

from __future__ import annotations

from math import inf

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self, TypeAlias

    from analyzer.checks.finding import Finding
    from analyzer.checks.rule import Rule, Spot
    from analyzer.migration.migration import Migration

    Group: TypeAlias = tuple[str, int, int, str | None]
    """Findings that are counted together: id of the rule, migration, stream, device."""
    Judge: TypeAlias = Callable[[Rule, Spot, Migration | None], Finding]

__all__ = ["Tally"]

LISTED = 50
"""The maximum of findings of one rule on one channel and device that are listed individually."""
LISTED_IN_ALL = 1 << 17
"""As many findings as this are listed of all, some 500 bytes each; beyond them those of one rule on
one channel are counted together, whatever the device, and only the first is listed.
"""


class Tally:
    """Takes violations as they are found; :meth:`findings` judges them."""

    __slots__ = ("_counts", "_spots")

    def __init__(self) -> None:
        self._spots: list[tuple[Rule, Spot, Migration | None]] = []
        self._counts: dict[Group, int] = {}

    def copy(self) -> Self:
        """One that goes on from here on its own."""
        other = type(self)()
        other._spots, other._counts = list(self._spots), dict(self._counts)
        return other

    def add(self, rule: Rule, spot: Spot, migration: Migration | None) -> None:
        """List a violation, or just count it."""
        key, most = _group(rule, spot, migration), LISTED
        if len(self._spots) >= LISTED_IN_ALL:
            key, most = self._counted_in(key), 1
        count = self._counts.get(key, 0)
        self._counts[key] = count + 1 + spot.more
        if count < most:
            self._spots.append((rule, spot, migration))

    def _counted_in(self, group: Group) -> Group:
        """The group itself or, if nothing was listed of it in time, that of all devices."""
        return group if group in self._counts else (*group[:3], None)

    def findings(self, judge: Judge, only: Migration | None = None) -> list[Finding]:
        """The findings that ``judge`` makes of the violations, or of those of the migration
        ``only``: the most severe first, then in capture order.
        """
        found: list[Finding] = []
        listed: dict[Group, list[Finding]] = {}
        for rule, spot, migration in self._spots:
            if only is None or migration is only:
                finding = judge(rule, spot, migration)
                found.append(finding)
                key = self._counted_in(_group(rule, spot, migration))
                listed.setdefault(key, []).append(finding)
        for key, findings in listed.items():
            findings[-1].repeats = self._counts[key] - len(findings)
        found.sort(key=_order)
        return found


def _group(rule: Rule, spot: Spot, migration: Migration | None) -> Group:
    """Which findings a finding is counted with."""
    number = migration.number if migration is not None else -1
    stream = spot.channel.stream if spot.channel is not None else -1
    return rule.id, number, stream, spot.device


def _order(finding: Finding) -> tuple[int, int, float, str]:
    """The most severe first, then in capture order: of those in one frame, the first in its
    stream.
    """
    spot = finding.spot
    offset = inf if spot.offset is None else spot.offset
    return -finding.rank, spot.frame or 0, offset, finding.rule.id
