"""Whatever can be pointed at can be clicked."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from textual.events import MouseScrollDown, MouseScrollUp

from analyzer.tui.field_panes import FieldPanes
from analyzer.tui.filter_line import FilterLine
from analyzer.tui.hex_pane import HexPane
from analyzer.tui.lines import TITLES, KeyLine, TabLine
from analyzer.tui.panes import MapPane
from analyzer.tui.row_list import RowList
from analyzer.tui.state import SCREENS
from analyzer.tui.time_panes import LABEL, LanesPane, ThroughputPane
from analyzer.tui.tree_list import TreeList
from tests.shipped import capture
from tests.tui.driving import LARGE, opened, press, settle

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from textual.pilot import Pilot
    from textual.widget import Widget

    from analyzer.tui.app import MfsharkApp

    Drive = Callable[[MfsharkApp, Pilot[int]], Awaitable[None]]

NAME = "10.0.13-vfio-3dev-4ch"


def run(drive: Drive, size: tuple[int, int] = (80, 24)) -> None:
    async def main() -> None:
        async with opened(capture(NAME), size) as (app, pilot):
            await drive(app, pilot)

    asyncio.run(main())


async def click(pilot: Pilot[int], widget: Widget, x: int, y: int, times: int = 1) -> None:
    await pilot.click(widget, offset=(x, y), times=times)
    await settle(pilot)


async def wheel(pilot: Pilot[int], widget: Widget, event: Any, offset: tuple[int, int]) -> None:
    await pilot._post_mouse_events([event], widget, offset)
    await settle(pilot)


def test_a_click_selects_a_row_and_a_second_one_opens_it() -> None:
    async def drive(app: MfsharkApp, pilot: Pilot[int]) -> None:
        packets = app.view.query_one("#packet-list", RowList)
        await click(pilot, packets, 10, 4)
        assert app.state.row == 3
        await click(pilot, packets, 0, 0)  # the header is no row
        assert app.state.row == 3
        await click(pilot, packets, 10, 5, times=2)
        assert (app.state.row, app.focused) == (4, app.view.query_one(TreeList))

    run(drive)


def test_a_click_on_a_tab_opens_its_screen() -> None:
    async def drive(app: MfsharkApp, pilot: Pilot[int]) -> None:
        at = 1
        for screen, title in zip(SCREENS, TITLES, strict=True):
            await click(pilot, app.screen.query_one(TabLine), at + 2, 0)
            assert app.state.screen == screen
            at += len(title) + 4

    run(drive)


def test_keys_in_the_last_line() -> None:
    async def drive(app: MfsharkApp, pilot: Pilot[int]) -> None:
        line = app.screen.query_one(KeyLine)
        text = line.render_line(0).text
        await click(pilot, line, text.index("Mark"), 0)
        assert app.state.marks == {0}

    run(drive, LARGE)


def test_fields_and_bytes() -> None:
    async def drive(app: MfsharkApp, pilot: Pilot[int]) -> None:
        await press(pilot, "end")
        await click(pilot, app.view.query_one("#packet-list", RowList), 10, 4)
        panes = app.view.query_one(FieldPanes)
        tree, pane = panes.fields, panes.bytes
        await click(pilot, pane, 10 + 3 * 5, 1)  # byte 5, in the line under the border
        assert tree.node is not None
        assert (tree.node.name, pane.cursor) == ("version", 5)
        per_line = pane._per_line
        await click(pilot, pane, 10 + 3 * per_line + per_line // 8 + 1 + 2, 1)  # as ASCII
        assert (tree.node.name, pane.cursor) == ("magic", 2)
        await click(pilot, tree, 6, 1 + tree.cursor + 2 - round(tree.scroll_y))
        assert tree.node.name == "flags"
        assert pane.field == (tree.node.offset, tree.node.size)

    run(drive)


def test_cells_of_the_map_and_buffers() -> None:
    async def drive(app: MfsharkApp, pilot: Pilot[int]) -> None:
        await press(pilot, "2")
        pane = app.view.query_one(MapPane)
        layout = pane._layout_now
        await click(pilot, pane, 2 * layout.cell, 2)  # under border and legend
        assert app.state.index == 2
        buffers = app.view.query_one("#buffers", RowList)
        await click(pilot, buffers, 10, 2)  # the first, under border and header
        assert buffers.cursor == 0
        await click(pilot, buffers, 10, 2, times=2)
        assert app.state.screen == "packets"

    run(drive)


def test_lanes_and_moments() -> None:
    async def drive(app: MfsharkApp, pilot: Pilot[int]) -> None:
        await press(pilot, "3")
        lanes = app.view.query_one(LanesPane)
        await click(pilot, lanes, LABEL + 20, 1 + 3)  # border, phases, two lanes above it
        assert lanes.lane == 2
        assert lanes.cursor == 20
        row = app.state.row
        await click(pilot, app.view.query_one("#channel-list", RowList), 3, 2)
        assert lanes.lane == 0
        await press(pilot, "4")
        await click(pilot, app.view.query_one(ThroughputPane), LABEL + 50, 4)
        assert app.view.query_one(ThroughputPane).cursor == 50
        assert app.state.row > row

    run(drive)


def test_lanes_of_several_lines() -> None:
    async def drive(app: MfsharkApp, pilot: Pilot[int]) -> None:
        await press(pilot, "3")
        lanes = app.view.query_one(LanesPane)
        assert lanes.thickness == 3
        for line in (9, 10, 11, 8):  # three of the third lane, the last one of the second
            await click(pilot, lanes, LABEL + 20, line)
            assert lanes.lane == (line - 2) // 3
        await click(pilot, lanes, LABEL + 20, 1)  # the phases
        assert lanes.lane == 2

    run(drive, LARGE)


def test_the_wheel_scrolls_lists_and_zooms_time() -> None:
    async def drive(app: MfsharkApp, pilot: Pilot[int]) -> None:
        packets = app.view.query_one("#packet-list", RowList)
        await wheel(pilot, packets, MouseScrollDown, (10, 4))
        await pilot.pause(0.4)
        assert packets.scroll_y > 0
        assert app.state.row == 0
        await press(pilot, "end")
        pane = app.view.query_one(HexPane)
        await wheel(pilot, pane, MouseScrollDown, (10, 2))
        await pilot.pause(0.4)
        assert pane.scroll_y > 0
        await press(pilot, "4")
        chart = app.view.query_one(ThroughputPane)
        await wheel(pilot, chart, MouseScrollUp, (30, 4))
        assert app.state.window is not None
        await wheel(pilot, chart, MouseScrollDown, (30, 4))
        assert app.state.window is None

    run(drive)


def test_findings_streams_records_and_the_filter_line() -> None:
    async def drive(app: MfsharkApp, pilot: Pilot[int]) -> None:
        await press(pilot, "6")
        await click(pilot, app.view.query_one("#stream-list", RowList), 10, 3)
        assert app.state.stream == app.view.current.number  # type: ignore[attr-defined]
        await press(pilot, "7")
        await click(pilot, app.view.query_one("#records", RowList), 10, 4)
        assert app.state.record == 3
        await press(pilot, "1")
        await click(pilot, app.view.query_one(FilterLine), 5, 0)
        assert app.focused is not None
        assert app.focused.id == "filter"

    run(drive, LARGE)


def test_choices_in_windows() -> None:
    async def drive(app: MfsharkApp, pilot: Pilot[int]) -> None:
        await press(pilot, "y")
        await click(pilot, app.screen.query_one("OptionList"), 5, 1)
        assert app.clipboard.startswith("{")

    run(drive)
