"""The packet list sorted by a column."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from analyzer.tui.matching import Matching
from analyzer.tui.packet_order import COLUMNS, PacketOrder, sort_packets
from analyzer.tui.packet_rows import packet_columns
from analyzer.tui.palette import DEFAULT
from analyzer.tui.pieces import PIECE
from analyzer.tui.state import NATURAL, TIME_FORMATS, SortedBy
from analyzer.tui.views.packets import PacketsView
from tests.tui.driving import drive, enter, listed_rows, press, settle, shown

if TYPE_CHECKING:
    from collections.abc import Callable

    from textual.pilot import Pilot

    from analyzer.migration.table import Row
    from analyzer.tui.app import MfsharkApp
    from analyzer.tui.document import Document


VFIO, TWICE, CUT = (
    "10.0.13-vfio-3dev-4ch",
    "10.0.13-vfio-two-vms-2ch-3ch",
    "10.0.13-vfio-truncated-no-returnpath-2ch",
)
VALUES: dict[str, Callable[[Row], Any]] = {
    "number": lambda row: row.number,
    "frame": lambda row: row.frame,
    "last": lambda row: row.end_frame,
    "migration": lambda row: row.migration,
    "time": lambda row: row.time,
    "channel": lambda row: row.channel,
    "index": lambda row: row.idx if row.kind == "device-state" else row.packet_num,
    "flags": lambda row: row.flags,
    "pages": lambda row: (row.normal_pages or 0) + (row.zero_pages or 0),
    "size": lambda row: row.length,
}


def listed(app: MfsharkApp) -> list[int]:
    """The numbers of the packets, as they are listed."""
    return [row + 1 for row in listed_rows(app)]


def values(document: Document, numbers: list[int], column: str) -> list[Any]:
    return [VALUES[column](document.table.row(number - 1)) for number in numbers]


async def sort(app: MfsharkApp, pilot: Pilot[int], column: str) -> None:
    """Choose a column in the window."""
    several = len(app.document.migrations()) > 1
    keys = [entry.key for entry in packet_columns("start", several) if entry.key]
    await press(pilot, "s", "home", *["down"] * keys.index(column), "enter")


def test_every_column_but_the_marks_sorts() -> None:
    keys = [column.key for column in packet_columns("start", several=True)]
    assert keys == ["", *COLUMNS]


@pytest.mark.parametrize(
    ("name", "columns"), [(VFIO, sorted({*VALUES} - {"migration"})), (TWICE, ["migration"])]
)
def test_a_column_sorts_and_again_reverses(name: str, columns: list[str]) -> None:
    async def use(app: MfsharkApp, pilot: Pilot[int]) -> None:
        natural = listed(app)
        for column in columns:
            await sort(app, pilot, column)
            first = listed(app)
            assert sorted(first) == natural
            await sort(app, pilot, column)
            again = listed(app)
            assert sorted(again) == natural
            known = [value for value in values(app.document, first, column) if value is not None]
            assert known == sorted(known)
            known = [value for value in values(app.document, again, column) if value is not None]
            assert known == sorted(known, reverse=True)

    drive(name, use)


def test_packets_of_a_kind_stand_together() -> None:
    async def use(app: MfsharkApp, pilot: Pilot[int]) -> None:
        await sort(app, pilot, "kind")
        rows = app.query_one(PacketsView).rows
        assert rows is not None
        at = [column.key for column in rows.columns].index("kind")
        words = [rows.row(position, DEFAULT)[0][at] for position in range(len(rows))]
        assert len({*words}) == 6
        assert sum(one != other for one, other in pairwise(words)) == 5

    drive(VFIO, use)


def test_equal_packets_keep_their_order() -> None:
    async def use(app: MfsharkApp, pilot: Pilot[int]) -> None:
        for _ in range(2):
            await sort(app, pilot, "channel")
            order = listed(app)
            channels = values(app.document, order, "channel")
            for channel in set(channels):
                own = [n for n, c in zip(order, channels, strict=True) if c == channel]
                assert own == sorted(own)

    drive(VFIO, use)


def test_names_sort_as_text_and_notes_by_severity() -> None:
    async def use(app: MfsharkApp, pilot: Pilot[int]) -> None:
        await sort(app, pilot, "name")
        table = app.document.table
        names = [table.name(number - 1) for number in listed(app) if table.row(number - 1).idstr]
        assert names == sorted(names)
        for _ in range(2):
            await sort(app, pilot, "notes")
        first = app.document.table.row(listed(app)[0] - 1)
        assert first.missing
        await press(pilot, "g")
        assert "vfio-idx-gap" in shown(app) or "missing" in shown(app)

    drive(CUT, use, (140, 24))


def test_the_selected_packet_stays_selected() -> None:
    async def use(app: MfsharkApp, pilot: Pilot[int]) -> None:
        await press(pilot, *["down"] * 30)
        row = app.state.row
        for _ in range(2):
            await sort(app, pilot, "size")
        assert app.state.row == row
        packets = app.query_one(PacketsView).packets
        assert listed(app)[packets.cursor] == row + 1
        await press(pilot, "g")
        assert app.state.row + 1 == listed(app)[0] != 1

    drive(VFIO, use)


def test_a_sorted_list_is_filtered_and_the_other_way_round() -> None:
    async def use(app: MfsharkApp, pilot: Pilot[int]) -> None:
        await sort(app, pilot, "size")
        await sort(app, pilot, "size")
        await press(pilot, "slash")
        await enter(pilot, "kind == device-state")
        order = listed(app)
        kinds = {app.document.table.row(number - 1).kind for number in order}
        assert kinds == {"device-state"}
        sizes = values(app.document, order, "size")
        assert sizes == sorted(sizes, reverse=True)
        await press(pilot, "X")
        assert len(listed(app)) == len(app.document.table)
        await sort(app, pilot, "number")
        assert listed(app) == sorted(listed(app))
        assert app.state.sorted_by == NATURAL

    drive(VFIO, use)


def test_a_click_on_a_head_sorts() -> None:
    async def use(app: MfsharkApp, pilot: Pilot[int]) -> None:
        packets = app.query_one(PacketsView).packets
        head = packets.render_line(0).text
        at = head.index("Size")
        for sign, reverse in (("▲", False), ("▼", True)):
            await pilot.click(packets, offset=(at, 0))
            await settle(pilot)
            assert f"Size{sign}" in packets.render_line(0).text
            sizes = values(app.document, listed(app), "size")
            assert sizes == sorted(sizes, reverse=reverse)
        await pilot.click(packets, offset=(0, 0))  # the marks have no order
        await settle(pilot)
        assert app.state.sorted_by == SortedBy("size", descending=True)

    drive(VFIO, use, (140, 40))


def test_the_sorted_column_is_shown_however_narrow_the_terminal_is() -> None:
    async def use(app: MfsharkApp, pilot: Pilot[int]) -> None:
        packets = app.query_one(PacketsView).packets
        assert "Last" not in packets.render_line(0).text
        await sort(app, pilot, "last")
        assert "Last▲" in packets.render_line(0).text

    drive(VFIO, use)


def test_time_since_the_previous_packet_finds_the_longest_pause() -> None:
    """The packet before is that of the capture, not the one that stands above."""

    async def use(app: MfsharkApp, pilot: Pilot[int]) -> None:
        times = app.document.table.view("time")
        waits = np.diff(times, prepend=times[:1])
        app.state.time_format = "previous"
        for _ in range(2):
            await sort(app, pilot, "time")
        assert listed(app)[0] == int(waits.argmax()) + 1
        rows = app.query_one(PacketsView).rows
        assert rows is not None
        assert rows.time(rows.number(0), 0) == f"{waits.max() / 1e9:.6f}"
        await press(pilot, "t")  # another time format: sorted by that
        times_shown = values(app.document, listed(app), "time")
        assert times_shown == sorted(times_shown, reverse=True)

    drive(VFIO, use)


def test_each_time_format_sorts_as_it_is_shown() -> None:
    async def use(app: MfsharkApp, _pilot: Pilot[int]) -> None:
        for time_format in TIME_FORMATS:
            order = sort_packets(
                app.document, None, time_format, SortedBy("time", descending=False)
            )
            app.state.time_format = time_format
            view = app.query_one(PacketsView)
            view.show_document()
            rows = view.rows
            assert rows is not None
            places = [order.natural(position) for position in range(len(rows))]
            texts = [rows.time(place, place) for place in places]
            if time_format != "absolute":
                assert [float(text) for text in texts] == sorted(map(float, texts))
            else:
                assert texts == sorted(texts)

    drive(VFIO, use)


@pytest.mark.parametrize("density", [0.0, 0.001, 1.0])
def test_all_rows_that_match(density: float) -> None:
    mask = np.random.default_rng(1).random(2 * PIECE + 99) < density
    matching = Matching()
    assert matching.rows().tolist() == []
    matching.add(mask)
    assert (matching.rows() == np.flatnonzero(mask)).all()


def test_packets_that_came_later_stand_behind() -> None:
    order = PacketOrder(np.array([2, 0, 1]))
    assert [order.natural(position) for position in range(5)] == [2, 0, 1, 3, 4]
    assert [order.position(natural) for natural in range(5)] == [1, 2, 0, 3, 4]
