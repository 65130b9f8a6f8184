"""Names from a capture are text, whatever is in them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from analyzer.synth import build
from tests.tui.driving import opened, press

if TYPE_CHECKING:
    from pathlib import Path

NAMES = (
    "[bold red]x[/]/vfio",
    "[@click=app.quit]x[/]/vfio",
    "a\x1b]0;owned\x07\x1b[2J/vfio",
    "evil\u202egnp.exe\u2066/vfio",
    "\x85\u2028\n\r\t/vfio",
    "日本語" * 20 + "/vfio",
)


@pytest.mark.parametrize("name", NAMES)
def test_no_markup_and_no_control(name: str, tmp_path: Path) -> None:
    path = tmp_path / "[red]hostile.pcap"
    path.write_bytes(build({"device": [{"idstr": name, "size": 3000}]}))

    async def run() -> None:
        async with opened(path, (120, 40)) as (app, pilot):
            assert any(m.devices for m in app.document.migrations())
            for key in ("G", "2", "5", "7", "G", "1", "tab", "E", "d", "M", "escape"):
                await press(pilot, key)
                strips = list(app.screen._compositor.render_strips())
                text = "\n".join(strip.text for strip in strips)
                assert not any(char in text for char in "\x1b\x07\x85\r\t\u2028\u202e\u2066")
                if key == "2" and name.startswith("["):
                    assert name[:12] in text

    asyncio.run(run())
