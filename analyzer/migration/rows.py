"""The packets that multifd walkers produce.

Each holds the values of its header, and where its bytes are in the capture; payload is not kept.
"""

from __future__ import annotations

from analyzer.migration.mark import Mark
from dissectors.multifd import COMPRESSION_MASK, METHODS, MultifdFlag, device_name, text_of
from dissectors.multifd import DEVICE_STATE as DEVICE_HEADER
from dissectors.vfio import BUFFER, VfioStateFlag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from analyzer.tcp.requests import Place

__all__ = [
    "CONFIG_STATE",
    "DEVICE_STATE",
    "KINDS",
    "RAM_PACKET",
    "SYNC",
    "SYNC_PACKET",
    "Buffer",
    "CutBuffer",
    "DevicePacket",
    "RamPacket",
]

RAM_PACKET, SYNC_PACKET, DEVICE_STATE = 0, 1, 2
KINDS = ("ram", "sync", "device-state")
"""Names of the kinds of packets, by number; a sync packet has the SYNC flag and no pages."""

SYNC = int(MultifdFlag.SYNC)
CONFIG_STATE = int(VfioStateFlag.CONFIG_STATE)
BUFFER_HEADER = BUFFER.size


class RamPacket:
    """A RAM or SYNC packet (wire-format page 3.3).

    ``channel`` is the channel's id.  ``offset`` and ``length`` are the packet's position and size
    in the stream, payload included; ``first`` and ``last`` are the places of its first and last
    byte; ``missing`` counts its bytes that the capture lacks.  ``header_size`` is 320 + 8 N;
    ``payload`` the number of bytes that followed.  ``reserved`` says that bytes 36 to 63 are not
    all zero.  ``ramblock`` (256 bytes) and ``offsets`` (8 N bytes, without those of pages
    that a vendor fork skipped) are ``None`` if the header has a hole there; a name whose NUL comes
    before the hole is known.
    """

    __slots__ = (
        "channel",
        "first",
        "flags",
        "header_size",
        "kind",
        "last",
        "missing",
        "next_packet_size",
        "normal_pages",
        "offset",
        "offsets",
        "packet_num",
        "pages_alloc",
        "payload",
        "ramblock",
        "reserved",
        "version",
        "zero_pages",
    )

    def __init__(
        self,
        channel: int,
        offset: int,
        first: Place,
        counts: tuple[int, int, int, int, int, int, int, int],
    ) -> None:
        (
            _,
            self.version,
            self.flags,
            self.pages_alloc,
            self.normal_pages,
            self.next_packet_size,
            self.packet_num,
            self.zero_pages,
        ) = counts
        self.channel = channel
        self.offset = offset
        self.first = first
        self.last = first
        self.reserved = False
        self.ramblock: bytes | None = None
        self.offsets: bytes | None = None
        self.header_size = 0
        self.payload = 0
        self.missing = 0
        empty = not self.normal_pages and not self.zero_pages
        self.kind = SYNC_PACKET if self.flags & SYNC and empty else RAM_PACKET

    @property
    def mark(self) -> Mark:
        """Where it begins."""
        return Mark(self.offset, self.first)

    @property
    def length(self) -> int:
        """Bytes on the wire, payload included."""
        return self.header_size + self.payload

    @property
    def compression(self) -> int:
        """The compression field of the flags."""
        return self.flags & COMPRESSION_MASK

    @property
    def data_method(self) -> int | None:
        """The valid compression method of a packet with pages, be they all zero, else ``None``."""
        method = self.flags & COMPRESSION_MASK
        return method if method in METHODS and (self.normal_pages or self.zero_pages) else None

    @property
    def block(self) -> str:
        """Name of the RAM block as text."""
        return text_of(self.ramblock) if self.ramblock is not None else "?"


class DevicePacket:
    """A device-state packet and the VFIO header of its payload (wire-format page 4 and 5.1).

    ``vfio_version``, ``idx`` and ``state_flags`` are ``None`` when the payload is shorter than a
    VFIO header or the header has a hole; :meth:`analyzer.migration.framing.Framing.read_vfio` says
    in which byte order they are read.  ``raw`` are the twelve header bytes.  ``config`` holds the
    data of a config-state buffer of normal size.
    """

    __slots__ = (
        "channel",
        "config",
        "first",
        "flags",
        "idstr",
        "idx",
        "instance_id",
        "last",
        "missing",
        "next_packet_size",
        "offset",
        "raw",
        "state_flags",
        "version",
        "vfio_version",
    )

    kind = DEVICE_STATE
    header_size = DEVICE_HEADER.size

    def __init__(
        self,
        channel: int,
        offset: int,
        first: Place,
        values: tuple[int, int, int, bytes, int, int],
    ) -> None:
        _, self.version, self.flags, self.idstr, self.instance_id, self.next_packet_size = values
        self.channel = channel
        self.offset = offset
        self.first = first
        self.last = first
        self.missing = 0
        self.raw: bytes | None = None
        self.vfio_version: int | None = None
        self.idx: int | None = None
        self.state_flags: int | None = None
        self.config: bytes | None = None

    @property
    def mark(self) -> Mark:
        """Where it begins."""
        return Mark(self.offset, self.first)

    @property
    def length(self) -> int:
        """Bytes on the wire, payload included."""
        return self.header_size + self.next_packet_size

    @property
    def data_size(self) -> int:
        """Bytes of device data after the VFIO header."""
        return max(0, self.next_packet_size - BUFFER_HEADER)

    @property
    def payload(self) -> int:
        """Bytes after the packet's header."""
        return self.next_packet_size

    @property
    def device(self) -> str:
        """``idstr#instance`` as text."""
        return device_name(self.idstr, self.instance_id)

    @property
    def is_config(self) -> bool:
        """Whether the CONFIG_STATE flag is set."""
        return self.state_flags is not None and bool(self.state_flags & CONFIG_STATE)


class CutBuffer:
    """A device-state buffer cut off by the end of its stream.

    ``arrived`` of its ``size`` bytes of data were received.  ``idx`` is ``None`` if its VFIO header
    was not.
    """

    __slots__ = ("arrived", "channel", "idx", "size")

    def __init__(self, packet: DevicePacket, arrived: int) -> None:
        self.idx = packet.idx
        self.channel = packet.channel
        self.size = packet.data_size
        self.arrived = arrived


class Buffer:
    """One complete device-state buffer; sizes in bytes, times in ns.

    ``size`` is that of the data after the 12-byte header, ``missing`` how many of the packet's
    bytes the capture lacks.
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

    def __init__(
        self,
        idx: int,
        is_config: int,
        channel: int,
        size: int,
        missing: int,
        offset: int,
        frame: int,
        time: int,
        end_frame: int,
        end_time: int,
        pos: int,
    ) -> None:
        self.idx = idx
        self.is_config = bool(is_config)
        self.channel = channel
        self.size = size
        self.missing = missing
        self.offset = offset
        self.frame = frame
        self.time = time
        self.end_frame = end_frame
        self.end_time = end_time
        self.pos = pos
