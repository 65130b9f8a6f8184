"""A finding: a violation of a rule with its severity."""

from __future__ import annotations

from analyzer.checks.rule import SEVERITIES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from analyzer.checks.rule import Rule, Spot
    from analyzer.migration.migration import Migration

__all__ = ["FORGIVEN", "Finding"]

FORGIVEN = {
    "failed": "the migration failed",
    "cancelled": "the migration was cancelled",
    "incomplete": "the migration is incomplete",
    "completed": "the migration completed",
}
"""The excuse, by outcome, of findings that the outcome explains."""


class Finding:
    """A rule that fired: its severity, where, and how often.

    ``excuse`` says why it is only ``info`` although the rule's severity is higher: a hole that
    could explain it, or a cancelled migration.  ``repeats`` counts further places of the same kind
    that are not listed individually.
    """

    __slots__ = ("excuse", "migration", "repeats", "rule", "severity", "spot")

    def __init__(
        self, rule: Rule, spot: Spot, migration: Migration | None, severity: str, excuse: str
    ) -> None:
        self.rule = rule
        self.spot = spot
        self.migration = migration
        self.severity = severity
        self.excuse = excuse
        self.repeats = 0

    @property
    def message(self) -> str:
        """One line; not escaped for any output."""
        text = self.spot.message
        if self.repeats:
            text += f"; and {self.repeats} more like it"
        if not self.excuse:
            return text
        why = "not counted" if self.excuse in FORGIVEN.values() else "cannot tell"
        return f"{text} [{why}: {self.excuse}]"

    @property
    def rank(self) -> int:
        """0 info, 1 warning, 2 error."""
        return SEVERITIES.index(self.severity)

    def __repr__(self) -> str:
        return f"Finding({self.rule.id}, {self.severity}, {self.message!r})"
