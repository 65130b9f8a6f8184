"""The device-state buffers of one device, in columns of numbers: a device may have 100,000."""

from __future__ import annotations

from array import array
from operator import le

from analyzer.migration.rows import Buffer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import TypeAlias

    from analyzer.migration.rows import DevicePacket

    Column: TypeAlias = array[int]

__all__ = ["Buffers"]


class Buffers:
    """A sequence of buffers that takes 81 bytes for each.

    The columns are called like the attributes of :class:`analyzer.migration.rows.Buffer`, which is
    made when it is asked for: what looks at all buffers goes over columns.
    """

    __slots__ = Buffer.__slots__

    def __init__(self) -> None:
        self.idx: Column = array("q")
        self.is_config = bytearray()
        self.channel: Column = array("q")
        self.size: Column = array("q")
        self.missing: Column = array("q")
        self.offset: Column = array("q")
        self.frame: Column = array("q")
        self.time: Column = array("q")
        self.end_frame: Column = array("q")
        self.end_time: Column = array("q")
        self.pos: Column = array("q")

    def add(self, packet: DevicePacket) -> None:
        """Add the buffer of a complete packet whose index is known."""
        assert packet.idx is not None
        first, last = packet.first, packet.last
        self.idx.append(packet.idx)
        self.is_config.append(packet.is_config)
        self.channel.append(packet.channel)
        self.size.append(packet.data_size)
        self.missing.append(packet.missing)
        self.offset.append(packet.offset)
        self.frame.append(first.frame)
        self.time.append(first.time)
        self.end_frame.append(last.frame)
        self.end_time.append(last.time)
        self.pos.append(first.pos)

    def __len__(self) -> int:
        return len(self.pos)  # the column that grows last

    def __getitem__(self, at: int) -> Buffer:
        return Buffer(*(column[at] for column in self._columns()))

    def __iter__(self) -> Iterator[Buffer]:
        return map(Buffer, *self._columns())

    def _columns(self) -> tuple[Column | bytearray, ...]:
        return tuple(getattr(self, name) for name in BY_PARAMETER)

    def at(self, places: Iterable[int]) -> Buffers:
        """The buffers at these places, in that order."""
        chosen, places = Buffers(), list(places)
        for mine, theirs in zip(self._columns(), chosen._columns(), strict=True):
            theirs.extend(map(mine.__getitem__, places))
        return chosen

    def by_arrival(self) -> Buffers:
        """The buffers in the order in which their last bytes arrived."""
        ends = self.end_frame
        if all(map(le, ends, ends[1:])):
            return self
        return self.at(sorted(range(len(self)), key=ends.__getitem__))

    @property
    def are_contiguous(self) -> bool:
        """Whether their indices are 0 to n - 1, each once: asked first, as it takes one byte for
        each, and a set of them fifty.
        """
        count = len(self)
        seen = bytearray(count)
        for idx in self.idx:
            if idx >= count:
                return False
            seen[idx] = 1
        return 0 not in seen

    @property
    def configs(self) -> list[Buffer]:
        """Those with a config state."""
        found, at = [], self.is_config.find(1)
        while at >= 0:
            found.append(self[at])
            at = self.is_config.find(1, at + 1)
        return found


BY_PARAMETER = (
    "idx", "is_config", "channel", "size", "missing", "offset", "frame", "time", "end_frame",
    "end_time", "pos",
)  # fmt: skip
"""The columns in the order of Buffer's parameters."""
