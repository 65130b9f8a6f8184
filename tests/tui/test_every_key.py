"""Every key in every pane of every screen, whatever the capture: nothing breaks."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from textual.binding import Binding

from analyzer.tui.state import SCREENS
from tests.shipped import capture
from tests.tui.driving import SMALL, opened, press, settle

if TYPE_CHECKING:
    from pathlib import Path

    from textual.widget import Widget

pytestmark = pytest.mark.drawn
WINDOWS = {
    "change_theme", "command_palette", "copy", "export", "extract", "find", "find_again", "go_to",
    "keys", "migration", "open", "payload", "save_svg", "saved_filters", "whole",
}  # fmt: skip
"""Actions that open a window: each has a test of its own."""
LEFT_OUT = {"quit", "screen", "app.focus_next", "app.focus_previous", "edit_filter", *WINDOWS}


def keys_of(owners: list[Widget]) -> list[str]:
    """The keys that the project binds in some widgets."""
    keys = []
    for owner in owners:
        for kind in type(owner).__mro__:
            if kind.__module__.startswith("analyzer.tui"):
                for binding in kind.__dict__.get("BINDINGS", ()):
                    if (
                        isinstance(binding, Binding)
                        and binding.action.split("(")[0] not in LEFT_OUT
                    ):
                        keys += binding.key.split(",")
    return list(dict.fromkeys(keys))


async def everywhere(path: Path) -> int:
    """Press them all; gives how many panes there were."""
    panes = 0
    async with opened(path) as (app, pilot):
        for number in range(1, len(SCREENS) + 1):
            await press(pilot, str(number))
            chain = [pane for pane in app.screen.focus_chain if pane.id != "filter"]
            panes += len(chain)
            for pane in chain:
                for key in keys_of([pane]):
                    pane.focus()
                    app.simulate_key(key)
                    await pilot._wait_for_screen()
                await settle(pilot)
                await press(pilot, "escape", str(number))  # Enter may have opened a window
            for key in keys_of([app.view, app]):  # type: ignore[list-item]
                app.simulate_key(key)
                await pilot._wait_for_screen()
            await settle(pilot)
        assert app.is_running
    return panes


def test_on_a_capture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("analyzer.tui.app.FOLLOW_PAUSE", 3600.0)
    assert asyncio.run(everywhere(capture("10.0.13-vfio-gaps-2ch"))) > len(SCREENS)


def test_on_what_cannot_be_read(tmp_path: Path) -> None:
    assert asyncio.run(everywhere(tmp_path / "missing.pcap")) > len(SCREENS)


@pytest.mark.parametrize("size", [(1, 1), (20, 5), (250, 70)])
def test_at_any_size(size: tuple[int, int]) -> None:
    async def run() -> None:
        async with opened(capture("10.0.13-vfio-gaps-2ch"), size) as (app, pilot):
            for number in range(1, len(SCREENS) + 1):
                await press(pilot, str(number), "tab", "j")
            await pilot.resize_terminal(*SMALL)
            await settle(pilot)
            await pilot.resize_terminal(*size)
            await settle(pilot)
            assert app.is_running

    asyncio.run(run())
