"""What is offered while a filter is typed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzer.filter.completion import complete, word_start
from analyzer.filter.filter import Filter
from analyzer.migration.table import KINDS, SEVERITIES
from dissectors.registry import FIELDS
from tests.filter.tables import table
from tests.filter.test_errors import WORDS

OFFERED = {
    "vfio.i": ["vfio.idx"],
    "VFIO.I": ["vfio.idx"],
    "frame == 3 && vfio.fl": ["vfio.flags", "vfio.flags.config_state"],
    "!(multifd.n": ["multifd.normal_pages", "multifd.next_packet_size"],
    "kind == r": ["ram"],
    "kind in {ram, s": ["sync"],
    "kind not in {": list(KINDS),
    "severity >= w": ["warning"],
    "multifd.flags.sync == t": ["true", "time", "time.relative", "time.span", "tcp.stream"],
    "frame == 3 a": ["and"],
    "frame == 3 o": ["or"],
    "frame i": ["in"],
    "frame n": ["not", "ne"],
    "device c": ["contains"],
    "device == 0000:00:03": ["0000:00:03.0/vfio#2"],
    "multifd.ramblock contains pc.r": ["pc.ram"],
    "frame = v": [],
    "frame == == v": [],
    "frame == 'v": [],
    "frame in {v": [],
    "kind == ram": [],
}


@pytest.mark.parametrize("text", OFFERED)
def test_words_that_fit_at_the_cursor_are_offered(text: str) -> None:
    found = complete(text, len(text), table())
    assert [word for word in found if word in OFFERED[text]] == OFFERED[text]
    if not OFFERED[text]:
        assert not found


def test_an_empty_filter_offers_all_fields() -> None:
    assert set(FIELDS) <= set(complete("", 0))
    assert complete("severity == ", 12)[: len(SEVERITIES)] == list(SEVERITIES)


def test_what_stands_behind_the_cursor_does_not_matter() -> None:
    text = "vfio.i > 3 ((("
    assert complete(text, 6) == ["vfio.idx"]
    assert word_start(text, 6) == 0
    assert word_start(text, 10) == 9


def test_names_of_the_capture_are_quoted_where_they_must_be() -> None:
    for name in ("multifd.ramblock", "device", "multifd.idstr"):
        words = complete(f"{name} == ", len(name) + 4, table())
        offered = [word for word in words if word not in FIELDS]
        assert offered
        found = [Filter(f"{name} == {word}").rows(table()).size for word in offered]
        assert all(found)
        assert sum(found) == Filter(name).rows(table()).size


@given(st.lists(st.sampled_from(WORDS), max_size=8).map(" ".join), st.integers(0, 100))
def test_any_text_is_harmless(text: str, cursor: int) -> None:
    for word in complete(text, min(cursor, len(text)), table()):
        assert word
