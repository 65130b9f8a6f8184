"""Drives the application as a user does."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from textual.events import Paste

from analyzer.migration.settings import Settings
from analyzer.tui.app import MfsharkApp
from analyzer.tui.views.packets import PacketsView
from tests.shipped import capture

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path
    from typing import TypeAlias

    from textual.pilot import Pilot

    Use: TypeAlias = Callable[[MfsharkApp, Pilot[int]], Awaitable[None]]

__all__ = ["LARGE", "SMALL", "drive", "enter", "listed_rows", "opened", "press", "settle", "shown"]

SMALL, LARGE = (80, 24), (250, 70)
ROUNDS, BETWEEN = 6000, 0.005
"""The most checks of whether the application is at rest, and seconds between two of them."""


async def settle(pilot: Pilot[int]) -> None:
    """Wait until nothing is being read, computed or drawn; AssertionError if that never happens."""
    app = pilot.app
    assert isinstance(app, MfsharkApp)
    for _ in range(ROUNDS):
        if not at_rest(app):
            await asyncio.sleep(BETWEEN)
            continue
        await pilot._wait_for_screen()
        app.screen._on_timer_update()  # lays out widgets that changed their size
        await pilot.pause()
        if at_rest(app):  # still, now that the workers' last messages were handled
            return
    raise AssertionError("the application never comes to rest")


def at_rest(app: MfsharkApp) -> bool:
    """Whether everything is read, filtered and computed, and all keys are answered; a new size of
    the terminal is not heeded at once.
    """
    if app._resize_event is not None:
        return False
    read = app.document.done and app._loading is None
    answered = not app._typed and app._follower is None
    worked_out = not app.filters.behind and all(worker.is_finished for worker in app.workers)
    return read and answered and worked_out


@asynccontextmanager
async def opened(
    path: Path | str | None, size: tuple[int, int] = SMALL, store: Path | None = None
) -> AsyncIterator[tuple[MfsharkApp, Pilot[int]]]:
    """The application with a capture that has been read to its end."""
    app = MfsharkApp(str(path) if path is not None else None, Settings(), store)
    async with app.run_test(size=size) as pilot:
        await settle(pilot)
        yield app, pilot
        if app.is_running:
            shown(app)  # whatever is on the screen can be drawn


def drive(name: str, use: Use, size: tuple[int, int] = SMALL, store: Path | None = None) -> None:
    """Use the application on a shipped capture."""

    async def run() -> None:
        async with opened(capture(name), size, store) as (app, pilot):
            await use(app, pilot)

    asyncio.run(run())


async def press(pilot: Pilot[int], *keys: str) -> None:
    """Press keys and wait for everything that they cause."""
    await pilot.app._press_keys(keys)
    await settle(pilot)


async def enter(pilot: Pilot[int], text: str) -> None:
    """Paste a text (typing is slow) and press Enter."""
    pilot.app.post_message(Paste(text))
    await pilot.pause()
    await press(pilot, "enter")


def listed_rows(app: MfsharkApp) -> list[int]:
    """The rows of the table on Packets, in the order of the list."""
    rows = app.query_one(PacketsView).rows
    assert rows is not None
    return [rows.number(position) for position in range(len(rows))]


def shown(app: MfsharkApp) -> str:
    """The text on the screen, with each run of white space as one blank."""
    strips = app.screen._compositor.render_strips()
    return " ".join("\n".join(strip.text for strip in strips).split())
