"""Searches and filters that take long, and what becomes of them."""

from __future__ import annotations

import asyncio
import time
from threading import Event
from typing import TYPE_CHECKING, Any

import pytest

from analyzer.filter.error import FilterError
from analyzer.filter.filter import Filter
from analyzer.tui.field_panes import FieldPanes
from analyzer.tui.reread import NOTHING
from analyzer.tui.state import ALL
from tests.shipped import capture
from tests.tui.driving import drive, enter, listed_rows, opened, press, settle, shown
from tests.tui.test_keys import GAPS, VFIO

if TYPE_CHECKING:
    from textual.pilot import Pilot

    from analyzer.migration.table import PacketTable
    from analyzer.tui.app import MfsharkApp


def test_searching_bytes_says_how_far_it_is_and_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("analyzer.tui.places.SEARCH_TOLD", 0.0)
    told = []

    async def run() -> None:
        async with opened(capture(VFIO)) as (app, pilot):
            monkeypatch.setattr(app, "tell", lambda text: told.append(text.plain))
            await press(pilot, "ctrl+f", "tab", *"0102030405060708090a0b0c0d", "enter")
            assert any("%; Escape stops" in text for text in told)
            assert told[-1] == "0102030405060708090a0b0c0d not found"
            monkeypatch.setattr("analyzer.tui.search.find_bytes", endless)
            await pilot.press("n")
            await pilot.pause(0.1)
            await press(pilot, "escape")
            assert told[-1] == "stopped"

    asyncio.run(run())


def endless(*arguments: Any) -> None:
    """A search that only ends when it is stopped."""
    while arguments[-1](0.5):
        time.sleep(0.01)


@pytest.mark.parametrize(
    "text", ["9" * 20, "1" * 5000, str((1 << 64) - 1)], ids=["large", "long", "the one for none"]
)
def test_finding_numbers_that_no_packet_can_have(text: str) -> None:
    async def path(app: MfsharkApp, pilot: Pilot[int]) -> None:
        await press(pilot, "ctrl+f")
        await enter(pilot, text)
        assert "not found" in shown(app)

    drive(VFIO, path)


def test_a_search_ends_with_its_document(monkeypatch: pytest.MonkeyPatch) -> None:
    async def path(app: MfsharkApp, pilot: Pilot[int]) -> None:
        found = Event()

        def late(*_: Any) -> tuple[int, int]:
            found.wait()
            return 5, 0

        monkeypatch.setattr("analyzer.tui.search.find_bytes", late)
        await pilot.press("ctrl+f", "tab", "1", "1", "enter")
        await pilot.pause(0.05)
        app.open(str(capture(GAPS)))
        found.set()
        await settle(pilot)
        assert app.state.row == 0
        assert "found in" not in shown(app)
        assert "looking for" not in shown(app)

    drive(VFIO, path)


@pytest.mark.parametrize("migration", [ALL, 0])
def test_a_filter_that_takes_too_long_is_given_up(
    migration: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(*_: Any) -> None:
        raise FilterError(7, "", "", reason="the pattern takes too long")

    async def path(app: MfsharkApp, pilot: Pilot[int]) -> None:
        app.show_migration(migration)
        monkeypatch.setattr(Filter, "mask", slow)
        await press(pilot, "slash")
        await enter(pilot, 'device ~ "x"')
        assert "the pattern takes too long; no filter is applied" in shown(app)
        assert app.state.filter == ""
        assert len(listed_rows(app)) == len(app.document.table)

    drive(VFIO, path)


def test_a_filter_that_is_given_up_later_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    mask = Filter.mask

    def slow(self: Filter, table: PacketTable, first: int, last: int) -> Any:
        if first:
            raise FilterError(7, "", "", reason="the pattern takes too long")
        return mask(self, table, first, last)

    def small(first: int, last: int) -> list[tuple[int, int]]:
        return [(begin, min(last, begin + 50)) for begin in range(first, last, 50)]

    async def path(app: MfsharkApp, pilot: Pilot[int]) -> None:
        monkeypatch.setattr(Filter, "mask", slow)
        monkeypatch.setattr("analyzer.tui.filters.pieces", small)
        monkeypatch.setattr("analyzer.tui.filters.BUDGET", -1.0)
        await press(pilot, "slash")
        await enter(pilot, "kind == sync")
        assert "the pattern takes too long; no filter is applied" in shown(app)
        assert len(listed_rows(app)) == len(app.document.table)

    drive(VFIO, path)


def test_fields_that_come_when_the_application_ends_are_dropped() -> None:
    async def use(app: MfsharkApp, pilot: Pilot[int]) -> None:
        panes = app.view.query_one(FieldPanes)
        await panes.remove_children()
        panes.show(app.document, [], NOTHING, "Packet 1")
        await settle(pilot)
        assert app.is_running

    drive(VFIO, use)
