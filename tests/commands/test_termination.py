"""SIGTERM, as a job that has run out of time gets it."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import TYPE_CHECKING

from analyzer.synth import build

if TYPE_CHECKING:
    from pathlib import Path


def test_nothing_half_written_is_left(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    command = [sys.executable, "-m", "analyzer.cli", "extract", "-", "-o", str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        process.stdin.write(build({})[:-100])  # and it waits for more
        process.stdin.flush()
        while not any(folder.glob(".*.part")):
            assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        process.wait()
    assert process.returncode == 128 + signal.SIGTERM
    assert not folder.exists()
