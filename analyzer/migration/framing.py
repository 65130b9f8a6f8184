"""How the sender of one migration makes its multifd packets: page count, dialect, byte order, era,
compression.

What the user does not force is detected from the bytes, once per migration (wire-format page 5.5,
10.2 and 10.4).
"""

from __future__ import annotations

from dissectors.dialects import DIALECTS, RAM_ERAS
from dissectors.multifd import (
    COMMON_COUNT,
    COMMON_PAGE_SIZE,
    COMPRESSION_MASK,
    DEVICE_STATE,
    HASHED_COUNT,
    HEADER,
    MAGIC_VERSION,
    NAME_SIZE,
    PACKET_BYTES,
    RAM,
    RAM_COUNTS,
    MultifdFlag,
    page_count_of,
    page_size_of,
    ram_header_size,
)
from dissectors.vfio import BUFFER, BUFFER_HOST

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeVar

    from analyzer.migration.channel import Channel
    from analyzer.migration.rows import DevicePacket, RamPacket
    from analyzer.migration.settings import Settings
    from dissectors.dialects import Dialect, RamEra

    Key = TypeVar("Key", int, str)

__all__ = ["PAGES_MAX", "Framing", "Variant", "marker_of"]

DEVICE_FLAG = int(MultifdFlag.DEVICE_STATE)
BIT4 = int(MultifdFlag.UADK)
SYNC = int(MultifdFlag.SYNC)
IDSTR = DEVICE_STATE["idstr"].offset
COUNT_END = RAM["pages_alloc"].offset + RAM["pages_alloc"].size
BODY = DEVICE_STATE.size
"""Offset of the payload in a device-state packet."""
VFIO_VERSION = BUFFER["version"].size
IDX = slice(BUFFER["idx"].offset, BUFFER["flags"].offset)
STATE_FLAGS = slice(BUFFER["flags"].offset, BUFFER.size)
RAMBLOCK = RAM["ramblock"].offset
SKIPPED_END = RAM["unused64"].offset
"""Where a vendor fork's count of skipped pages ends."""
PAGES_MAX = 1024
"""Largest plausible pages_alloc; a known vendor fork has HASHED_COUNT."""
VARIANTS_KEPT = 50
PAYLOAD_MAX = 1 << 26
"""Most payload in bytes that a header found by search may announce."""
NUMBER_LIMIT = 1 << 48
"""A header found by search must have a packet_num below this."""


class Variant:
    """Device-state packets that agree in something that should be the same throughout a migration.

    There are ``count`` of them; the first :data:`VARIANTS_KEPT` are kept with their channels.
    """

    __slots__ = ("count", "packets")

    def __init__(self) -> None:
        self.count = 0
        self.packets: list[tuple[Channel, DevicePacket]] = []

    def keep(self, channel: Channel, packet: DevicePacket) -> None:
        """Keep one of the packets counted, which is complete."""
        if len(self.packets) < VARIANTS_KEPT:
            self.packets.append((channel, packet))


def _count(variants: dict[Key, Variant], key: Key) -> None:
    if key not in variants:
        variants[key] = Variant()
    variants[key].count += 1


def _usual(variants: dict[Key, Variant]) -> Key | None:
    """The most frequent variant, the first one among equals; ``None`` without any."""
    return max(variants, key=lambda key: variants[key].count, default=None)


def marker_of(flags: int) -> int:
    """The flag bit that marks a packet with these flags as device state; 0 without one."""
    return DEVICE_FLAG if flags & DEVICE_FLAG else flags & BIT4


class Framing:
    """What was detected, or forced, about one migration's packets.

    ``page_count`` is N, the number of entries in offset[] (0 while unknown).  ``markers`` are the
    flag bits seen on device-state packets, ``orders`` the byte orders that VFIO headers prove; the
    most frequent one is taken for the migration's, the others are faults.  ``bit4`` counts packets
    with bit 4 by whether their bytes show device state.  ``methods`` counts data packets by
    compression method; ``compression`` is that of most, ``None`` without any.  ``channel_header``
    says that RFC v0's channel header was seen.
    """

    __slots__ = (
        "_empty_sizes",
        "_merged",
        "_sync_alloc",
        "_zero_pages",
        "bit4",
        "channel_header",
        "compression",
        "markers",
        "methods",
        "orders",
        "page_count",
        "settings",
    )

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.page_count = page_count_of(settings.page_size) if settings.page_size else 0
        self.markers: dict[int, Variant] = {}
        self.orders: dict[str, Variant] = {}
        self.bit4 = {True: 0, False: 0}
        self.channel_header = False
        self.methods: dict[int | None, int] = {}
        self.compression: int | None = None
        self._sync_alloc: int | None = None  # pages_alloc of the first pure SYNC packet
        self._merged = False  # whether a SYNC had pages, or a packet neither: senders up to 8.2
        self._zero_pages = False  # whether a packet listed any
        self._empty_sizes: set[bool] = set()  # next_packet_size > 0, without pages behind some

    @property
    def device_flag(self) -> int:
        """The flag bit that marks device state in this migration; 0 without device state."""
        return _usual(self.markers) or 0

    @property
    def byte_order(self) -> str | None:
        """Byte order of the VFIO headers, ``be`` or ``le``; ``None`` until a header proves it."""
        return self.settings.byte_order or self.shown_order

    @property
    def shown_order(self) -> str | None:
        """The byte order that most VFIO headers prove, whatever the user forces."""
        return _usual(self.orders)

    @property
    def page_size(self) -> int:
        """Target page size in bytes; 0 while unknown.

        A page count that is not a power of two is a vendor fork's and says nothing about the page
        size.
        """
        count = self.page_count
        if count & (count - 1):
            return self.settings.page_size or COMMON_PAGE_SIZE
        return PACKET_BYTES // count if count else 0  # page_size_of() inlined for speed

    # -- what kind of packet ------------------------------------------------------------------

    def is_device_state(self, flags: int) -> bool | None:
        """Whether a packet with these flags is a device-state packet.

        ``None``: only its bytes can tell (:meth:`is_bit4_device_state`).
        """
        if flags & DEVICE_FLAG:
            return True
        return None if flags & BIT4 else False

    def is_bit4_device_state(self, header: bytes) -> bool:
        """Whether bit 4 marks device state rather than UADK compression in a packet.

        ``header`` includes at least the first byte of the idstr, where a RAM packet has
        pages_alloc, which is small.  Zeros may also be an empty idstr: then the majority of the
        earlier packets counts.
        """
        count = int.from_bytes(header[IDSTR:COUNT_END], "big")
        if header[IDSTR] != 0 or 0 < count <= PAGES_MAX:
            return header[IDSTR] != 0
        return self.bit4[True] > self.bit4[False]

    def contradicts_flags(self, head: bytes, device: bool) -> bool:
        """Whether a packet, at least 276 bytes of it, is of the other kind than its flags say,
        which is ``device``.

        The idstr begins where a RAM packet has the highest byte of pages_alloc, which is 0.
        """
        if len(head) < BODY or (head[IDSTR] != 0) is device:
            return False
        if not device:
            return looks_like_device_state(head)
        flags = HEADER.unpack(head)[-1] & ~DEVICE_FLAG
        return self._ram_length(head, flags) is not None

    def decide_bit4(self, header: bytes) -> bool:
        """Decide for a channel's next packet: as the dialect that the user forces says, else by
        :meth:`is_bit4_device_state`, which is counted.
        """
        shown = self.is_bit4_device_state(header)
        self.bit4[shown] += 1
        forced = self.settings.dialect
        return shown if forced is None else forced.device_flag == BIT4

    def saw_device_state(self, flags: int) -> None:
        """Count the flag bit that marks a device-state packet."""
        _count(self.markers, marker_of(flags))

    def keep(self, channel: Channel, packet: DevicePacket) -> None:
        """Keep a complete device-state packet, in case its flag bit or byte order turns out to be
        wrong.
        """
        self.markers[marker_of(packet.flags)].keep(channel, packet)
        if packet.raw is not None and (proven := self.order_of(packet.raw)) is not None:
            self.orders[proven].keep(channel, packet)

    # -- RAM packets --------------------------------------------------------------------------

    def saw_ram(self, channel: Channel, packet: RamPacket) -> None:
        """Note what a complete RAM or SYNC packet tells of the sender's era and compression."""
        if not packet.normal_pages and not packet.zero_pages:
            if channel.normal_pages:
                self._empty_sizes.add(packet.next_packet_size > 0)
            if not packet.flags & SYNC:
                self._merged = True
            elif self._sync_alloc is None:
                self._sync_alloc = packet.pages_alloc
            return
        if packet.flags & SYNC:
            self._merged = True
        elif packet.zero_pages:
            self._zero_pages = True
        method = packet.data_method
        if method is not None:
            packets = self.methods[method] = self.methods.get(method, 0) + 1
            if method != self.compression and packets > self.methods.get(self.compression, 0):
                self.compression = method

    # -- byte order ---------------------------------------------------------------------------

    def read_vfio(self, raw: bytes, proofs: dict[str, int]) -> tuple[int, int, int]:
        """version, idx and flags of a VFIO header, whose device has ``proofs``: earlier headers by
        the byte order that they proved.

        The byte order is the one the user forces, else the one that the header proves, else that of
        most of the device's headers, else that of most of the migration's, else the dialect's.
        """
        proven = self.order_of(raw)
        if proven is not None:
            _count(self.orders, proven)
            proofs[proven] = proofs.get(proven, 0) + 1
        order = self.settings.byte_order or proven
        if order is None:
            order = max(proofs, key=proofs.__getitem__, default=self.shown_order)
        if order is None:
            order = "le" if self.device_flag == BIT4 else "be"
        version, idx, flags = (BUFFER_HOST if order == "le" else BUFFER).unpack(raw)
        return version, idx, flags

    @staticmethod
    def order_of(raw: bytes) -> str | None:
        """The byte order, ``be`` or ``le``, that a VFIO header's idx and flags prove; ``None``
        without proof.

        The version proves nothing: it is 0 in both orders, and another one is damage.
        """
        votes = [
            "be" if value[0] == 0 else "le"
            for value in (raw[IDX], raw[STATE_FLAGS])
            if (value[0] == 0) != (value[3] == 0)
        ]
        return votes[0] if votes and votes.count(votes[0]) == len(votes) else None

    # -- conclusions -------------------------------------------------------------------------

    @property
    def dialect(self) -> Dialect | None:
        """The dialect of the device state; ``None`` without device state."""
        if self.settings.dialect is not None:
            return self.settings.dialect
        if not self.device_flag:
            return None
        if self.device_flag == BIT4:
            return DIALECTS["rfc0" if self.channel_header else "v1"]
        return DIALECTS["v3" if self.byte_order == "le" else "upstream"]

    @property
    def era(self) -> RamEra | None:
        """The era that the packets show (wire-format page 10.1), whatever the user forces; ``None``
        where nothing tells.
        """
        if self._sync_alloc == 0 or (self._sync_alloc is None and self.device_flag == DEVICE_FLAG):
            return RAM_ERAS["9.2"]
        if self._zero_pages:
            return RAM_ERAS["9.0"]
        if self._empty_sizes == {False}:
            return RAM_ERAS["8.2"]
        return RAM_ERAS["7.2"] if self._merged or self._empty_sizes else None

    # -- headers found by search --------------------------------------------------------------

    def header_needed(self) -> int:
        """How many bytes :meth:`packet_length` needs."""
        return max(BODY + BUFFER.size, ram_header_size(self.page_count or COMMON_COUNT))

    def packet_length(self, header: bytes) -> int | None:
        """Length of the packet that ``header`` begins, payload included; ``None`` if it is not a
        packet.

        The checks are strict, since a header found by search may be guest memory.
        """
        if not header.startswith(MAGIC_VERSION) or len(header) < RAM_COUNTS.size:
            return None
        flags = HEADER.unpack(header)[-1]
        if flags > 0xFF:
            return None
        device = self.is_device_state(flags)
        if device is None:
            device = self.is_bit4_device_state(header)
        if device:
            return BODY + _payload_size(header) if looks_like_device_state(header) else None
        return self._ram_length(header, flags)

    def _ram_length(self, header: bytes, flags: int) -> int | None:
        _, _, _, alloc, normal, size, number, zero = RAM_COUNTS.unpack(header)
        count = self.page_count or (alloc if 0 < alloc <= PAGES_MAX else COMMON_COUNT)
        if alloc not in (0, count) or normal + zero > alloc or number >= NUMBER_LIMIT:
            return None
        reserved = RAM_COUNTS.size if count != HASHED_COUNT else SKIPPED_END
        if any(header[reserved:RAMBLOCK]):
            return None
        name = header[RAMBLOCK : RAMBLOCK + NAME_SIZE]
        if (normal or zero) and name and not _printable(name):
            return None
        if not (flags & SYNC or normal or zero or size or count == HASHED_COUNT):
            return None
        if not normal:
            return ram_header_size(count)
        if not flags & COMPRESSION_MASK and size != normal * page_size_of(count):
            return None
        return ram_header_size(count) + size if size <= PAYLOAD_MAX else None


def looks_like_device_state(header: bytes) -> bool:
    """Whether at least 276 bytes of a packet look like a device-state packet.

    In a RAM packet pages_alloc is where the idstr begins, so that its first byte is zero.
    """
    if len(header) < BODY or not _printable(header[IDSTR : IDSTR + NAME_SIZE]):
        return False
    if not BUFFER.size <= _payload_size(header) <= PAYLOAD_MAX:
        return False
    return not any(header[BODY : BODY + VFIO_VERSION])


def _payload_size(header: bytes) -> int:
    """next_packet_size of a device-state packet."""
    size: int = DEVICE_STATE.unpack(header)[-1]
    return size


def _printable(name: bytes) -> bool:
    text, _, rest = name.partition(b"\0")
    return (
        bool(text) and rest.count(0) == len(rest) and text.isascii() and text.decode().isprintable()
    )
