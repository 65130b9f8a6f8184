"""Capturing with a dumpcap that only seems to be one: what it is told, and what it tells."""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING, Any

import pytest

from analyzer.capture import live
from analyzer.capture.live import LiveCapture, interfaces
from analyzer.errors import CaptureError, ToolUnavailable
from analyzer.migration.scan import Scan
from analyzer.migration.settings import Settings
from analyzer.synth import build
from tests.capture.files import Section
from tests.live.dumpcap import FakeDumpcap
from tests.tcp.tshark import MISSING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Install = Callable[..., FakeDumpcap]

CAPTURE = build({"migration": [{"channels": 2}]})
DENIED = [
    "dumpcap: You do not have permission to capture on device 'lo' (Operation not permitted).",
    "Please check to make sure you have sufficient permissions.",
]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder) + os.pathsep + os.environ["PATH"])

    def install(capture: bytes = CAPTURE, end: bytes = b"", **plan: Any) -> FakeDumpcap:
        return FakeDumpcap(folder, capture, end, **plan)

    return install


def captured(
    output: str | None = None, settings: Settings | None = None, **options: Any
) -> tuple[Scan, int]:
    """What a capture gave that ended once there was nothing more to read, and dumpcap's status."""
    with LiveCapture("lo", output=output, **options) as capture:
        source = capture.source
        source.stops.append(lambda: source.position >= len(CAPTURE))
        scan = Scan(source, settings).run()
        source.close()
    return scan, capture._process.returncode


@pytest.mark.parametrize("kept", [False, True])
def test_what_dumpcap_captures_is_read(kept: bool, install: Install, tmp_path: Path) -> None:
    fake = install()
    file = tmp_path / "kept.pcap"
    scan, status = captured(str(file) if kept else None, capture_filter="tcp port 1", buffer=7)
    assert (len(scan.migrations), scan.file.damage, scan.file.notes) == (1, None, [])
    assert scan.file.frames == Scan(CAPTURE).run().file.frames
    assert status == 0
    assert fake.arguments == [
        "-i", "lo", "-B", "7", "-w", str(file) if kept else "-", "-p", "-f", "tcp port 1",
    ]  # fmt: skip
    assert file.exists() == kept


def test_frames_lost_by_the_kernel_are_noted(install: Install) -> None:
    section = Section()
    name = section.option(2, b"lo")
    section.interface(options=name).enhanced(0, b"x" * 60, 60)
    whole = bytes(section)
    counts = section.option(4, struct.pack("<Q", 9)) + section.option(5, struct.pack("<Q", 3))
    section.block(5, struct.pack("<III", 0, 0, 0) + counts + section.option(0, b""))
    install(whole, bytes(section)[len(whole) :], lost=3)
    with LiveCapture("lo") as capture:
        source = capture.source
        source.stops.append(lambda: source.position >= len(whole))
        scan = Scan(source).run()
        source.close()
    assert scan.file.notes == ["the capturing machine dropped 3 frames on lo"]


@pytest.mark.skipif(MISSING, reason="tshark is not installed")
def test_frames_lost_on_the_way_to_tshark_are_noted_too(install: Install) -> None:
    install(lost=4)
    scan, _ = captured(settings=Settings(via="tshark"))
    assert len(scan.migrations) == 1
    assert scan.file.notes == ["the capturing machine dropped 4 frames"]


def test_a_dumpcap_that_dies_is_damage_and_what_came_is_reported(install: Install) -> None:
    install(crash="dumpcap: No space left on device.")
    with LiveCapture("lo") as capture:
        scan = Scan(capture.source).run()
        capture.source.close()
    assert len(scan.migrations) == 1
    assert "dumpcap stopped: No space left on device" in str(scan.file.damage)


def test_an_interface_that_goes_away_is_noted(install: Install) -> None:
    text = 'The network adapter "lo" is no longer attached; the capture has stopped'
    install(crash=f"Packets: 3 dumpcap: {text}.", status=0)
    with LiveCapture("lo") as capture:
        scan = Scan(capture.source).run()
        capture.source.close()
    assert len(scan.migrations) == 1
    assert scan.file.damage is None
    assert scan.file.notes == [f"dumpcap stopped: {text}"]


@pytest.mark.parametrize(
    ("refusal", "kind", "message"),
    [
        (DENIED, ToolUnavailable, r"may not capture on lo: .*usermod -aG wireshark.*setcap"),
        (['dumpcap: There is no device named "lo".'], CaptureError, "live -D lists"),
        (['dumpcap: Invalid capture filter "x".'], CaptureError, "cannot capture on lo: Invalid"),
        ([""], CaptureError, "no reason given"),
        (["\x1b[31m\x00" + "x" * 5000], CaptureError, "cannot capture on lo"),
    ],
)
def test_a_refusal_says_why_and_what_to_do(
    refusal: list[str], kind: type[Exception], message: str, install: Install
) -> None:
    install(refusal=refusal)
    with pytest.raises(CaptureError, match=message) as raised:
        LiveCapture("lo")
    assert type(raised.value) is kind


def test_interfaces_are_listed(install: Install) -> None:
    install(interfaces="1. lo\t\tLoopback\t0\t127.0.0.1,::1\tloopback\n2. eth0\t\t\t0\t\tnetwork")
    assert interfaces() == [("lo", "Loopback 127.0.0.1 ::1"), ("eth0", "")]


def test_without_dumpcap_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(live, "PLACES", ())
    with pytest.raises(ToolUnavailable, match=r"dumpcap is not installed.*apt install tshark"):
        LiveCapture("lo")
    with pytest.raises(ToolUnavailable, match="dumpcap is not installed"):
        interfaces()


def test_a_dumpcap_that_may_not_be_run_says_how_to_get_the_right(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = install()
    fake.path.chmod(0o644)
    monkeypatch.setenv("PATH", str(fake.path.parent))
    with pytest.raises(ToolUnavailable, match=r"may not be run by this user; .*wireshark"):
        LiveCapture("lo")


def test_the_name_of_an_interface_is_no_option(install: Install) -> None:
    fake = install(refusal=["no"])
    with pytest.raises(CaptureError):
        LiveCapture("-w/etc/passwd", capture_filter="-x")
    assert fake.arguments[:2] == ["-i", "-w/etc/passwd"]
