"""The list: any number of rows costs the same."""

from __future__ import annotations

import asyncio
import sys
import tracemalloc
from threading import Event, Thread
from typing import TYPE_CHECKING

import numpy as np
import pytest
from textual.app import App

from analyzer.tui.columns import Column
from analyzer.tui.gate import PACKETS, Pacer
from analyzer.tui.matching import Matching
from analyzer.tui.pieces import PIECE
from analyzer.tui.row_list import LINES_KEPT, RowList

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.style import Style
    from textual.app import ComposeResult

    from analyzer.tui.columns import Cell
    from analyzer.tui.palette import Palette

MANY = 5_000_000


class Numbers:
    """Rows that are worked out when they are asked for."""

    columns: Sequence[Column] = (Column("No.", 9, right=True), Column("Square", 16, grow=1))

    def __init__(self, count: int) -> None:
        self.count = count
        self.asked = 0

    def __len__(self) -> int:
        return self.count

    def row(self, position: int, palette: Palette) -> tuple[Sequence[Cell], Style]:
        self.asked += 1
        assert 0 <= position < self.count
        return [str(position), str(position * position)], palette.plain


class ListApp(App[None]):
    def __init__(self, rows: Numbers) -> None:
        super().__init__()
        self.rows = rows

    def compose(self) -> ComposeResult:
        yield RowList(self.rows)

    def on_mount(self) -> None:
        self.query_one(RowList).focus()


def test_five_million_rows() -> None:
    rows = Numbers(MANY)

    async def run() -> None:
        app = ListApp(rows)
        async with app.run_test(size=(80, 24)) as pilot:
            await pilot.pause()
            rows_list = app.query_one(RowList)
            tracemalloc.start()
            await pilot.press("G")
            assert rows_list.cursor == MANY - 1
            assert rows_list.scroll_y == MANY + 1 - 24
            for key in ("pageup", "pageup", "k", "j", "g"):
                await pilot.press(key)
            assert rows_list.cursor == 0
            for position in range(0, MANY, MANY // 40):
                rows_list.go(position, centre=True)
                await pilot.pause()
            used = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            assert used < 8 << 20
            assert rows.asked < 40 * 60 + 1000
            assert len(rows_list._lines) <= LINES_KEPT

    asyncio.run(run())


def test_the_cursor_is_in_sight_on_rows_added_since_the_list_was_drawn() -> None:
    rows = Numbers(30)

    async def run() -> None:
        app = ListApp(rows)
        async with app.run_test(size=(80, 24)) as pilot:
            await pilot.pause()
            rows.count = 100
            await pilot.press("G")
            rows_list = app.query_one(RowList)
            assert rows_list.cursor == 99
            assert rows_list.scroll_y == 100 + 1 - 24

    asyncio.run(run())


def test_rows_that_come_and_go() -> None:
    rows = Numbers(3)

    async def run() -> None:
        app = ListApp(rows)
        async with app.run_test(size=(40, 10)) as pilot:
            rows_list = app.query_one(RowList)
            await pilot.press("G")
            rows.count = 1000
            rows_list.grown()
            await pilot.press("G")
            assert rows_list.cursor == 999
            rows.count = 5
            rows_list.renew()
            await pilot.pause()
            assert rows_list.cursor == 4
            rows.count = 0
            rows_list.renew()
            await pilot.press("j", "k", "G", "enter")
            assert rows_list.cursor == 0

    asyncio.run(run())


@pytest.mark.parametrize("density", [0.0, 0.001, 0.5, 1.0])
def test_matching_finds_rows_and_positions(density: float) -> None:
    count = 3 * PIECE + 1234
    mask = np.random.default_rng(1).random(count) < density
    matching = Matching()
    for begin in range(0, count, 50_000):
        matching.add(mask[begin : begin + 50_000])
    rows = np.flatnonzero(mask)
    assert len(matching) == len(rows)
    for position in range(0, len(rows), max(1, len(rows) // 50)):
        row = int(rows[position])
        assert matching.row(position) == row
        assert matching.position(row) == position
        assert row in matching
    assert (count in matching, -1 in matching) == (False, False)
    with pytest.raises(IndexError):
        matching.row(len(rows))


def test_matching_five_million_rows_takes_a_bit_each() -> None:
    matching = Matching()
    mask = np.zeros(PIECE, dtype=bool)
    mask[::7] = True
    tracemalloc.start()
    while matching.seen < MANY:
        matching.add(mask)
    used = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert used < MANY // 8 + (1 << 20)


def test_loading_rests_between_packets() -> None:
    rests: list[int] = []

    def rest() -> bool:
        rests.append(1)
        return False

    pacer = Pacer(rest)
    for _ in range(3 * PACKETS + 1):
        pacer.ram()
    pacer.device()
    assert len(rests) == 3


def test_rows_that_matched_stay_while_others_are_added() -> None:
    matching = Matching()
    matching.add(np.ones(1000, dtype=bool))
    faults: list[Exception] = []
    done = Event()

    def read() -> None:
        while not done.is_set():
            try:
                assert matching.row(999) == matching.position(999) == 999
                assert 999 in matching
            except (AssertionError, IndexError) as error:
                faults.append(error)
                return

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    reader = Thread(target=read)
    reader.start()
    for _ in range(500):
        matching.add(np.ones(500, dtype=bool))
    done.set()
    reader.join()
    sys.setswitchinterval(before)
    assert not faults
    assert len(matching) == matching.seen == 251_000
    assert matching.row(250_999) == 250_999
