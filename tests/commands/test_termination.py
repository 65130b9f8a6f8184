"""SIGTERM, as a job that has run out of time gets it, and SIGHUP, as when a terminal is closed."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from analyzer.synth import build

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGHUP])
def test_nothing_half_written_is_left(sent: signal.Signals, tmp_path: Path) -> None:
    folder = tmp_path / "state"
    command = [sys.executable, "-m", "analyzer.cli", "extract", "-", "-o", str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        process.stdin.write(build({})[:-100])  # and it waits for more
        process.stdin.flush()
        while not any(folder.glob(".*.part")):
            assert process.poll() is None
        process.send_signal(sent)
        process.send_signal(sent)  # as the kernel and the shell both do
        process.wait()
    assert process.returncode == 128 + sent
    assert not folder.exists()


def test_nohup_is_heeded(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    data = build({})
    command = ["nohup", sys.executable, "-m", "analyzer.cli", "extract", "-", "-o", str(folder)]
    pipes: dict[str, Any] = {
        "stdin": subprocess.PIPE,
        "stdout": subprocess.DEVNULL,
        "stderr": subprocess.DEVNULL,
    }
    with subprocess.Popen(command, **pipes) as process:
        assert process.stdin is not None
        process.stdin.write(data[:-100])
        process.stdin.flush()
        while not any(folder.glob(".*.part")):
            assert process.poll() is None
        process.send_signal(signal.SIGHUP)
        process.stdin.write(data[-100:])
        process.stdin.close()
        process.wait()
    assert process.returncode == 0
    assert any(folder.iterdir())
