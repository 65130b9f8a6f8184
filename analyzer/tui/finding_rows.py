"""Findings grouped by rule, as rows of a list."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analyzer.report.escape import terminal
from analyzer.tui.columns import Column
from analyzer.tui.palette import SEVERITY_GLYPHS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.style import Style

    from analyzer.checks.finding import Finding
    from analyzer.checks.rule import Rule
    from analyzer.tui.columns import Cell
    from analyzer.tui.palette import Palette

__all__ = ["FindingRows", "Group", "groups_of"]


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
        """What tells groups apart."""
        return self.rule.id, self.rank

    @property
    def count(self) -> int:
        """How many there are, those not listed one by one included."""
        return sum(1 + finding.repeats for _, finding in self.findings)


def groups_of(findings: list[Finding], migration: int | None) -> list[Group]:
    """The groups, the gravest first; ``migration`` leaves out those of others."""
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
    return sorted(groups.values(), key=lambda group: (-group.rank, group.rule.id))


class FindingRows:
    """Group lines, and the findings of the groups that are open."""

    columns: Sequence[Column] = (
        Column("", 4),
        Column("Rule", 6),
        Column("Name", 26, optional=1),
        Column("Count", 6, right=True),
        Column("Frame", 8, right=True),
        Column("Channel", 11, optional=2),
        Column("What", 40, grow=1),
    )

    def __init__(self, groups: list[Group], opened: set[tuple[str, int]]) -> None:
        self.lines: list[tuple[Group, tuple[int, Finding] | None]] = []
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
            summary = group.rule.paragraphs[0][1]
            cells: list[Cell] = [
                (f"{sign} {SEVERITY_GLYPHS[group.rank + 1]}", look),
                (group.rule.id, look),
                group.rule.slug,
                str(group.count),
                "",
                "",
                summary,
            ]
            return cells, palette.plain
        spot = entry[1].spot
        where = spot.channel.name if spot.channel is not None else ""
        cells = [
            (f"   {SEVERITY_GLYPHS[group.rank + 1]}", look),
            "",
            terminal(spot.device or ""),
            "",
            str(spot.frame) if spot.frame is not None else "",
            terminal(where),
            terminal(entry[1].message),
        ]
        return cells, palette.plain
