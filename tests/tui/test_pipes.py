"""Captures that come over a pipe, shown in a real terminal: keys come from there all the same."""

from __future__ import annotations

import contextlib
import fcntl
import gzip
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

import pytest

from tests.commands.run import mfshark
from tests.shipped import CAPTURES, capture

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO

ROOT = Path(__file__).resolve().parents[2]
CAPTURE, SAVED = capture("10.0.13-vfio-3dev-4ch"), CAPTURES / "10.0.13-file-plain.mig.gz"
VERDICT = "migration completed, 4 multifd channels"
PATIENCE = 30.0


class Terminal:
    """The program in a terminal of its own, which is its standard input if there is no other."""

    def __init__(self, words: list[str], folder: Path, stdin: int | IO[bytes] | None) -> None:
        self.seen = b""
        self._keyboard, screen = pty.openpty()
        lines, columns = 30, 100
        fcntl.ioctl(screen, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        size = {"LINES": str(lines), "COLUMNS": str(columns)}  # a test's worker has others
        self.process = subprocess.Popen(
            [sys.executable, "-m", "analyzer", *words],
            stdin=screen if stdin is None else stdin,
            stdout=screen,
            stderr=screen,
            env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(folder), "TERM": "xterm"}
            | size,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(1, termios.TIOCSCTTY, 0),
        )
        os.close(screen)

    def until(self, text: str) -> None:
        """Wait until that was written to the screen."""
        end = time.monotonic() + PATIENCE
        while text.encode() not in self.seen:
            assert time.monotonic() < end, self.seen[-2000:]
            self._read()

    def leave(self) -> int:
        """Press q; gives the exit status."""
        os.write(self._keyboard, b"q")
        end = time.monotonic() + PATIENCE
        while self.process.poll() is None:
            assert time.monotonic() < end, "it does not end"
            self._read()
        return self.process.returncode

    def _read(self) -> None:
        if select.select([self._keyboard], [], [], 0.05)[0]:
            with contextlib.suppress(OSError):  # what is left of a terminal that was closed
                self.seen += os.read(self._keyboard, 1 << 16)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._keyboard)


@contextlib.contextmanager
def terminal(
    words: list[str], folder: Path, stdin: int | IO[bytes] | None = None
) -> Iterator[Terminal]:
    made = Terminal(words, folder, stdin)
    try:
        yield made
    finally:
        made.close()


def test_standard_input_is_watched_while_it_comes(tmp_path: Path) -> None:
    data = CAPTURE.read_bytes()
    with terminal(["-"], tmp_path, subprocess.PIPE) as shown:
        pipe = shown.process.stdin
        assert pipe is not None
        pipe.write(data[: len(data) // 2])
        shown.until("LIVE")
        pipe.write(data[len(data) // 2 :])
        pipe.close()
        shown.until(VERDICT)
        assert shown.leave() == 0
    assert not list(tmp_path.iterdir())


def test_standard_input_may_be_a_file(tmp_path: Path) -> None:
    with CAPTURE.open("rb") as file, terminal(["-"], tmp_path, file) as shown:
        shown.until(CAPTURE.name[:12])
        shown.until(VERDICT)
        assert shown.leave() == 0


def test_what_the_terminal_cannot_show_takes_a_cell_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "latin-1")
    with terminal([str(CAPTURE)], tmp_path) as shown:
        shown.until(VERDICT)
        assert shown.leave() == 0
    assert b"?????" in shown.seen
    assert b"\\u25" not in shown.seen


def test_named_pipe(tmp_path: Path) -> None:
    folder, path = tmp_path / "folder", tmp_path / "pipe.pcap"
    folder.mkdir()
    os.mkfifo(path)
    with terminal([str(path)], folder) as shown:
        shown.until("LIVE")
        Thread(target=path.write_bytes, args=(CAPTURE.read_bytes(),)).start()
        shown.until(VERDICT)
        assert shown.leave() == 0
    assert not list(folder.iterdir())


def test_a_pipe_that_nobody_writes_to_is_left(tmp_path: Path) -> None:
    path = tmp_path / "pipe.pcap"
    os.mkfifo(path)
    with terminal([str(path)], tmp_path) as shown:
        shown.until("LIVE")
        assert shown.leave() == 0


def test_options_may_come_first(tmp_path: Path) -> None:
    with terminal(["--dialect", "upstream", str(CAPTURE)], tmp_path) as shown:
        shown.until(VERDICT)
        assert shown.leave() == 0


@pytest.mark.parametrize(
    ("data", "verdict"),
    [
        (CAPTURE.read_bytes(), VERDICT),
        (SAVED.read_bytes(), "saved migration complete"),
        (gzip.decompress(SAVED.read_bytes()), "saved migration complete"),
    ],
    ids=["compressed", "compressed-saved", "saved"],
)
def test_what_cannot_be_read_as_it_comes_is_read_when_it_has_come(
    data: bytes, verdict: str, tmp_path: Path
) -> None:
    with terminal(["-"], tmp_path, subprocess.PIPE) as shown:
        pipe = shown.process.stdin
        assert pipe is not None
        pipe.write(data[:1000])
        pipe.flush()
        shown.until("LIVE")
        pipe.write(data[1000:])
        pipe.close()
        shown.until(verdict)
        assert shown.leave() == 0
    assert not list(tmp_path.iterdir())


def test_it_is_left_before_that(tmp_path: Path) -> None:
    with terminal(["-"], tmp_path, subprocess.PIPE) as shown:
        assert shown.process.stdin is not None
        shown.process.stdin.write(CAPTURE.read_bytes()[:1000])
        shown.process.stdin.flush()
        shown.until("LIVE")
        assert shown.leave() == 0


def test_the_keyboard_is_no_capture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.isatty", lambda _descriptor: True)
    ran = mfshark("-")
    assert ran.status == 2
    assert "standard input is the keyboard" in ran.err
