"""What a loading thread leaves to the application."""

from __future__ import annotations

import gc
import weakref
from typing import TYPE_CHECKING

from analyzer.tui import gate
from analyzer.tui.gate import YOUNG, no_long_collection

if TYPE_CHECKING:
    import pytest


class Ring:
    """Garbage that only the collector finds."""

    def __init__(self) -> None:
        self.myself = self


def test_young_garbage_goes_while_a_capture_is_read() -> None:
    with no_long_collection():
        gone = weakref.ref(Ring())
        kept = [[] for _ in range(2 * YOUNG)]  # type: list[list[int]]
        assert gone() is None
        assert len(kept) == 2 * YOUNG


def test_what_lived_on_is_not_searched_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()  # for once the program freezes
    monkeypatch.setattr(gate, "USUAL", gc.get_threshold())
    before = gc.get_threshold()
    collections = gc.get_stats()[2]["collections"]
    with no_long_collection():
        kept = [[] for _ in range(200 * YOUNG)]  # type: list[list[int]]
        assert gc.get_stats()[2]["collections"] - collections <= 1
        assert len(kept) == 200 * YOUNG
    assert gc.get_threshold() == before
    assert gc.get_freeze_count() >= 200 * YOUNG
