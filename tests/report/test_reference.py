from __future__ import annotations

from pathlib import Path

import pytest

from analyzer.report.reference import PAGES

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.mark.parametrize("name", PAGES)
def test_the_page_is_what_the_code_says(name: str) -> None:
    """`python -m analyzer.report.reference docs` writes it anew."""
    assert (DOCS / name).read_text("utf-8") == PAGES[name]()
