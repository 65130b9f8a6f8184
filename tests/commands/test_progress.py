"""The progress line on a terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import sys
import termios

import pytest

from analyzer.commands import common

COLUMNS = 40


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("run.pcap", "run.pcap:  10%, 5 frames, 0 s left"),
        ("/srv/captures/night/run.pcap", "...t/run.pcap:  10%, 5 frames, 0 s left"),
        ("r" * 200, "...rrrrrrrrrr:  10%, 5 frames, 0 s left"),
    ],
)
def test_it_takes_one_row_and_shows_the_end_of_the_name(
    name: str, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, COLUMNS, 0, 0))
    os.set_blocking(shown, False)
    monkeypatch.setattr(common, "PROGRESS_SECONDS", -1)
    with os.fdopen(terminal, "w", encoding="utf-8") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        common.Progress(name, True)(0.1, 5)
        told = os.read(shown, 4096).decode()
    os.close(shown)
    assert told == f"\r{line}\x1b[K"
    assert len(line) < COLUMNS
