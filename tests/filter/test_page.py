"""The page on display filters: every example in it is one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from analyzer.filter.filter import Filter
from analyzer.filter.grammar import WORDS
from dissectors.registry import FIELDS
from tests.filter.tables import table

PAGE = (Path(__file__).resolve().parents[2] / "docs/display-filters.md").read_text(encoding="utf-8")
QUOTED = [
    *re.findall(r"`([^`\n]+)`", PAGE),
    *re.findall(r"^```\n(.*?)\n```", PAGE, re.MULTILINE | re.DOTALL),
]
EXAMPLES = [text for text in QUOTED if re.split(r"[ ()!]+", text.lstrip("!("))[0] in FIELDS]


def test_the_page_has_examples() -> None:
    assert len(EXAMPLES) > 25
    assert not [
        word for word in WORDS.values() if f"`{word}`" not in PAGE and f"{word} " not in PAGE
    ]


@pytest.mark.parametrize("text", [*EXAMPLES, "1 <= vfio.idx < 5", "!(vfio.idx == 3)"])
def test_every_example_of_the_page_is_a_filter(text: str) -> None:
    assert text in PAGE
    Filter(text).mask(table())
