"""``--format text``: the report for people."""

from __future__ import annotations

from analyzer.report.escape import terminal
from analyzer.report.style import table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from analyzer.report.result import Result
    from analyzer.report.style import Style

__all__ = ["Row", "render", "summary"]

HEAD = ("capture", "verdict", "outcome", "errors", "warnings", "info", "known")


def render(results: Iterable[Result], fail_on: str) -> Iterator[str]:  # noqa: ARG001
    """The reports, separated by an empty line if they have several lines."""
    before = False
    for result in results:
        lines = result.lines or []
        if before and len(lines) > 1:
            yield "\n"
        for line in lines:
            yield line + "\n"
        before = before or bool(lines)


class Row:
    """One capture's row in the summary."""

    __slots__ = ("cells", "label")

    def __init__(self, result: Result) -> None:
        self.label = result.label
        counts = [result.counts[severity] for severity in ("error", "warning", "info")]
        self.cells = (
            terminal(result.path),
            result.label,
            ", ".join(result.outcomes),
            *map(str, (*counts, result.known)),
        )


def summary(rows: Sequence[Row], style: Style) -> Iterator[str]:
    """A line for every capture, and how many there were by their verdicts."""
    yield from table(HEAD, [row.cells for row in rows], style, left=3)
    yield ""
    labels = [row.label for row in rows]
    counts = {label: labels.count(label) for label in dict.fromkeys(labels)}
    parts = ", ".join(f"{count} {label}" for label, count in counts.items())
    yield f"{len(labels)} captures: {parts}"
