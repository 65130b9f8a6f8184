"""Accounts for a channel's bytes as decoded, skipped or missing."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from analyzer.tcp.reader import Reader

    class Accounted(Protocol):
        """A channel's byte counts: understood, skipped without being understood, and missing from
        the capture.
        """

        decoded: int
        skipped: int
        missing: int


__all__ = ["Account"]


class Account:
    """Keeps the byte counts of ``facts``, which cover the stream up to offset ``settled``."""

    __slots__ = ("_facts", "_missing", "_reader", "settled")

    def __init__(self, reader: Reader, facts: Accounted) -> None:
        self._reader = reader
        self._facts = facts
        self._missing = reader.missing
        self.settled = reader.offset

    @property
    def missing(self) -> int:
        """Bytes missing since ``settled``."""
        return self._reader.missing - self._missing

    def settle(self, good: int) -> None:
        """Account for all bytes up to the reading position: those before offset ``good`` were
        understood, the others skipped.
        """
        reader, facts, missing = self._reader, self._facts, self.missing
        seen = reader.offset - self.settled - missing
        skipped = min(max(reader.offset - max(good, self.settled), 0), seen)
        facts.decoded += seen - skipped
        facts.skipped += skipped
        facts.missing += missing
        self.settled = reader.offset
        self._missing = reader.missing
