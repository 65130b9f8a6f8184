"""Decides when to stop reading a growing capture."""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import sys
import time

from analyzer.capture.growing import follow
from analyzer.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterator
    from types import FrameType

    from analyzer.capture.growing import GrowingSource
    from analyzer.checks.checker import Checker
    from analyzer.migration.scan import Scan

__all__ = ["Watch", "followed", "piped"]

SETTLING = 1.0
"""Seconds that a migration's connections must stay closed, since the last frames may still arrive.
"""
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Ctrl-C, what ends a job, and a terminal that is closed; ``nohup`` ignores the last."""


class Watch:
    """Says when to stop: after Ctrl-C, after a time, or when the migrations have ended.  It needs
    the ``scan`` to know of migrations.
    """

    def __init__(self, duration: float | None = None, *, until_ended: bool = False) -> None:
        if duration is not None and duration <= 0:
            raise UsageError("--duration takes a number of seconds above 0")
        self.scan: Scan | None = None
        self.interrupted = False
        self._deadline = None if duration is None else time.monotonic() + duration
        self._until_ended = until_ended
        self._ended_at = 0.0

    def __call__(self) -> bool:
        """Whether to stop."""
        now = time.monotonic()
        if self.interrupted or (self._deadline is not None and now >= self._deadline):
            return True
        if not self._until_ended or self.scan is None or not ended(self.scan):
            self._ended_at = 0.0
            return False
        self._ended_at = self._ended_at or now
        return now - self._ended_at >= SETTLING

    def step(self, scan: Scan, _checker: Checker) -> None:
        """After every step of an analysis."""
        self.scan = scan

    @contextlib.contextmanager
    def signals(self) -> Iterator[None]:
        """Make the signals that terminate a program stop the reading once; a second signal
        terminates the program.
        """

        def interrupt(number: int, _frame: FrameType | None) -> None:
            self.interrupted = True
            signal.signal(number, before[signal.Signals(number)])

        before = {number: signal.signal(number, interrupt) for number in SIGNALS}
        if before[signal.SIGHUP] == signal.SIG_IGN:
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def ended(scan: Scan) -> bool:
    """Whether there was a migration and the connections of all migrations are closed."""
    channels = [channel for migration in list(scan.migrations) for channel in migration.channels]
    if scan.grouper.tls and all(channel.flow.closed for channel in channels):
        from analyzer.migration.encrypted import recognise

        for found in recognise(scan.grouper.tls):
            channels += found.channels
    return bool(channels) and all(channel.flow.closed for channel in channels)


@contextlib.contextmanager
def followed(path: str, options: Namespace) -> Iterator[tuple[GrowingSource, Watch]]:
    """The capture as ``--follow`` and ``--duration`` request it, and the watch that says when to
    stop.

    Raises :class:`UsageError` and :class:`analyzer.errors.CaptureError`.
    """
    watch = Watch(options.duration, until_ended=True)
    source = follow(path)
    source.stops.append(watch)
    try:
        with watch.signals():
            yield source, watch
    finally:
        source.close()


@contextlib.contextmanager
def piped() -> Iterator[None]:
    """If standard input is a pipe, leave the first Ctrl-C to the program that fills it: that one
    ends, and with it the capture, of which the report follows.  A second one ends mfshark.
    """
    if not stat.S_ISFIFO(os.fstat(sys.stdin.fileno()).st_mode):
        yield
        return
    before = signal.signal(signal.SIGINT, lambda number, _: signal.signal(number, before))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
