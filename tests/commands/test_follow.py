"""``--follow``: captures that are written while they are read."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from analyzer.capture import growing
from analyzer.commands import watch
from analyzer.synth import build
from tests.commands.run import mfshark

if TYPE_CHECKING:
    from pathlib import Path

CAPTURE = build({"migration": [{"channels": 2}]})


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "SETTLING", 0.1)
    monkeypatch.setattr(growing, "GRACE", 0.1)


def write_slowly(path: Path, pieces: int = 4) -> threading.Thread:
    """Into an empty file that is there, a part at a time."""
    path.write_bytes(b"")

    def write() -> None:
        step = len(CAPTURE) // pieces + 1
        with path.open("ab", buffering=0) as file:
            for at in range(0, len(CAPTURE), step):
                time.sleep(0.03)
                file.write(CAPTURE[at : at + step])

    thread = threading.Thread(target=write)
    thread.start()
    return thread


@pytest.mark.parametrize("command", ["check", "packets"])
def test_a_file_that_grows_gives_what_it_gives_when_it_is_whole(
    command: str, tmp_path: Path
) -> None:
    path = tmp_path / "growing.pcap"
    thread = write_slowly(path)
    followed = mfshark(command, path, "--follow")
    thread.join()
    whole = mfshark(command, path)
    assert followed == whole
    assert whole.status == 0


def test_packets_are_printed_as_they_come(tmp_path: Path) -> None:
    path = tmp_path / "growing.pcap"
    path.write_bytes(CAPTURE[: len(CAPTURE) // 2])
    command = [sys.executable, "-m", "analyzer", "packets", str(path), "--follow"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(3)]
        with path.open("ab") as file:
            file.write(CAPTURE[len(CAPTURE) // 2 :])
        lines += process.stdout.readlines()
    assert "".join(lines) == mfshark("packets", path).out


def test_standard_input_is_followed(tmp_path: Path) -> None:
    path = tmp_path / "whole.pcap"
    path.write_bytes(CAPTURE)
    command = [sys.executable, "-m", "analyzer", "check", "-", "--follow"]
    ran = subprocess.run(command, input=CAPTURE, capture_output=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, b"")
    assert ran.stdout.startswith(b"OK  <stdin>: migration completed")


def test_duration_ends_it(tmp_path: Path) -> None:
    path = tmp_path / "growing.pcap"
    path.write_bytes(CAPTURE[: len(CAPTURE) // 2])
    ran = mfshark("check", path, "--follow", "--duration", "0.2")
    assert "INCOMPLETE" in ran.out or "ends inside a record" in ran.out


def test_a_file_that_goes_away_is_told(tmp_path: Path) -> None:
    path = tmp_path / "growing.pcap"
    path.write_bytes(CAPTURE[: len(CAPTURE) // 2])
    timer = threading.Timer(0.2, path.unlink)
    timer.start()
    ran = mfshark("check", path, "--follow")
    timer.join()
    assert "note: the file was removed or replaced" in ran.out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["check", "a", "b", "--follow"], "--follow takes one capture"),
        (["check", "a", "--duration", "1"], "--duration goes with --follow"),
        (["check", "nowhere", "--follow"], "cannot be opened"),
        (["check", "a", "--follow", "--trace", "b"], "--trace takes complete logs"),
    ],
)
def test_what_does_not_make_sense_is_told(words: list[str], message: str) -> None:
    ran = mfshark(*words)
    assert ran.status == 2
    assert message in ran.err
