"""``--format json``: the report for programs (see the JSON schema in ``report/schema``)."""

from __future__ import annotations

from analyzer.report.json_text import json_text
from analyzer.report.model import report

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from analyzer.report.result import Result

__all__ = ["render"]


def render(results: Iterable[Result], fail_on: str) -> Iterator[str]:  # noqa: ARG001
    """The whole document."""
    parts = [result.report for result in results if result.report is not None]
    yield json_text(report(parts), 1)
    yield "\n"
