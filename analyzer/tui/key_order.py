"""Handles keys strictly one after the other, however fast they come: the next key waits until
everything that the previous one caused is done, for example until a window that it opened is there,
or what a screen shows has been worked out.
"""

from __future__ import annotations

import time
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any

from textual.app import App
from textual.events import Key, Paste
from textual.message import Message

if TYPE_CHECKING:
    from textual import events

__all__ = ["KeyOrder"]

ROUNDS = 3
"""Times a follower is sent behind a key: the key's own messages and theirs are then handled."""
PATIENCE = 0.5
"""Seconds after which the next key is handled in any case."""
BETWEEN = 0.005
"""Seconds between two looks at whether what is awaited is there."""


class KeyOrder(App[int]):
    """An application whose keys wait for each other."""

    def __init__(self) -> None:
        super().__init__()
        self._typed: deque[Key | Paste] = deque()
        self._follower: Follower | None = None

    async def on_event(self, event: events.Event) -> None:
        """Queue keys and pasted text from the terminal; those that bubble up are not queued."""
        if isinstance(event, (Key, Paste)) and not event.is_forwarded:
            self._typed.append(event)
            await self._take()
        else:
            await super().on_event(event)

    @property
    def awaited(self) -> bool:
        """Whether the next key can be understood only when more is shown."""
        return len(self.screen_stack) > 1 and self.focused is None

    def key_taken(self) -> None:
        """Called before a key or pasted text is handled."""

    async def _take(self) -> None:
        while self._typed and self._follower is None:
            self.key_taken()
            await super().on_event(self._typed.popleft())
            self._follow(Follower(time.monotonic() + PATIENCE, ROUNDS))

    def _follow(self, follower: Follower) -> None:
        """Post a follower to where the key went, behind it."""
        if not self.screen_stack:  # the application ends
            self._follower = None
            self._typed.clear()
            return
        target: Any = self.focused or self.screen
        self._follower = follower if target.post_message(follower) else None

    async def on_follower(self, message: Follower) -> None:
        """A follower has bubbled up: send it again, or handle the next key."""
        if message is not self._follower or not self.screen_stack:
            return
        if time.monotonic() < message.deadline:
            if message.rounds:
                self._follow(Follower(message.deadline, message.rounds - 1))
                return
            if self.awaited:  # by a thread, mostly: it needs the processor
                self.set_timer(BETWEEN, partial(self._look_again, message))
                return
        self._follower = None
        await self._take()

    def _look_again(self, message: Follower) -> None:
        """Follow behind a follower after which something was still awaited."""
        if message is self._follower:
            self._follow(Follower(message.deadline, 0))

    async def take_late_keys(self) -> None:
        """Handle the next key if a follower is overdue, as it was lost with a removed widget.

        To be called periodically.
        """
        if self._follower is not None and time.monotonic() > self._follower.deadline:
            self._follower = None
            await self._take()


class Follower(Message):
    """Bubbles up behind a key, ``rounds`` more times at most, and not after ``deadline``."""

    def __init__(self, deadline: float, rounds: int) -> None:
        super().__init__()
        self.deadline = deadline
        self.rounds = rounds
