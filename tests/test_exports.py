"""What a module offers to others is in its ``__all__``."""

from __future__ import annotations

import ast
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def _modules() -> dict[str, ast.Module]:
    found = {}
    for package in ("analyzer", "dissectors"):
        for path in sorted((ROOT / package).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            found[name.removesuffix(".__init__")] = ast.parse(path.read_text(encoding="utf-8"))
    return found


MODULES = _modules()


def _imported(tree: ast.Module) -> list[tuple[str, str]]:
    """Names that a module imports from others of the project."""
    return [
        (node.module, alias.name)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module in MODULES
        for alias in node.names
        if f"{node.module}.{alias.name}" not in MODULES
    ]


@pytest.mark.parametrize("name", MODULES)
def test_what_others_import_is_offered(name: str) -> None:
    for owner, imported in _imported(MODULES[name]):
        module = import_module(owner)
        if hasattr(module, "__all__") and hasattr(module, imported):
            assert imported in module.__all__, f"{owner} does not offer {imported}"
