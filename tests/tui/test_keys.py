"""Key paths, as users take them."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from analyzer.tui.device_facts import BufferRows
from analyzer.tui.dialogs.help import HelpScreen
from analyzer.tui.hex_pane import HexPane
from analyzer.tui.palette import DEFAULT
from analyzer.tui.row_list import RowList
from analyzer.tui.state import SCREENS, TIME_FORMATS
from analyzer.tui.tree_list import TreeList
from analyzer.tui.views.devices import DevicesView
from analyzer.tui.views.packets import PacketsView
from tests.shipped import capture
from tests.tui.driving import LARGE, SMALL, drive, enter, listed_rows, opened, press, settle, shown

if TYPE_CHECKING:
    from pathlib import Path

    from textual.pilot import Pilot

    from analyzer.tui.app import MfsharkApp


VFIO = "10.0.13-vfio-3dev-4ch"
GAPS = "10.0.13-vfio-gaps-2ch"


def test_every_screen_has_its_key() -> None:
    async def path(app: MfsharkApp, pilot: Pilot[int]) -> None:
        for number, screen in enumerate(SCREENS, 1):
            await press(pilot, str(number))
            assert app.state.screen == screen
            assert app.view.display
            assert app.focused is not None

    drive(VFIO, path)


def test_moving_in_the_list() -> None:
    async def path(app: MfsharkApp, pilot: Pilot[int]) -> None:
        last = len(app.document.table) - 1
        for keys, row in (
            (("j", "down"), 2), (("k",), 1), (("G",), last), (("g",), 0), (("end",), last),
            (("home",), 0),
        ):  # fmt: skip
            await press(pilot, *keys)
            assert app.state.row == row
        await press(pilot, "pagedown")
        assert app.state.row > 2

    drive(VFIO, path)


def test_a_selected_packet_is_selected_on_every_screen() -> None:
    async def path(app: MfsharkApp, pilot: Pilot[int]) -> None:
        kinds = app.document.table.view("kind").tolist()
        row = kinds.index(2)
        await press(pilot, "ctrl+g")
        await enter(pilot, str(row + 1))
        assert app.state.row == row
        stream = app.document.table.column("stream")[row]
        await press(pilot, "2")
        rows = app.query_one("#buffers", RowList)
        assert app.state.device is not None
        assert app.state.index == app.document.table.column("idx")[row]
        assert isinstance(rows.rows, BufferRows)
        assert rows.rows.index(rows.cursor) == app.state.index
        await press(pilot, "6")
        current = app.view.current  # type: ignore[attr-defined]
        assert current.number == stream
        assert app.state.time == app.document.table.column("time")[row]

    drive(VFIO, path)


def test_from_a_device_to_its_packet() -> None:
    async def path(app: MfsharkApp, pilot: Pilot[int]) -> None:
        await press(pilot, "2", "j", "enter", "right", "right", "enter")
        assert app.state.screen == "packets"
        table, row = app.document.table, app.state.row
        assert table.row(row).device == "0000:00:03.0/vfio#0"
        assert table.column("idx")[row] == app.state.index == 2

    drive(VFIO, path)


def test_go_to_frame_and_time() -> None:
    async def path(app: MfsharkApp, pilot: Pilot[int]) -> None:
        table = app.document.table
        await press(pilot, "colon", "tab")
        await enter(pilot, str(table.column("end_frame")[20]))
        assert table.column("end_frame")[app.state.row] == table.column("end_frame")[20]
        await press(pilot, "ctrl+g", "tab")
        await enter(pilot, "0.2")
        assert table.column("end_time")[app.state.row] >= app.document.start + 200_000_000
        await press(pilot, "ctrl+g")
        await enter(pilot, "nonsense")
        assert len(app.screen_stack) == 2  # the dialog stays and says what is wrong
        await press(pilot, "escape")
        assert len(app.screen_stack) == 1

    drive(VFIO, path)


def test_fields_and_bytes_are_linked() -> None:
    async def path(app: MfsharkApp, pilot: Pilot[int]) -> None:
        await press(pilot, "G", "enter")
        tree = app.view.query_one(TreeList)
        pane = app.view.query_one(HexPane)
        assert tree.has_focus
        await press(pilot, "down", "down", "down")
        assert tree.node is not None
        assert (tree.node.name, pane.field) == ("flags", (8, 4))
        await press(pilot, "tab", "right", "right", "right", "right")
        assert pane.has_focus
        assert tree.node.name == "idstr"
        assert pane.cursor == 12

    drive(VFIO, path)


def test_tree_opens_and_closes() -> None:
    async def path(app: MfsharkApp, pilot: Pilot[int]) -> None:
        await press(pilot, "G", "tab")
        tree = app.view.query_one(TreeList)
        lines = len(tree.rows)
        await press(pilot, "left")
        assert len(tree.rows) < lines
        await press(pilot, "right")
        assert len(tree.rows) == lines
        await press(pilot, "E")
        assert len(tree.rows) > lines
        await press(pilot, "C")
        assert len(tree.rows) == len(tree.nodes)

    drive(VFIO, path)


def test_filter_by_hand_by_field_by_channel_by_device() -> None:
    async def path(app: MfsharkApp, pilot: Pilot[int]) -> None:
        table = app.document.table
        await press(pilot, "slash")
        await enter(pilot, "vfio.idx > 1 && channel == 3")
        wanted = [
            row
            for row in range(len(table))
            if table.column("idx")[row] > 1 and table.column("channel")[row] == 3
        ]
        assert listed_rows(app) == wanted
        await press(pilot, "d")
        assert app.state.filter.startswith("device == ")
        assert len({table.row(row).device for row in listed_rows(app)}) == 1
        await press(pilot, "X")
        assert len(listed_rows(app)) == len(table)
        await press(pilot, "g", "f")
        assert len({table.column("stream")[row] for row in listed_rows(app)}) == 1
        await press(pilot, "X", "G")
        await press(pilot, "tab", "down", "down", "down", "a")
        assert app.state.filter == "multifd.flags == 0x40"

    drive(VFIO, path)


def test_filter_line_complains_completes_and_remembers(tmp_path: Path) -> None:
    store = tmp_path / "state" / "filters.json"

    async def path(app: MfsharkApp, pilot: Pilot[int]) -> None:
        line = app.view.query_one("#filter")
        await pilot.press("slash", *"vfio.i")
        await press(pilot, "tab")
        assert line.value == "vfio.idx"  # type: ignore[attr-defined]
        assert line.has_class("-good")
        await pilot.press(*" =")
        await press(pilot, "enter")
        assert line.has_class("-bad")
        assert line.has_focus
        await press(pilot, "escape")
        assert line.value == ""  # type: ignore[attr-defined]
        await press(pilot, "slash")
        await enter(pilot, "kind == sync")
        await press(pilot, "slash", "ctrl+u")
        await enter(pilot, "kind == ram")
        await press(pilot, "slash", "up", "up")
        assert line.value == "kind == sync"  # type: ignore[attr-defined]
        await press(pilot, "ctrl+s", "escape")
        assert app.filters.saved == ["kind == sync"]
        await press(pilot, "b", "enter")
        assert app.state.filter in ("kind == sync", "kind == ram")

    drive(VFIO, path, store=store)
    kept = json.loads(store.read_text())
    assert kept["saved"] == ["kind == sync"]
    assert set(kept["history"]) == {"kind == sync", "kind == ram"}


def test_find_text_and_bytes() -> None:
    async def path(app: MfsharkApp, pilot: Pilot[int]) -> None:
        table = app.document.table
        await press(pilot, "ctrl+f")
        await enter(pilot, "03.0/vfio")
        first = app.state.row
        assert table.row(first).device == "0000:00:03.0/vfio#0"
        await press(pilot, "n")
        assert app.state.row > first
        await press(pilot, "N")
        assert app.state.row == first
        await press(pilot, "ctrl+f", "tab")
        await enter(pilot, "51 45 56 4d 99 99 99")
        assert app.state.row == first
        await press(pilot, "g", "ctrl+f")
        await enter(pilot, "11223344 00000001 00000040")
        assert table.column("kind")[app.state.row] == 2

    drive(VFIO, path)


def test_a_guests_uuid_is_shown_and_found_as_others_write_it() -> None:
    async def path(app: MfsharkApp, pilot: Pilot[int]) -> None:
        assert "uuid 8f0c2a4e-1b3d-4c5f-9a7e-0123456789ab" in shown(app)
        await press(pilot, "G", "ctrl+f")
        await enter(pilot, "4c5f-9a7e")
        assert app.state.row == 0

    drive("10.0.13-uuid-name-2ch", path, (120, 40))


def test_text_is_not_looked_for_in_the_hexadecimal_digits_of_names() -> None:
    async def path(app: MfsharkApp, pilot: Pilot[int]) -> None:
        assert "7" in b"pc.ram".hex()
        await press(pilot, "ctrl+f")
        await enter(pilot, "7")
        assert app.document.table.column("packet_num")[app.state.row] == 7

    drive(VFIO, path)


@pytest.mark.parametrize("word", ["CONFIG", "zero"])
def test_the_words_of_the_list_are_found(word: str) -> None:
    async def path(app: MfsharkApp, pilot: Pilot[int]) -> None:
        rows = app.query_one(PacketsView).rows
        assert rows is not None
        kind = [column.title for column in rows.columns].index("Kind")
        words = [rows.row(row, DEFAULT)[0][kind] for row in range(len(rows))]
        wanted = [row for row, shown_as in enumerate(words) if shown_as == word]
        assert wanted
        await press(pilot, "ctrl+f")
        await enter(pilot, word.lower())
        for row in wanted:
            assert app.state.row == row
            await press(pilot, "n")
        assert app.state.row == wanted[0]

    drive("11.1.3-vfio-2dev-8ch", path)


def test_marks_and_time_formats() -> None:
    async def path(app: MfsharkApp, pilot: Pilot[int]) -> None:
        await press(pilot, "j", "m", "j", "j", "m", "j", "apostrophe")
        assert app.state.row == 1
        await press(pilot, "quotation_mark")
        assert app.state.row == 3
        await press(pilot, "m")
        assert app.state.marks == {1}
        rows = app.query_one(PacketsView).rows
        assert rows is not None
        seen = set()
        for _ in TIME_FORMATS:
            rows = app.query_one(PacketsView).rows
            assert rows is not None
            seen.add(rows.time(rows.number(9), 9))
            await press(pilot, "t")
        assert len(seen) == len(TIME_FORMATS)

    drive(VFIO, path)


def test_findings_lead_to_their_place() -> None:
    async def path(app: MfsharkApp, pilot: Pilot[int]) -> None:
        await press(pilot, "5")
        findings = app.view.query_one("#finding-list", RowList)
        before = len(findings.rows)
        assert before
        await press(pilot, "space")
        assert len(findings.rows) != before
        await press(pilot, "space", "down", "enter")
        assert app.state.screen != "findings"
        await press(pilot, "1", "g", "right_square_bracket")
        assert app.state.row in app.document.by_row
        there = app.state.row
        await press(pilot, "right_square_bracket", "left_square_bracket")
        assert app.state.row == there

    drive(GAPS, path)


def test_time_axis_zooms_and_points() -> None:
    async def path(app: MfsharkApp, pilot: Pilot[int]) -> None:
        await press(pilot, "4", "plus")
        assert app.state.window is not None
        narrow = app.state.window
        await press(pilot, "L")
        assert app.state.window[0] > narrow[0]
        await press(pilot, "0")
        assert app.state.window is None
        await press(pilot, "right", "right", "right")
        assert app.state.time > app.document.start
        await press(pilot, "3", *["up"] * 9, "down", "down", "enter")
        assert app.state.screen == "packets"
        assert app.document.table.column("channel")[app.state.row] == 1

    drive(VFIO, path)


def test_main_channel_is_decoded() -> None:
    async def path(app: MfsharkApp, pilot: Pilot[int]) -> None:
        await press(pilot, "7", "down")
        tree = app.view.query_one(TreeList)
        assert [node.name for node in tree.nodes][:1] == ["type"]
        assert "pc-q35" in " ".join(node.value for node in tree.nodes)
        records = app.view.query_one("#records", RowList)
        await press(pilot, "down", "down", "n")
        assert records.cursor > 3

    drive(VFIO, path)


def test_streams_tell_who_reset_a_connection() -> None:
    async def path(app: MfsharkApp, pilot: Pilot[int]) -> None:
        await press(pilot, "6")
        text = shown(app)
        assert text.count("(RST)") > 0
        await press(pilot, "G")
        assert "reset by the other side in frame" in shown(app)

    drive("10.0.13-vfio-destination-killed-2ch", path)


def test_help_palette_and_maximising() -> None:
    async def path(app: MfsharkApp, pilot: Pilot[int]) -> None:
        await press(pilot, "question_mark")
        assert isinstance(app.screen, HelpScreen)
        await press(pilot, "j", "escape")
        await press(pilot, "ctrl+p")
        assert len(app.screen_stack) == 2
        await press(pilot, "escape")

    drive(VFIO, path)


def test_palette_has_what_the_screen_can_do() -> None:
    async def path(app: MfsharkApp, pilot: Pilot[int]) -> None:
        await press(pilot, "2")
        before = app.query_one(DevicesView).by_index
        await press(pilot, "ctrl+p", *"buffers by")
        await pilot.pause(0.5)  # it looks for commands in a task of its own
        await press(pilot, "enter")
        await pilot.pause(0.1)
        assert len(app.screen_stack) == 1
        assert app.query_one(DevicesView).by_index is not before

    drive(VFIO, path)


def test_switches_migrations() -> None:
    async def path(app: MfsharkApp, pilot: Pilot[int]) -> None:
        assert len(app.document.migrations()) == 2
        await press(pilot, "M", "1")
        assert app.state.migration == 1
        numbers = {app.document.table.column("migration")[row] for row in listed_rows(app)}
        assert numbers == {1}
        await press(pilot, "M", "a")
        assert len(listed_rows(app)) == len(app.document.table)

    drive("10.0.13-cancel-then-retry-2ch", path)


def test_view_survives_reloading_a_file_that_grew(tmp_path: Path) -> None:
    whole = capture("10.0.13-alpha-8k-pages-2ch").read_bytes()
    path = tmp_path / "growing.pcapng"
    path.write_bytes(whole[: len(whole) // 2])

    async def run() -> None:
        async with opened(path) as (app, pilot):
            await press(pilot, "slash")
            await enter(pilot, "kind == ram")
            await press(pilot, "j", "j", "m")
            before, row = len(app.document.table), app.state.row
            path.write_bytes(whole)
            await press(pilot, "r")
            assert len(app.document.table) > before
            assert (app.state.row, app.state.marks) == (row, {row})
            assert app.state.filter == "kind == ram"
            assert row in listed_rows(app)

    asyncio.run(run())


def test_nothing_is_selected_behind_the_end_of_a_file_that_was_replaced(tmp_path: Path) -> None:
    whole = capture("10.0.13-alpha-8k-pages-2ch").read_bytes()
    path = tmp_path / "replaced.pcapng"
    path.write_bytes(whole)

    async def run() -> None:
        async with opened(path) as (app, pilot):
            await press(pilot, "m", "end", "m", "6")
            path.write_bytes(whole[: len(whole) // 2])
            await press(pilot, "r")
            assert app.state.row == len(app.document.table) - 1
            assert app.state.marks == {0}

    asyncio.run(run())


def test_a_packet_that_was_cut_off_keeps_its_mark_when_it_is_whole(tmp_path: Path) -> None:
    """Its row is another one by then."""
    data = capture(VFIO).read_bytes()
    growing = tmp_path / "growing.pcapng"
    growing.write_bytes(data[:3_000_000])

    async def run() -> None:
        async with opened(growing) as (app, pilot):
            await press(pilot, "end", "m", "up", "m", "home", "m", "end")
            before = {app.document.table.row(row).offset for row in app.state.marks}
            marks, offset = set(app.state.marks), app.document.table.row(app.state.row).offset
            assert app.document.table.row(app.state.row).cut
            growing.write_bytes(data)
            await press(pilot, "r")
            assert app.state.marks != marks
            assert {app.document.table.row(row).offset for row in app.state.marks} == before
            assert app.document.table.row(app.state.row).offset == offset

    asyncio.run(run())


def test_follows_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("analyzer.tui.app.FOLLOW_PAUSE", 0.0)
    whole = capture("10.0.13-alpha-8k-pages-2ch").read_bytes()
    path = tmp_path / "growing.pcapng"
    path.write_bytes(whole[: len(whole) // 2])

    async def run() -> None:
        async with opened(path) as (app, pilot):
            await press(pilot, "G", "F")
            before = len(app.document.table)
            path.write_bytes(whole)
            for _ in range(100):
                await pilot.pause(0.05)
                if len(app.document.table) > before:
                    break
            await press(pilot, "F")
            assert len(app.document.table) > before
            assert app.state.row == len(app.document.table) - 1

    asyncio.run(run())


def test_saved_filters_can_be_deleted(tmp_path: Path) -> None:
    store = tmp_path / "filters.json"
    store.write_text('{"history": ["kind == ram"], "saved": ["channel == 1", "channel == 2"]}')

    async def run() -> None:
        async with opened(capture(VFIO), store=store) as (app, pilot):
            await press(pilot, "b", "j", "d")
            assert app.filters.saved == ["channel == 1"]
            await press(pilot, "d")  # the next one is an earlier filter
            assert app.filters.history == []
            await press(pilot, "d")  # no filter cannot be deleted
            await press(pilot, "k", "enter")
            assert app.state.filter == "channel == 1"

    asyncio.run(run())
    assert "channel == 2" not in store.read_text()


def test_the_cursor_stays_in_sight_whatever_the_height() -> None:
    """At the end a greater height scrolls back, and a smaller one has to scroll on again."""

    async def run() -> None:
        async with opened(capture(VFIO)) as (app, pilot):
            packets, hexadecimal = app.query_one(PacketsView).packets, app.view.query_one(HexPane)

            def in_sight() -> bool:
                row = packets.cursor - round(packets.scroll_y)
                line = hexadecimal.cursor // hexadecimal._per_line - round(hexadecimal.scroll_y)
                height = hexadecimal.scrollable_content_region.height
                return 0 <= row < packets._page and 0 <= line < height

            await press(pilot, "G")
            await press(pilot, "tab", "tab", "G")
            for pane in (packets, hexadecimal):
                pane.focus()
                await press(pilot, "z", "z")
                assert in_sight()
            for size in (LARGE, SMALL, (60, 20), LARGE):
                await pilot.resize_terminal(*size)
                await settle(pilot)
                assert in_sight()

    asyncio.run(run())


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_every_pane_can_have_the_whole_screen(size: tuple[int, int]) -> None:
    async def run() -> None:
        async with opened(capture(GAPS), size) as (app, pilot):
            for number in range(1, len(SCREENS) + 1):
                await press(pilot, str(number))
                for pane in [pane for pane in app.screen.focus_chain if pane.id != "filter"]:
                    before = pane.outer_size
                    pane.focus()
                    await press(pilot, "z")
                    assert pane.outer_size == app.view.size
                    assert "z restores the screen" in shown(app)
                    await press(pilot, "z")
                    assert pane.outer_size == before
                await press(pilot, "z", "slash")
                assert not app.view.zoomed
                assert app.query_one("#filter").has_focus
                await press(pilot, "escape", "z", "2")
                assert not app.query(".-zoomed")

    asyncio.run(run())


def test_escape_goes_back_to_where_the_screen_begins() -> None:
    async def use(app: MfsharkApp, pilot: Pilot[int]) -> None:
        for screen in "1234567":
            await press(pilot, screen)
            begin = app.focused
            await press(pilot, "shift+tab", "z")
            assert app.view.zoomed
            await press(pilot, "escape")
            assert not app.view.zoomed
            if screen != "4":  # it has a single pane
                assert app.focused is not begin
            await press(pilot, "escape")
            assert app.focused is begin

    drive("10.0.13-vfio-gaps-2ch", use)
