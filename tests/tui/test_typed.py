"""What is typed into windows: paths that cannot be, and pages of lists that show nothing yet."""

from __future__ import annotations

import asyncio
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from textual.widgets import Input

from analyzer.tui.dialogs.commands import Commands
from analyzer.tui.dialogs.picker import PickerScreen
from analyzer.tui.filters import store_path
from analyzer.tui.reread import Reread
from analyzer.tui.tree_list import TreeList
from analyzer.tui.typed_path import is_directory, is_file, is_there, typed_path
from tests.shipped import capture
from tests.tui.driving import enter, opened, press, settle, shown

if TYPE_CHECKING:
    from analyzer.migration.replay import Excerpt

VFIO = "10.0.13-vfio-gaps-2ch"
TOO_LONG = "a" * 5000
NOBODY = "~nobody-of-that-name/x"


@pytest.mark.parametrize("text", [TOO_LONG, "x/" * 3000, NOBODY, "missing\0"])
def test_paths_that_cannot_be(text: str) -> None:
    path = typed_path(text)
    assert not any(question(path) for question in (is_there, is_file, is_directory))


def test_a_tilde_is_the_home_folder() -> None:
    assert typed_path("~/x") == Path.home() / "x"


def test_somebody_without_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(_user: object) -> object:
        raise KeyError

    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setattr("pwd.getpwuid", unknown)
    assert store_path() is None
    assert typed_path("~/x") == Path("~/x")
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    assert store_path() == Path("/state/mfshark/filters.json")


@pytest.mark.parametrize(
    "kept", ['{"saved": 5, "history": {"a": 1}}', "[" * 100_000, '{"saved": ["\\ud800", 1]}', "5"]
)
def test_kept_filters_that_make_no_sense(kept: str, tmp_path: Path) -> None:
    store = tmp_path / "filters.json"
    store.write_text(kept)

    async def run() -> None:
        async with opened(capture(VFIO), store=store) as (app, pilot):
            await press(pilot, "b", "escape")
            assert all(text.isprintable() for text in app.filters.saved + app.filters.history)

    asyncio.run(run())


@pytest.mark.parametrize("key", ["e", "S"])
def test_a_file_that_cannot_be_is_told(
    key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    async def run() -> None:
        async with opened(capture(VFIO)) as (app, pilot):
            for text, told in ((NOBODY, "no such directory"), (TOO_LONG, "File name too long")):
                await press(pilot, key)
                app.screen.query_one(Input).value = ""
                await enter(pilot, text)
                assert told in shown(app)
                await press(pilot, "escape")

    asyncio.run(run())
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_is_told() -> None:
    async def run() -> None:
        async with opened(capture("10.0.13-vfio-3dev-4ch")) as (app, pilot):
            await press(pilot, "2", "x", "ctrl+u")
            await enter(pilot, TOO_LONG)
            assert "not extracted" in shown(app)

    asyncio.run(run())


def test_picker_takes_paths(tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    shutil.copy(capture(VFIO), inner / "other-name")

    async def run() -> None:
        async with opened(tmp_path) as (app, pilot):
            for text in (TOO_LONG, NOBODY, "inner/missing"):
                await press(pilot, "slash")
                await enter(pilot, text)
                assert isinstance(app.screen, PickerScreen)
                app.screen.query_one(Input).value = ""
            await press(pilot, "slash")
            await enter(pilot, "inner/")
            assert f"Open a capture: {inner}"[:40] in shown(app)
            await press(pilot, "slash")
            await enter(pilot, "other-name")
            assert app.document.path == str(inner / "other-name")

    asyncio.run(run())


@pytest.mark.parametrize("keys", [("enter", "enter"), ("enter", "escape"), ("escape", "enter")])
def test_keys_that_come_before_a_window_is_gone(
    keys: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    async def run() -> None:
        async with opened(capture(VFIO)) as (app, pilot):
            for window in "eSM?ob":
                await press(pilot, window)
                for key in keys:
                    app.simulate_key(key)
                await settle(pilot)
                await press(pilot, *["escape"] * (len(app.screen_stack) - 1))
            assert app.is_running

    asyncio.run(run())


@pytest.mark.parametrize("key", ["ctrl+p", "T"])
def test_pages_of_commands_that_are_still_looked_for(key: str) -> None:
    async def run() -> None:
        async with opened(capture(VFIO)) as (app, pilot):
            app.simulate_key(key)
            for _ in range(20):
                app.simulate_key("pagedown")
                app.simulate_key("pageup")
                await pilot.pause()
            assert isinstance(app.screen, Commands)
            app.simulate_key("x")
            app.simulate_key("pagedown")
            await pilot.pause()
            assert app.is_running

    asyncio.run(run())


def test_keys_that_come_before_a_payload_is_read_are_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read = Reread.packet

    def slowly(self: Reread, row: int) -> Excerpt:
        time.sleep(0.2)
        return read(self, row)

    monkeypatch.setattr(Reread, "packet", slowly)

    async def run() -> None:
        async with opened(capture(VFIO)) as (app, pilot):
            await press(pilot, "2", "tab", "right", "p", "down", "down")
            fields = app.focused
            assert isinstance(fields, TreeList)
            assert fields.cursor == 2

    asyncio.run(run())
