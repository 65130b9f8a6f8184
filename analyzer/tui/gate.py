"""Keeps a loading thread from getting in the way of keys."""

from __future__ import annotations

import gc
import time
from contextlib import contextmanager

from analyzer.migration.watcher import Watcher

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

__all__ = ["Gate", "Pacer", "no_long_collection"]

PACKETS = 32
"""Packets between two rests inside one step, which may hold thousands."""

BREAK = 0.04
"""How long loading pauses after a key, in seconds."""
AT_MOST = 0.08
"""How long it pauses when one key follows the other; then it works for :data:`TURN` seconds."""
TURN = 0.01
STEP = 0.005

YOUNG = 2000
"""New objects after which those among them that are garbage are looked for: what is drawn in the
meantime leaves much.
"""
ROUNDS = 10
"""Such looks until those that lived through them are looked at once more."""
NEVER = 1 << 30
USUAL = gc.get_threshold()


@contextmanager
def no_long_collection() -> Iterator[None]:
    """What is made meanwhile and lives on is never searched for garbage again: with millions of
    objects that search takes seconds, in which no key is answered.
    """
    if gc.get_freeze_count():  # what was made the last time may be garbage by now
        gc.unfreeze()
        gc.collect()
    gc.set_threshold(YOUNG, ROUNDS, NEVER)
    try:
        yield
    finally:
        gc.freeze()
        gc.set_threshold(*USUAL)


class Gate:
    """The loading thread calls :meth:`rest` after every step, the application :meth:`key`.

    Both share one interpreter, of which a busy thread takes a turn of milliseconds whenever the
    other one waits; while a key is being answered loading stands still instead.
    """

    def __init__(self) -> None:
        self.stopped = False
        self._until = 0.0
        self._working = 0.0  # until then it does not pause

    def key(self) -> None:
        """A key was pressed."""
        self._until = time.monotonic() + BREAK

    def stop(self) -> None:
        """Loading is to end."""
        self.stopped = True

    def rest(self) -> bool:
        """Wait while a key is being answered; says whether to stop."""
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
    """A watcher of the scan that only rests now and then, so that keys need not wait for a step."""

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
