"""What can be opened, and how one chooses it."""

from __future__ import annotations

import asyncio
import gzip
import shutil
from typing import TYPE_CHECKING

import pytest

from analyzer.tui.dialogs.picker import PickerScreen
from analyzer.tui.field_panes import FieldPanes
from analyzer.tui.row_list import RowList
from analyzer.tui.state import SCREENS
from tests.shipped import CAPTURES, capture
from tests.tui.driving import drive, opened, press, settle, shown

if TYPE_CHECKING:
    from pathlib import Path

    from textual.pilot import Pilot

    from analyzer.tui.app import MfsharkApp

VFIO = "10.0.13-vfio-3dev-4ch"


def test_a_folder_lets_one_choose(tmp_path: Path) -> None:
    shutil.copy(capture(VFIO), tmp_path)

    async def run() -> None:
        async with opened(tmp_path) as (app, pilot):
            assert isinstance(app.screen, PickerScreen)
            await press(pilot, "G", "enter")
            assert app.document.path == str(tmp_path / capture(VFIO).name)
            assert len(app.document.table)

    asyncio.run(run())


def test_the_picker_begins_where_one_is(tmp_path: Path) -> None:
    folder = tmp_path / "m"
    for directory in (folder, tmp_path / "a", tmp_path / "z"):
        directory.mkdir()
    for name in ("a", "b", "c"):
        shutil.copy(capture(VFIO), folder / f"{name}.pcapng.gz")

    async def run() -> None:
        async with opened(folder / "b.pcapng.gz") as (app, pilot):
            await press(pilot, "o", "down", "enter")
            assert app.document.path == str(folder / "c.pcapng.gz")
            await press(pilot, "o", "backspace")
            assert under_cursor(app) == "m/"
            await press(pilot, "enter", "home", "enter")
            assert under_cursor(app) == "m/"

    asyncio.run(run())


def under_cursor(app: MfsharkApp) -> str | None:
    return app.screen.query_one(RowList).copied("text")


def test_the_picker_opens_a_capture_in_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "inner"
    folder.mkdir()
    shutil.copy(capture(VFIO), folder)
    (folder / "notes.txt").write_text("no capture")
    monkeypatch.chdir(tmp_path)

    async def run() -> None:
        async with opened(None) as (app, pilot):
            assert isinstance(app.screen, PickerScreen)
            await press(pilot, "G", "enter")
            await press(pilot, "enter")
            assert app.document.path == str(folder / capture(VFIO).name)
            assert len(app.document.table)

    asyncio.run(run())


def test_nobody_is_asked_for_a_filter_at_the_beginning(tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(tmp_path) as (app, pilot):
            await press(pilot, "escape")
            app.screen.set_focus(None)
            app.screen._update_auto_focus()  # as in a terminal, whose first events come later
            await settle(pilot)
            assert isinstance(app.focused, RowList)
            assert "time.relative" not in shown(app)

    asyncio.run(run())


def test_enter_opens_the_only_capture_that_is_left(tmp_path: Path) -> None:
    for name in ("one.pcapng.gz", "other.pcapng.gz"):
        shutil.copy(capture(VFIO), tmp_path / name)

    async def run() -> None:
        async with opened(tmp_path) as (app, pilot):
            await press(pilot, "slash", "o", "enter")
            assert isinstance(app.screen, PickerScreen)
            await press(pilot, "slash", "t", "enter")
            assert app.document.path == str(tmp_path / "other.pcapng.gz")

    asyncio.run(run())


def test_another_capture_is_shown_from_its_beginning() -> None:
    async def run() -> None:
        async with opened(capture(VFIO)) as (app, pilot):
            await press(pilot, *"1G2G5G6G7G")
            app.open(str(capture("11.1.3-vfio-2dev-8ch")))
            await settle(pilot)
            for key in "12567":
                await press(pilot, key)
                assert {rows.cursor for rows in app.view.query(RowList)} == {0}

    asyncio.run(run())


def test_what_is_no_capture_is_said(tmp_path: Path) -> None:
    path = tmp_path / "x.pcap"
    path.write_bytes(b"nonsense")

    async def run() -> None:
        async with opened(path) as (app, pilot):
            assert "is not a pcap" in app.document.error
            for key in "1234567":
                await press(pilot, key)

    asyncio.run(run())


@pytest.mark.parametrize("path", sorted(CAPTURES.glob("*.mig.gz")), ids=lambda path: path.name)
def test_saved_migrations_open(path: Path) -> None:
    async def run() -> None:
        async with opened(path) as (app, pilot):
            assert app.state.screen == "main"
            assert app.document.verdict[0] == "OK"
            await press(pilot, "j", "j")
            panes = app.view.query_one(FieldPanes)
            assert panes.bytes.data
            assert panes.fields.nodes
            for number in range(1, len(SCREENS) + 1):
                await press(pilot, str(number), "j", "enter")
            await press(pilot, "1")
            assert "saved migration" in app.view.query_one("#packet-list", RowList).empty

    asyncio.run(run())


def test_a_screen_shares_its_id_with_none_of_its_widgets() -> None:
    async def use(app: MfsharkApp, _pilot: Pilot[int]) -> None:
        ids = [widget.id for widget in app.query("*")]
        assert [ids.count(screen) for screen in SCREENS] == [1] * len(SCREENS)

    drive(VFIO, use)


def test_a_finding_of_a_saved_migration_leads_to_its_record(tmp_path: Path) -> None:
    whole = gzip.decompress((CAPTURES / "10.0.13-file-plain.mig.gz").read_bytes())
    path = tmp_path / "cut.mig"
    path.write_bytes(whole[: len(whole) // 2])

    async def run() -> None:
        async with opened(path) as (app, pilot):
            assert app.document.findings
            await press(pilot, "5", "j", "enter")
            assert app.state.screen == "main"
            assert app.state.record > 0

    asyncio.run(run())


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
def test_decrypts_with_the_keys_given() -> None:
    path = capture("10.0.13-tls13-x509-2ch-secrets-embedded")

    async def run() -> None:
        async with opened(path) as (app, pilot):
            assert len(app.document.table)
            await press(pilot, "end")
            assert app.view.query_one(FieldPanes).bytes.data

    asyncio.run(run())


async def looks(app: MfsharkApp, pilot: Pilot[int]) -> list[str]:
    """What every screen shows."""
    found = []
    for number in range(1, len(SCREENS) + 1):
        await press(pilot, str(number))
        found.append(shown(app))
    return found


@pytest.mark.parametrize(
    "path",
    [
        capture("10.0.13-ipv6-2ch"),
        capture("10.0.13-tls13-x509-2ch-nokeys"),
        CAPTURES / "10.0.13-file-plain.mig.gz",
    ],
    ids=lambda path: path.name,
)
def test_nothing_is_left_of_the_capture_open_before(path: Path) -> None:
    async def run() -> None:
        async with opened(path) as (app, pilot):
            wanted = await looks(app, pilot)
        async with opened(capture("10.0.13-vfio-gaps-2ch")) as (app, pilot):
            for number in range(len(SCREENS), 0, -1):
                await press(pilot, str(number), "tab", "right", "shift+tab", "G")
            app.open(str(path))
            await settle(pilot)
            assert await looks(app, pilot) == wanted

    asyncio.run(run())
