"""Channels in another order: the lanes, what is drawn in them, and the rows go together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from analyzer.tui.channel_rows import carried
from analyzer.tui.row_list import RowList
from analyzer.tui.time_panes import LanesPane
from analyzer.tui.views.channels import ChannelsView
from tests.tui.driving import LARGE, drive, press, settle, shown

if TYPE_CHECKING:
    from textual.pilot import Pilot

    from analyzer.tui.app import MfsharkApp

MANY, TWICE = "10.0.13-multifd-64ch", "10.0.13-vfio-two-vms-2ch-3ch"


def lanes(app: MfsharkApp) -> dict[int, float]:
    """What the lanes hold, by stream, in their order."""
    view, bins = app.query_one(ChannelsView), app.query_one(LanesPane).bins
    assert bins is not None
    assert bins.streams == tuple(channel.stream for channel in view.shown)
    return {stream: float(np.sum(bins.lane_ram[at])) for at, stream in enumerate(bins.streams)}


async def by_share(app: MfsharkApp, pilot: Pilot[int]) -> None:
    await press(pilot, "3")
    before, stream = lanes(app), app.state.stream
    await press(pilot, "s")
    after, channels = lanes(app), app.query_one(ChannelsView).shown
    assert before == after
    assert [*before] != [*after]
    shares = [carried(channel) for channel in channels]
    assert shares == sorted(shares, reverse=True)
    assert app.state.stream == stream
    rows = app.query_one(ChannelsView).query_one(RowList)
    for position, channel in enumerate(channels):
        assert channel.name in str(rows.rows.row(position, rows.palette)[0])
    assert "by share; fairness" in shown(app)
    await press(pilot, "s")
    assert [*lanes(app)] == [*before]


def test_channels_are_sorted_by_share() -> None:
    drive(MANY, by_share)


def test_those_of_several_migrations_too() -> None:
    drive(TWICE, by_share)


def test_a_click_on_a_head_sorts() -> None:
    async def use(app: MfsharkApp, pilot: Pilot[int]) -> None:
        await press(pilot, "3")
        natural = [*lanes(app)]
        rows = app.query_one(ChannelsView).query_one(RowList)
        for head, sorts in (("Share", True), ("All bytes", True), ("Channel", False)):
            at = rows.render_line(0).text.index(head)
            await pilot.click(rows, offset=(at, 1))  # below the title
            await settle(pilot)
            assert ([*lanes(app)] != natural) is sorts

    drive(MANY, use, LARGE)
