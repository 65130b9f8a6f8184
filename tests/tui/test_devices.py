"""Devices: what came of each, what was cut off, and what nobody can know."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from textual.widgets import ContentSwitcher

from analyzer.tui.device_facts import BufferRows
from analyzer.tui.palette import DEFAULT
from analyzer.tui.panes import MapPane
from analyzer.tui.reassembly import CUT, Reassembly, legend
from analyzer.tui.row_list import RowList
from tests.shipped import capture
from tests.tui.driving import opened, press, shown

if TYPE_CHECKING:
    from analyzer.tui.app import MfsharkApp

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
    assert "missing 1  ▌ cut off 1" in "".join(s.text for s in legend(whole, DEFAULT))


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
