"""The progress line on a terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import sys
import termios
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pytest

from analyzer.cli import main
from analyzer.commands import common, watch
from analyzer.synth import build
from tests.live.dumpcap import FakeDumpcap
from tests.shipped import capture

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

COLUMNS = 40
ERASED = "\r\x1b[K"


@contextmanager
def screen(monkeypatch: pytest.MonkeyPatch, *streams: str) -> Iterator[list[str]]:
    """A terminal as some of the standard streams, with room for 4 KiB; in the end the list holds
    what was written to it.
    """
    shown, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, COLUMNS, 0, 0))
    monkeypatch.setattr(common, "PROGRESS_SECONDS", -1)
    text: list[str] = []
    with os.fdopen(terminal, "w", encoding="utf-8") as stream:
        for name in streams:
            monkeypatch.setattr(sys, name, stream)
        yield text
    with suppress(OSError):  # how Linux tells that nobody has the terminal open any more
        while piece := os.read(shown, 4096):
            text.append(piece.decode())
    os.close(shown)


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
    with screen(monkeypatch, "stderr") as shown:
        common.Progress(name, True)(0.1, 5)
    assert "".join(shown) == f"\r{line}\x1b[K"
    assert len(line) < COLUMNS


@pytest.mark.parametrize(
    ("streams", "condition", "told"),
    [
        (("stdout", "stderr"), "vfio.idx > 4", False),
        (("stdout", "stderr"), "severity > info", True),  # rows come at the end
        (("stderr",), "vfio.idx > 4", True),
    ],
)
def test_rows_on_the_same_terminal_are_progress_enough(
    streams: tuple[str, ...], condition: str, told: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["packets", str(capture("10.0.13-vfio-3dev-4ch")), "-Y", condition]
    with screen(monkeypatch, *streams) as shown:
        assert main([*words, "--no-config", "-o", "-"]) == 0
    text = "".join(shown)
    assert (" frames" in text) == told
    assert " frames" not in text.rpartition(ERASED)[2]


def test_a_verdict_of_each_stands_in_a_row_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(watch, "SETTLING", 0.1)
    FakeDumpcap(tmp_path, build({"device": []}))
    with screen(monkeypatch, "stdout", "stderr") as shown:
        assert main(["live", "-i", "lo", "--each", "--until-ended", "--color", "never"]) == 0
    rows = "".join(shown).split("\n")
    (row,) = (row for row in rows if "migration 0 completed" in row)
    assert " frames" in row
    assert re.match(r"\d\d:\d\d:\d\d  OK  ", row.rpartition(ERASED)[2])
