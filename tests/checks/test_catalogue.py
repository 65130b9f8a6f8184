"""Every rule there is: named, explained, with a case of its own; and what clean captures show."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

from analyzer.checks.checker import Checker
from analyzer.checks.families import load
from analyzer.checks.rule import BY_SLUG, RULES, SEVERITIES, Rule
from analyzer.migration.outcome import outcome_of
from analyzer.migration.scan import Scan
from analyzer.synth import build
from analyzer.synth.faults import FaultKind, kinds
from tests.checks.case import Case
from tests.checks.craft import fired
from tests.shipped import NAMES, capture

load()
HERE = Path(__file__).parent
FLAWED = ("gap", "snaplen")
"""In the names of shipped captures that lack frames or bytes."""


def cases() -> dict[str, Case]:
    """The cases of all families, from every test file that has a table of them."""
    found: dict[str, Case] = {}
    for path in sorted(HERE.glob("test_*.py")):
        if path.stem != Path(__file__).stem:
            module = importlib.import_module(f"tests.checks.{path.stem}")
            table: dict[str, Case] = getattr(module, "CASES", {})
            assert not found.keys() & table.keys(), path.name
            found |= table
    return found


def paragraphs(rule: Rule) -> list[str]:
    """The explanation, a paragraph an entry."""
    return [" ".join(p.split()) for p in rule.explanation.strip().split("\n\n")]


def by_id() -> list[Rule]:
    return [RULES[number] for number in sorted(RULES)]


@pytest.mark.parametrize("rule", by_id(), ids=repr)
def test_rule_is_named(rule: Rule) -> None:
    assert re.fullmatch(r"MF[1-9]\d\d", rule.id)
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", rule.slug)
    assert rule.severity in SEVERITIES
    assert rule.holes <= set("LEGAXCMBS")
    assert BY_SLUG[rule.slug] is RULES[rule.id] is rule


@pytest.mark.parametrize("rule", by_id(), ids=repr)
def test_rule_is_explained(rule: Rule) -> None:
    """What is wrong, why it matters, what the receiver does, what usually causes it."""
    first, *rest = paragraphs(rule)
    assert first.endswith(".")
    assert len(first) < 200
    heads = [text.partition(":")[0] for text in rest]
    assert heads.count("Receiver") == 1
    assert heads.count("Usual cause") == 1
    assert heads[-1] == "Usual cause"
    assert rest[0].partition(":")[0] not in ("Receiver", "Usual cause"), "does not say why"
    assert rule.test.__name__ == rule.slug.replace("-", "_")


def test_every_rule_has_a_case() -> None:
    table = cases()
    assert sorted(set(RULES) - set(table) - {"MF961"}) == []  # tests/batch/test_expectations.py
    assert sorted(set(table) - set(RULES)) == []


@pytest.mark.parametrize("kind", [kind for kind in kinds() if kind.rules], ids=repr)
def test_faults_of_the_generator_are_found(kind: FaultKind) -> None:
    found = fired(build(kind.example))
    assert {rule for rule in kind.rules if rule in RULES} <= set(found)


@pytest.mark.parametrize("name", NAMES)
def test_clean_real_captures_are_clean(name: str) -> None:
    """No error and no warning on a migration that completed, in a capture that is whole."""
    path = capture(name)
    checker = Checker()
    scan = Scan(path, watchers=(checker,)).run()
    grave = [f for f in checker.findings(scan) if f.severity != "info"]
    if any(word in path.name for word in FLAWED):
        assert {finding.severity for finding in grave} <= {"warning"}
        return
    unfinished = [m for m in scan.migrations if outcome_of(m).name != "completed"]
    assert [f for f in grave if f.migration not in unfinished] == []
