"""One channel of a migration: what its walker counted and kept."""

from __future__ import annotations

from analyzer.migration.anomaly import AnomalyList
from analyzer.migration.mark import Mark, MarkList
from analyzer.migration.number_list import NumberList
from analyzer.migration.rows import SYNC, SYNC_PACKET
from dissectors.multifd import ChannelType, Compression

TYPE_CHECKING = False
if TYPE_CHECKING:
    from analyzer.migration.rows import DevicePacket, RamPacket
    from analyzer.tcp.flow import Flow, Hole
    from analyzer.tcp.requests import Place

__all__ = ["Channel", "Init", "MethodUse", "id_text", "known_number", "multifd_name"]

STATE_ONLY = int(ChannelType.DEVICE_STATE)


class Init:
    """The initial packet of a multifd channel (wire-format page 2)."""

    __slots__ = ("id", "magic", "place", "reserved", "uuid", "version")

    def __init__(self, values: tuple[int, int, bytes, int, bytes, bytes], place: Place) -> None:
        self.magic, self.version, self.uuid, self.id, unused1, unused2 = values
        self.reserved = any(unused1) or any(unused2)
        self.place = place


class MethodUse:
    """How many data packets of a channel use one compression method, and the first of them."""

    __slots__ = ("first", "packets")

    def __init__(self, first: Mark) -> None:
        self.first = first
        self.packets = 1


class Channel:
    """A stream of a migration: ``main``, ``multifd``, ``return-path``, ``postcopy``, ``tls`` or
    ``unknown``.

    ``id`` is the number from the initial packet; if the capture lacks that, it is -1 -
    ``tcp.stream``, which is negative and unique.  ``decoded`` bytes were accounted for by packets,
    ``skipped`` bytes were passed over to find the next packet, and ``missing`` bytes are absent
    from the capture; together they are the length of the stream.  The packet counts include
    complete packets only; ``ram_bytes`` and ``device_bytes`` also include the ``cut_bytes``
    received of a packet that the stream's end cut off.
    """

    __slots__ = (
        "anomalies",
        "behind_sync",
        "channel_header",
        "cut_bytes",
        "cut_in",
        "decoded",
        "device_bytes",
        "device_packets",
        "ended_at_boundary",
        "flow",
        "head",
        "id",
        "init",
        "kind",
        "methods",
        "midstream",
        "missing",
        "normal_pages",
        "packet_nums",
        "ram_bytes",
        "ram_packets",
        "resyncs",
        "since_sync",
        "skipped",
        "sync_packets",
        "syncs",
        "tls_close_notify",
        "tls_data",
        "tls_random",
        "uncounted",
        "zero_pages",
    )

    def __init__(self, kind: str, flow: Flow) -> None:
        self.kind = kind
        self.flow = flow
        self.id = -1 - flow.connection.number
        self.init: Init | None = None
        self.channel_header: tuple[int, int] | None = None
        self.midstream = flow.midstream
        self.methods: dict[int, MethodUse] = {}
        self.ram_packets = 0
        self.sync_packets = 0
        self.device_packets = 0
        self.normal_pages = 0
        self.zero_pages = 0
        self.ram_bytes = 0
        self.device_bytes = 0
        self.packet_nums = NumberList()
        self.uncounted = 0  # RAM packets whose packet_num is unknown
        self.syncs = MarkList()
        self.decoded = 0
        self.skipped = 0
        self.missing = 0
        self.resyncs: list[tuple[int, int, int]] = []  # offsets from and to, bytes skipped
        self.cut_in: str | None = None  # where in a packet the stream ended
        self.cut_bytes = 0  # received bytes of a cut packet whose header is complete
        self.ended_at_boundary = False
        self.anomalies = AnomalyList()
        self.head = b""  # first bytes of a stream that is no channel
        self.tls_close_notify = False  # whether a TLS stream ends with an alert record
        self.tls_data = 0  # records of application data, as which TLS 1.3 disguises its handshake
        self.tls_random = b""  # the ClientHello's random, by which key logs name the session
        self.since_sync = 0  # packets with pages since the last SYNC
        self.behind_sync: Mark | None = None  # the first packet with pages since the last SYNC

    def add_ram(self, packet: RamPacket) -> None:
        """Count a complete RAM or SYNC packet."""
        self.ram_bytes += packet.length
        self.normal_pages += packet.normal_pages
        self.zero_pages += packet.zero_pages
        self.packet_nums.append(packet.packet_num)
        if packet.kind == SYNC_PACKET:
            self.sync_packets += 1
        else:
            self.ram_packets += 1
        if packet.flags & SYNC:
            self.syncs.add(packet.offset, packet.first)
            self.since_sync = 0
        elif packet.normal_pages or packet.zero_pages:
            if not self.since_sync:
                self.behind_sync = packet.mark
            self.since_sync += 1
        method = packet.data_method
        if method is None:
            return
        if method in self.methods:
            self.methods[method].packets += 1
        else:
            self.methods[method] = MethodUse(packet.mark)

    def add_device(self, packet: DevicePacket) -> None:
        """Count a complete device-state packet."""
        self.device_packets += 1
        self.device_bytes += packet.length

    @property
    def packets(self) -> int:
        """How many complete packets of all kinds there were."""
        return self.ram_packets + self.sync_packets + self.device_packets

    def round_of(self, packet: RamPacket) -> int:
        """Number of the SYNC round that its newest packet belongs to.

        A SYNC belongs to the round that it ends, with the pages it has (senders up to 8.2).
        """
        return len(self.syncs) - (packet.flags & SYNC)

    @property
    def synchronises(self) -> bool:
        """Whether it takes part in SYNC rounds: multifd channels do, except RFC v0's channels that
        carry device state only (wire-format page 1.6).
        """
        only_device_state = self.channel_header is not None and self.channel_header[1] == STATE_ONLY
        return self.kind == "multifd" and not only_device_state

    @property
    def compression(self) -> str:
        """Name of the compression method of most data packets, ``none`` without one."""
        uses = self.methods
        return Compression(max(uses, key=lambda method: uses[method].packets, default=0)).name

    @property
    def name(self) -> str:
        """The name in reports: ``main``, ``multifd 0``."""
        if self.kind != "multifd":
            return self.kind
        return multifd_name(self.id)

    @property
    def known_id(self) -> int | None:
        """The id of a multifd channel, if the capture has its initial packet."""
        return known_number(self.id) if self.kind == "multifd" else None

    @property
    def client(self) -> str:
        """``ip:port`` of the side that sends the migration's data on this connection."""
        return self.flow.destination if self.kind == "return-path" else self.flow.source

    @property
    def server(self) -> str:
        """``ip:port`` of the migration's destination."""
        return self.flow.source if self.kind == "return-path" else self.flow.destination

    @property
    def stream(self) -> int:
        """Wireshark's ``tcp.stream``."""
        return self.flow.connection.number

    @property
    def holes(self) -> list[Hole]:
        """Holes of the stream, in order (the first thousand)."""
        return self.flow.holes

    @property
    def length(self) -> int:
        """Bytes of the stream, holes included."""
        return self.flow.offset

    @property
    def incomplete_start(self) -> bool:
        """Whether the capture lacks the beginning of the stream."""
        return self.midstream or bool(self.holes and self.holes[0].first == 0)

    @property
    def incomplete_end(self) -> bool:
        """Whether the capture does not show how the stream ended."""
        return self.flow.lacks_end or not self.flow.closed


def multifd_name(number: int) -> str:
    """The name in reports of the multifd channel with an id; negative ids encode ``tcp.stream``."""
    return f"multifd {number}" if number >= 0 else f"multifd ? ({id_text(number, 'stream ')})"


def known_number(number: int) -> int | None:
    """The id of a multifd channel as data, ``None`` where it is not known."""
    return number if number >= 0 else None


def id_text(number: int, stream: str) -> str:
    """The id of a multifd channel; where it is not known, ``stream`` and the ``tcp.stream``."""
    return str(number) if number >= 0 else f"{stream}{-1 - number}"
