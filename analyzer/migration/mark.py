"""A position in a stream, and where and when the capture shows it."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from analyzer.tcp.requests import Place

__all__ = ["Mark"]


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
