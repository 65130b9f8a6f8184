"""Keeps a loading thread from getting in the way of keys."""

from __future__ import annotations

import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ["Gate", "Pacer"]

PACKETS = 256
"""Packets between two rests inside one step, which may hold thousands."""

BREAK = 0.025
"""How long loading pauses after a key, in seconds."""
STEP = 0.005


class Gate:
    """The loading thread calls :meth:`rest` after every step, the application :meth:`key`.

    Both share one interpreter, of which a busy thread takes a turn of milliseconds whenever the
    other one waits; while a key is being answered loading stands still instead.
    """

    def __init__(self) -> None:
        self.stopped = False
        self._until = 0.0

    def key(self) -> None:
        """A key was pressed."""
        self._until = time.monotonic() + BREAK

    def stop(self) -> None:
        """Loading is to end."""
        self.stopped = True

    def rest(self) -> bool:
        """Wait while a key is being answered; says whether to stop."""
        time.sleep(0)
        deadline = time.monotonic() + 2 * BREAK
        while not self.stopped and time.monotonic() < min(self._until, deadline):
            time.sleep(STEP)
        return self.stopped


class Pacer:
    """A watcher of the scan that only rests now and then, so that keys need not wait for a step."""

    def __init__(self, rest: Callable[[], bool]) -> None:
        self._rest = rest
        self._left = PACKETS

    def _packet(self, *_: Any) -> None:
        self._left -= 1
        if not self._left:
            self._left = PACKETS
            self._rest()

    ram = _packet
    device = _packet

    def clash(self, *_: Any) -> None:
        """Nothing to count."""

    def payload(self, *_: Any) -> None:
        """Nothing to count."""
