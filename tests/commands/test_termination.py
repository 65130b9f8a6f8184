"""SIGTERM, as a job that has run out of time gets it, SIGHUP, as when a terminal is closed, and
Ctrl-C.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from contextlib import contextmanager, suppress
from fcntl import ioctl
from termios import FIONREAD
from time import sleep
from typing import TYPE_CHECKING, Any

import pytest

from analyzer.synth import build
from analyzer.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def _heeded() -> Iterator[None]:
    """The tests themselves may run in the background or under nohup, where these are ignored, also
    by what they start.
    """
    before = [
        (signal.SIGHUP, signal.signal(signal.SIGHUP, signal.SIG_DFL)),
        (signal.SIGINT, signal.signal(signal.SIGINT, signal.default_int_handler)),
    ]
    yield
    for number, handler in before:
        signal.signal(number, handler)


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_nothing_half_written_is_left(sent: signal.Signals, tmp_path: Path) -> None:
    folder = tmp_path / "state"
    command = [sys.executable, "-m", "analyzer", "extract", "-", "-o", str(folder), "--buffers"]
    many = build({"device": [{"size": "64 KiB", "buffer_size": 256}]})
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        process.stdin.write(many[:-100])  # and it waits for more
        process.stdin.flush()
        while len(list(folder.glob(".*.part"))) < 40:
            assert process.poll() is None
        for _ in range(100):  # as the kernel and the shell both do, or a key that is held down
            process.send_signal(sent)
            sleep(0.0005)
        process.wait()
    ended = [128 + sent] if sent != signal.SIGINT else [130, -sent]  # while the interpreter ends
    assert process.returncode in ended
    assert not folder.exists()


def test_nohup_is_heeded(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    data = build({})
    command = ["nohup", sys.executable, "-m", "analyzer", "extract", "-", "-o", str(folder)]
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


@contextmanager
def reading(data: bytes) -> Iterator[subprocess.Popen[bytes]]:
    """A check that has taken ``data`` from a pipe, and waits for more."""
    command = [sys.executable, "-m", "analyzer", "check", "-"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        process.stdin.write(data)
        process.stdin.flush()
        while int.from_bytes(ioctl(process.stdin, FIONREAD, bytes(4)), sys.byteorder):
            assert process.poll() is None
        yield process


def test_what_came_through_a_pipe_is_reported_after_one_interrupt() -> None:
    whole = build({})
    with reading(whole[:5000]) as process:
        process.send_signal(signal.SIGINT)  # the shell sends it to both ends of the pipe
        out, _ = process.communicate(whole[5000:])  # what the other end still writes out
    assert process.returncode == 0
    assert out.startswith(b"OK  <stdin>: migration completed")


def test_two_interrupts_end_it() -> None:
    with reading(build({})) as process:
        while process.poll() is None:
            process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                process.wait(1)  # the next one comes when this one was taken
        assert process.stdout is not None
        assert process.stdout.read() == b""
    assert process.returncode == 130


def test_an_interrupt_while_the_program_is_loaded_shows_no_traceback() -> None:
    script = (
        "import os, signal, sys\n"
        "class Interrupt:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'argparse':\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Interrupt())\n"
        "from analyzer.__main__ import start\n"
        "sys.exit(start())\n"
    )
    ran = subprocess.run([sys.executable, "-c", script, "--help"], capture_output=True)
    assert (ran.returncode, ran.stdout, ran.stderr) == (-signal.SIGINT, b"", b"")


def test_the_package_is_the_program() -> None:
    command = [sys.executable, "-m", "analyzer", "--version"]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ran.stdout == f"mfshark {VERSION}\n"
