"""``--format gitlab``: a code quality report, which GitLab shows in merge requests."""

from __future__ import annotations

from analyzer.report.escape import terminal
from analyzer.report.fingerprint import fingerprints
from analyzer.report.json_text import json_pieces
from analyzer.report.wording import hosted_path, placed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from analyzer.report.parts import Json
    from analyzer.report.result import Result

__all__ = ["render"]

LEVELS = {"error": "major", "warning": "minor", "info": "info"}
BROKEN: dict[str, object] = {
    "rule": "broken", "migration": None, "channel": None, "device": None, "index": None,
}  # fmt: skip


def render(results: Iterable[Result], fail_on: str) -> Iterator[str]:  # noqa: ARG001
    """The document; frame numbers are used as line numbers."""
    yield from json_pieces(_issues(results), 0)
    yield "\n"


def _issues(results: Iterable[Result]) -> Iterator[Json]:
    for result in results:
        path = hosted_path(result.path)
        if result.failure is not None:
            mark = fingerprints([BROKEN], path)[0]
            yield _issue(path, "broken", "blocker", result.failure, 0, mark)
        findings = result.findings
        for finding, mark in zip(findings, fingerprints(findings, path), strict=True):
            if finding.get("known"):
                continue
            name = f"{finding['rule']} {finding['name']}"
            text = f"{name}: {placed(finding)}"
            level = LEVELS[finding["severity"]]
            yield _issue(path, name, level, text, finding["frame"] or 0, mark)


def _issue(path: str, name: str, severity: str, text: str, frame: int, fingerprint: str) -> Json:
    return {
        "description": terminal(text),
        "check_name": name,
        "fingerprint": fingerprint,
        "severity": severity,
        "location": {"path": path, "lines": {"begin": max(1, frame)}},
    }
