"""What a key cannot do, or did otherwise than asked, is told."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from analyzer.tui import exporting
from analyzer.tui.dialogs.ask import AskDialog
from analyzer.tui.filter_line import FilterInput
from analyzer.tui.filters import Filters
from analyzer.tui.hex_pane import HexPane
from analyzer.tui.state import SCREENS
from analyzer.tui.views.main_channel import MainView
from tests.commands.run import mfshark
from tests.shipped import CAPTURES, capture
from tests.tui.driving import enter, opened, press, shown

if TYPE_CHECKING:
    from pathlib import Path

    from textual.widget import Widget

    from analyzer.tui.app import MfsharkApp

VFIO, TWO = "10.0.13-vfio-3dev-4ch", "10.0.13-vfio-two-vms-2ch-3ch"
IDSTR = "30303a30342e30"


def told(app: MfsharkApp) -> str:
    """What the status line says until the next key."""
    return app._told.plain if app._told is not None else ""


def test_what_hides_a_packet_is_named() -> None:
    async def run() -> None:
        async with opened(capture(TWO)) as (app, pilot):
            await press(pilot, "M", "1", "colon")
            await enter(pilot, "3")
            assert told(app) == "packet 3 belongs to migration 0; M chooses which is shown"
            await press(pilot, "M", "a", "slash")
            await enter(pilot, "number > 5")
            await press(pilot, "colon")
            await enter(pilot, "3")
            assert told(app) == "packet 3 is hidden by the filter; X shows all"

    asyncio.run(run())


def test_bytes_that_were_found_are_marked_and_in_sight() -> None:
    async def run() -> None:
        async with opened(capture(VFIO)) as (app, pilot):
            await press(pilot, "ctrl+f", "tab")
            await enter(pilot, IDSTR)
            pane = app.view.query_one(HexPane)
            assert told(app).startswith(f"found in packet {app.state.row + 1} at byte ")
            offset, size = pane.field
            assert pane.data[offset : offset + size] == bytes.fromhex(IDSTR)
            assert f"at byte {offset} ({offset:#x})" in told(app)
            line = offset // pane._per_line
            assert 0 <= line - pane.scroll_target_y < pane.size.height
            first = app.state.row
            await press(pilot, "N")
            assert app.state.row > first
            assert told(app).endswith(", wrapped around to the end")
            await press(pilot, "n")
            assert app.state.row == first
            assert told(app).endswith(", wrapped around to the beginning")
            offset, size = pane.field
            assert pane.data[offset : offset + size] == bytes.fromhex(IDSTR)
            await press(pilot, "ctrl+f")
            window = app.screen
            assert isinstance(window, AskDialog)
            assert window.mode == "hex bytes"
            assert IDSTR in shown(app)
            await enter(pilot, "99 88 77 66 55 44 33 22 11")
            assert told(app) == "99 88 77 66 55 44 33 22 11 not found"
            await press(pilot, "7", "ctrl+f")
            await enter(pilot, "no such record")
            assert told(app) == "no such record not found"

    asyncio.run(run())


def test_the_filter_line_says_how_to_undo_the_filter() -> None:
    async def run() -> None:
        async with opened(capture(VFIO)) as (app, pilot):
            assert "X shows all" not in shown(app)
            await press(pilot, "f")
            assert "of 134 X shows all" in shown(app)
            await press(pilot, "slash")
            assert "X shows all" not in shown(app)
            await press(pilot, "escape", "X")
            assert "134 packets" in shown(app)
            assert "X shows all" not in shown(app)

    asyncio.run(run())


def test_the_next_place_is_given_as_the_last_one_was() -> None:
    async def run() -> None:
        async with opened(capture(VFIO)) as (app, pilot):
            await press(pilot, "ctrl+g", "tab")
            await enter(pilot, "20")
            frames = app.document.table.column("frame")
            assert frames[app.state.row] == 20
            await press(pilot, "2", "colon")
            await enter(pilot, "108")
            assert frames[app.state.row] == 108

    asyncio.run(run())


@pytest.mark.parametrize("screen", ["1", "7"])
def test_bytes_are_found_by_the_text_that_they_are(screen: str) -> None:
    async def run() -> None:
        async with opened(capture(VFIO)) as (app, pilot):
            await press(pilot, screen, "ctrl+f", "tab", "tab")
            await enter(pilot, "04.0/vfio")
            pane = app.view.query_one(HexPane)
            offset, size = pane.field
            assert pane.data[offset : offset + size] == b"04.0/vfio"
            assert f"at byte {offset} ({offset:#x})" in told(app)
            await press(pilot, "ctrl+f", *["backspace"] * 9)
            await enter(pilot, "04.0/Vfio")
            assert told(app) == "04.0/Vfio not found"

    asyncio.run(run())


def test_the_ending_of_a_file_chooses_what_is_exported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    async def run() -> None:
        async with opened(capture(VFIO)) as (app, pilot):
            await press(pilot, "e", "ctrl+u")
            await enter(pilot, "foo.pcapng")
            assert (tmp_path / "foo.pcapng").read_bytes()[:4] == bytes.fromhex("0a0d0d0a")
            await press(pilot, "e", "ctrl+u", *"x.csv")
            window = app.screen
            assert isinstance(window, AskDialog)
            assert window.mode == "csv"
            await press(pilot, "tab")
            assert window.mode == "jsonl"
            await press(pilot, "enter")
            assert (tmp_path / "x.jsonl").read_text().startswith("{")
            await press(pilot, "e", "ctrl+u")
            await enter(pilot, "without")
            assert (tmp_path / "without").is_file()

    asyncio.run(run())
    assert [exporting.format_of(name) for name in ("a.PCAPNG", "a.b", "csv.d/a", "")] == [
        "pcapng",
        None,
        None,
        None,
    ]


@pytest.mark.parametrize("key", ["tab", "shift+tab"])
def test_tab_goes_around_the_panes_and_not_into_the_filter(key: str) -> None:
    async def run() -> None:
        async with opened(capture(VFIO)) as (app, pilot):
            for number in range(1, len(SCREENS) + 1):
                await press(pilot, str(number))
                home = app.focused
                assert home is not None
                seen: list[Widget | None] = []
                while not seen or app.focused is not home:
                    await press(pilot, key)
                    seen.append(app.focused)
                    assert not isinstance(app.focused, FilterInput)
                    assert len(seen) < 9
                others = [p for p in app.screen.focus_chain if not isinstance(p, FilterInput)]
                assert len(seen) == len(others)

    asyncio.run(run())


def test_a_place_that_does_not_exist() -> None:
    places = [  # Tab presses from the mode of the one before, which is remembered
        (0, "9999", "there is no packet 9999, the last is 134"),
        (0, "0", "there is no packet 0, the last is 134"),
        (1, "99999", "there is no frame 99999, the last is "),
        (1, "99", "there is no frame at 99: the capture has 0."),
        (0, "-1", "there is no frame at -1: the capture has 0."),
        (1, "134", ""),
        (1, "1", ""),
        (1, "0.1", ""),
    ]

    async def run() -> None:
        async with opened(capture(VFIO)) as (app, pilot):
            for tabs, text, words in places:
                app._told = None
                await press(pilot, "colon", *["tab"] * tabs)
                await enter(pilot, text)
                assert told(app).startswith(words)
                assert bool(told(app)) == bool(words)

    asyncio.run(run())


def test_keys_that_do_nothing_say_why() -> None:
    async def run() -> None:
        async with opened(capture(VFIO)) as (app, pilot):
            await press(pilot, "D")
            assert told(app) == "this packet belongs to no device"
            await press(pilot, "2", "1", "g", "D")
            assert (told(app), app.state.screen) == ("this packet belongs to no device", "packets")
            await press(pilot, "G", "D")
            assert app.state.screen == "devices"
            await press(pilot, "M")
            assert told(app) == "there is only one migration"
            for screen in "3456":
                await press(pilot, screen, "p")
                assert told(app) == "p is a key of Packets and Devices: show the payload"
                await press(pilot, "d")
                assert told(app).startswith("d is a key of Packets: ")
            for screen in "45":
                await press(pilot, screen, "f")
                assert told(app).startswith("f is a key of Packets, Devices, Channels and Streams")
            await press(pilot, "2", "f", "1", "p")
            assert "is a key of" not in told(app)

    asyncio.run(run())


def test_keys_about_packets_say_why_there_are_none() -> None:
    why = "no multifd packets: all of the migration went over its main channel; see Main (7)"

    async def run() -> None:
        async with opened(capture("7.2-plain-tcp-nomultifd")) as (app, pilot):
            for key in "fdDpm":
                await press(pilot, key)
                assert told(app) == why
            await press(pilot, "e")
            assert told(app) == f"nothing to export: {why}"
        async with opened(capture(VFIO)) as (app, pilot):
            await press(pilot, "slash")
            await enter(pilot, "length > 1G")
            await press(pilot, "e")
            assert told(app) == "nothing to export: no packet matches the filter"

    asyncio.run(run())


@pytest.mark.parametrize("name", ["missing", "empty", "locked"])
def test_what_cannot_be_opened_opens_no_interface(name: str, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    (tmp_path / "locked").mkdir()
    (tmp_path / "locked" / "x").touch()
    path = tmp_path / (name if name != "locked" else "locked/x/y")
    ran = mfshark("tui", str(path))
    assert ran.status == 2
    assert str(path) in ran.err
    assert "terminal" not in ran.err


def test_the_status_says_that_it_was_no_capture(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("this is no capture")

    async def run(path: Path, status: int) -> None:
        async with opened(path) as (app, pilot):
            await pilot.press("q")
            await pilot.pause()
            assert app.return_value == status

    asyncio.run(run(tmp_path / "text", 2))
    asyncio.run(run(capture(VFIO), 0))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("kind == zero", "; zero is kind == ram && multifd.normal_pages == 0"),
        ("kind == CONFIG", "; CONFIG is vfio.flags.config_state"),
        ('kind in {"DEVICE"}', "; DEVICE is kind == device-state"),
        ("kind == SYNC", "; SYNC is kind == sync"),
        ("kind == other", "expected ram, sync, device-state or init"),
        ("severity == zero", "expected none, info, warning or error"),
    ],
)
def test_the_words_of_the_list_are_told_as_filters(text: str, words: str) -> None:
    fault = Filters().complain(text)
    assert fault is not None
    assert fault[1].endswith(words)
    if " is " in words:
        assert Filters().complain(words.partition(" is ")[2]) is None


@pytest.mark.parametrize(
    ("text", "hinted"),
    [
        ("time > 0.3", True),
        ("time in {0.3..0.4}", True),
        ("0.3 < time", True),
        ("kind == ram && time le 5", True),
        ("time.relative > 0.3", False),
        ("time > 1700000000", False),
        ('time > "2026-01-01"', False),
        ('device == "time > 0.3"', False),
        ("1" * 100_000, False),
    ],
)
def test_a_time_that_counts_from_1970_is_told(text: str, hinted: bool) -> None:
    assert ("time.relative" in Filters().hint(text)) == hinted


def test_the_hint_is_told_while_it_is_typed_and_when_it_is_applied() -> None:
    async def run() -> None:
        async with opened(capture(VFIO)) as (app, pilot):
            await press(pilot, "slash", *"time > 0.3")
            assert "time.relative is in seconds" in told(app)
            await press(pilot, "enter")
            assert "time.relative is in seconds" in told(app)

    asyncio.run(run())


def test_a_time_format_is_told_with_the_screen_that_shows_it() -> None:
    async def run() -> None:
        async with opened(capture(VFIO)) as (app, pilot):
            await press(pilot, "t")
            assert told(app) == "time of day, UTC"
            await press(pilot, "4", "t")
            assert told(app).startswith("Packets shows time since the previous packet; ")

    asyncio.run(run())


def test_bytes_are_found_in_records_too() -> None:
    async def run() -> None:
        async with opened(capture(VFIO)) as (app, pilot):
            await press(pilot, "7", "ctrl+f", "tab")
            await enter(pilot, IDSTR)
            view = app.view
            assert isinstance(view, MainView)
            pane = view.query_one(HexPane)

            def place() -> tuple[int, int]:
                rows, at = view.rows, pane.field[0]
                assert rows is not None
                assert pane.data[at : at + pane.field[1]] == bytes.fromhex(IDSTR)
                assert told(app) == f"found at byte {at} ({at:#x}) of the record"
                return view.records.cursor, rows.lines[view.records.cursor].offset

            first = place()
            await press(pilot, "n")
            assert place() > first
            await press(pilot, "N")
            assert place() == first
            await press(pilot, "ctrl+f")
            assert IDSTR in shown(app)
            await enter(pilot, "99 88 77 66 55 44 33")
            assert told(app) == "99 88 77 66 55 44 33 not found"
            assert view.records.cursor == first[0]

    asyncio.run(run())


def test_keys_that_change_nothing_say_why() -> None:
    async def run() -> None:
        async with opened(capture(VFIO)) as (app, pilot):
            for key, words in (
                ("X", "all packets are shown; no filter is applied"),
                ("r", "read again: 134 packets"),
                ("ctrl+c", "q quits"),
                ("plus", "+ is a key of Channels and Timeline: zoom in"),
            ):
                await press(pilot, key)
                assert told(app) == words
        async with opened(CAPTURES / "10.0.13-file-plain.mig.gz") as (app, pilot):
            await press(pilot, "r")
            assert told(app) == "read again"
        async with opened(None) as (app, pilot):
            await press(pilot, "escape", "r")
            assert told(app) == "no capture is open; o opens one"

    asyncio.run(run())
