from __future__ import annotations

import pytest

from analyzer.migration.fairness import jain, runs_of


@pytest.mark.parametrize(
    ("shares", "index"),
    [([5, 5, 5, 5], 1.0), ([8, 0, 0, 0], 0.25), ([1, 2, 3], 36 / 42), ([], None), ([0, 0], None)],
)
def test_fairness_is_one_for_equal_shares_and_less_for_others(
    shares: list[int], index: float | None
) -> None:
    assert jain(shares) == (None if index is None else pytest.approx(index))


def test_runs_are_packets_in_a_row_on_one_channel() -> None:
    runs = runs_of([0, 1, 1, 1, 2, 2, 0])
    assert (runs.packets, runs.runs, runs.longest, runs.longest_on) == (7, 4, 3, 1)
    assert runs.again == pytest.approx(3 / 6)


def test_a_single_packet_has_no_choice_before_it() -> None:
    assert runs_of([3]).again is None
    assert runs_of([]).longest_on is None
