"""Findings grouped by rule, as rows of a list."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analyzer.checks.rule import SEVERITIES
from analyzer.report.escape import terminal
from analyzer.tui.columns import Column
from analyzer.tui.palette import SEVERITY_GLYPHS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TypeAlias

    from rich.style import Style

    from analyzer.checks.finding import Finding
    from analyzer.checks.rule import Rule
    from analyzer.tui.columns import Cell
    from analyzer.tui.palette import Palette

    Line: TypeAlias = "tuple[Group, tuple[int, Finding] | None]"

__all__ = ["FindingRows", "Group", "groups_of"]

NAME_MAX = 26
"""The most cells that names of rules and devices take from what was found."""


class Group:
    """All findings of one rule with one severity; ``findings`` are (position in the document's
    list, finding).
    """

    __slots__ = ("findings", "rank", "rule")

    def __init__(self, rule: Rule, rank: int) -> None:
        self.rule = rule
        self.rank = rank
        self.findings: list[tuple[int, Finding]] = []

    @property
    def key(self) -> tuple[str, int]:
        """The key that identifies the group."""
        return self.rule.id, self.rank

    @property
    def count(self) -> int:
        """The number of findings, including repetitions that are not listed one by one."""
        return sum(1 + finding.repeats for _, finding in self.findings)

    @property
    def order(self) -> tuple[int, int]:
        """Sort key: gravest first; of mere information, rules that are graver by default first.
        Otherwise groups stay in the order of their first findings, as in reports, whose verdict
        names the first.
        """
        return -self.rank, 0 if self.rank else -SEVERITIES.index(self.rule.severity)


def groups_of(findings: list[Finding], migration: int | None) -> list[Group]:
    """The groups, gravest first; with ``migration`` without findings about other migrations."""
    groups: dict[tuple[str, int], Group] = {}
    for at, finding in enumerate(findings):
        owner = finding.migration
        if migration is not None and owner is not None and owner.number != migration:
            continue
        key = finding.rule.id, finding.rank
        group = groups.get(key)
        if group is None:
            group = groups[key] = Group(finding.rule, finding.rank)
        group.findings.append((at, finding))
    return sorted(groups.values(), key=lambda group: group.order)


class FindingRows:
    """A line per group, followed by a line per finding if the group is open.  The line of a closed
    group with a single finding shows that finding.
    """

    def __init__(
        self, groups: list[Group], opened: set[tuple[str, int]], several: bool = False
    ) -> None:
        """``several`` adds a column with the migration's number."""
        self._several = several
        migration = (Column("Mig", 3, right=True),) if several else ()
        spots = [finding.spot for group in groups for _, finding in group.findings]
        names = [group.rule.slug for group in groups]
        names += [terminal(spot.device or "") for spot in spots]
        channels = any(spot.channel is not None for spot in spots)
        self.columns: Sequence[Column] = (
            Column("", 4),
            Column("Rule", 6),
            *migration,
            Column("Name", min(max(map(len, names), default=0), NAME_MAX), optional=1),
            Column("Count", 6, right=True),
            Column("Frame", 8, right=True),
            Column("Channel", 11, optional=2, filled=channels),
            Column("What", 34, grow=1),
        )
        self.lines: list[Line] = []
        for group in groups:
            self.lines.append((group, None))
            if group.key in opened:
                self.lines += [(group, entry) for entry in group.findings]
        self.opened = opened

    def __len__(self) -> int:
        return len(self.lines)

    def row(self, position: int, palette: Palette) -> tuple[Sequence[Cell], Style]:
        """A group, or a finding."""
        group, entry = self.lines[position]
        look = palette.severity(group.rank + 1)
        if entry is None:
            sign = "▾" if group.key in self.opened else "▸"
            alone = group.count == 1 and group.key not in self.opened
            migration, *place = self._place(group.findings[0][1] if alone else None)
            cells: list[Cell] = [
                (f"{sign} {SEVERITY_GLYPHS[group.rank + 1]}", look),
                (group.rule.id, look),
                *([migration] if self._several else []),
                group.rule.slug,
                str(group.count),
                *place[:-1],
                place[-1] or group.rule.paragraphs[0][1],
            ]
            return cells, palette.plain
        migration, *place = self._place(entry[1])
        cells = [
            (f"   {SEVERITY_GLYPHS[group.rank + 1]}", look),
            "",
            *([migration] if self._several else []),
            terminal(entry[1].spot.device or ""),
            "",
            *place,
        ]
        return cells, palette.plain

    @staticmethod
    def _place(finding: Finding | None) -> list[str]:
        """A finding's migration, frame, channel and message; empty strings without a finding."""
        if finding is None:
            return [""] * 4
        spot, migration = finding.spot, finding.migration
        return [
            str(migration.number) if migration is not None else "",
            str(spot.frame) if spot.frame is not None else "",
            terminal(spot.channel.name if spot.channel is not None else ""),
            terminal(finding.message),
        ]
