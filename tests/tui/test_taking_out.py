"""What leaves the interface: copies, exports, extracted state, pictures."""

from __future__ import annotations

import asyncio
import csv
import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from analyzer.migration.settings import Settings
from analyzer.tui.document import Document
from analyzer.tui.reread import Reread
from analyzer.tui.state import SCREENS
from tests.migration.main_streams import with_vfio
from tests.shipped import capture, truth
from tests.tui.driving import drive, enter, listed_rows, opened, press

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from textual.pilot import Pilot

    from analyzer.tui.app import MfsharkApp


VFIO = "10.0.13-vfio-3dev-4ch"
GAPS = "10.0.13-vfio-gaps-2ch"


def slowed(function: Callable[..., Any]) -> Callable[..., Any]:
    def slow(*arguments: Any) -> Any:
        time.sleep(0.2)
        return function(*arguments)

    return slow


def test_y_copies_the_selected_as_text_json_or_hex(monkeypatch: pytest.MonkeyPatch) -> None:
    async def path(app: MfsharkApp, pilot: Pilot[int]) -> None:
        copied: list[str] = []
        monkeypatch.setattr(app, "copy_to_clipboard", copied.append)
        await press(pilot, "G", "y", "t", "y", "j", "y", "h")
        text, plain, dump = copied
        assert "idstr: 0000:00:0" in text
        assert json.loads(plain)["packet"]["kind"] == "device-state"
        assert dump.startswith("00000000  11 22 33 44 00 00 00 01")
        await press(pilot, "6", "y", "j")
        assert "Stream" in json.loads(copied[-1])
        await press(pilot, "4", "end", "y", "t", "y", "j")
        assert "per second: device " in copied[-2]
        column = json.loads(copied[-1])
        assert column["time"] == pytest.approx(0.432, abs=0.05)
        assert column["main_bytes"] > 0 == column["ram_bytes"]

    drive(VFIO, path)


@pytest.mark.parametrize("screen", ["1", "7"])
def test_a_copy_waits_for_the_fields(monkeypatch: pytest.MonkeyPatch, screen: str) -> None:
    async def path(app: MfsharkApp, pilot: Pilot[int]) -> None:
        copied: list[str] = []
        monkeypatch.setattr(app, "copy_to_clipboard", copied.append)
        await press(pilot, screen, "G", "y", "t")
        whole = copied.pop()
        await press(pilot, "g")
        for name in ("packet", "stretch"):
            monkeypatch.setattr(app.reread, name, slowed(getattr(app.reread, name)))
        await pilot.press("G", "y", "t")
        while not copied:
            await pilot.pause(0.01)
        assert copied == [whole]

    drive(VFIO, path)


def test_a_copy_is_of_the_capture_that_is_shown(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "replaced.pcapng.gz"
    path.write_bytes(capture(VFIO).read_bytes())

    async def run() -> None:
        copied: list[str] = []
        async with opened(path) as (app, pilot):
            monkeypatch.setattr(app, "copy_to_clipboard", copied.append)
            await press(pilot, "y", "t")
            path.write_bytes(capture("7.2-multifd-2ch").read_bytes())
            monkeypatch.setattr(Reread, "packet", slowed(Reread.packet))
            before = app.document
            await pilot.press("r")
            while app.document is before:
                await pilot.pause(0.01)
            await press(pilot, "y", "t")
            await press(pilot, "y", "t")
        assert len(copied) == 3
        assert copied[0] != copied[1] == copied[2]

    asyncio.run(run())


def test_copies_on_every_screen() -> None:
    async def path(app: MfsharkApp, pilot: Pilot[int]) -> None:
        for screen in range(1, len(SCREENS) + 1):
            await press(pilot, str(screen))
            for form in "tjh":
                await press(pilot, "y", form)
                assert app._told is not None
                assert "cop" in app._told.plain
                app._told = None

    drive(VFIO, path)


@pytest.mark.parametrize("mode", ["csv", "jsonl", "pcapng"])
def test_exports_what_is_shown(tmp_path: Path, mode: str) -> None:
    out = tmp_path / f"out.{mode}"

    async def path(app: MfsharkApp, pilot: Pilot[int]) -> None:
        await press(pilot, "slash")
        await enter(pilot, "kind == device-state")
        tabs = ["tab"] * ["csv", "jsonl", "pcapng"].index(mode)
        await press(pilot, "e", *tabs, "ctrl+u")
        await enter(pilot, str(out))
        count = len(listed_rows(app))
        if mode == "csv":
            assert len(list(csv.DictReader(out.open()))) == count
        elif mode == "jsonl":
            assert len(out.read_text().splitlines()) == count
        else:
            smaller = Document(str(out), Settings())
            smaller.load(lambda: False)
            kinds = smaller.table.view("kind").tolist()
            assert kinds.count(2) >= count - 4  # each stream now begins in its middle
            assert smaller.scan is not None
            assert app.document.scan is not None
            assert 0 < smaller.scan.engine.frames < app.document.scan.engine.frames

    drive(VFIO, path)


def test_extracts_a_device_once(tmp_path: Path) -> None:
    folder = tmp_path / "state"

    async def path(app: MfsharkApp, pilot: Pilot[int]) -> None:
        for told in ("2 files", "manifest.json exists already"):
            await press(pilot, "2", "x", "ctrl+u")
            await enter(pilot, str(folder))
            assert app._told is not None
            assert told in app._told.plain

    drive(VFIO, path)
    (device,) = json.loads((folder / "manifest.json").read_text())["devices"]
    assert device["state_digest"] in json.dumps(truth(VFIO))


def test_extracts_a_device_of_a_saved_migration(tmp_path: Path) -> None:
    saved = tmp_path / "saved"
    saved.write_bytes(with_vfio())

    async def run() -> None:
        async with opened(saved) as (_, pilot):
            await press(pilot, "2", "j", "x", "ctrl+u")
            await enter(pilot, str(tmp_path / "state"))

    asyncio.run(run())
    assert [path.read_bytes() for path in (tmp_path / "state").glob("*.state")] == [b"latestate"]


def test_saves_the_screen(tmp_path: Path) -> None:
    async def path(_app: MfsharkApp, pilot: Pilot[int]) -> None:
        await press(pilot, "S", "ctrl+u")
        await enter(pilot, str(tmp_path / "screen.svg"))

    drive(VFIO, path)
    assert (tmp_path / "screen.svg").read_text().startswith("<svg")
