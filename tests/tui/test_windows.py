"""Windows fit into the terminal, and say how they are left and what can be done in them."""

from __future__ import annotations

import asyncio
import json
import re
from typing import TYPE_CHECKING

import pytest
from rich.style import Style
from rich.text import Text

from analyzer.migration.settings import Settings
from analyzer.tui.columns import Column, fit, row_segments
from analyzer.tui.dialogs.payload import PayloadScreen
from analyzer.tui.dialogs.tell import TellDialog, room_of
from analyzer.tui.document import Document
from analyzer.tui.lines import KeyLine
from analyzer.tui.row_list import RowList
from analyzer.tui.state import ALL
from analyzer.tui.text_pane import TextPane
from analyzer.tui.tree_list import TreeList, TreeRows
from dissectors.tree import Node
from tests.shipped import NAMES, capture
from tests.tui.driving import SMALL, opened, press, shown

if TYPE_CHECKING:
    from analyzer.tui.app import MfsharkApp

VFIO, TWO = "10.0.13-vfio-3dev-4ch", "10.0.13-vfio-two-vms-2ch-3ch"
LOST = "10.0.13-vfio-truncated-no-returnpath-2ch"


def keys_below(app: MfsharkApp) -> str:
    """The line of keys."""
    line = app.screen_stack[0].query_one(KeyLine)
    return line.render_line(0).text


@pytest.mark.parametrize("name", NAMES)
def test_where_the_time_went_fits(name: str) -> None:
    path = capture(name)
    document = Document(str(path), Settings())
    document.load(lambda: False)
    for width in (80, 120, 250):
        lines = [Text.from_ansi(line).cell_len for line in document.figures(ALL, room_of(width))]
        assert max(lines, default=0) <= room_of(width)


@pytest.mark.parametrize("size", [SMALL, (120, 40)])
def test_nothing_of_it_is_clipped(size: tuple[int, int]) -> None:
    async def run() -> None:
        async with opened(capture(VFIO), size) as (app, pilot):
            await press(pilot, "i")
            window = app.screen
            assert isinstance(window, TellDialog)
            (around,) = window.query(TextPane)
            assert around.virtual_size.width <= around.container_size.width
            text = str(window._text)
            assert "longest wait" in text
            assert "zero pages" in text
            if size == SMALL:
                assert text.count("0000:00:02.0/vfio") > 1

    asyncio.run(run())


def test_windows_say_how_they_are_left() -> None:
    ways = {
        ("y",): "esc Cancel",
        ("M",): "esc Cancel",
        ("colon",): "esc Cancel",
        ("ctrl+f",): "Other mode",
        ("e",): "Other mode",
        ("S",): "esc Cancel",
        ("v",): "esc Close",
        ("question_mark",): "esc Close",
        ("slash", *"channel==1", "enter", "b"): "esc Cancel",
    }

    async def run() -> None:
        async with opened(capture(TWO)) as (app, pilot):
            before = keys_below(app)
            for keys, below in ways.items():
                await press(pilot, *keys)
                assert "Esc closes" in shown(app)
                assert below in keys_below(app)
                assert "Filter" not in keys_below(app)
                await press(pilot, "escape")
                assert keys_below(app) == before

    asyncio.run(run())


@pytest.mark.parametrize("keys", [("ctrl+p",), ("T",), ("S",)])
def test_the_keys_below_are_those_of_what_is_on_top(keys: tuple[str, ...]) -> None:
    async def run() -> None:
        async with opened(capture(TWO)) as (app, pilot):
            before = keys_below(app)
            await press(pilot, *keys)
            assert keys_below(app).startswith(" esc ")
            assert "Other mode" not in keys_below(app)
            assert "Filter" not in keys_below(app)
            await press(pilot, "tab", "tab", "escape")
            assert len(app.screen_stack) == 1
            assert keys_below(app) == before

    asyncio.run(run())


def test_where_the_time_went_is_offered_below() -> None:
    async def run() -> None:
        async with opened(capture(VFIO)) as (app, pilot):
            for screen in "1245673":
                await press(pilot, screen)
                assert "i Downtime" in keys_below(app)

    asyncio.run(run())


def test_what_a_key_does_is_told_on_one_line() -> None:
    async def run() -> None:
        async with opened(capture(VFIO)) as (app, pilot):
            for screen in "1234567":
                await press(pilot, screen, "question_mark")
                assert isinstance(app.screen, TellDialog)
                room = app.screen.query_one("TextPane Static").size.width
                _, *keys = app.screen._text.plain.splitlines()
                assert max(map(len, keys)) <= room
                await press(pilot, "escape")

    asyncio.run(run())


def test_help_lists_a_key_once() -> None:
    async def run() -> None:
        async with opened(capture(VFIO), (100, 100)) as (app, pilot):
            await press(pilot, "7", "question_mark")
            assert "next record of this section" in shown(app)
            assert "Find next" not in shown(app)
            assert shown(app).count(" esc ") == 1
            await press(pilot, "escape", "1", "question_mark")
            assert "Find next" in shown(app)

    asyncio.run(run())


def test_a_row_is_shown_whole() -> None:
    async def run() -> None:
        async with opened(capture(LOST), (60, 24)) as (app, pilot):
            for screen in "23567":
                await press(pilot, screen, *(["tab"] if screen == "3" else []), "G")
                rows = app.focused
                assert isinstance(rows, RowList)
                texts = json.loads(rows.copied("json") or "")
                assert any(title not in rows.render_line(0).text for title in texts)
                await press(pilot, "w")
                assert isinstance(app.screen, TellDialog)
                text = str(app.screen._text)
                for title, value in texts.items():
                    if value.strip():
                        line = rf"^{re.escape(title)} +{re.escape(value.strip())}$"
                        assert re.search(line, text, re.MULTILINE)
                await press(pilot, "w")
                assert len(app.screen_stack) == 1

    asyncio.run(run())


def test_a_digest_is_shown_whole() -> None:
    async def run() -> None:
        async with opened(capture(VFIO), SMALL) as (app, pilot):
            await press(pilot, "2", "tab", "right", "p", *["down"] * 4)
            fields = app.focused
            assert isinstance(fields, TreeList)
            assert fields.node is not None
            assert fields.node.name == "sha256"
            digest = fields.node.value
            assert digest not in shown(app)
            await press(pilot, "enter")
            assert digest in shown(app)
            await press(pilot, "escape")
            assert isinstance(app.screen, PayloadScreen)

    asyncio.run(run())


def test_what_a_payload_holds_is_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        async with opened(capture(VFIO)) as (app, pilot):
            copied: list[str] = []
            monkeypatch.setattr(app, "copy_to_clipboard", copied.append)
            await press(pilot, "G", "p", "y", "t", "y", "j", "y", "h")
            text, fields, dump = copied
            assert "  sha256: " in text
            assert json.loads(fields)[0]["name"] == "Buffer"
            assert dump.startswith("00000000  ff ff")
            copied.clear()
            await press(pilot, "escape", "slash", *"multifd.normal_pages > 0", "enter", "p")
            await press(pilot, "y", "t", "y", "h")
            assert len(copied) == 2
            assert copied[1].startswith("00000000  ")

    asyncio.run(run())


def test_what_is_too_long_goes_on_over_empty_cells() -> None:
    columns = [Column("a", 4), Column("b", 4, right=True), Column("c", 4), Column("d", 4)]

    def line(*cells: str) -> str:
        segments = row_segments(cells, columns, fit(columns, 19), Style())
        return "".join(segment.text for segment in segments)

    assert line("abcdefgh", "", "", "x") == "abcdefgh       x    "
    assert line("abcdefgh", "", "c", "x") == "abcdefgh  c    x    "
    assert line("abcdefgh", "1", "", "x") == "abc…    1      x    "
    assert line("abcd", "", "", "x") == "abcd           x    "
    assert line("a" * 30, "", "", "") == "a" * 18 + "… "
    assert line("", "123456", "", "") == "     123…           "


def test_values_take_the_room_that_names_leave() -> None:
    uuid = "00000000-0000-0000-0000-000000000000"
    nodes = [Node("uuid", uuid, 8, 16, meaning="SMBIOS uuid of the guest; zero when it has none")]
    columns = TreeRows(nodes, set()).columns
    widths = {columns[at].title: width for at, width in fit(columns, 118)}
    assert widths["Value"] >= len(uuid)
    assert widths["Meaning"] > 22


def test_columns_with_nothing_in_them_give_way() -> None:
    columns = [Column("a", 10), Column("b", 10, filled=False), Column("c", 10, optional=9)]

    def titles(width: int) -> list[str]:
        return [columns[at].title for at, _ in fit(columns, width)]

    assert titles(32) == ["a", "b", "c"]
    assert titles(31) == ["a", "c"]
    assert titles(20) == ["a"]


@pytest.mark.parametrize(
    ("name", "columns"),
    [
        (
            VFIO,
            {
                "2": ["Bytes Waited"],
                "3": ["All bytes Share How it ended"],
                "6": ["Stream What From Bytes"],
            },
        ),
        (
            "10.0.13-vfio-gaps-2ch",
            {
                "2": ["Bytes Lost"],
                "3": ["Missing How it ended"],
                "6": ["Bytes Holes Missing Again Order End"],
            },
        ),
        (
            LOST,
            {
                "1": ["00000000-0000-0000-0000-000000000000"],
                "3": [
                    "Share How it ended",
                    "FIN in payload at 735.1 KiB",
                    "device state 1.00; bytes include 1 cut-off packet─",
                ],
            },
        ),
        (TWO, {"7": ["Mig Time Record Name Length What it carries"]}),
    ],
    ids=[VFIO, "gaps", LOST, TWO],
)
def test_a_small_terminal_shows_the_columns_that_matter(
    name: str, columns: dict[str, list[str]]
) -> None:
    async def run() -> None:
        async with opened(capture(name)) as (app, pilot):
            for screen, wanted in columns.items():
                await press(pilot, screen)
                text = shown(app)
                assert all(words in text for words in wanted)

    asyncio.run(run())


def test_a_hundred_columns_show_the_channel_of_a_finding() -> None:
    async def run() -> None:
        async with opened(capture("10.0.13-vfio-gaps-2ch"), (100, 30)) as (app, pilot):
            await press(pilot, "5")
            assert "219 multifd 0 1448 bytes missing" in shown(app)

    asyncio.run(run())


@pytest.mark.parametrize(
    ("window", "mode", "text", "told"),
    [
        ("colon", 0, "abc", "expected a number"),
        ("colon", 2, "late", "expected seconds since the start"),
        ("ctrl+f", 1, "1g", "expected pairs of hexadecimal digits"),
    ],
)
def test_what_is_expected_is_told(window: str, mode: int, text: str, told: str) -> None:
    async def run() -> None:
        async with opened(capture(VFIO)) as (app, pilot):
            await press(pilot, window, *["tab"] * mode, *text, "enter")
            assert told in shown(app)
            assert "Enter confirms" in shown(app)
            assert len(app.screen_stack) == 2
            await press(pilot, "escape")
            assert len(app.screen_stack) == 1

    asyncio.run(run())


def test_the_first_and_the_last_choice_have_the_keys_of_vim() -> None:
    async def run() -> None:
        async with opened(capture(VFIO)) as (app, pilot):
            await press(pilot, "s", "G", "enter")
            assert app.state.sorted_by.column == "notes"
            await press(pilot, "s", "g", "enter")
            assert app.state.sorted_by.column == "number"

    asyncio.run(run())
