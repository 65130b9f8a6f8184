"""What the file readers hand on: batches of frames that still lie in the read buffer."""

from __future__ import annotations

from array import array
from bisect import bisect_left

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from analyzer.capture.runs import Runs

__all__ = ["RECORD", "SLACK", "Batch", "Contents", "Interface"]

SLACK = 192
"""Bytes that may be read past the end of a frame; their values mean nothing."""
RECORD = 16
"""Bytes in front of a frame that describe it: four 32-bit words."""


class Interface:
    """One capture interface: link type (LINKTYPE_ number), snaplen, name, and its clock.

    ``clock(a, b)`` turns the two 32-bit time stamp words of a record into ns since the epoch; the
    difference of two such times fits 64 bits.  ``dropped`` counts the frames that the capture lost
    there.
    """

    __slots__ = ("clock", "dropped", "link_type", "name", "snaplen")

    def __init__(
        self, link_type: int, snaplen: int, clock: Callable[[int, int], int], name: str = ""
    ) -> None:
        self.link_type = link_type
        self.snaplen = snaplen
        self.clock = clock
        self.name = name
        self.dropped = 0


class Batch:
    """Frames of one interface that lie in one buffer.

    Frame ``first + i`` is ``buffer[starts[i]:stops[i]]``; ``buffer[0]`` is byte ``base`` of the
    uncompressed file.  Four 32-bit words precede every frame: two of time stamp, captured length,
    original length; ``record(buffer, start - RECORD)`` unpacks them, the methods below read them of
    the frame at ``start``.  The buffer is refilled for the next batch; up to ``SLACK`` bytes past
    its frames may be read.

    ``heads`` and ``ends`` are where frames begin and end; of the frames alike that ``runs`` tells,
    only the first one.
    """

    __slots__ = ("base", "buffer", "ends", "first", "heads", "interface", "record", "runs")

    def __init__(
        self,
        buffer: bytearray,
        base: int,
        heads: list[int],
        ends: list[int],
        first: int,
        interface: Interface,
        record: Callable[..., tuple[Any, ...]],
        runs: Runs,
    ) -> None:
        self.buffer = buffer
        self.base = base
        self.heads = heads
        self.ends = ends
        self.first = first
        self.interface = interface
        self.record = record
        self.runs = runs

    @property
    def count(self) -> int:
        """How many frames there are."""
        return len(self.heads) + self.runs.more

    @property
    def starts(self) -> list[int]:
        """Where each frame begins in the buffer."""
        return self.runs.expand(self.heads, self.heads)

    @property
    def stops(self) -> list[int]:
        """Where each frame ends."""
        return self.runs.expand(self.ends, self.heads)

    @property
    def last(self) -> int:
        """Where the last frame begins."""
        head = self.heads[-1]
        return head + (self.runs.frames.get(head, 1) - 1) * self.runs.stride

    def number(self, start: int) -> int:
        """The number of the frame at ``start``."""
        return self.first + bisect_left(self.heads, start) + self.runs.more_before(start)

    def header(self, start: int) -> tuple[int, int, int]:
        """When a frame was captured (ns since the epoch), its captured and its original length."""
        first, second, captured, original = self.record(self.buffer, start - RECORD)
        return self.interface.clock(first, second), captured, original

    def time(self, start: int) -> int:
        """When a frame was captured, ns since the epoch."""
        first, second, _, _ = self.record(self.buffer, start - RECORD)
        return self.interface.clock(first, second)

    def lengths(self, start: int) -> tuple[int, int]:
        """A frame's captured and its original length, bytes."""
        _, _, captured, original = self.record(self.buffer, start - RECORD)
        return captured, original

    def position(self, start: int) -> int:
        """The file position from which reading can start again at a frame: the record header in a
        pcap file, 12 bytes into the block in a pcapng file, whatever the block's type.
        """
        return self.base + start - RECORD


class Contents:
    """What has been read of a capture file besides frames.

    ``interfaces`` are in the file's order.  ``notes`` are remarks for the report (a file cut in the
    middle of a frame, dropped frames); ``secrets`` the TLS key logs found in the file;
    ``declarations`` the file positions of the section headers and interface blocks read, which
    reading from the middle of a pcapng file needs.
    """

    def __init__(self) -> None:
        self.interfaces: list[Interface] = []
        self.notes: list[str] = []
        self.secrets: list[bytes] = []
        self.declarations = array("q")
