"""Keeps the loading thread from delaying the answer to keys."""

from __future__ import annotations

import gc
import time
from contextlib import contextmanager

from analyzer.migration.consumers import Watcher

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

__all__ = ["Gate", "Pacer", "no_long_collection"]

PACKETS = 32
"""Packets between two calls of ``rest`` inside one step, which may hold thousands."""

BREAK = 0.04
"""Seconds that loading pauses after a key."""
AT_MOST = 0.08
"""The longest pause, when keys follow each other; then loading goes on for :data:`TURN` seconds."""
TURN = 0.01
STEP = 0.005

YOUNG = 2000
"""Threshold of the garbage collector's youngest generation: drawing leaves much garbage."""
ROUNDS = 10
"""Collections of the youngest generation per collection of the second one."""
NEVER = 1 << 30
USUAL = gc.get_threshold()


@contextmanager
def no_long_collection() -> Iterator[None]:
    """Turn off full garbage collections, and freeze all objects at the end: with millions of
    objects a full collection takes seconds, during which no key is answered.
    """
    if gc.get_freeze_count():  # what was frozen the last time may be garbage by now
        gc.unfreeze()
        gc.collect()
    gc.set_threshold(YOUNG, ROUNDS, NEVER)
    try:
        yield
    finally:
        gc.freeze()
        gc.set_threshold(*USUAL)


class Gate:
    """Pauses the loading thread, which calls :meth:`rest` after every step, while a key is being
    answered; the application calls :meth:`key`.

    Both threads share the interpreter lock, and a busy thread would take it for milliseconds
    whenever the other one waits.
    """

    def __init__(self) -> None:
        self.stopped = False
        self._until = 0.0
        self._working = 0.0  # loading does not pause before this time

    def key(self) -> None:
        """Note that a key was pressed."""
        self._until = time.monotonic() + BREAK

    def stop(self) -> None:
        """Make loading end."""
        self.stopped = True

    def rest(self) -> bool:
        """Wait while a key is being answered; returns whether to stop."""
        time.sleep(0)
        now = time.monotonic()
        if now < self._until and now >= self._working:
            deadline = now + AT_MOST
            while not self.stopped and now < min(self._until, deadline):
                time.sleep(STEP)
                now = time.monotonic()
            self._working = now + TURN
        return self.stopped


class Pacer(Watcher):
    """A watcher that calls ``rest`` every few packets, so that keys need not wait for a whole step
    of the scan.
    """

    def __init__(self, rest: Callable[[], bool]) -> None:
        self._rest = rest
        self._left = PACKETS

    def _packet(self, *_: Any, **__: Any) -> None:
        self._left -= 1
        if not self._left:
            self._left = PACKETS
            self._rest()

    ram = _packet
    device = _packet
