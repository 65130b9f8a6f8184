"""Many migrations in the text report: a table of them instead of a part for each, and those whose
parts are worth reading all the same.
"""

from __future__ import annotations

from collections import Counter

from analyzer.checks.wording import counted
from analyzer.migration.outcome import outcome_of
from analyzer.report.style import size_text, table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from analyzer.analysis import Analysis
    from analyzer.migration.migration import Migration
    from analyzer.report.style import Style

__all__ = ["Overview"]

ROWS = 16
HEAD = (
    "migration", "source", "destination", "outcome", "channels", "bytes", "devices", "errors",
    "warnings",
)  # fmt: skip


class Overview:
    """The migrations of an analysis.  ``worst`` are those that did not complete, or of which there
    are errors or warnings, the ones with errors first.
    """

    def __init__(self, analysis: Analysis) -> None:
        self._counts: Counter[tuple[Migration | None, str]] = Counter()
        for finding in analysis.findings:
            self._counts[finding.migration, finding.severity] += 1 + finding.repeats
        ranked = [(self._rank(migration), migration) for migration in analysis.migrations]
        ranked.sort(key=lambda entry: entry[0])
        self._migrations = [migration for _, migration in ranked]
        self.worst = [migration for rank, migration in ranked if rank < 2]

    def _rank(self, migration: Migration) -> int:
        if self._counts[migration, "error"]:
            return 0
        completed = outcome_of(migration).name == "completed"
        return 2 if completed and not self._counts[migration, "warning"] else 1

    def lines(self, style: Style, parts: int) -> Iterator[str]:
        """The table, and how to see the rest if only so many parts follow."""
        rows = [self._row(migration) for migration in self._migrations[:ROWS]]
        if more := len(self._migrations) - len(rows):
            rows.append((f"{more} more", *[""] * (len(HEAD) - 1)))
        yield from table(HEAD, rows, style, left=4)
        if untold := len(self._migrations) - len(self.worst[:parts]):
            yield ""
            left_out = f"the details of {counted(untold, 'migration')} are left out"
            yield style.dim(f"{left_out}; --verbose shows all")

    def _row(self, migration: Migration) -> tuple[str, ...]:
        counts = self._counts
        return (
            str(migration.number),
            migration.source,
            migration.destination,
            outcome_of(migration).name,
            str(len(migration.channels)),
            size_text(sum(channel.length for channel in migration.channels)),
            str(len(migration.awaited) + len(migration.on_main)),
            str(counts[migration, "error"]),
            str(counts[migration, "warning"]),
        )
