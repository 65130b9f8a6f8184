from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from analyzer.migration.intervals import (
    SPANS_KEPT,
    Busy,
    Coverage,
    alone,
    clipped,
    gaps,
    intersection,
    total,
    union,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from analyzer.migration.intervals import Span

MOMENTS = st.integers(0, 60)
SPANS = st.lists(st.tuples(MOMENTS, MOMENTS), max_size=12)


def times(spans: Iterable[Span]) -> set[int]:
    """The units of time that spans cover, told the slow way."""
    return {t for a, b in spans for t in range(min(a, b), max(a, b))}


@given(SPANS)
def test_a_union_is_tidy_and_covers_the_same(spans: list[Span]) -> None:
    joined = union(spans)
    assert times(joined) == times(spans)
    assert total(joined) == len(times(spans))
    assert all(before[1] < after[0] for before, after in pairwise(joined))


@given(SPANS, MOMENTS, MOMENTS)
def test_clips_and_gaps_share_out_a_window(spans: list[Span], one: int, other: int) -> None:
    begin, end = sorted((one, other))
    inside = clipped(union(spans), begin, end)
    window = set(range(begin, end))
    assert times(inside) == times(spans) & window
    assert times(gaps(inside, begin, end)) == window - times(spans)


@given(SPANS, SPANS)
def test_an_intersection_is_what_both_cover(one: list[Span], other: list[Span]) -> None:
    assert times(intersection(union(one), union(other))) == times(one) & times(other)


@given(st.lists(SPANS, max_size=4))
def test_time_alone_is_what_no_other_covers(groups: list[list[Span]]) -> None:
    expected = []
    for number, spans in enumerate(groups):
        others = [span for n, group in enumerate(groups) if n != number for span in group]
        expected.append(len(times(spans) - times(others)))
    assert alone([union(spans) for spans in groups]) == expected


@given(SPANS, MOMENTS, MOMENTS)
def test_coverage_answers_up_to_any_moment(spans: list[Span], one: int, other: int) -> None:
    cover, (begin, end) = Coverage(union(spans)), sorted((one, other))
    assert cover.until(one) == len({t for t in times(spans) if t < one})
    assert cover.touches(begin, end) == bool(times(spans) & set(range(begin, end)))


def test_busy_times_are_kept_in_bounded_memory_and_the_newest_exactly() -> None:
    busy = Busy()
    spans = [(10 * n, 10 * n + 3) for n in range(10 * SPANS_KEPT)]
    for span in spans:
        busy.add(*span)
    kept = busy.spans()
    assert len(kept) <= SPANS_KEPT
    assert (kept[0][0], kept[-1][1]) == (spans[0][0], spans[-1][1])
    newest = SPANS_KEPT // 4
    assert kept[-newest:] == spans[-newest:]


def test_few_busy_times_are_exact_in_any_order() -> None:
    busy = Busy()
    for span in ((5, 9), (7, 12), (30, 20), (1, 2), (12, 12)):
        busy.add(*span)
    assert busy.spans() == [(1, 2), (5, 12), (20, 30)]
