"""Whatever a walker can note is judged by a rule."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from analyzer.checks.families import load
from analyzer.checks.rule import BY_SLUG

ROOT = Path(__file__).parents[2]
SLUG = re.compile(r"[a-z0-9]+(-[a-z0-9]+)+")
NOTERS = ("note", "_note", "Anomaly", "_anomaly", "Problem", "SectionProblem", "stop")


def constants(node: ast.AST) -> set[str]:
    """Strings in an expression that look like slugs."""
    return {
        part.value
        for part in ast.walk(node)
        if isinstance(part, ast.Constant)
        and isinstance(part.value, str)
        and SLUG.fullmatch(part.value)
    }


def noted(folder: str) -> set[str]:
    """What is the first argument of a call that notes something, or is called a slug."""
    found: set[str] = set()
    for path in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and node.args:
                name = getattr(node.func, "attr", getattr(node.func, "id", ""))
                if name in NOTERS:
                    found |= constants(node.args[0])
            elif isinstance(node, ast.Assign):
                names = [target.id for target in node.targets if isinstance(target, ast.Name)]
                if names == ["slug"]:
                    found |= constants(node.value)
    return found


@pytest.mark.parametrize(("folder", "least"), [("analyzer/migration", 40), ("dissectors", 4)])
def test_every_slug_is_a_rule(folder: str, least: int) -> None:
    load()
    slugs = noted(folder)
    assert len(slugs) >= least, "the search finds too little"
    assert slugs <= set(BY_SLUG)
