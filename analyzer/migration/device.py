"""Device state: the buffers of one device, by index and in order of arrival."""

from __future__ import annotations

from collections import Counter

from analyzer.migration.buffers import Buffers
from analyzer.migration.reassembly import Queue, config_of, gaps
from dissectors.multifd import device_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from analyzer.migration.rows import Buffer, CutBuffer, DevicePacket
    from analyzer.tcp.requests import Place

__all__ = ["Device"]


class Device:
    """Everything transferred over multifd for one (idstr, instance id).

    ``buffers`` are in the order in which their packets were read.  ``unindexed`` counts packets
    without a readable VFIO header: the capture lacks it, or they are too short.  ``cut`` are
    buffers cut off by the end of their stream.  ``flags`` are the packets' flags ORed together;
    ``first`` and ``last`` are the places of the first and last packet; ``orders`` counts VFIO
    headers by the byte order that they prove.
    """

    __slots__ = (
        "buffers",
        "cut",
        "first",
        "flags",
        "idstr",
        "instance_id",
        "last",
        "orders",
        "unindexed",
    )

    def __init__(self, idstr: bytes, instance_id: int) -> None:
        self.idstr = idstr
        self.instance_id = instance_id
        self.buffers = Buffers()
        self.unindexed = 0
        self.cut: list[CutBuffer] = []
        self.flags = 0
        self.first: Place | None = None
        self.last: Place | None = None
        self.orders: dict[str, int] = {}

    @property
    def key(self) -> tuple[bytes, int]:
        """What identifies it: idstr and instance id."""
        return self.idstr, self.instance_id

    @property
    def name(self) -> str:
        """``idstr#instance`` as text; not escaped for any output."""
        return device_name(self.idstr, self.instance_id)

    @property
    def packets(self) -> int:
        """Complete packets."""
        return len(self.buffers) + self.unindexed

    def add(self, packet: DevicePacket) -> None:
        """Add a complete packet."""
        if self.first is None:
            self.first = packet.first
        self.last = packet.last
        self.flags |= packet.flags
        if packet.idx is None:
            self.unindexed += 1
        else:
            self.buffers.add(packet)

    def arrived(self) -> Buffers:
        """Buffers in the order in which their last bytes arrived."""
        return self.buffers.by_arrival()

    @property
    def bytes(self) -> int:
        """Data bytes of all buffers, without the 12-byte headers, config state included."""
        return sum(self.buffers.size)

    @property
    def config(self) -> Buffer | None:
        """The buffer with the config state; of several the one with the highest index."""
        return config_of(self.buffers)

    def missing_ranges(self) -> list[tuple[int, int]]:
        """Ranges (first, last) of missing indices below the last that a receiver needs."""
        return list(gaps(self.buffers))

    def duplicates(self) -> list[int]:
        """Indices that arrived more than once, ascending."""
        if self.buffers.are_contiguous:
            return []
        seen: set[int] = set()
        twice: set[int] = set()
        for idx in self.buffers.idx:
            (twice if idx in seen else seen).add(idx)
        return sorted(twice)

    def out_of_order(self) -> int:
        """Number of buffers that arrived after one with a higher index."""
        late, highest = 0, -1
        for idx in self.arrived().idx:
            if idx < highest:
                late += 1
            else:
                highest = idx
        return late

    def by_channel(self) -> dict[int, int]:
        """Number of buffers by channel id."""
        return dict(sorted(Counter(self.buffers.channel).items()))

    def queue(self) -> Queue:
        """The queue of QEMU's load thread: what it had to hold, and to wait for."""
        return Queue(self.arrived())
