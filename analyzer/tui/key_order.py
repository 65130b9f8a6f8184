"""Keys are taken one after the other, however fast they come: the next one when all that the one
before it set in motion is done, as a window that it opened.
"""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Any

from textual.app import App
from textual.events import Key, Paste
from textual.message import Message

if TYPE_CHECKING:
    from textual import events

__all__ = ["KeyOrder"]

ROUNDS = 3
"""A key is handled, what it posts is, and what that posts."""
PATIENCE = 0.5
"""Seconds after which the next key is taken in any case."""


class KeyOrder(App[int]):
    """An application whose keys wait for each other."""

    def __init__(self) -> None:
        super().__init__()
        self._typed: deque[Key | Paste] = deque()
        self._follower: Follower | None = None

    async def on_event(self, event: events.Event) -> None:
        """Keys and texts that come from the terminal wait; those that bubble up do not."""
        if isinstance(event, (Key, Paste)) and not event.is_forwarded:
            self._typed.append(event)
            await self._take()
        else:
            await super().on_event(event)

    def key_taken(self) -> None:
        """A key, or a text, is about to be answered."""

    async def _take(self) -> None:
        while self._typed and self._follower is None:
            self.key_taken()
            await super().on_event(self._typed.popleft())
            self._follow(Follower(time.monotonic() + PATIENCE, ROUNDS))

    def _follow(self, follower: Follower) -> None:
        """Send something the way the key went, behind it."""
        target: Any = self.focused or self.screen
        self._follower = follower if target.post_message(follower) else None

    async def on_follower(self, message: Follower) -> None:
        """Once more around, or it is the next key's turn."""
        if message is not self._follower:
            return
        opening = len(self.screen_stack) > 1 and self.focused is None
        if (message.rounds or opening) and time.monotonic() < message.deadline:
            self._follow(Follower(message.deadline, message.rounds - 1 if message.rounds else 0))
        else:
            self._follower = None
            await self._take()

    async def take_late_keys(self) -> None:
        """To be called now and then: what followed a key was lost with a part that went away."""
        if self._follower is not None and time.monotonic() > self._follower.deadline:
            self._follower = None
            await self._take()


class Follower(Message):
    """Bubbles up behind a key, ``rounds`` more times; not after ``deadline``."""

    def __init__(self, deadline: float, rounds: int) -> None:
        super().__init__()
        self.deadline = deadline
        self.rounds = rounds
