"""Numbers on the screens mean what they mean in filters, findings and reports."""

from __future__ import annotations

import asyncio
import json
import random
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from textual.geometry import Region

from analyzer.errors import DEBUG
from analyzer.migration.scan import Scan
from analyzer.migration.settings import Settings
from analyzer.migration.statistics import Statistics
from analyzer.synth import build
from analyzer.tui import pieces
from analyzer.tui.binning import Bins, shortened
from analyzer.tui.channel_rows import ChannelRows, carried, ending, fairness_text
from analyzer.tui.device_facts import DeviceRows, device_facts
from analyzer.tui.document import Document
from analyzer.tui.palette import DEFAULT
from analyzer.tui.row_list import RowList
from analyzer.tui.state import ALL
from analyzer.tui.time_axis import TimeWindow, axis_line
from analyzer.tui.time_panes import LABEL, ThroughputPane
from dissectors.multifd import INIT
from tests.shipped import capture
from tests.tui.driving import LARGE, enter, opened, press, shown

if TYPE_CHECKING:
    from pathlib import Path

    from analyzer.tui.app import MfsharkApp

TWO = "10.0.13-cancel-then-retry-2ch"


def read(name: str) -> Document:
    document = Document(str(capture(name)), Settings())
    document.load(lambda: False)
    return document


def cells(rows: RowList) -> dict[str, str]:
    """The row under the cursor, by column."""
    row = rows.rows.row(rows.cursor, DEFAULT)[0]
    texts = [cell[0] if isinstance(cell, tuple) else cell for cell in row]
    return {column.title: text for column, text in zip(rows.rows.columns, texts, strict=True)}


def test_an_error_that_nobody_foresaw_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "gone.pcap"
    path.write_bytes(build({"migration": [{"channels": 2}]}))

    def steps(_scan: Scan) -> None:
        raise FileNotFoundError(2, "No such file", str(path))

    monkeypatch.delenv(DEBUG)
    monkeypatch.setattr(Scan, "steps", steps)
    document = Document(str(path), Settings())
    assert document.load(lambda: False)
    assert document.error == f"{path}: No such file"


@pytest.mark.parametrize("via", ["auto", "mptcp", "tshark"])
def test_a_file_has_changed_when_it_grew(via: str, tmp_path: Path) -> None:
    path = tmp_path / "some.pcap"
    path.write_bytes(build({"migration": [{"channels": 2}]}))
    document = Document(str(path), Settings(via=via))
    document.load(lambda: False)
    assert len(document.table)
    assert not document.changed()
    with path.open("ab") as file:
        file.write(bytes(16))
    assert document.changed()
    path.unlink()
    assert not document.changed()


@pytest.mark.parametrize("by", [1, -1])
def test_the_next_payload_is_that_of_the_next_row_like_it(
    by: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pieces, "PIECE", 7)
    document = read("10.0.13-vfio-3dev-4ch")
    table = document.table
    rows = np.flatnonzero(pieces.with_payload(table, 0, len(table))).tolist()
    kind, stream = table.column("kind"), table.column("stream")
    for row in rows:
        like = [at for at in rows if (kind[at], stream[at]) == (kind[row], stream[row])]
        place = like.index(row) + by
        expected = like[place] if 0 <= place < len(like) else None
        assert document.find_payload(row, by, lambda _row: True) == expected


@pytest.mark.parametrize(
    "name", ["10.0.13-multifd-64ch", "10.0.13-vfio-two-vms-2ch-3ch", "10.0.13-vfio-3dev-4ch"]
)
def test_the_packet_of_a_frame_or_time_is_found(name: str) -> None:
    document = read(name)
    table = document.table
    assert len(table)
    for row in range(len(table)):
        frame, time, stream = (table.column(c)[row] for c in ("frame", "time", "stream"))
        at_frame = document.row_at_frame(frame)
        at_time = document.row_at_time(time, stream)
        assert at_frame is not None
        assert at_time is not None
        assert table.column("frame")[at_frame] == frame
        assert (table.column("time")[at_time], table.column("stream")[at_time]) == (time, stream)
        ends = document.row_at_frame(table.column("end_frame")[row], stream)
        assert ends is not None
        span = (table.column("frame")[ends], table.column("end_frame")[ends])
        assert table.column("end_frame")[row] in span


def test_the_packet_next_to_a_frame_or_time() -> None:
    document = read("10.0.13-vfio-3dev-4ch")
    begins = document.table.view("frame")
    assert document.row_at_frame(0) == int(np.argmin(begins))
    last = document.row_at_frame(10**15)
    assert last is not None
    assert begins[last] == begins.max()
    assert document.row_at_time(10**19) is not None
    assert document.row_at_time(-(10**19), stream=99_999) is None


def test_the_packet_next_to_any_time_is_the_same_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    document = read("10.0.13-netem-reorder-dup-4ch")
    table = document.table
    begins, ends = table.view("time").tolist(), table.view("end_time").tolist()
    streams = table.view("stream").tolist()
    dice = random.Random(5)
    low, high = min(begins) - 10**6, max(ends) + 10**6
    for piece in (3, 1 << 16):
        monkeypatch.setattr("analyzer.tui.pieces.PIECE", piece)
        for moment in [dice.randrange(low, high) for _ in range(100)]:
            stream = dice.choice([None, *set(streams)])
            own = [row for row, of in enumerate(streams) if stream in (None, of)]
            under_way = [row for row in own if begins[row] < moment < ends[row]]
            if under_way:
                expected = max(under_way, key=lambda row: (begins[row], -row))
            else:
                expected = min(own, key=lambda row: (abs(begins[row] - moment), row))
            assert document.row_at_time(moment, stream) == expected


def test_a_filter_by_frame_shows_rows_that_say_so() -> None:
    async def use(app: MfsharkApp) -> None:
        table = app.document.table
        row = int(np.argmax(table.view("end_frame") - table.view("frame")))
        shown = cells(app.view.query_one("#packet-list", RowList))
        assert shown["Frame"] == str(table.column("frame")[row])
        assert shown["Last"] == str(table.column("end_frame")[row]) != shown["Frame"]
        since = (table.column("time")[row] - app.document.start) / 1e9
        assert shown["Time"] == f"{since:.6f}"
        assert app.state.time == table.column("time")[row]

    async def run() -> None:
        async with opened(capture("10.0.13-vfio-3dev-4ch"), LARGE) as (app, pilot):
            table = app.document.table
            row = int(np.argmax(table.view("end_frame") - table.view("frame")))
            await press(pilot, "slash")
            await enter(pilot, f"frame == {table.column('frame')[row]}")
            await use(app)

    asyncio.run(run())


def test_migrations_have_the_numbers_that_filters_take() -> None:
    async def run() -> None:
        async with opened(capture(TWO), LARGE) as (app, pilot):
            for number in ("0", "1"):
                await press(pilot, "slash", "ctrl+u")
                await enter(pilot, f"migration == {number}")
                assert cells(app.view.query_one("#packet-list", RowList))["Mig"] == number
            for screen, rows in (("3", "#channel-list"), ("7", "#records")):
                await press(pilot, screen)  # a key that comes before the rows moves nothing
                await press(pilot, "tab", "home")
                assert cells(app.view.query_one(rows, RowList))["Mig"] == "0"

    asyncio.run(run())


def test_a_record_has_frame_and_time_of_its_first_byte() -> None:
    async def run() -> None:
        async with opened(capture("10.0.13-vfio-3dev-4ch"), LARGE) as (app, pilot):
            await press(pilot, "7")
            records = app.view.query_one("#records", RowList)
            for position, line in enumerate(records.rows.lines):  # type: ignore[attr-defined]
                if line.record is not None and line.record.first.frame != line.record.last.frame:
                    records.go(position)
                    assert cells(records)["Frame"] == str(line.record.first.frame)
                    return
            pytest.fail("no record is in several frames")

    asyncio.run(run())


@pytest.mark.parametrize(
    ("faults", "shown"),
    [((), ""), (("vfio-no-config",), "config"), (("vfio-no-config", "vfio-idx-gap"), "1+C")],
)
def test_a_missing_config_state_is_told_beside_the_indexes(
    tmp_path: Path, faults: tuple[str, ...], shown: str
) -> None:
    path = tmp_path / "made.pcap"
    made = [{"kind": kind} for kind in faults]
    device = {"idstr": "d", "size": 5000, "buffer_size": 1000}
    path.write_bytes(build({"device": [device], "fault": made}))
    document = Document(str(path), Settings())
    document.load(lambda: False)
    rows = DeviceRows(device_facts(document, ALL), document.start, several=False)
    row = dict(zip((column.title for column in rows.columns), rows.row(0, DEFAULT)[0], strict=True))
    assert row["Missing"][0] == shown
    assert row["Complete?"][0] == ("✗ incomplete" if shown else "✓ complete")


def test_shares_and_fairness_are_those_of_one_migration() -> None:
    document = read(TWO)
    numbered = [
        (migration.number, channel)
        for migration in document.migrations()
        for channel in document.channels(migration.number)
    ]
    rows = ChannelRows(numbered, several=True)
    titles = [column.title for column in rows.columns]
    for number in (0, 1):
        total = sum(carried(channel) for at, channel in numbered if at == number)
        for position, (at, channel) in enumerate(numbered):
            if at == number and channel.kind == "multifd":
                cell = rows.row(position, DEFAULT)[0][titles.index("Share")]
                assert cell[0].startswith(f"{carried(channel) / total:4.0%}")
    text = fairness_text(numbered)
    for number in (0, 1):
        own = fairness_text([(at, channel) for at, channel in numbered if at == number])
        assert f"{number}: {own.removeprefix('fairness (Jain) ')}" in text


def test_fairness_is_that_of_stats_also_with_channels_for_device_state_only(
    tmp_path: Path,
) -> None:
    path = tmp_path / "rfc0.pcap"
    scenario = {"migration": [{"dialect": "rfc0", "channels": 2}], "device": [{"size": 8_000_000}]}
    path.write_bytes(build(scenario))
    document = Document(str(path), Settings())
    document.load(lambda: False)
    (migration,) = document.migrations()
    figures = Statistics(migration, document.activity.of(migration))
    text = fairness_text([(0, channel) for channel in document.channels()])
    assert figures.fairness_ram is not None
    assert f"RAM {figures.fairness_ram:.2f}," in text
    assert f"device state {figures.fairness_state:.2f}" in text


def test_main_has_no_bytes_under_ram() -> None:
    document = read("10.0.13-vfio-3dev-4ch")
    rows = ChannelRows([(0, channel) for channel in document.channels()])
    titles = [column.title for column in rows.columns]
    (main,) = [at for at, (_, channel) in enumerate(rows.channels) if channel.kind == "main"]
    found = dict(zip(titles, rows.row(main, DEFAULT)[0], strict=True))
    assert found["RAM bytes"][0] == ""
    assert found["All bytes"] != ""


def test_lost_bytes_take_their_share_of_a_packet() -> None:
    start, end = np.array([0, 0, 1000]), np.array([1000, 1000, 2000])
    found = shortened(start, end, np.array([10, 2000, 0]), np.array([1000.0, 1000.0, 0.0]))
    assert found.tolist() == [10, 1000, 1000]


def test_clocks_beyond_all_reason_are_drawn_at_the_edge() -> None:
    document = read("10.0.13-vfio-3dev-4ch")
    (migration,) = document.migrations()
    assert migration.main is not None
    assert migration.main_facts is not None
    for record in migration.main_facts.records[:3]:
        record.first.time, record.last.time = -(10**25), 10**25
    window = TimeWindow(-(10**30), 10**30)
    bins = Bins(window, 50, [migration.main.stream])
    bins.fill(document.table, migration.number, [migration])
    assert bins.main.sum() > 0


def test_bytes_of_a_cut_packet_explain_all_of_a_channel() -> None:
    scan = Scan(capture("10.0.13-vfio-truncated-no-returnpath-2ch")).run()
    numbered = [(0, channel) for channel in scan.migrations[0].multifd]
    for _, channel in numbered:
        assert carried(channel) + INIT.size == channel.length
    rows = ChannelRows(numbered)
    found, _ = rows.row(0, DEFAULT)
    assert found[-1] == "FIN in payload at 735.1 KiB"
    assert fairness_text(numbered).endswith("; bytes include 1 cut-off packet")


@pytest.mark.parametrize("name", ["7.2-plain-tcp-nomultifd", "7.2-multifd-2ch"])
def test_zero_pages_on_main_are_on_the_timeline_too(name: str) -> None:
    document = read(name)
    (migration,) = document.migrations()
    assert migration.main_facts is not None
    assert migration.main is not None
    window = TimeWindow(document.start, document.end)
    bins = Bins(window, 100, [migration.main.stream])
    bins.fill(document.table, migration.number, [migration])
    assert round(bins.zero.sum()) == migration.main_facts.ram.zero_pages == 16_187


def test_what_a_postcopy_channel_carries_is_ram_with_a_lane() -> None:
    document = read("8.2.2-preempt-recovered")
    migration = document.migrations()[-1]
    assert migration.main is not None
    assert migration.preempt is not None
    window = TimeWindow(document.start, document.end)
    bins = Bins(window, 100, [migration.main.stream, migration.preempt.stream])
    bins.fill(document.table, migration.number, [migration])
    assert round(bins.ram.sum()) == round(bins.lane_ram[1].sum()) == migration.preempt.length
    assert round(bins.main.sum()) == migration.main.length


def test_a_moved_cursor_is_drawn_where_it_was_and_is() -> None:
    """Not the whole chart, which in a large terminal takes longer than a key should."""

    async def run() -> None:
        async with opened(capture("10.0.13-vfio-3dev-4ch"), LARGE) as (app, pilot):
            await press(pilot, "4", "l")
            pane = app.query_one(ThroughputPane)
            size = pane.content_size
            drawn: list[Region] = []
            pane.refresh = lambda *regions, **_: drawn.extend(regions)  # type: ignore[method-assign, assignment]
            before = pane.cursor
            pane.action_step(1)
            assert pane.cursor == before + 1
            columns = {region.x for region in drawn if region.width == 1}
            assert columns == {LABEL + before, LABEL + before + 1}
            assert sum(region.area for region in drawn) == 2 * size.height + 3 * size.width

    asyncio.run(run())


def test_bins_are_worked_out_once_for_a_window(monkeypatch: pytest.MonkeyPatch) -> None:
    filled: list[TimeWindow] = []
    fill = Bins.fill

    def counted(self: Bins, *args: Any, **options: Any) -> Bins:
        filled.append(self.window)
        return fill(self, *args, **options)

    async def run() -> None:
        async with opened(capture("10.0.13-vfio-3dev-4ch"), LARGE) as (app, pilot):
            await press(pilot, "4")
            monkeypatch.setattr(Bins, "fill", counted)
            await press(pilot, "plus")
            (closer,) = filled
            await press(pilot, "0", "plus", "1", "4")
            assert filled == [closer]
            bins = app.query_one(ThroughputPane).bins
            assert bins is not None
            assert bins.window.start == closer.start

    asyncio.run(run())


def test_times_count_from_the_first_frame_of_the_capture_on_every_screen() -> None:
    async def run() -> None:
        async with opened(capture("10.0.13-vfio-two-vms-2ch-3ch"), (120, 40)) as (app, pilot):
            await press(pilot, "M", "1", "1", "G")
            when = float(cells(app.view.query_one("#packet-list", RowList))["Time"])
            assert when > 2
            await press(pilot, "4")
            pane = app.view.query_one(ThroughputPane)
            assert pane.bins is not None
            column = pane.bins.bin_ns / 1e9
            assert json.loads(pane.copied("json") or "")["time"] == pytest.approx(when, abs=column)
            here = pane.time_text(pane.bins)
            assert here in shown(app)
            assert (pane.copied("text") or "").startswith(f"at {here}, per second: device ")
            assert float(here.removesuffix(" s")) == pytest.approx(when, abs=column)
            window, start = pane.bins.window, app.document.start
            ticks = [float(tick) for tick in re.findall(r"╵([\d.]+) s", shown(app))]
            assert (window.first - start) / 1e9 <= min(ticks)
            assert 2 < max(ticks) <= (window.last - start) / 1e9
            await press(pilot, "3")
            assert ticks == [float(tick) for tick in re.findall(r"╵([\d.]+) s", shown(app))]
            assert here in shown(app)

    asyncio.run(run())


@pytest.mark.parametrize("screen", ["3", "4"])
def test_phase_and_time_of_the_cursor_stand_in_front(screen: str) -> None:
    def in_front(app: MfsharkApp) -> list[str]:
        strips = app.screen._compositor.render_strips()
        return [strip.text[:LABEL].strip() for strip in strips]

    async def run() -> None:
        async with opened(capture("10.0.13-vfio-3dev-4ch"), (80, 24)) as (app, pilot):
            await press(pilot, screen, "home")
            assert in_front(app)[2] == ""
            assert "10.2 ms" in in_front(app)
            await press(pilot, "right", "right")
            assert in_front(app)[2] == "setup"
            assert "26.1 ms" in in_front(app)
            await press(pilot, *["right"] * 20)
            assert in_front(app)[2] == "iteration 1"
            await press(pilot, "end")
            assert in_front(app)[2] == "switchover"
            await press(pilot, "plus", "plus", "H", "H")
            assert in_front(app)[2] == "switchover"  # the cursor is outside the window now

    asyncio.run(run())


def test_the_lanes_say_that_there_are_more() -> None:
    async def run() -> None:
        async with opened(capture("10.0.13-multifd-64ch"), (80, 24)) as (app, pilot):
            await press(pilot, "3")
            assert "─Lanes, 7 of 65─" in shown(app)
            await press(pilot, "z")
            assert "─Lanes, 18 of 65─" in shown(app)
        async with opened(capture("10.0.13-vfio-3dev-4ch"), (80, 24)) as (app, pilot):
            await press(pilot, "3")
            assert "─Lanes──" in shown(app)

    asyncio.run(run())


def test_the_cursor_hides_a_label_whole() -> None:
    window = TimeWindow(0, 10**9)

    def line(cursor: int) -> str:
        return "".join(segment.text for segment in axis_line(window, 60, DEFAULT, cursor))

    plain = line(-1)
    assert "╵500.0 ms" in plain
    first = plain.index("╵500.0 ms")
    for cursor in range(60):
        inside = first <= cursor < first + len("╵500.0 ms")
        assert line(cursor)[cursor] == "▲"
        assert ("╵500.0 ms" in line(cursor)) is not inside
        assert re.fullmatch(r"(╵0|╵500\.0 ms|▲|\s)*", line(cursor))


def test_ticks_are_told_apart_however_close_they_are() -> None:
    second = 10**9
    for span in (10, 10_000, 10_000_000, second, 100 * second):
        window = TimeWindow(0, 200 * second, 3 * second, 3 * second + span)
        line = "".join(segment.text for segment in axis_line(window, 100, DEFAULT))
        ticks = [tick.strip() for tick in line.split("╵")[1:]]
        assert len(ticks) == len(set(ticks)) > 1


@pytest.mark.parametrize(
    ("name", "ends"),
    [
        ("10.0.13-vfio-destination-killed-2ch", ["FIN in a record", *["(RST) in payload"] * 2]),
        (
            "11.1.3-vfio-queue-limit-exceeded-4ch",
            ["FIN in a record", "(RST) in payload", "(RST)", "(RST)", "(RST) in payload"],
        ),
        ("10.0.13-vfio-truncated-no-returnpath-2ch", ["FIN", "FIN in payload", "FIN"]),
    ],
)
def test_how_channels_ended_tells_manner_and_place(name: str, ends: list[str]) -> None:
    document = read(name)
    (migration,) = document.migrations()
    assert migration.main_facts is not None
    channels = [c for c in document.channels() if c.kind in ("main", "multifd")]
    told = [ending(channel, migration.main_facts) for channel in channels]
    assert [text.partition(" at ")[0] for text in told] == ends
    migration.main_facts.truncated = migration.main_facts.eof = None
    assert ending(channels[0], migration.main_facts) == "FIN before EOF"

    async def run() -> None:
        async with opened(capture(name), LARGE) as (app, pilot):
            await press(pilot, "3")
            assert all(end in shown(app) for end in ends)

    asyncio.run(run())
