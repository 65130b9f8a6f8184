"""Baselines: lists of known findings, so that only new ones count.  Two findings are the same if
their fingerprints are equal; captures are identified by their path relative to the folder of the
baseline.
"""

from __future__ import annotations

import json
import os

from analyzer.errors import UsageError, reason_of
from analyzer.report.escape import unicode
from analyzer.report.fingerprint import fingerprints
from analyzer.report.json_text import json_text
from analyzer.report.result_file import ResultFile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from analyzer.report.parts import Json
    from analyzer.report.result import Result

__all__ = ["Baseline"]

SCHEMA = "mfshark/baseline/1"
STDIN = "<stdin>"


class Baseline:
    """The baseline in the file ``path``; an empty one if the file does not exist and ``missing_ok``
    is set.  Raises :class:`UsageError` for a file that is not a baseline.
    """

    def __init__(self, path: str, *, missing_ok: bool = False) -> None:
        self.path = path
        self._known: dict[str, dict[str, str]] = {}
        try:
            with open(path, encoding="utf-8") as file:
                read = json.load(file)
        except FileNotFoundError:
            if missing_ok:
                return
            raise UsageError(f"{path}: no such file; --update-baseline creates it") from None
        except (OSError, ValueError, RecursionError) as error:
            raise UsageError(f"{path} cannot be read: {reason_of(error)}") from None
        captures = read.get("captures") if isinstance(read, dict) else None
        if not isinstance(captures, dict) or read.get("schema") != SCHEMA:
            raise UsageError(f"{path} is not a baseline: schema is not {SCHEMA!r}")
        for name, known in captures.items():
            if not isinstance(known, dict) or not all(isinstance(t, str) for t in known.values()):
                raise UsageError(f"{path}: {name!r} has no table of fingerprints")
            self._known[name] = known

    def name(self, capture: str) -> str:
        """The name of a capture in the baseline; a stream, as ``<stdin>``, lies in no folder."""
        if capture == "-":
            return STDIN
        if capture.startswith("<"):
            return unicode(capture)
        folder = os.path.dirname(os.path.abspath(self.path))
        return unicode(os.path.relpath(os.path.abspath(capture), folder))

    def known(self, capture: str) -> frozenset[str]:
        """Fingerprints of the known findings of a capture."""
        return frozenset(self._known.get(self.name(capture), ()))

    def fixed(self, result: Result) -> list[str]:
        """The known findings that were not found again, as text."""
        now = {mark for mark, _ in self._marked(result)}
        return [text for mark, text in self._of(result).items() if mark not in now]

    def unchanged(self, result: Result) -> int:
        """How many findings are known."""
        known = self.known(result.path)
        return sum(1 + f["repeats"] for mark, f in self._marked(result) if mark in known)

    def update(self, results: Iterable[Result]) -> None:
        """Replace the findings of the given captures with the current ones, without those that only
        an expectation expects; other captures keep theirs, and so does one that could not be read.
        Raises :class:`UsageError` if the file cannot be written.
        """
        for result in results:
            if result.report is None or "error" in result.report:
                continue
            known = self.known(result.path)
            found = {
                mark: f"{finding['rule']} {finding['name']}: {finding['message']}"
                for mark, finding in self._marked(result)
                if mark in known or not finding.get("known")
            }
            self._known.pop(self.name(result.path), None)
            if found:
                self._known[self.name(result.path)] = found
        document = {"schema": SCHEMA, "captures": dict(sorted(self._known.items()))}
        with ResultFile(self.path).text() as file:
            file.write(json_text(document, 1) + "\n")

    def _of(self, result: Result) -> dict[str, str]:
        return self._known.get(self.name(result.path), {})

    def _marked(self, result: Result) -> Iterator[tuple[str, Json]]:
        """Errors and warnings with their fingerprints; info findings are not kept in baselines."""
        findings = (result.report or {}).get("findings", [])
        marks = fingerprints(findings, self.name(result.path))
        for mark, finding in zip(marks, findings, strict=True):
            if finding["severity"] != "info":
                yield mark, finding
