"""JSON in one piece and in many."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analyzer.report import json_text as module
from analyzer.report.json_text import json_pieces, json_text

TEXT = st.text(st.characters(exclude_categories=()), max_size=4)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=25,
)


@given(PLAIN, st.integers(0, 4))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_pieces_are_the_whole(monkeypatch: pytest.MonkeyPatch, value: Any, levels: int) -> None:
    monkeypatch.setattr(module, "AT_A_TIME", 2)
    assert "".join(json_pieces(value, levels)) == json_text(value, 1)


@pytest.mark.parametrize("count", [0, 1, 3, 1000])
def test_lists_may_be_made_as_they_are_written(count: int) -> None:
    entries = [{"number": number} for number in range(count)]
    pieces = list(json_pieces({"list": iter(entries)}, 1))
    assert json.loads("".join(pieces)) == {"list": entries}
    assert max(map(len, pieces)) < 10_000
