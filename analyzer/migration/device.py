"""Device state: the buffers of one device, by index and in order of arrival."""

from __future__ import annotations

from dissectors.multifd import text_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from analyzer.migration.rows import DevicePacket
    from analyzer.tcp.requests import Place

__all__ = ["Buffer", "Device", "Queue"]


class Buffer:
    """One device-state buffer as it went over the wire; sizes in bytes, times in ns.

    ``size`` is the data behind the 12-byte header, ``missing`` what the capture lacks of it.
    """

    __slots__ = (
        "channel",
        "end_frame",
        "end_time",
        "frame",
        "idx",
        "is_config",
        "missing",
        "offset",
        "pos",
        "size",
        "time",
    )

    def __init__(self, packet: DevicePacket) -> None:
        assert packet.idx is not None
        self.idx = packet.idx
        self.is_config = packet.is_config
        self.channel = packet.channel
        self.size = packet.data_size
        self.missing = packet.missing
        self.offset = packet.offset
        self.frame = packet.first.frame
        self.time = packet.first.time
        self.end_frame = packet.last.frame
        self.end_time = packet.last.time
        self.pos = packet.first.pos


class Queue:
    """What a receiver had to hold because an earlier index was missing.

    ``peak_buffers`` and ``peak_bytes`` are lower bounds of what ``x-migration-max-queued-buffers``
    and its size twin would have to allow; ``longest_wait`` (ns) is how long the next index kept
    the receiver waiting while later ones were there, ``waited_for`` that index, ``meanwhile`` how
    many were there when it came; ``waits`` are all such times, (begin, end) in ns, ascending;
    ``distance`` is the largest (idx - next expected).
    """

    __slots__ = (
        "distance",
        "longest_wait",
        "meanwhile",
        "peak_buffers",
        "peak_bytes",
        "waited_for",
        "waits",
    )

    def __init__(self) -> None:
        self.peak_buffers = 0
        self.peak_bytes = 0
        self.longest_wait = 0
        self.waited_for: int | None = None
        self.meanwhile = 0
        self.waits: list[tuple[int, int]] = []
        self.distance = 0


class Device:
    """Everything transferred over multifd for one (idstr, instance id).

    ``buffers`` are in order of arrival.  ``unindexed`` counts packets whose VFIO header the
    capture lacks or that are too short for one; ``cut`` are packets that the end of their stream
    cut off, as (idx or ``None``, channel, bytes that arrived, bytes announced).
    """

    __slots__ = ("buffers", "cut", "first", "flags", "idstr", "instance_id", "last", "unindexed")

    def __init__(self, idstr: bytes, instance_id: int) -> None:
        self.idstr = idstr
        self.instance_id = instance_id
        self.buffers: list[Buffer] = []
        self.unindexed = 0
        self.cut: list[tuple[int | None, int, int, int]] = []
        self.flags = 0
        self.first: Place | None = None
        self.last: Place | None = None

    @property
    def name(self) -> str:
        """``idstr#instance`` as text; not escaped for any output."""
        return f"{text_of(self.idstr)}#{self.instance_id}"

    @property
    def packets(self) -> int:
        """Packets that arrived whole."""
        return len(self.buffers) + self.unindexed

    def add(self, packet: DevicePacket) -> None:
        """Take in a packet that arrived whole."""
        if self.first is None:
            self.first = packet.first
        self.last = packet.last
        self.flags |= packet.flags
        if packet.idx is None:
            self.unindexed += 1
        else:
            self.buffers.append(Buffer(packet))

    def arrived(self) -> list[Buffer]:
        """Buffers in the order in which their last bytes arrived."""
        return sorted(self.buffers, key=lambda b: (b.end_frame, b.end_time))

    @property
    def bytes(self) -> int:
        """Data bytes of all buffers, without the 12-byte headers, config state included."""
        return sum(buffer.size for buffer in self.buffers)

    @property
    def config(self) -> Buffer | None:
        """The buffer with the config state; the one of the highest index if there are several."""
        found = [buffer for buffer in self.buffers if buffer.is_config]
        return max(found, key=lambda b: b.idx) if found else None

    @property
    def last_needed(self) -> int | None:
        """The index up to which every one is needed: the config's, else the highest seen."""
        config = self.config
        if config is not None:
            return config.idx
        return max((buffer.idx for buffer in self.buffers), default=None)

    def missing_ranges(self) -> list[tuple[int, int]]:
        """Ranges (first, last) of indices that are missing below the last needed one."""
        top = self.last_needed
        if top is None:
            return []
        ranges: list[tuple[int, int]] = []
        expected = 0
        for idx in sorted({buffer.idx for buffer in self.buffers}):
            if idx > top:
                break
            if idx > expected:
                ranges.append((expected, idx - 1))
            expected = idx + 1
        return ranges

    def duplicates(self) -> list[int]:
        """Indices that arrived more than once, ascending."""
        seen: set[int] = set()
        twice: set[int] = set()
        for buffer in self.buffers:
            (twice if buffer.idx in seen else seen).add(buffer.idx)
        return sorted(twice)

    def out_of_order(self) -> int:
        """Buffers that arrived after one of a higher index."""
        late, highest = 0, -1
        for buffer in self.arrived():
            if buffer.idx < highest:
                late += 1
            highest = max(highest, buffer.idx)
        return late

    def by_channel(self) -> dict[int, int]:
        """Buffers by channel id."""
        counts: dict[int, int] = {}
        for buffer in self.buffers:
            counts[buffer.channel] = counts.get(buffer.channel, 0) + 1
        return dict(sorted(counts.items()))

    def queue(self) -> Queue:
        """Replay the arrivals as QEMU's load thread saw them."""
        queue = Queue()
        held: dict[int, int] = {}
        held_bytes = 0
        expected = 0
        since: int | None = None
        for buffer in self.arrived():
            if buffer.idx < expected or buffer.idx in held:
                continue
            queue.distance = max(queue.distance, buffer.idx - expected)
            if buffer.idx > expected:
                held[buffer.idx] = buffer.size
                held_bytes += buffer.size
                since = buffer.end_time if since is None else since
                queue.peak_buffers = max(queue.peak_buffers, len(held))
                queue.peak_bytes = max(queue.peak_bytes, held_bytes)
                continue
            if since is not None and buffer.end_time > since:
                queue.waits.append((since, buffer.end_time))
            if since is not None and buffer.end_time - since > queue.longest_wait:
                queue.longest_wait = buffer.end_time - since
                queue.waited_for = buffer.idx
                queue.meanwhile = len(held)
            expected += 1
            while expected in held:
                held_bytes -= held.pop(expected)
                expected += 1
            since = buffer.end_time if held else None
        return queue
