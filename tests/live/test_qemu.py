"""Real migrations over loopback, captured while they run: QEMU's counts are the truth."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from analyzer.capture.live import LiveCapture
from analyzer.errors import CaptureError
from dissectors.multifd import INIT
from tests.commands.run import mfshark
from tests.live import qemu
from tests.tcp.tshark import MISSING as TSHARK_MISSING

if TYPE_CHECKING:
    from collections.abc import Iterator

CHANNELS = 3
RAM_HEADER = 320 + 128 * 8
"""Bytes in front of the pages, with those of 4 KiB."""


pytestmark = pytest.mark.skipif(qemu.MISSING, reason="qemu-system-x86_64 is not installed")
needs_tshark = pytest.mark.skipif(TSHARK_MISSING, reason="tshark is not installed")


@pytest.fixture(scope="module", autouse=True)
def rights() -> None:
    """Skips where nobody here may capture."""
    try:
        with LiveCapture("lo", capture_filter="tcp port 1") as capture:
            capture.source.close()
    except CaptureError as error:
        pytest.skip(str(error))


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short name: those of sockets have at most 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="mfq-") as name:
        yield Path(name)


class Captured:
    """What ``mfshark live`` reported of a migration; ``state`` is QEMU's own account."""

    def __init__(self, out: str, status: int, state: dict[str, Any]) -> None:
        self.lines = out.splitlines()
        self.status = status
        self.state = state

    def agrees(self, report: dict[str, Any]) -> None:
        """The report's figures are QEMU's."""
        (migration,) = report["migrations"]
        channels = [c for c in migration["channels"] if c["kind"] == "multifd"]
        assert sorted(c["id"] for c in channels) == list(range(CHANNELS))
        blocks, ram = migration["ram"]["blocks"], self.state["ram"]
        assert sum(block["normal_pages"] for block in blocks) == ram["normal"] > 0
        assert sum(block["zero_pages"] for block in blocks) == ram["duplicate"] > 0
        # Up to 8.0 QEMU does not count the initial packets, but twice a packet whose pages and
        # whose SYNC were meant for two; now and then an empty second one follows.
        rules = Counter(finding["rule"] for finding in report["findings"])
        twice = rules["MF208"] - rules["MF227"]
        uncounted = sum(c["bytes"] for c in channels) - ram["multifd-bytes"]
        assert uncounted + twice * RAM_HEADER in (0, CHANNELS * INIT.size)


@contextmanager
def live(port: int, *words: str) -> Iterator[subprocess.Popen[str]]:
    """``mfshark live`` on loopback, capturing."""
    command = [sys.executable, "-m", "analyzer", "live", "-i", "lo", "-f", f"tcp port {port}",
               "--until-ended", "--duration", "40", *words]  # fmt: skip
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as process:
        assert process.stderr is not None
        told = process.stderr.readline()
        assert "capturing on lo" in told, told + process.stderr.read()
        yield process


def captured(folder: Path, *words: str, **how: Any) -> Captured:
    port = qemu.free_port()
    with live(port, *words) as process:
        state = qemu.migrate(folder, port, channels=CHANNELS, **how)
        assert process.stdout is not None
        out = process.stdout.read()
        status = process.wait()
    assert state["status"] == "completed"
    return Captured(out, status, state)


def report_of(path: Path, *words: object) -> dict[str, Any]:
    loaded = json.loads(mfshark("check", path, "--format", "json", *words).out)
    report: dict[str, Any] = loaded["captures"][0]
    return report


def test_a_migration_is_verified_while_it_runs(folder: Path) -> None:
    file = folder / "kept.pcapng"
    found = captured(folder, "--each", "-w", str(file))
    assert found.status == 0, found.lines
    assert f"migration 0 completed, {CHANNELS} multifd channels" in found.lines[0]
    assert found.lines[1].startswith(f"OK  {file}: migration completed")
    found.agrees(report_of(file))


@needs_tshark
def test_a_migration_over_tls_is_decrypted(folder: Path) -> None:
    file, keys = folder / "kept.pcapng", folder / "keys.log"
    words = ("--each", "-w", str(file), "--keylog", str(keys))
    found = captured(folder, *words, tls=True, keylog=keys)
    assert found.status == 0, found.lines
    assert f"migration 0 completed, {CHANNELS} multifd channels" in found.lines[0]
    found.agrees(report_of(file, "--keylog", keys))

    without = report_of(file)
    assert without["migrations"] == []
    assert [c["kind"] for c in without["tls"]] == ["main", *["multifd"] * CHANNELS]
    # Since 10.0 QEMU's multifd channels say that they end, before that none; main never does.
    ends = [c["close_notify"] for c in without["tls"]]
    assert ends in ([False] * (1 + CHANNELS), [False, *[True] * CHANNELS])
    assert without["findings"] == []


def test_a_migration_over_tls_without_keys_is_recognised(folder: Path) -> None:
    found = captured(folder, tls=True)
    assert found.status == 2, found.lines
    assert found.lines[0].startswith("ENCRYPTED  <lo>: a migration over TLS to 127.0.0.1:")
    assert f"main and {CHANNELS} multifd channels" in found.lines[0]
    assert any("SSLKEYLOGFILE" in line for line in found.lines)
