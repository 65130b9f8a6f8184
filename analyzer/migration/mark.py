"""A position in a stream, and where and when the capture shows it; and a compact list of such."""

from __future__ import annotations

from array import array

from analyzer.tcp.requests import Place

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Mark", "MarkList"]


class Mark:
    """Stream offset ``offset``, seen at ``place``."""

    __slots__ = ("offset", "place")

    def __init__(self, offset: int, place: Place) -> None:
        self.offset = offset
        self.place = place

    @property
    def frame(self) -> int:
        """Number of the frame."""
        return self.place.frame

    @property
    def time(self) -> int:
        """Nanoseconds since the epoch."""
        return self.place.time

    def __repr__(self) -> str:
        return f"Mark({self.offset}, frame={self.place.frame})"


class MarkList:
    """Marks that are only added to, 32 bytes each: of SYNCs there are as many as channels times
    rounds.
    """

    __slots__ = ("_values",)

    def __init__(self) -> None:
        self._values = array("q")  # offset, frame, time and file position of each

    def add(self, offset: int, place: Place) -> None:
        """Add a mark."""
        self._values.extend((offset, place.frame, place.time, place.pos))

    def __len__(self) -> int:
        return len(self._values) // 4

    def __getitem__(self, index: int) -> Mark:
        at = 4 * range(len(self))[index]
        offset, frame, time, pos = self._values[at : at + 4]
        return Mark(offset, Place(frame, time, pos))

    def __iter__(self) -> Iterator[Mark]:
        return (self[index] for index in range(len(self)))
