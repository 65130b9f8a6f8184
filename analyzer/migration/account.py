"""What became of a channel's bytes."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from analyzer.tcp.reader import Reader

    class Accounted(Protocol):
        """The facts of a channel: bytes that were understood, that were stepped over because they
        were not, and that the capture does not have.
        """

        decoded: int
        skipped: int
        missing: int


__all__ = ["Account"]


class Account:
    """Counts a channel's bytes in its ``facts``: all up to the stream offset ``settled``."""

    __slots__ = ("_facts", "_missing", "_reader", "settled")

    def __init__(self, reader: Reader, facts: Accounted) -> None:
        self._reader = reader
        self._facts = facts
        self._missing = reader.missing
        self.settled = reader.offset

    @property
    def missing(self) -> int:
        """Bytes missing since."""
        return self._reader.missing - self._missing

    def settle(self, good: int) -> None:
        """Account for everything up to here: bytes before ``good`` were understood."""
        reader, facts, missing = self._reader, self._facts, self.missing
        seen = reader.offset - self.settled - missing
        skipped = min(max(reader.offset - max(good, self.settled), 0), seen)
        facts.decoded += seen - skipped
        facts.skipped += skipped
        facts.missing += missing
        self.settled = reader.offset
        self._missing = reader.missing
