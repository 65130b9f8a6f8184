"""``--format github``: workflow commands, which GitHub shows as annotations of a run."""

from __future__ import annotations

from analyzer.report.escape import terminal
from analyzer.report.wording import hosted_path, placed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from analyzer.report.result import Result

__all__ = ["render"]

LEVELS = {"error": "error", "warning": "warning", "info": "notice"}
ENDS = {"FAILED": "warning", "CANCELLED": "notice", "INCOMPLETE": "notice", "UNKNOWN": "notice"}
"""Verdicts that no finding need tell."""


def render(results: Iterable[Result], fail_on: str) -> Iterator[str]:
    """A line for each finding (infos only if they count), and for each capture that could not be
    analysed or whose migration did not complete.

    GitHub shows few annotations, so facts worth knowing would hide what needs somebody's attention.
    """
    for result in results:
        file = _property(hosted_path(result.path))
        if result.failure is not None:
            yield f"::error file={file},title=mfshark::{_data(result.failure)}\n"
        if level := ENDS.get(result.word):
            title = f"mfshark {result.word}"
            yield f"::{level} file={file},title={title}::{_data(result.sentence)}\n"
        for finding in result.findings:
            if finding.get("known") or (finding["severity"] == "info" and fail_on != "info"):
                continue
            title = _property(f"{finding['rule']} {finding['name']}")
            level = LEVELS[finding["severity"]]
            yield f"::{level} file={file},title={title}::{_data(placed(finding))}\n"


def _data(text: str) -> str:
    return terminal(text).replace("%", "%25")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
