"""``--format sarif``: SARIF 2.1.0, for code scanning and viewers of static analysis.

A result's region is its frame: offset and length in the capture file (in its uncompressed contents,
if it is compressed).
"""

from __future__ import annotations

from urllib.parse import quote

from analyzer.checks.families import load
from analyzer.checks.rule import RULES
from analyzer.report.escape import terminal
from analyzer.report.fingerprint import fingerprints
from analyzer.report.json_text import json_pieces
from analyzer.report.wording import explanation_parts, hosted_path, placed
from analyzer.version import VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from analyzer.checks.rule import Rule
    from analyzer.report.parts import Json
    from analyzer.report.result import Result

__all__ = ["render"]

DEPTH = 3
"""Of the list of results."""
SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
LEVELS = {"error": "error", "warning": "warning", "info": "note"}
KNOWN = {"kind": "external", "justification": "in the baseline, or expected"}
FINGERPRINT = "mfsharkFinding/v1"
PROPERTIES = ("migration", "channel", "tcp_stream", "offset", "device", "index", "frame")


def render(results: Iterable[Result], fail_on: str) -> Iterator[str]:  # noqa: ARG001
    """The log: one run."""
    load()  # results of other processes bring ids only
    results = list(results)
    rules = [RULES[name] for name in sorted(RULES)]
    numbers = {rule.id: number for number, rule in enumerate(rules)}
    broken = [result for result in results if result.failure is not None]
    run = {
        "tool": {
            "driver": {
                "name": "mfshark",
                "semanticVersion": VERSION,
                "rules": [_rule(rule) for rule in rules],
            }
        },
        "invocations": [
            {
                "executionSuccessful": not broken,
                "toolExecutionNotifications": [
                    {
                        "level": "error",
                        "message": {"text": result.failure},
                        "locations": [_file(result)],
                    }
                    for result in broken
                ],
            }
        ],
        "artifacts": [{"location": {"uri": _uri(result.path)}} for result in results],
        "columnKind": "unicodeCodePoints",
        "results": (
            _result(result, number, finding, mark, numbers)
            for number, result in enumerate(results)
            for finding, mark in _marked(result)
        ),
    }
    yield from json_pieces({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, DEPTH)
    yield "\n"


def _marked(result: Result) -> Iterable[tuple[Json, str]]:
    marks = fingerprints(result.findings, hosted_path(result.path))
    return zip(result.findings, marks, strict=True)


def _uri(path: str) -> str:
    path = hosted_path(path)
    name = quote(path.encode("utf-8", "surrogateescape"), safe="/-._~")
    return f"file://{name}" if path.startswith("/") else name


def _file(result: Result) -> Json:
    return {"physicalLocation": {"artifactLocation": {"uri": _uri(result.path)}}}


def _rule(rule: Rule) -> Json:
    first, rest = explanation_parts(rule)
    meaning = rest.partition("Receiver:")[0]
    return {
        "id": rule.id,
        "name": rule.slug,
        "shortDescription": {"text": first},
        "fullDescription": {"text": f"{first}\n\n{meaning}".strip()},
        "help": {"text": f"{first}\n\n{rest}".strip()},
        "defaultConfiguration": {"level": LEVELS[rule.severity]},
    }


def _result(
    result: Result, number: int, finding: Json, fingerprint: str, rules: dict[str, int]
) -> Json:
    location = _file(result)
    location["physicalLocation"]["artifactLocation"]["index"] = number
    if (place := result.places.get(finding["frame"] or 0)) is not None:
        location["physicalLocation"]["region"] = {"byteOffset": place[0], "byteLength": place[1]}
    if finding["tcp_stream"] is not None:
        stream = f"tcp.stream {finding['tcp_stream']}"
        location["logicalLocations"] = [{"fullyQualifiedName": stream, "kind": "module"}]
    suppressions = {"suppressions": [KNOWN]} if finding.get("known") else {}
    return {
        "ruleId": finding["rule"],
        "ruleIndex": rules[finding["rule"]],
        "level": LEVELS[finding["severity"]],
        "message": {"text": terminal(placed(finding))},
        "locations": [location],
        "partialFingerprints": {FINGERPRINT: fingerprint},
        "occurrenceCount": 1 + finding["repeats"],
        "properties": {name: finding[name] for name in PROPERTIES if finding[name] is not None},
        **suppressions,
    }
