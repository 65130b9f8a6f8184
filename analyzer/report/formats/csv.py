"""``--format csv``: one line per finding, for spreadsheets; no cell can be taken for a formula."""

from __future__ import annotations

import csv
import io

from analyzer.report.escape import csv_cell

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from analyzer.report.result import Result

__all__ = ["COLUMNS", "render"]

COLUMNS = (
    "path", "rule", "name", "severity", "message", "migration", "frame", "tcp_stream", "channel",
    "offset", "device", "index", "repeats", "known",
)  # fmt: skip


def render(results: Iterable[Result], fail_on: str) -> Iterator[str]:  # noqa: ARG001
    """The header, and a line for each finding and each capture that could not be analysed."""
    made = io.StringIO()
    lines = csv.writer(made, lineterminator="\n")
    lines.writerow(COLUMNS)
    for result in results:
        rows = result.findings
        if result.failure is not None:
            rows = [{"name": "broken", "severity": "error", "message": result.failure}, *rows]
        for finding in rows:
            row = {"path": result.path, **finding}
            lines.writerow([_cell(row.get(name)) for name in COLUMNS])
    yield made.getvalue()


def _cell(value: object) -> object:
    if isinstance(value, bool):
        return "true" if value else "false"
    return csv_cell(value) if isinstance(value, str) else value
