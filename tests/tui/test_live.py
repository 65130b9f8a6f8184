"""A capture in the interface while it is being written."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from analyzer.capture.growing import follow
from analyzer.migration.settings import Settings
from analyzer.synth import build
from analyzer.tui import app as application
from analyzer.tui.app import MfsharkApp
from analyzer.tui.filter_line import FilterInput
from analyzer.tui.row_list import RowList
from tests.checks.craft import IDSTR, Tiny
from tests.migration.tls_captures import stripped
from tests.tui.driving import opened, press, settle, shown

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from textual.pilot import Pilot

CAPTURE = build({"migration": [{"channels": 2}]})


@asynccontextmanager
async def growing(path: Path) -> AsyncIterator[tuple[MfsharkApp, Pilot[int]]]:
    source = follow(str(path))
    app = MfsharkApp(str(path), Settings(), live=source)
    async with app.run_test(size=(120, 40)) as pilot:
        yield app, pilot
    source.close()


async def until(pilot: Pilot[int], condition: Callable[[], bool]) -> None:
    for _ in range(200):
        if condition():
            return
        await asyncio.sleep(0.02)
        await pilot.pause()
    pytest.fail("it did not come to that")


def test_packets_appear_as_they_come_and_the_last_stays_selected(tmp_path: Path) -> None:
    path = tmp_path / "live.pcap"
    path.write_bytes(CAPTURE[: len(CAPTURE) // 2])

    async def use() -> None:
        async with growing(path) as (app, pilot):
            await until(pilot, lambda: 0 < len(app.document.table) == app.state.row + 1)
            seen = len(app.document.table)
            assert not app.document.done
            assert "LIVE" in str(app.screen.query_one("#status").render())
            with path.open("ab") as file:
                file.write(CAPTURE[len(CAPTURE) // 2 :])
            await until(pilot, lambda: len(app.document.table) > seen)
            await until(pilot, lambda: app.state.row + 1 == len(app.document.table))
            packets = app.view.query_one("#packet-list")
            assert packets.scroll_offset.y + packets.size.height > app.state.row
            await press(pilot, "F")
            assert app.document.done
            assert app.document.verdict[0] == "OK"
            assert len(app.document.findings) > 0

    asyncio.run(use())


def test_the_last_packet_is_in_sight_when_the_capture_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "live.pcap"
    path.write_bytes(CAPTURE[: len(CAPTURE) // 2])

    async def use() -> None:
        async with growing(path) as (app, pilot):
            await until(pilot, lambda: 0 < len(app.document.table) == app.state.row + 1)
            monkeypatch.setattr(application, "GROWTH", 1000)  # the rest is shown at the end only
            seen = len(app.document.table)
            with path.open("ab") as file:
                file.write(CAPTURE[len(CAPTURE) // 2 :])
            await until(pilot, lambda: len(app.document.table) > seen)
            await press(pilot, "F")
            packets = app.view.query_one(RowList)
            assert app.state.row + 1 == len(app.document.table) > packets.size.height
            below = packets.scroll_offset.y + packets.size.height - packets.header
            assert below > app.state.row

    asyncio.run(use())


def test_the_cursor_stays_where_it_was_put(tmp_path: Path) -> None:
    path = tmp_path / "live.pcap"
    path.write_bytes(CAPTURE[: len(CAPTURE) // 2])

    async def use() -> None:
        async with growing(path) as (app, pilot):
            await until(pilot, lambda: 2 < len(app.document.table) == app.state.row + 1)
            await pilot.press("home")
            seen = len(app.document.table)
            with path.open("ab") as file:
                file.write(CAPTURE[len(CAPTURE) // 2 :])
            await until(pilot, lambda: len(app.document.table) > seen)
            assert app.state.row == 0
            await press(pilot, "F")

    asyncio.run(use())


def test_what_is_typed_into_the_filter_stays_while_packets_come(tmp_path: Path) -> None:
    path = tmp_path / "live.pcap"
    path.write_bytes(CAPTURE[:100])

    async def use() -> None:
        async with growing(path) as (app, pilot):
            for key in ("slash", *"kind"):
                app.simulate_key(key)
            await until(pilot, lambda: app.query_one(FilterInput).value == "kind")
            with path.open("ab") as file:
                file.write(CAPTURE[100:])
            await until(pilot, lambda: len(app.document.table) > 2)
            await asyncio.sleep(2 * application.GROWTH)
            await pilot.pause()
            assert app.query_one(FilterInput).value == "kind"
            app.document.end_capture()
            await settle(pilot)
            assert app.query_one(FilterInput).value == "kind"

    asyncio.run(use())


def test_tls_is_told_while_it_waits_for_the_end(tmp_path: Path) -> None:
    path = stripped(tmp_path / "live.pcapng")

    async def use() -> None:
        async with growing(path) as (app, pilot):
            await until(pilot, lambda: "3 TLS connections" in app.document.lack())
            await press(pilot, "F")
            assert app.document.verdict[0] == "ENCRYPTED"

    asyncio.run(use())


def test_what_has_not_come_yet_is_not_called_lost(tmp_path: Path) -> None:
    path = tmp_path / "live.pcap"
    made = Tiny()
    del made.multifd[0][-2:], made.multifd[1][-1:]  # main tells of a device before a buffer comes
    whole = made.pcap()
    made.close = []
    begun = made.pcap()
    told = begun.index(IDSTR)
    path.write_bytes(begun[:told])

    async def use() -> None:
        async with growing(path) as (app, pilot):
            await pilot.press("2")
            await until(pilot, lambda: "no device state yet" in shown(app))
            with path.open("ab") as file:
                file.write(begun[told:])
            await until(pilot, lambda: "has come over multifd yet" in shown(app))
            assert "? cannot tell" in shown(app)
            with path.open("ab") as file:
                file.write(whole[len(begun) :])
            await press(pilot, "F")
            assert "no device-state buffer came over multifd" in shown(app)
            assert "✗ never came" in shown(app)

    asyncio.run(use())


def test_an_index_that_may_still_come_is_not_called_lost(tmp_path: Path) -> None:
    path = tmp_path / "live.pcap"
    made = Tiny()
    del made.multifd[1][-1:]
    made.close = []
    path.write_bytes(made.pcap())

    async def use() -> None:
        async with growing(path) as (app, pilot):
            await pilot.press("2")
            await until(pilot, lambda: "■ 0■ 1✗ 2C" in shown(app))
            await pilot.press("tab", "left")
            await until(pilot, lambda: "index 1 has not arrived yet" in shown(app))
            await press(pilot, "F")
            assert "index 1 never arrived" in shown(app)

    asyncio.run(use())


def test_leaving_ends_the_reading(tmp_path: Path) -> None:
    path = tmp_path / "live.pcap"
    path.write_bytes(CAPTURE)

    async def use() -> None:
        async with growing(path) as (app, pilot):
            await until(pilot, lambda: len(app.document.table) > 0)
            await pilot.press("q")

    asyncio.run(asyncio.wait_for(use(), 20))


@pytest.mark.parametrize(
    ("then", "said"),
    [("gone", "following"), ("nothing", "is empty"), ("no capture", "is not a pcap")],
)
def test_following_keeps_what_it_read_when_the_file_is_none_any_more(
    then: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(application, "FOLLOW_PAUSE", 0.01)
    path = tmp_path / "capture.pcap"
    path.write_bytes(CAPTURE)

    async def use() -> None:
        async with opened(path) as (app, pilot):
            count = len(app.document.table)
            await press(pilot, "F")
            if then == "gone":
                path.unlink()
            else:
                path.write_bytes(b"" if then == "nothing" else b"not a capture\n" * 3)
            await until(pilot, lambda: app._told is not None and said in app._told.plain)
            await press(pilot, "F")
            assert len(app.document.table) == count > 0

    asyncio.run(use())
