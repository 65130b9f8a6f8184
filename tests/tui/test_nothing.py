"""Where there is nothing to show every screen says why, whole, at 80x24."""

from __future__ import annotations

import asyncio
import os
import struct
from typing import TYPE_CHECKING

import pytest

from tests.migration import main_streams as build
from tests.shipped import CAPTURES, capture
from tests.tui.driving import opened, press, shown

if TYPE_CHECKING:
    from pathlib import Path

SCREENS = "1234567"


def screens(path: Path | None, first: str = "") -> dict[str, str]:
    """What stands on every screen, by its key."""

    async def run() -> dict[str, str]:
        async with opened(path) as (app, pilot):
            if first:
                await press(pilot, first)
            found = {}
            for key in SCREENS:
                await press(pilot, key)
                found[key] = shown(app)
            return found

    return asyncio.run(run())


def test_what_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "x.pcap"
    path.write_bytes(b"this is no capture")
    for text in screens(path).values():
        assert "and with --via tshark what Wireshark reads" in text
        assert "no TCP connection" not in text
        assert "neither on multifd nor on main" not in text


def test_no_frames(tmp_path: Path) -> None:
    path = tmp_path / "x.pcap"
    path.write_bytes(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
    found = screens(path)
    assert "no TCP connection" in found.pop("6")
    for text in found.values():
        assert "no migration in this capture; see Streams (6)" in text
    assert all("NOTHING no migration in 0 frames" in text for text in found.values())


def test_tls_without_keys() -> None:
    found = screens(capture("10.0.13-tls13-x509-2ch-nokeys"))
    streams = found.pop("6")
    assert "TLS, not decrypted" in streams
    assert "the other direction" in streams
    for text in found.values():
        assert "--keylog FILE decrypts it" in text


def test_main_only() -> None:
    found = screens(capture("7.2-plain-tcp-nomultifd"))
    assert "all of the migration went over its main channel; see Main" in found["1"]
    assert "no device state: neither on multifd nor on main" in found["2"]
    assert "no findings: nothing the rules object to" in found["5"]


def test_a_setup_that_hangs() -> None:
    found = screens(capture("11.1.3-setup-hangs-4-2ch"))
    assert "nothing but connections: no RAM, no device state" in found["4"]
    assert "main never carried a byte" in found["7"]


def test_saved_migration() -> None:
    found = screens(CAPTURES / "10.0.13-file-plain.mig.gz")
    for key in "134":
        assert "a saved migration has neither packets nor times; see Main (7)" in found[key]
    assert "no channel yet" not in found["3"]  # nothing is to come
    assert "a saved migration has no connection" in found["6"]
    assert "CONFIGURATION" in found["7"]


def test_what_stands_before_a_saved_migration_is_told(tmp_path: Path) -> None:
    path = tmp_path / "saved"
    path.write_bytes(bytes(700) + build.plain())
    assert "the stream begins at byte 700, behind zeros" in screens(path)["6"]


def test_a_capture_that_ends_before_the_switchover(tmp_path: Path) -> None:
    path = tmp_path / "cut.pcapng"
    path.write_bytes(capture("10.0.13-vfio-3dev-4ch").read_bytes()[:2_000_000])
    found = screens(path)
    assert "0000:00:04.0/vfio#0 - - ? cannot tell" in found["2"]
    assert "the file ends inside a record" in found["6"]
    assert all("INCOMPLETE" in text for text in found.values())


def test_the_verdict_comes_back_after_a_message() -> None:
    async def run() -> None:
        async with opened(capture("10.0.13-vfio-3dev-4ch")) as (app, pilot):
            verdict = "OK migration completed, 4 multifd channels"
            assert verdict in shown(app)
            app.document.near_row.clear()
            await press(pilot, "right_square_bracket")
            findings = len(app.document.findings)
            assert f"no packet has a finding; {findings} findings on Findings (5)" in shown(app)
            await press(pilot, "2")
            assert verdict in shown(app)

    asyncio.run(run())


def test_what_a_filter_hides_is_not_selected() -> None:
    """Also the packet that was selected before is not, when all of them are hidden."""

    async def run() -> None:
        async with opened(capture("10.0.13-vfio-3dev-4ch")) as (app, pilot):
            await press(pilot, "G", "slash", *"channel == 9", "enter")
            for key in "pdfDmy":
                app._told = None
                await press(pilot, key, *(["t"] if key == "y" else []))
                none = "nothing to copy as text here" if key == "y" else "no packet matches the"
                assert none in shown(app)
                assert (app.state.filter, app.state.screen) == ("channel == 9", "packets")
                assert not app.state.marks

    asyncio.run(run())


def test_no_capture_is_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for text in screens(None, "escape").values():
        assert text.count("no capture is open; o opens one") >= 1


def test_picker_in_an_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    async def run() -> None:
        async with opened(None) as (app, pilot):
            assert "no capture here" in shown(app)
            (tmp_path / "a.pcap").touch()
            os.utime(tmp_path / "a.pcap", (1e12, 1e12))
            await press(pilot, "slash", "b")
            assert "no capture with this text in its name" in shown(app)
            await press(pilot, "backspace")
            assert "Enter opens" in shown(app)
            tmp_path.rename(tmp_path.with_name("elsewhere"))
            await press(pilot, "x")
            assert "No such file or directory" in shown(app)

    asyncio.run(run())
