"""A list of numbers that mostly grow by little."""

from __future__ import annotations

import sys

from hypothesis import given
from hypothesis import strategies as st

from analyzer.migration.number_list import SET_LIMIT, NumberList, NumberSet

STEPS = st.integers(-300, 300)
JUMPS = st.integers(0, (1 << 64) - 1)


def made(numbers: list[int]) -> NumberList:
    found = NumberList()
    for number in numbers:
        found.append(number)
    return found


@st.composite
def growing(draw: st.DrawFn) -> list[int]:
    """Small steps, of either sign, and jumps."""
    numbers = [draw(JUMPS)]
    for step in draw(st.lists(STEPS | JUMPS)):
        following = numbers[-1] + step if abs(step) <= 300 else step
        numbers.append(max(0, min(following, (1 << 64) - 1)))
    return numbers


@given(growing() | st.lists(JUMPS))
def test_it_is_the_list_of_what_was_appended(numbers: list[int]) -> None:
    found = made(numbers)
    assert list(found) == numbers
    assert len(found) == len(numbers)
    assert found.lowest == min(numbers, default=-1)
    assert found.highest == max(numbers, default=-1)
    assert [found.before, found.last] == [-1, -1, *numbers][-2:]


def test_a_number_near_the_one_before_takes_a_byte() -> None:
    found = made(list(range(7, 100_007 * 4, 4)))
    assert sys.getsizeof(found._steps) < 1.2 * len(found)
    assert len(found._far) == 1


@given(st.lists(st.integers(0, 50)) | st.permutations(range(0, 3000, 7)))
def test_the_set_tells_what_was_added_before(numbers: list[int]) -> None:
    found, model = NumberSet(), set[int]()
    for number in numbers:
        assert found.add(number) == (number in model)
        model.add(number)


def test_one_large_number_takes_no_memory() -> None:
    found = NumberSet()
    assert not found.add(SET_LIMIT - 1)
    assert not found.add(SET_LIMIT - 1)
    assert sys.getsizeof(found._bits) < 1 << 14
    for number in range(SET_LIMIT // 64):
        found.add(number)
    assert not found.add(SET_LIMIT - 1)
    assert found.add(SET_LIMIT - 1)
