"""Streams that nobody knows yet what they are: their number and what is held of them is limited."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from analyzer.tcp.flow import Flow

__all__ = ["Unidentified"]

STREAMS_MAX = 4096
"""Most streams looked at at a time; beyond that the oldest are given up."""
LOOK_AROUND = 1 << 17
"""Most bytes of a stream without beginning that are held to search for signs of main or multifd."""
HELD_MAX = 1 << 23
"""What all these streams share: with more than 64 of them each holds less."""


class Unidentified:
    """These streams, all together."""

    def __init__(self) -> None:
        self._flows: dict[Flow, None] = {}  # the oldest first

    @property
    def share(self) -> int:
        """How many bytes may be held of one of them."""
        return min(LOOK_AROUND, HELD_MAX // max(len(self._flows), 1))

    def add(self, flow: Flow) -> None:
        """One more is looked at; of too many the oldest is given up."""
        self._flows[flow] = None
        if len(self._flows) > STREAMS_MAX:
            oldest = next(iter(self._flows))
            self.remove(oldest)
            oldest.leave()

    def remove(self, flow: Flow) -> None:
        """It is known what it is, or that it is nothing."""
        self._flows.pop(flow, None)
