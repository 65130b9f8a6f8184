"""Devices: what came of each, what was cut off, and what nobody can know."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest
from textual.widgets import ContentSwitcher

from analyzer.migration.reassembly import CUT
from analyzer.synth import build
from analyzer.tui.arrival_plot import arrival_plot
from analyzer.tui.device_facts import BufferRows, device_facts
from analyzer.tui.palette import DEFAULT, current_palette
from analyzer.tui.panes import MapPane
from analyzer.tui.reassembly import MapLayout, Reassembly, legend, shown_index
from analyzer.tui.row_list import RowList
from analyzer.tui.state import ALL
from tests.shipped import capture
from tests.tui.driving import opened, press, settle, shown

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from pathlib import Path

    from textual.pilot import Pilot

    from analyzer.tui.app import MfsharkApp
    from analyzer.tui.device_facts import DeviceFacts
    from analyzer.tui.document import Document

    Use = Callable[[MfsharkApp, Pilot[int]], Awaitable[None]]

CUT_OFF, LOST = "10.0.13-vfio-yank-2ch", "10.0.13-vfio-truncated-no-returnpath-2ch"


def buffers(app: MfsharkApp) -> list[dict[str, str]]:
    """The rows of the buffers' list, by column."""
    rows = app.view.query_one("#buffers", RowList).rows
    assert isinstance(rows, BufferRows)
    found = []
    for position in range(len(rows)):
        texts = [c if isinstance(c, str) else c[0] for c in rows.row(position, DEFAULT)[0]]
        titles = (column.title for column in rows.columns)
        found.append(dict(zip(titles, texts, strict=True)))
    return found


def test_a_buffer_that_was_cut_off_has_a_cell_and_a_row() -> None:
    async def run() -> None:
        async with opened(capture(CUT_OFF), (120, 30)) as (app, pilot):
            await press(pilot, "2")
            assert "3▌" in shown(app)
            assert "▌ cut off 1" in shown(app)
            assert "1+C" in shown(app)
            row = buffers(app)[-1]
            assert (row["Index"], row["Chan"], row["State"]) == ("3", "1", "cut off")
            assert (row["Bytes"], row["Lost"]) == ("1.0 MiB", "116.6 KiB")
            assert row["Frames"] == "5511-6930"
            await press(pilot, "tab", "end", "enter")
            assert app.state.screen == "packets"
            assert app.document.table.column("cut")[app.state.row] > 0
            await press(pilot, "2")
            assert "never arrived" not in shown(app)
            await press(pilot, "tab", "tab", "end", "enter")
            assert app.document.table.column("cut")[app.state.row] > 0
            await press(pilot, "2", "p")
            assert "index 3" in str(app.screen.query_one(ContentSwitcher).border_title)

    asyncio.run(run())


def drive(path: Path, faults: list[dict[str, object]], size: int, use: Use) -> None:
    """Devices, with a made capture of one device that has buffers of ``size`` KiB."""
    device = {"idstr": "0000:00:02.0/vfio", "size": "512 KiB", "buffer_size": f"{size} KiB"}
    path.write_bytes(build({"seed": 3, "device": [device], "fault": faults}))

    async def run() -> None:
        async with opened(path) as (app, pilot):
            await press(pilot, "2", "tab")
            await use(app, pilot)

    asyncio.run(run())


def test_an_index_that_came_twice_has_two_packets(tmp_path: Path) -> None:
    async def use(app: MfsharkApp, pilot: Pilot[int]) -> None:
        duplicate = [row["State"] for row in buffers(app)].index("duplicate")
        rows = []
        await press(pilot, "tab")
        for _ in range(duplicate):
            await press(pilot, "down")
            rows.append(app.state.row)
        assert len(set(rows)) == duplicate
        await press(pilot, "enter")
        assert (app.state.screen, app.state.row) == ("packets", rows[-1])
        await press(pilot, "2")
        assert app.view.query_one("#buffers", RowList).cursor == duplicate

    drive(tmp_path / "twice.pcapng", [{"kind": "vfio-idx-duplicate", "index": 2}], 64, use)


def test_an_index_that_never_arrived_has_no_packet(tmp_path: Path) -> None:
    async def use(app: MfsharkApp, pilot: Pilot[int]) -> None:
        await press(pilot, "enter")
        assert app.state.screen == "devices"
        assert "index 2 never arrived" in shown(app)
        await press(pilot, "right", "enter")
        assert app.state.screen == "packets"

    drive(tmp_path / "lost.pcapng", [{"kind": "vfio-idx-gap", "index": 2}], 64, use)


def test_a_copy_from_the_map_is_of_its_buffer(tmp_path: Path) -> None:
    async def use(app: MfsharkApp, pilot: Pilot[int]) -> None:
        await press(pilot, "left", "y", "j")
        assert json.loads(app.clipboard)["Index"] == "1"
        await press(pilot, "right", "y", "j")
        assert "nothing to copy as JSON here" in shown(app)
        await press(pilot, "shift+tab", "y", "j")
        assert json.loads(app.clipboard)["Device"] == "0000:00:02.0/vfio#0"

    drive(tmp_path / "lost.pcapng", [{"kind": "vfio-idx-gap", "index": 2}], 64, use)


def test_a_cell_of_several_indexes_stands_for_the_one_it_shows(tmp_path: Path) -> None:
    async def use(app: MfsharkApp, pilot: Pilot[int]) -> None:
        pane = app.view.query_one(MapPane)
        per_cell = pane._layout_now.per_cell
        assert per_cell > 1
        await press(pilot, "home", *["right"] * (101 // per_cell))
        assert app.state.index == 101
        assert "index 101 never arrived" in shown(app)
        assert "missing 1" in shown(app)  # the legend has no room for all states

    drive(tmp_path / "many.pcapng", [{"kind": "vfio-idx-gap", "index": 101}], 1, use)


@pytest.mark.parametrize("name", [LOST, CUT_OFF, "10.0.13-vfio-3dev-4ch"])
def test_devices_tell_when_they_began_and_ended(name: str) -> None:
    async def run() -> None:
        async with opened(capture(name), (200, 60)) as (app, pilot):
            await press(pilot, "2")
            assert "First byte Last byte Longest wait" in shown(app)
            table, rows = app.document.table, app.view.query_one("#device-list", RowList).rows
            devices, times, last = (table.column(it) for it in ("device", "time", "end_time"))
            for position in range(len(rows)):
                cells = rows.row(position, DEFAULT)[0]
                named = dict(zip((column.title for column in rows.columns), cells, strict=True))
                of = named["Device"][0]
                own = [row for row in range(len(table)) if table.device_text(devices[row]) == of]
                span = min(times[row] for row in own), max(last[row] for row in own)
                told = named["First byte"], named["Last byte"]
                assert told == tuple(f"{(it - app.document.start) / 1e9:.6f}" for it in span)

    asyncio.run(run())


def test_the_index_of_a_cell() -> None:
    several = Reassembly([(0, False), (2, False), (1, False), (3, False), (5, False), (7, True)])
    layout = MapLayout(several.total, 4, 1)
    assert layout.per_cell == 2
    assert [shown_index(several, layout, cell) for cell in range(4)] == [1, 2, 4, 6]
    layout = MapLayout(several.total, 2, 1)
    assert [shown_index(several, layout, cell) for cell in range(2)] == [1, 4]


def test_an_index_that_was_cut_off_stands_at_its_place() -> None:
    async def run() -> None:
        async with opened(capture(LOST), (120, 30)) as (app, pilot):
            await press(pilot, "2", "s")
            assert [row["Index"] for row in buffers(app)] == ["0", "1", "2", "3", "4"]
            await press(pilot, "tab", "home", "right", "right", "right")
            assert app.state.index == 3
            listed = app.view.query_one("#buffers", RowList)
            assert buffers(app)[listed.cursor]["State"] == "cut off"

    asyncio.run(run())


def test_an_index_that_came_after_all_is_not_cut_off() -> None:
    whole = Reassembly([(0, False), (1, False)], {1, 3})
    assert whole.states.tolist()[:2] == [0, 0]
    assert whole.counts()[CUT] == 1
    assert "missing 1  ▌ cut off 1" in "".join(s.text for s in legend(whole, DEFAULT, 80))


@pytest.mark.parametrize(
    ("name", "lack"),
    [
        ("10.0.13-vfio-snaplen256-2ch", "the snaplen cut off 3.2 MiB of multifd"),
        ("10.0.13-vfio-transfer-off-2ch", "its state went over main"),
    ],
)
def test_what_is_not_known_is_not_called_absent(name: str, lack: str) -> None:
    async def run() -> None:
        async with opened(capture(name)) as (app, pilot):
            await press(pilot, "2")
            assert lack in app.view.query_one(MapPane).lack
            assert lack.split()[0] in shown(app)
            assert "no device-state buffer" not in shown(app)

    asyncio.run(run())


@pytest.mark.parametrize(
    ("arrived", "cut", "lost"),
    [
        ([], [], -1),
        ([0, 1, 2], [], -1),
        ([2, 1, 0], [3], 3),
        ([0, 2, 3], [], 1),
        ([1, 2], [], 0),
        ([0, 1, 4], [2], 2),
        ([0, 3, 4], [2], 1),
        ([0, 4_000_000_000], [], 1),
    ],
)
def test_the_first_index_that_is_lost(arrived: list[int], cut: list[int], lost: int) -> None:
    assert Reassembly([(idx, False) for idx in arrived], cut).first_lost() == lost


def test_a_lost_index_is_under_the_cursor_at_first() -> None:
    async def run() -> None:
        async with opened(capture(LOST)) as (app, pilot):
            await press(pilot, "2", "tab")
            assert app.view.query_one(MapPane).cursor == 3
            listed = app.view.query_one("#buffers", RowList)
            assert buffers(app)[listed.cursor]["State"] == "cut off"
            assert app.state.index is None
            await press(pilot, "p")
            assert "index 3" in shown(app)
            assert app.document.table.column("cut")[app.state.row] > 0

    asyncio.run(run())


def test_a_capture_without_devices_shows_none_of_another(tmp_path: Path) -> None:
    lost = tmp_path / "lost.pcap"
    device = {"idstr": "d", "size": 5000, "buffer_size": 1000}
    lost.write_bytes(build({"device": [device], "fault": [{"kind": "vfio-idx-gap", "index": 2}]}))

    async def run() -> None:
        async with opened(lost) as (app, pilot):
            await press(pilot, "2")
            assert "Buffers by arrival; index 2 never arrived" in shown(app)
            await press(pilot, "p")
            assert "index 2 never arrived" in shown(app)
            assert len(app.screen_stack) == 1
            app.open(str(capture("10.0.13-ipv6-2ch")))
            await settle(pilot)
            await press(pilot, "2")
            assert shown(app).count("no device state: neither on multifd nor on main") == 1
            assert "─Indexes─" in shown(app)
            assert "─Buffers─" in shown(app)
            assert len(app.view.query_one("#buffers", RowList).rows) == 0

    asyncio.run(run())


def test_facts_are_worked_out_once_for_a_capture(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[int] = []

    def counted(document: Document, number: int) -> list[DeviceFacts]:
        found.append(number)
        return device_facts(document, number)

    monkeypatch.setattr("analyzer.tui.views.devices.device_facts", counted)

    async def run() -> None:
        async with opened(capture("10.0.13-vfio-two-vms-2ch-3ch")) as (app, pilot):
            await press(pilot, "2", "1", "2")
            assert found == [ALL]
            await press(pilot, "M", "1", "1", "2")
            assert found == [ALL, 1]
            assert len(app.view.query_one("#device-list", RowList).rows) == 2
            await press(pilot, "r")
            assert found == [ALL, 1, 1]

    asyncio.run(run())


@pytest.mark.drawn
def test_the_order_of_arrival_is_plotted_once_for_a_device(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plotted: list[Sequence[int]] = []

    def plot(order: Sequence[int], width: int, height: int) -> list[str]:
        plotted.append(order)
        return arrival_plot(order, width, height)

    monkeypatch.setattr("analyzer.tui.panes.arrival_plot", plot)

    async def run() -> None:
        async with opened(capture(LOST), (120, 30)) as (_, pilot):
            await press(pilot, "2")
            plotted.clear()
            await press(pilot, "tab", "left", "left")
            assert plotted == []
            await press(pilot, "shift+tab", "up")
            assert len(plotted) == 1

    asyncio.run(run())


def test_another_theme_colours_the_buffers_anew() -> None:
    async def run() -> None:
        async with opened(capture("10.0.13-vfio-3dev-4ch")) as (app, pilot):
            await press(pilot, "2")
            listed = app.view.query_one("#buffers", RowList)
            for theme in ("textual-light", "textual-dark"):
                app.theme = theme
                await settle(pilot)
                wanted = current_palette(app).device.color
                glyph = next(iter(listed.render_line(2)))
                assert glyph.text.startswith("■")
                assert glyph.style is not None
                assert glyph.style.color == wanted

    asyncio.run(run())
