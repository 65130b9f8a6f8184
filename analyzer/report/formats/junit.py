"""``--format junit``: JUnit XML, one suite per capture and one case per rule, so that passed rules
show.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET

from analyzer.checks.families import load
from analyzer.checks.rule import RULES, SEVERITIES
from analyzer.report.escape import terminal
from analyzer.report.wording import placed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from analyzer.report.parts import Json
    from analyzer.report.result import Result

__all__ = ["render"]


def render(results: Iterable[Result], fail_on: str) -> Iterator[str]:
    """The document."""
    load()  # results of other processes bring ids only
    root = ET.Element("testsuites", name="mfshark")
    threshold = SEVERITIES.index(fail_on)
    totals = {"tests": 0, "failures": 0, "errors": 0}
    for result in results:
        suite = _suite(result, threshold)
        for name in totals:
            totals[name] += int(suite.get(name, "0"))
        root.append(suite)
    for name, count in totals.items():
        root.set(name, str(count))
    ET.indent(root, " ")
    yield '<?xml version="1.0" encoding="UTF-8"?>\n'
    yield ET.tostring(root, encoding="unicode")
    yield "\n"


def _suite(result: Result, threshold: int) -> ET.Element:
    path = terminal(result.path)
    suite = ET.Element("testsuite", name=path)
    case = ET.SubElement(suite, "testcase", classname=path, name="capture can be analysed")
    if result.failure is not None:
        ET.SubElement(case, "error", message=terminal(result.failure))
    by_rule: dict[str, list[Json]] = {}
    for finding in result.findings:
        by_rule.setdefault(finding["rule"], []).append(finding)
    for rule in result.rules:
        name = f"{rule} {RULES[rule].slug}"
        case = ET.SubElement(suite, "testcase", classname=path, name=name)
        _judge(case, by_rule.get(rule, []), threshold)
    ET.SubElement(suite, "system-out").text = terminal(f"{result.word}: {result.sentence}")
    return _counted(suite)


def _judge(case: ET.Element, findings: list[Json], threshold: int) -> None:
    """Add the findings to a rule's case; those below the threshold are output, not failures."""
    failing: list[Json] = []
    told: list[Json] = []
    for finding in findings:
        counts = SEVERITIES.index(finding["severity"]) >= threshold and not finding.get("known")
        (failing if counts else told).append(finding)
    if failing:
        failure = ET.SubElement(case, "failure", type=failing[0]["severity"])
        failure.set("message", terminal(failing[0]["message"]))
        failure.text = "\n".join(terminal(placed(finding)) for finding in failing)
    if told:
        lines = [f"{f['severity']}: {terminal(placed(f))}" for f in told]
        ET.SubElement(case, "system-out").text = "\n".join(lines)


def _counted(suite: ET.Element) -> ET.Element:
    suite.set("tests", str(len(suite.findall("testcase"))))
    suite.set("failures", str(len(suite.findall("testcase/failure"))))
    suite.set("errors", str(len(suite.findall("testcase/error"))))
    return suite
