"""Keys that come in one burst go where they would have gone one by one."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest
from textual.events import Key, Paste
from textual.widgets import Input
from textual.worker import Worker

from analyzer.tui.app import MfsharkApp
from analyzer.tui.dialogs.ask import AskDialog
from analyzer.tui.dialogs.payload import PayloadScreen
from analyzer.tui.dialogs.picker import PickerScreen
from analyzer.tui.filter_line import FilterInput
from analyzer.tui.key_order import Follower
from tests.shipped import capture
from tests.tui.driving import opened, settle

if TYPE_CHECKING:
    from collections.abc import Callable

    from textual.pilot import Pilot


CHARACTERS = {"slash": "/", "colon": ":"}
VFIO = "10.0.13-vfio-3dev-4ch"


def burst(keys: tuple[str, ...], look: Callable[[MfsharkApp], None]) -> None:
    async def run() -> None:
        async with opened(capture(VFIO)) as (app, pilot):
            for key in keys:
                app.post_message(Key(key, CHARACTERS.get(key, key if len(key) == 1 else None)))
            await rest(app, pilot)
            look(app)

    asyncio.run(run())


async def rest(app: MfsharkApp, pilot: Pilot[int]) -> None:
    for _ in range(500):
        await settle(pilot)
        if not app._typed and app._follower is None:
            return
    raise AssertionError("keys are waiting")


def test_keys_that_come_while_the_application_ends_are_dropped() -> None:
    async def run() -> None:
        async with opened(capture(VFIO)) as (app, _pilot):
            app._typed.append(Key("2", "2"))
            screens = app._screen_stack[:]
            app._screen_stack.clear()
            app._follow(Follower(time.monotonic() + 1, 1))
            app._screen_stack.extend(screens)
            assert app._follower is None
            assert not app._typed

    asyncio.run(run())


def test_a_place_and_then_another_screen() -> None:
    def look(app: MfsharkApp) -> None:
        assert (app.state.row, app.state.screen) == (59, "devices")
        assert len(app.screen_stack) == 1

    burst(("ctrl+g", "6", "0", "enter", "2"), look)


@pytest.mark.parametrize(
    ("keys", "window", "value"),
    [
        (("colon", "6", "0"), AskDialog, "60"),
        (("o", "slash", "p", "s", "k"), PickerScreen, "psk"),
        (("2", "x", "ctrl+u", "slash", "q"), AskDialog, "/q"),
        (("j", "n", "3", "z"), AskDialog, "3z"),
    ],
)
def test_what_is_typed_behind_a_window_s_key(
    keys: tuple[str, ...], window: type, value: str
) -> None:
    def look(app: MfsharkApp) -> None:
        assert isinstance(app.screen, window)
        assert app.screen.query_one(Input).value == value

    burst(keys, look)


def test_a_window_is_about_what_was_selected_just_before() -> None:
    def look(app: MfsharkApp) -> None:
        assert isinstance(app.screen, PayloadScreen)
        assert app.screen._row == app.state.row == len(app.document.table) - 3

    burst(("G", "k", "k", "p", "k", "j"), look)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is worked out in a thread is worked out late."""
    run = Worker._run_threaded

    async def late(worker: Worker[None]) -> None:
        if worker.group != "load":
            await asyncio.sleep(0.2)
        await run(worker)

    monkeypatch.setattr(Worker, "_run_threaded", late)


@pytest.mark.usefixtures("slow")
@pytest.mark.parametrize(
    ("keys", "index"),
    [(("2", "j", "enter", "right", "right", "enter"), 2), (("3", "down", "enter"), None)],
)
def test_what_is_typed_before_a_screen_is_worked_out(
    keys: tuple[str, ...], index: int | None
) -> None:
    def look(app: MfsharkApp) -> None:
        assert app.state.screen != "channels"
        assert app.state.row > 0
        assert app.state.index == index

    burst(keys, look)


@pytest.mark.usefixtures("slow")
def test_a_window_that_takes_its_time_is_closed_by_the_key_behind_it() -> None:
    def look(app: MfsharkApp) -> None:
        assert len(app.screen_stack) == 1

    burst(("i", "escape"), look)


@pytest.mark.usefixtures("slow")
def test_what_is_copied_is_of_the_screen_that_was_there(monkeypatch: pytest.MonkeyPatch) -> None:
    copied: list[str] = []
    monkeypatch.setattr(MfsharkApp, "copy_to_clipboard", lambda _app, text: copied.append(text))
    burst(("G", "y", "t", "2"), lambda _app: None)
    assert "idstr: 0000:00:0" in copied[0]


def test_a_filter_and_what_is_pressed_behind_it() -> None:
    def look(app: MfsharkApp) -> None:
        assert app.state.filter == "kind==sync"
        assert app.state.screen == "streams"

    burst(("slash", *"kind==sync", "enter", "6"), look)


def test_a_text_that_is_pasted_behind_a_key() -> None:
    async def run() -> None:
        async with opened(capture(VFIO)) as (app, pilot):
            app.simulate_key("ctrl+g")
            app.post_message(Paste("60"))
            app.simulate_key("enter")
            await rest(app, pilot)
            assert app.state.row == 59

    asyncio.run(run())


def test_what_is_typed_stays_when_the_document_changes() -> None:
    async def run() -> None:
        async with opened(capture(VFIO)) as (app, pilot):
            for key in ("slash", *"abc"):
                app.simulate_key(key)
            await rest(app, pilot)
            app.view.show_document()
            app.reload()
            await settle(pilot)
            assert app.query_one(FilterInput).value == "abc"
            assert app.query_one(FilterInput).has_focus

    asyncio.run(run())
