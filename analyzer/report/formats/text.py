"""``--format text``: the report for people."""

from __future__ import annotations

from itertools import pairwise

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

    __slots__ = ("begun_before", "cells", "label", "name", "still_open")

    def __init__(self, result: Result) -> None:
        self.name = terminal(result.path)
        self.begun_before = result.begun_before
        self.still_open = result.still_open
        self.label = result.label
        counts = [result.counts[severity] for severity in ("error", "warning", "info")]
        self.cells = (
            self.name,
            result.label,
            ", ".join(result.outcomes),
            *map(str, (*counts, result.known)),
        )


def summary(rows: Sequence[Row], style: Style) -> Iterator[str]:
    """A line for every capture, how many there were by their verdicts, and which of them are parts
    of one.
    """
    yield from table(HEAD, [row.cells for row in rows], style, left=3)
    yield ""
    labels = [row.label for row in rows]
    counts = {label: labels.count(label) for label in dict.fromkeys(labels)}
    parts = ", ".join(f"{count} {label}" for label, count in counts.items())
    yield f"{len(labels)} captures: {parts}"
    for row, count in _parts(rows):
        yield (
            f"{row.name} and the {count} after it: each goes on where the one before ends; to read "
            "them as one capture: mergecap -a -w - FILES | mfshark check -"
        )


def _parts(rows: Sequence[Row]) -> Iterator[tuple[Row, int]]:
    """The first of captures in a row that are parts of one, and how many of these follow it."""
    first, count = rows[0], 0
    for one, other in pairwise(rows):
        if one.still_open & other.begun_before:
            count += 1
            continue
        if count:
            yield first, count
        first, count = other, 0
    if count:
        yield first, count
