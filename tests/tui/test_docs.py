"""docs/tui.md says what the keys do, and its filters work."""

from __future__ import annotations

import importlib
import pkgutil
import re
from pathlib import Path

import pytest
from textual.binding import Binding

import analyzer.tui
from analyzer.filter.filter import Filter
from analyzer.tui.lines import TITLES, meaning, shown_key

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "tui.md").read_text(encoding="utf-8")
HEAD = "| keys | |\n|---|---|\n"


def owners() -> dict[str, type]:
    """The classes with keys of their own, by name."""
    found = {}
    for module in pkgutil.walk_packages(analyzer.tui.__path__, "analyzer.tui."):
        for name, value in vars(importlib.import_module(module.name)).items():
            own = isinstance(value, type) and value.__module__ == module.name
            if own and "BINDINGS" in value.__dict__:
                found[name] = value
    return found


def table(owner: type) -> str:
    """The keys of a class as the page has them."""
    bindings: list[Binding] = owner.__dict__["BINDINGS"]
    return HEAD + "".join(
        f"| {' '.join(map(shown_key, binding.key.split(',')))} | {meaning(binding)} |\n"
        for binding in bindings
    )


@pytest.mark.parametrize("owner", owners())
def test_every_key_is_on_the_page(owner: str) -> None:
    assert table(owners()[owner]) in PAGE


def test_the_page_has_no_other_keys() -> None:
    assert sorted(re.findall(re.escape(HEAD) + r"(?:\|.*\n)+", PAGE)) == sorted(
        map(table, owners().values())
    )


def test_screens_stand_in_their_order() -> None:
    section = PAGE.partition("## Screens")[2].partition("\n## ")[0]
    titles = re.findall(r"^\| (\d) \| (\w+) \|", section, re.MULTILINE)
    assert titles == [(str(number), title) for number, title in enumerate(TITLES, 1)]


FILTERS = re.findall(
    r"^\| `(.*)` \|", PAGE.partition("## Filters")[2].partition("\n## ")[0], re.MULTILINE
)


def test_there_are_examples() -> None:
    assert len(FILTERS) >= 8


@pytest.mark.parametrize("text", FILTERS)
def test_filters_work(text: str) -> None:
    Filter(text)
