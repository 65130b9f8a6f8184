"""Texts are scrolled with the keys of lists, on screens and in windows."""

from __future__ import annotations

import asyncio

import pytest

from analyzer.tui.lines import KeyLine
from analyzer.tui.text_pane import TextPane
from tests.shipped import capture
from tests.tui.driving import opened, press, shown

LOST, GAPS = "10.0.13-vfio-truncated-no-returnpath-2ch", "10.0.13-vfio-gaps-2ch"


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        (LOST, ("5", "tab")),
        (GAPS, ("6", "j", "j", "tab")),
        (LOST, ("i",)),
        (LOST, ("question_mark",)),
    ],
)
def test_keys_of_lists_scroll_them(name: str, keys: tuple[str, ...]) -> None:
    async def run() -> None:
        async with opened(capture(name), (60, 20)) as (app, pilot):
            await press(pilot, *keys)
            pane = app.focused
            assert isinstance(pane, TextPane)
            assert pane.max_scroll_y > 1
            for key, wanted in (("j", 1), ("k", 0), ("G", pane.max_scroll_y), ("g", 0)):
                await press(pilot, key)
                assert pane.scroll_y == wanted
            for forth, back in (("space", "ctrl+u"), ("ctrl+d", "ctrl+b")):
                await press(pilot, forth)
                assert pane.scroll_y > 0
                await press(pilot, back)
                assert pane.scroll_y == 0

    asyncio.run(run())


def test_space_still_closes_a_group() -> None:
    async def run() -> None:
        async with opened(capture(LOST)) as (app, pilot):
            await press(pilot, "5")
            keys = app.query_one(KeyLine)
            assert "Open/close" in keys.render_line(0).text
            assert "▾ ✗ MF506" in shown(app)
            await press(pilot, "space")
            assert "▸ ✗ MF506" in shown(app)
            await press(pilot, "tab", "space")
            assert "▸ ✗ MF506" in shown(app)
            assert "Open/close" not in keys.render_line(0).text

    asyncio.run(run())


def test_an_explanation_has_its_room_from_the_first() -> None:
    async def run() -> None:
        async with opened(capture(LOST), (120, 40)) as (app, pilot):
            await press(pilot, "5")
            text = app.query_one("#findings TextPane Static")
            height = text.size.height
            await press(pilot, "j", "k")
            assert text.size.height == height

    asyncio.run(run())


def test_another_finding_is_read_from_its_beginning() -> None:
    async def run() -> None:
        async with opened(capture(LOST), (60, 20)) as (app, pilot):
            await press(pilot, "5", "tab", "G", "shift+tab", "j", "j")
            assert app.query_one("#findings TextPane", TextPane).scroll_y == 0

    asyncio.run(run())
