"""``--format json``: the report for programs (see the JSON schema in ``report/schema``)."""

from __future__ import annotations

from analyzer.report.json_text import json_pieces
from analyzer.report.model import report

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from analyzer.report.result import Result

__all__ = ["render"]

DEPTH = 3
"""Of the lists of findings and migrations."""


def render(results: Iterable[Result], fail_on: str) -> Iterator[str]:  # noqa: ARG001
    """The whole document."""
    parts = [result.report for result in results if result.report is not None]
    yield from json_pieces(report(parts), DEPTH)
    yield "\n"
