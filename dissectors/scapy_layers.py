# SPDX-License-Identifier: GPL-2.0-only
# This file is part of mfshark and can be used with Scapy: https://scapy.net

# scapy.contrib.description = QEMU live migration: multifd channels, VFIO device state
# scapy.contrib.status = loads

"""Scapy classes of the multifd channels, generated from the layout tables.

``MultiFD(data)`` picks the class of a packet by its flags; ``dissect_channel(data)`` splits a whole
channel into packets; ``bind_port(4444)`` binds a migration port to scapy's TCP layer, after which
``sniff(offline="x.pcap", session=TCPSession)`` reassembles the channels.  QEMU has no fixed port,
so the import alone binds nothing to TCP.

Wire-format page, sections 1.6 and 2 to 5.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, ClassVar

from scapy.config import conf
from scapy.fields import (
    ByteField,
    FieldListField,
    FlagsField,
    IntField,
    LEIntField,
    LELongField,
    LongField,
    StrFixedLenField,
    UUIDField,
    XIntField,
    XLEIntField,
    XStrFixedLenField,
)
from scapy.packet import Packet, bind_bottom_up

from dissectors.multifd import (
    ARRAY_SIZES,
    CHANNEL_HEADER,
    CHANNEL_HEADER_START,
    COMMON_COUNT,
    DEVICE_STATE,
    HASHED_COUNT,
    HEADER,
    INIT,
    MAGIC,
    MAGIC_BYTES,
    MAGIC_VERSION,
    RAM,
    VERSION,
    MultifdFlag,
    name_of,
    page_count_of,
    page_size_of,
    ram_header_size,
    text_of,
)
from dissectors.vfio import BUFFER, BUFFER_HOST

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dissectors.fields import Field, Layout

__all__ = [
    "ChannelHeader",
    "MultiFD",
    "MultiFDInit",
    "MultiFDPacket",
    "MultiFDPacketDeviceState",
    "NameField",
    "OffsetsField",
    "VFIODeviceStatePacket",
    "VFIODeviceStatePacketHost",
    "bind_port",
    "dissect_channel",
    "ram_layer",
    "scapy_fields",
]

DEVICE_FLAG, BIT4 = int(MultifdFlag.DEVICE_STATE), int(MultifdFlag.UADK)
NUMBERS: dict[tuple[str, bool, bool], Any] = {
    # (struct code, big endian, shown in hexadecimal)
    ("B", True, False): ByteField,
    ("B", False, False): ByteField,
    ("I", True, False): IntField,
    ("I", True, True): XIntField,
    ("I", False, False): LEIntField,
    ("I", False, True): XLEIntField,
    ("Q", True, False): LongField,
    ("Q", False, False): LELongField,
}


class NameField(StrFixedLenField):
    """A NUL-padded name: kept as bytes, shown as text."""

    def i2repr(self, pkt: Packet | None, x: Any) -> str:  # noqa: ARG002 - scapy's signature
        """The text before the first NUL."""
        return repr(text_of(bytes(x)))


class OffsetsField(FieldListField):
    """``offset[]`` of a RAM packet: always the class's ``page_count`` entries on the wire.

    When a packet is built, a shorter list is padded with zeros and a longer one truncated.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name, [], LongField("offset", 0))

    def addfield(self, pkt: Packet, s: bytes, val: Any) -> bytes:
        """Append the array to ``s``."""
        count = page_count(pkt)
        entries = [*val[:count], *(0,) * (count - len(val))]
        return s + struct.pack(f">{count}Q", *entries)

    def getfield(self, pkt: Packet, s: bytes) -> tuple[bytes, list[int]]:
        """Split the array off ``s``; if ``s`` is too short, the whole entries that are there."""
        count = min(page_count(pkt), len(s) // 8)
        return s[8 * count :], list(struct.unpack_from(f">{count}Q", s))


def scapy_field(field: Field, order: str, default: Any) -> Any:
    """The scapy field of one row of a layout."""
    if field.code.endswith("s"):
        if field.display == "uuid":
            return UUIDField(field.name, default)
        kind = NameField if field.display == "name" else XStrFixedLenField
        return kind(field.name, default or b"", length=field.size)
    big = order == ">"
    if field.enum is not None:
        width = 8 * field.size if big else -8 * field.size
        names = {int(member): str(member.name) for member in field.enum}
        return FlagsField(field.name, default, width, names)
    return NUMBERS[field.code, big, field.display == "hex"](field.name, default)


def scapy_fields(layout: Layout, **defaults: Any) -> list[Any]:
    """``fields_desc`` for ``layout``; fields without a default are zero."""
    return [scapy_field(field, layout.order, defaults.get(field.name, 0)) for field in layout]


def page_count(packet: Packet) -> int:
    """Entries of the offset array of this packet's class."""
    return MultiFDPacket.page_count if packet is None else int(packet.page_count)


class Sized(Packet):
    """A packet whose ``next_packet_size`` is the length of its payload, filled in when None."""

    layout: ClassVar[Layout]

    def post_build(self, pkt: bytes, pay: bytes) -> bytes:
        """Fill in the size."""
        if self.next_packet_size is None:
            at = self.layout["next_packet_size"].offset
            pkt = pkt[:at] + struct.pack(">I", len(pay)) + pkt[at + 4 :]
        return pkt + pay

    def payload_size(self) -> int:
        """Bytes of payload that belong to this packet."""
        return int(self.next_packet_size or 0)

    def extract_padding(self, s: bytes) -> tuple[bytes, bytes]:
        """Split the payload from the packets that follow it."""
        size = self.payload_size()
        return s[:size], s[size:]


class ChannelHeader(Packet):
    """The header with which every connection of the RFC (v0) begins."""

    name = "QEMU migration channel header"
    fields_desc = scapy_fields(
        CHANNEL_HEADER, header_size=int.from_bytes(CHANNEL_HEADER_START, "big")
    )

    def extract_padding(self, s: bytes) -> tuple[bytes, bytes]:
        """What follows is another packet."""
        return b"", s


class MultiFDInit(Packet):
    """The initial packet, first on every multifd channel."""

    name = "MultiFD initial packet"
    fields_desc = scapy_fields(INIT, magic=MAGIC, version=VERSION, uuid=None)

    def extract_padding(self, s: bytes) -> tuple[bytes, bytes]:
        """What follows is another packet."""
        return b"", s


class MultiFDPacket(Sized):
    """A RAM or SYNC packet of a target with 4 KiB pages; see :func:`ram_layer` for others.

    When ``pages_alloc`` is None it is built as QEMU 9.2 and later send it: the capacity, or 0 in a
    packet without pages.
    """

    name = "MultiFD RAM packet"
    layout = RAM
    page_count = COMMON_COUNT
    fields_desc: ClassVar[list[Any]] = [
        *scapy_fields(RAM, magic=MAGIC, version=VERSION, pages_alloc=None, next_packet_size=None),
        OffsetsField("offset"),
    ]

    def post_build(self, pkt: bytes, pay: bytes) -> bytes:
        """Fill in capacity and size."""
        if self.pages_alloc is None and self.normal_pages + self.zero_pages:
            at = RAM["pages_alloc"].offset
            pkt = pkt[:at] + struct.pack(">I", self.page_count) + pkt[at + 4 :]
        return super().post_build(pkt, pay)

    def payload_size(self) -> int:
        """``next_packet_size``, which counts only if there are normal pages."""
        return super().payload_size() if self.normal_pages else 0


class MultiFDPacketDeviceState(Sized):
    """A device-state packet; its payload is a VFIO buffer when the device is a VFIO device."""

    name = "MultiFD device-state packet"
    layout = DEVICE_STATE
    fields_desc = scapy_fields(
        DEVICE_STATE,
        magic=MAGIC,
        version=VERSION,
        flags=int(MultifdFlag.DEVICE_STATE),
        next_packet_size=None,
    )

    def guess_payload_class(self, payload: bytes) -> type[Packet]:
        """The class for the VFIO header's byte order, inferred from its bytes; raw if not VFIO."""
        device = name_of(bytes(self.idstr))
        if len(payload) < BUFFER.size or device.rpartition(b"/")[2] != b"vfio":
            raw: type[Packet] = conf.raw_layer
            return raw
        return VFIODeviceStatePacketHost if self.is_host_order(payload) else VFIODeviceStatePacket

    def is_host_order(self, payload: bytes) -> bool:
        """Whether the VFIO header is in a little-endian sender's order (wire-format page 5.5)."""
        flags = payload[BUFFER["flags"].offset : BUFFER.size]
        if any(flags):
            return flags[0] != 0
        big, little = BUFFER.unpack(payload)[1], BUFFER_HOST.unpack(payload)[1]
        if big != little:
            return bool(little < big)
        return not int(self.flags) & MultifdFlag.DEVICE_STATE


class VFIODeviceStatePacket(Packet):
    """Header of a VFIO buffer, big endian (QEMU 10.0 and later); the data are its payload."""

    name = "VFIO device-state buffer"
    fields_desc = scapy_fields(BUFFER)


class VFIODeviceStatePacketHost(Packet):
    """Header of a VFIO buffer in the order of a little-endian host (the series before 10.0)."""

    name = "VFIO device-state buffer (host order)"
    fields_desc = scapy_fields(BUFFER_HOST)


RAM_LAYERS: dict[int, type[MultiFDPacket]] = {MultiFDPacket.page_count: MultiFDPacket}


def _make_ram_layers() -> None:
    for count in ARRAY_SIZES:
        if count not in RAM_LAYERS:
            hashed = count == HASHED_COUNT
            suffix = "Hashed" if hashed else f"{page_size_of(count) // 1024}K"
            whose = "a vendor fork that hashes pages" if hashed else f"a target with {suffix} pages"
            body = {
                "name": f"MultiFD RAM packet ({suffix.lower() if hashed else suffix} pages)",
                "page_count": count,
                "__doc__": f"A RAM or SYNC packet of {whose}.",
                "__module__": __name__,
            }
            RAM_LAYERS[count] = type(f"MultiFDPacket{suffix}", (MultiFDPacket,), body)


_make_ram_layers()


def ram_layer(page_size: int) -> type[MultiFDPacket]:
    """The RAM packet class for a target page size in bytes; raises KeyError if there is none."""
    return RAM_LAYERS[page_count_of(page_size)]


def _is_device_state(data: bytes) -> bool:
    """Whether the flags have bit 6, or bit 4 followed by an idstr (wire-format page 10.2)."""
    flags = HEADER.unpack(data)[-1]
    idstr = DEVICE_STATE["idstr"].offset
    return bool(flags & DEVICE_FLAG or (flags & BIT4 and data[idstr : idstr + 1].strip(b"\0")))


def _alloc(data: bytes) -> int:
    """``pages_alloc`` of a RAM packet; where ``data`` end inside it, the bytes that are there."""
    field = RAM["pages_alloc"]
    return int.from_bytes(data[field.offset : field.offset + field.size], "big")


def packet_layer(data: bytes, count: int = 0) -> type[Packet]:
    """The class of the packet whose header ``data`` begin with.

    ``count`` is the number of offset entries of a RAM packet; 0 takes it from ``pages_alloc``.
    """
    if _is_device_state(data):
        return MultiFDPacketDeviceState
    return RAM_LAYERS.get(count) or RAM_LAYERS.get(_alloc(data), MultiFDPacket)


class MultiFD(Packet):
    """Entry point: dissects bytes as the packet class they belong to, or as the common header."""

    name = "MultiFD"
    fields_desc = scapy_fields(HEADER, magic=MAGIC, version=VERSION)

    @classmethod
    def dispatch_hook(cls, _pkt: bytes | None = None, *_: Any, **__: Any) -> type[Packet]:
        """Choose the class by magic, length and flags; exactly 64 bytes are an initial packet."""
        if not _pkt:
            return cls
        if len(_pkt) == INIT.size and _pkt[:4] == MAGIC_BYTES:
            return MultiFDInit
        if len(_pkt) >= HEADER.size and _pkt[:4] == MAGIC_BYTES:
            layer = packet_layer(_pkt)
            if len(_pkt) >= _fixed_size(layer):
                return layer
        raw: type[Packet] = conf.raw_layer
        return raw

    @classmethod
    def tcp_reassemble(
        cls, data: bytes, metadata: dict[str, Any], session: dict[str, Any]
    ) -> Packet | None:
        """One packet of a channel, for ``sniff(session=TCPSession)``; None asks for more bytes."""
        if data[:4] != MAGIC_BYTES[: len(data)]:
            return conf.raw_layer(data)
        if not session.get("multifd_started"):
            if len(data) < INIT.size:
                return None
            session["multifd_started"] = True
            return MultiFDInit(data)
        if len(data) < HEADER.size:
            return None
        if len(data) < (DEVICE_STATE if _is_device_state(data) else RAM).size:
            return None
        if not _is_device_state(data) and not session.get("multifd_pages"):
            session["multifd_pages"] = _inferred_count(data, 0)
        layer = packet_layer(data, session.get("multifd_pages", 0))
        size = _whole_size(data, layer)
        metadata["tcp_min_len"] = size
        return layer(data) if len(data) >= size else None


def _fixed_size(layer: type[Packet]) -> int:
    """Bytes of a packet of this class without payload."""
    if issubclass(layer, MultiFDPacket):
        return ram_header_size(layer.page_count)
    return DEVICE_STATE.size


def _pages_alloc(data: bytes) -> int:
    """``pages_alloc`` where it is a possible number of offset entries, else 0."""
    alloc = _alloc(data)
    return alloc if alloc in RAM_LAYERS and not _is_device_state(data) else 0


def _whole_size(data: bytes, layer: type[Packet]) -> int:
    """Size in bytes of the packet at the start of ``data``, payload included."""
    if layer is MultiFDPacketDeviceState:
        return int(DEVICE_STATE.size + DEVICE_STATE.unpack(data)[-1])
    normal, size = struct.unpack_from(">II", data, RAM["normal_pages"].offset)
    return _fixed_size(layer) + (size if normal else 0)


def _inferred_count(data: bytes, offset: int) -> int:
    """Number of offset entries of the RAM packet at ``offset``: from its ``pages_alloc``, or else
    from where the next packet begins.
    """
    count = _pages_alloc(data[offset : offset + RAM.size])
    if count:
        return count
    for candidate in ARRAY_SIZES:
        end = offset + _whole_size(data[offset : offset + RAM.size], RAM_LAYERS[candidate])
        if end == len(data) or data[end : end + 8] == MAGIC_VERSION:
            return candidate
    return MultiFDPacket.page_count


def dissect_channel(data: bytes, page_size: int | None = None) -> list[Packet]:
    """All packets of one multifd channel, from the first byte of its stream.

    The target page size is inferred unless ``page_size`` (bytes) gives it.  Bytes that do not form
    a whole packet are the last element, a ``Raw``.
    """
    return list(_cut(data, page_count_of(page_size) if page_size else 0))


def _cut(data: bytes, count: int) -> Iterator[Packet]:
    offset = 0
    if data.startswith(CHANNEL_HEADER_START):
        yield ChannelHeader(data[: CHANNEL_HEADER.size])
        offset = CHANNEL_HEADER.size
    if data[offset : offset + 8] == MAGIC_VERSION and len(data) >= offset + INIT.size:
        yield MultiFDInit(data[offset : offset + INIT.size])
        offset += INIT.size
    while data[offset : offset + 8] == MAGIC_VERSION:
        head = data[offset : offset + RAM.size]
        if len(head) < DEVICE_STATE.size:
            break
        if not count and not _is_device_state(head):
            count = _inferred_count(data, offset)
        layer = packet_layer(head, count)
        if layer is not MultiFDPacketDeviceState and len(head) < RAM.size:
            break
        end = offset + _whole_size(head, layer)
        if end > len(data):
            break
        yield layer(data[offset:end])
        offset = end
    if offset < len(data):
        yield conf.raw_layer(data[offset:])


def bind_port(port: int) -> None:
    """Make scapy dissect payload sent to TCP ``port`` as multifd."""
    from scapy.layers.inet import TCP  # late: slow to import, and only needed here

    bind_bottom_up(TCP, MultiFD, dport=port)
