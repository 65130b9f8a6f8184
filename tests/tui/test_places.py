"""Keys that lead somewhere lead to the right place, or say why they do not."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from analyzer.capture.growing import follow
from analyzer.migration.settings import Settings
from analyzer.synth import build
from analyzer.tui.app import MfsharkApp
from analyzer.tui.dialogs.tell import TellDialog
from analyzer.tui.panes import MapPane
from analyzer.tui.row_list import RowList
from analyzer.tui.time_panes import LanesPane
from analyzer.tui.views.findings import FindingsView
from analyzer.tui.views.main_channel import MainView
from tests.shipped import CAPTURES, capture
from tests.tui.driving import LARGE, SMALL, drive, enter, opened, press, settle, shown

if TYPE_CHECKING:
    from pathlib import Path

    from textual.pilot import Pilot

    from analyzer.report.main_lines import MainLine


VFIO = "10.0.13-vfio-3dev-4ch"
LOST = "10.0.13-vfio-truncated-no-returnpath-2ch"
TWO_VMS = "10.0.13-vfio-two-vms-2ch-3ch"


@pytest.mark.parametrize("screen", ["3", "6"])
def test_main_s_packets_are_its_records(screen: str) -> None:
    async def use(app: MfsharkApp, pilot: Pilot[int]) -> None:
        await press(pilot, screen, "home", *["up"] * 5, "f")
        assert app.state.screen == "main"
        assert app.state.filter == ""

    drive(VFIO, use)


@pytest.mark.parametrize("key", ["f", "enter"])
def test_a_postcopy_channel_has_nothing_to_list(key: str) -> None:
    async def use(app: MfsharkApp, pilot: Pilot[int]) -> None:
        await press(pilot, "3")
        assert "postcopy" in shown(app)
        await press(pilot, "end", "tab", "end", key)
        assert "the pages of a postcopy channel are not listed" in shown(app)
        assert app.state.screen == "channels"

    drive("8.2.2-preempt-recovered", use)


def test_finding_on_main_finds_records() -> None:
    async def use(app: MfsharkApp, pilot: Pilot[int]) -> None:
        await press(pilot, "7", "ctrl+f")
        await enter(pilot, "03.0/vfio")
        view = app.query_one(MainView)
        found = []
        for key in ("n", "n", "N"):
            assert view.rows is not None
            line = view.rows.lines[view.records.cursor]
            assert "0000:00:03.0/vfio" in line.text
            found.append(view.records.cursor)
            await press(pilot, key)
        assert found[0] < found[1] < found[2]
        assert view.records.cursor == found[1]
        await press(pilot, "ctrl+f")
        await enter(pilot, "there is no such record")
        assert "not found" in shown(app)
        await press(pilot, "escape", "home", "n")
        assert "no later record of this section" in shown(app)

    drive(VFIO, use)


def record(app: MfsharkApp) -> MainLine:
    """The record under the cursor on Main."""
    assert app.state.screen == "main"
    view = app.query_one(MainView)
    assert view.rows is not None
    return view.rows.lines[view.records.cursor]


async def visit(app: MfsharkApp, pilot: Pilot[int], rule: str) -> None:
    """Go to the place of a rule's first finding."""
    await press(pilot, "5")
    view = app.query_one(FindingsView)
    view.opened = {group.key for group in view._groups}
    lines = view._show_rows().lines
    at = next(at for at, (_, entry) in enumerate(lines) if entry and entry[1].rule.id == rule)
    view.query_one("#finding-list", RowList).go(at)
    await press(pilot, "enter")


def test_findings_lead_to_records_of_their_own_channel() -> None:
    """Offsets on the return path are not those on main, nor are another migration's."""

    async def cancelled(app: MfsharkApp, pilot: Pilot[int]) -> None:
        await visit(app, pilot, "MF704")
        assert (record(app).kind, record(app).offset) == ("SHUT", 8)
        await visit(app, pilot, "MF605")  # has a frame, but no offset
        assert (record(app).kind, record(app).offset) == ("SECTION_PART", 340)

    async def retried(app: MfsharkApp, pilot: Pilot[int]) -> None:
        await visit(app, pilot, "MF604")
        assert record(app).migration.number == 0
        assert (record(app).kind, record(app).offset) == ("SECTION_PART", 400)

    drive("11.1.3-cancelled-returnpath-2ch", cancelled)
    drive("10.0.13-cancel-then-retry-2ch", retried)


def test_a_finding_without_packets_leads_to_the_record_next_to_its_frame() -> None:
    async def use(app: MfsharkApp, pilot: Pilot[int]) -> None:
        assert not len(app.document.table)
        await visit(app, pilot, "MF910")
        (finding,) = (f for f in app.document.findings if f.rule.id == "MF910")
        assert finding.spot.frame is not None
        assert record(app).place.frame <= finding.spot.frame

    drive("10.0.13-colo-refused", use)


def test_main_of_one_of_several_migrations() -> None:
    async def use(app: MfsharkApp, pilot: Pilot[int]) -> None:
        streams = {m.number: m.main.stream for m in app.document.migrations() if m.main}
        await press(pilot, "6", "home", *["down"] * 4)
        assert app.state.stream == streams[1]
        await press(pilot, "f")
        assert record(app).migration.number == 1
        await press(pilot, *["down"] * 5)
        chosen = record(app)
        for key in ("1", "a"):
            await press(pilot, "M", key)
            assert record(app).record is chosen.record

    drive(TWO_VMS, use)


def test_the_lane_of_main_is_kept_and_leads_to_its_records() -> None:
    async def use(app: MfsharkApp, pilot: Pilot[int]) -> None:
        await press(pilot, "3", *["up"] * 5, *["right"] * 40)
        lanes = app.view.query_one(LanesPane)
        assert lanes.names[lanes.lane] == "main"
        moment = app.state.time
        closest = app.document.row_at_time(moment)
        assert app.state.row == closest  # Packets follows all the same
        for keys in (("enter",), ("3", "tab", "enter")):
            await press(pilot, *keys)
            assert record(app).channel.kind == "main"
            assert record(app).place.time <= moment
            view = app.query_one(MainView)
            assert view.rows is not None
            later = view.rows.lines[view.records.cursor + 1]
            assert later.place.time > moment

    drive(VFIO, use)


def test_a_moment_without_packets_is_that_of_a_record() -> None:
    async def use(app: MfsharkApp, pilot: Pilot[int]) -> None:
        await press(pilot, "4", "end", "left", "left")
        moment = app.state.time
        await press(pilot, "enter")
        rows = app.query_one(MainView).rows
        assert rows is not None
        times = [line.place.time for line in rows.lines]
        assert record(app).place.time == max(time for time in times if time <= moment)

    drive("7.2-plain-tcp-nomultifd", use)


def test_a_packet_that_was_cut_off_says_so() -> None:
    async def use(app: MfsharkApp, pilot: Pilot[int]) -> None:
        await press(pilot, "end")
        assert "Packet 118, cut off: 193.3 KiB missing" in shown(app)

    drive(LOST, use)


def test_an_incomplete_device_is_shown_first() -> None:
    async def use(app: MfsharkApp, pilot: Pilot[int]) -> None:
        await press(pilot, "2")
        assert "Indexes of 0000:00:03.0/vfio#0" in shown(app)
        await press(pilot, "up")
        assert "Indexes of 0000:00:02.0/vfio#0" in shown(app)
        await press(pilot, "3", "2")
        assert "Indexes of 0000:00:02.0/vfio#0" in shown(app)

    drive(LOST, use)


@pytest.mark.parametrize("by", ["right_square_bracket", "left_square_bracket"])
def test_findings_about_devices_lead_to_packets(by: str) -> None:
    async def use(app: MfsharkApp, pilot: Pilot[int]) -> None:
        await press(pilot, by)
        (device,) = [f for f in app.document.findings if f.rule.id == "MF506"]
        rows = [row for row, found in app.document.near_row.items() if device in found]
        assert len(rows) == 1
        for _ in app.document.near_row:
            if app.state.row == rows[0]:
                break
            await press(pilot, by)
        assert app.state.row == rows[0]
        table, frame = app.document.table, device.spot.frame
        assert frame is not None
        assert table.column("frame")[rows[0]] <= frame

    drive(LOST, use)


def test_a_place_that_the_filter_hides_is_told() -> None:
    async def use(app: MfsharkApp, pilot: Pilot[int]) -> None:
        await press(pilot, "slash")
        await enter(pilot, "number > 100")
        assert "101/134" in shown(app)
        await press(pilot, "ctrl+g")
        await enter(pilot, "50")
        assert "packet 50 is hidden by the filter; X shows all" in shown(app)
        await press(pilot, "ctrl+g")
        await enter(pilot, "110")
        assert "hidden" not in shown(app)
        assert "110/134" in shown(app)

    drive(VFIO, use)


@pytest.mark.parametrize("keys", ["2 tab right enter", "2 tab tab enter", "4 end enter"])
def test_what_the_filter_hides_is_told_wherever_it_was_selected(keys: str) -> None:
    async def use(app: MfsharkApp, pilot: Pilot[int]) -> None:
        await press(pilot, "slash")
        await enter(pilot, "kind == ram")
        await press(pilot, *keys.split())
        assert app.state.screen == "packets"
        assert "is hidden by the filter; X shows all" in shown(app)

    drive(VFIO, use)


@pytest.mark.parametrize("by", ["right_square_bracket", "left_square_bracket"])
def test_findings_that_the_filter_hides_are_passed_over(by: str) -> None:
    async def use(app: MfsharkApp, pilot: Pilot[int]) -> None:
        await press(pilot, "slash")
        await enter(pilot, "channel == 1")
        wanted = {row for row in app.document.near_row if app.filters.shows(row)}
        assert 1 < len(wanted) < len(app.document.near_row)
        seen = []
        for _ in wanted:
            await press(pilot, by)
            seen.append(app.state.row)
        assert sorted(seen) == sorted(wanted)
        await press(pilot, "slash", "ctrl+u")
        await enter(pilot, "number == 1")
        await press(pilot, by)
        assert "no packet that is shown has a finding" in shown(app)

    drive("10.0.13-vfio-gaps-2ch", use)


def test_marks_that_the_filter_hides_are_passed_over() -> None:
    async def use(app: MfsharkApp, pilot: Pilot[int]) -> None:
        await press(pilot, *"gmjmjjmGm", "slash")
        await enter(pilot, "number < 134")
        for key, rows in (("'", [0, 1, 3, 0]), ('"', [3, 1, 0, 3])):
            for row in rows:
                await press(pilot, key)
                assert app.state.row == row
        await press(pilot, "slash", "ctrl+u")
        await enter(pilot, "number == 10")
        await press(pilot, "'")
        assert "no packet that is shown is marked" in shown(app)

    drive(VFIO, use)


def test_a_device_of_one_of_several_migrations() -> None:
    async def use(app: MfsharkApp, pilot: Pilot[int]) -> None:
        await press(pilot, "2", "down", "f")
        assert app.state.filter == "migration == 1 && device == 0000:00:02.0/vfio#0"
        assert "3 of 264" in shown(app)
        await press(pilot, "d")
        assert app.state.filter == ""
        await press(pilot, "M", "1", "d")
        assert app.state.filter == "device == 0000:00:02.0/vfio#0"

    drive(TWO_VMS, use)


def test_what_is_selected_is_of_the_chosen_migration() -> None:
    async def use(app: MfsharkApp, pilot: Pilot[int]) -> None:
        await press(pilot, "G", "2")
        assert app.state.device == (1, b"0000:00:03.0/vfio", 0)
        for number, key in ((0, "0"), (1, "1")):
            await press(pilot, "M", key)
            assert app.document.table.column("migration")[app.state.row] == number
            assert app.state.device is None
            assert app.view.query_one(MapPane).cursor == -1
            await press(pilot, "p")
            assert "select a buffer" in shown(app)
            await press(pilot, "3")
            assert app.view.query_one(LanesPane).cursor >= 0
            await press(pilot, "2", "tab", "right", "shift+tab")

    async def without_packets(app: MfsharkApp, pilot: Pilot[int]) -> None:
        for screen in "1234567":
            await press(pilot, screen, "M", "1")
            assert "migration 1 (M)" in shown(app)

    drive(TWO_VMS, use)
    drive("10.0.13-postcopy-recovered", without_packets)


def test_keys_without_a_device_say_so() -> None:
    async def use(app: MfsharkApp, pilot: Pilot[int]) -> None:
        await press(pilot, "2")
        for key in "xsfp":
            await press(pilot, key)
            assert "there is no device" in shown(app)

    drive("7.2-multifd-2ch", use)


def test_main_shows_the_record_at_the_time_selected_elsewhere() -> None:
    async def use(app: MfsharkApp, pilot: Pilot[int]) -> None:
        view = app.query_one(MainView)

        def record() -> tuple[str, int]:
            assert view.rows is not None
            line = view.rows.lines[view.records.cursor]
            return line.kind, line.offset

        await press(pilot, "7")
        assert record() == ("HEADER", 0)
        await press(pilot, "1", "colon", *"60", "enter", "7")
        assert view.rows is not None
        begun = [
            (line.kind, line.offset)
            for line in view.rows.lines
            if line.place.time <= app.state.time
        ]
        assert record() == begun[-1]
        assert len(view.rows) > len(begun) > 3
        await press(pilot, "k", "k")
        assert record() == begun[-3]
        await press(pilot, "4", "7")  # the cursor there is at the time of the record
        assert record() == begun[-3]
        await press(pilot, "4", "home", "7")
        assert record() == ("HEADER", 0)

    drive(LOST, use)


def test_the_table_follows_the_lane_from_the_first() -> None:
    async def use(app: MfsharkApp, pilot: Pilot[int]) -> None:
        await press(pilot, *["j"] * 30, "3")
        rows = app.view.query_one("#channel-list", RowList)
        assert rows.rows.channels[rows.cursor][1].stream == app.state.stream  # type: ignore[attr-defined]
        assert 0 <= rows.cursor - rows.scroll_y < rows.size.height - 1

    drive("10.0.13-multifd-64ch", use)


def test_what_has_ended_cannot_be_followed(tmp_path: Path) -> None:
    path = tmp_path / "live.pcap"
    path.write_bytes(build({"migration": [{"channels": 2}]}))

    async def run() -> None:
        source = follow(str(path))
        app = MfsharkApp(str(path), Settings(), live=source)
        async with app.run_test(size=SMALL) as pilot:
            await press(pilot, "F")
            assert app.document.done
            await press(pilot, "F")
            assert "there is nothing to follow" in shown(app)
            assert not app.state.follow
            await settle(pilot)
        source.close()

    asyncio.run(run())


def test_the_filter_line_says_what_could_follow() -> None:
    follows = {
        "": "not number frame",
        "vf": "vfio.version vfio.idx",
        "migration": "migration: number of the migration, from 0",
        "kind == ": "ram sync",
        "kind == dev": "device-state",
        "device == ": "0000:00:03.0/vfio#0 0000:00:02.0/vfio#0",
        "vfio.idx == ": "number frame",
        "nonsense": "column 1",
        "vfio.idx == == vf": "column",
    }

    async def use(app: MfsharkApp, pilot: Pilot[int]) -> None:
        for typed, told in follows.items():
            await press(pilot, "slash", *typed)
            assert app._told is not None
            assert " ".join(app._told.plain.split()).startswith(told)
            await press(pilot, "escape")
            assert app._told is None
            assert "OK migration completed" in shown(app)

    drive(VFIO, use)


def test_where_the_time_went() -> None:
    async def run() -> None:
        async with opened(capture("10.0.13-vfio-3dev-4ch"), LARGE) as (app, pilot):
            await press(pilot, "i")
            assert isinstance(app.screen, TellDialog)
            told = shown(app)
            assert "Downtime on the wire: 198.1 ms, from SWITCHOVER_START" in told
            assert "0000:00:04.0/vfio" in told
            await press(pilot, "i")
            assert not isinstance(app.screen, TellDialog)
        async with opened(CAPTURES / "10.0.13-file-plain.mig.gz") as (app, pilot):
            await press(pilot, "i")
            assert not isinstance(app.screen, TellDialog)

    asyncio.run(run())


def test_enter_on_the_only_finding_of_a_rule_goes_to_its_place() -> None:
    async def use(app: MfsharkApp, pilot: Pilot[int]) -> None:
        await press(pilot, "5", "enter")
        assert (app.state.screen, app.state.index) == ("devices", 3)
        await press(pilot, "5", "down", "down", "enter")
        assert app.state.screen == "packets"
        assert app.document.table.column("cut")[app.state.row] > 0
        await press(pilot, "D")
        assert (app.state.screen, app.state.index) == ("devices", 3)
        await press(pilot, "5", "G", "up", "space", "enter")  # not open at first
        assert app.state.screen != "findings"

    drive(LOST, use)


@pytest.mark.parametrize(
    ("keys", "deeper"),
    [
        (("5",), ("enter",)),
        (("2", "tab", "tab", "G"), ("enter",)),
        (("2", "tab"), ("enter",)),
        (("3", "G"), ("f",)),
        (("6",), ("enter",)),
        (("4",), ("slash", "escape")),
        (("2",), ("ctrl+f", *"SYNC", "enter")),
        (("7",), ("right_square_bracket",)),
    ],
)
def test_escape_leads_back_to_where_one_came_from(
    keys: tuple[str, ...], deeper: tuple[str, ...]
) -> None:
    async def run() -> None:
        async with opened(capture(LOST)) as (app, pilot):
            await press(pilot, *keys)
            before = app.state.screen, app.focused
            assert app.focused is not None
            await press(pilot, *deeper)
            assert app.state.screen != before[0]
            await press(pilot, "tab", "escape")
            assert app.state.screen != before[0]
            await press(pilot, "escape")
            assert (app.state.screen, app.focused) == before
            await press(pilot, "escape", "escape")
            assert app.state.screen == before[0]

    asyncio.run(run())


def test_escape_goes_the_whole_way_back() -> None:
    async def run() -> None:
        async with opened(capture(LOST)) as (app, pilot):
            await press(pilot, "5", "down", "down", "enter", "D", "tab", "enter")
            for screen in ("devices", "devices", "packets", "findings", "findings"):
                await press(pilot, "escape")
                assert app.state.screen == screen

    asyncio.run(run())


def test_escape_leads_nowhere_from_a_screen_that_was_chosen() -> None:
    async def run() -> None:
        async with opened(capture(LOST)) as (app, pilot):
            await press(pilot, "5", "enter", "6", "escape")
            assert app.state.screen == "streams"

    asyncio.run(run())


def test_time_is_zoomed_from_the_table_of_channels_too() -> None:
    async def use(app: MfsharkApp, pilot: Pilot[int]) -> None:
        await press(pilot, "3", "tab", "plus", "plus")
        assert isinstance(app.focused, RowList)
        bins = app.view.query_one(LanesPane).bins
        assert bins is not None
        whole = bins.window.last - bins.window.first
        assert bins.window.span == whole // 4
        await press(pilot, "L", "0")
        bins = app.view.query_one(LanesPane).bins
        assert bins is not None
        assert bins.window.whole

    drive("10.0.13-vfio-3dev-4ch", use)
