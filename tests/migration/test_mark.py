"""Marks, and lists of them."""

from __future__ import annotations

import pytest

from analyzer.migration.mark import MarkList
from analyzer.tcp.requests import Place


def test_a_list_gives_back_what_was_added() -> None:
    marks = MarkList()
    assert not marks
    for number in range(3):
        marks.add(number << 50, Place(number + 1, (1 << 62) - number, -number))
    assert len(marks) == 3
    assert [mark.offset for mark in marks] == [0, 1 << 50, 2 << 50]
    assert (marks[-1].frame, marks[2].time, marks[1].place.pos) == (3, (1 << 62) - 2, -1)
    with pytest.raises(IndexError):
        marks[3]
