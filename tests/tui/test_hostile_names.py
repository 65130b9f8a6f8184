"""Names from a capture are text, whatever is in them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from analyzer.synth import build
from tests.tui.driving import enter, opened, press

if TYPE_CHECKING:
    from pathlib import Path

    from analyzer.tui.app import MfsharkApp

KEYS = (
    "G", "p", "escape", "2", "s", "x", "escape", "enter", "f", "y", "escape", "e", "escape", "5",
    "enter", "6", "7", "G", "y", "t", "1", "tab", "E", "down", "down", "down", "a", "d", "b",
    "escape", "M", "escape",
)  # fmt: skip

NAMES = (
    "[bold red]x[/]/vfio",
    "[@click=app.quit]x[/]/vfio",
    "[/x]/vfio",
    "a\x1b]0;owned\x07\x1b[2J/vfio",
    "evil\u202egnp.exe\u2066/vfio",
    "\x85\u2028\n\r\t/vfio",
    "日本語" * 20 + "/vfio",
)


def test_no_markup_and_no_control(tmp_path: Path) -> None:
    path = tmp_path / "[red]hostile.pcap"
    path.write_bytes(build({"device": [{"idstr": name, "size": 3000} for name in NAMES]}))

    async def run() -> None:
        async with opened(path, (120, 40)) as (app, pilot):
            assert len(app.document.migrations()[0].devices) == len(NAMES)
            for key in KEYS:
                await press(pilot, key)
                text = drawn(app)
                if key == "2":
                    assert all(name[:12] in text for name in NAMES if name.startswith("["))
            await press(pilot, "1", "slash")
            await enter(pilot, 'kind == "device-state"')
            for _ in NAMES:  # each with a packet's fields, payload and copy
                for key in ("p", "escape", "tab", "E", "y", "escape", "1", "j", "j"):
                    await press(pilot, key)
                    drawn(app)
            await press(pilot, "2", "g")
            for _ in NAMES:  # windows with the name of each
                await press(pilot, "x")
                drawn(app)
                await press(pilot, "escape", "j")

    asyncio.run(run())


def drawn(app: MfsharkApp) -> str:
    """What is on the screen, without anything that a terminal would obey."""
    text = "\n".join(strip.text for strip in app.screen._compositor.render_strips())
    assert not any(char in text for char in "\x1b\x07\x85\r\t\u2028\u202e\u2066")
    return text


@pytest.mark.parametrize("content", [None, b"this is no capture"])
def test_the_name_of_a_file_that_cannot_be_read(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "evil\x1b]0;owned\x07\u202e.pcap"
    if content is not None:
        path.write_bytes(content)

    async def run() -> None:
        async with opened(path, (250, 40)) as (app, pilot):
            for key in ("2", "3", "4", "5", "6", "7", "1", "e", "escape", "S", "escape", "r"):
                await press(pilot, key)
                drawn(app)
            assert "\\x1b]0;owned\\x07\\u202e" in app.document.error
            assert "\\x1b]0;owned" in drawn(app)

    asyncio.run(run())
