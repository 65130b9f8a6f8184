"""The multifd channels: initial packet, packet header, RAM packet, device-state packet.

Wire-format page, sections 2 to 4.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag

from dissectors.fields import Field, Layout

__all__ = [
    "ARRAY_SIZES",
    "CHANNEL_HEADER",
    "CHANNEL_HEADER_START",
    "COMMON_COUNT",
    "COMMON_PAGE_SIZE",
    "COMPRESSED_MAX",
    "COMPRESSION_MASK",
    "DEVICE_MARKERS",
    "DEVICE_STATE",
    "HASHED_COUNT",
    "HEADER",
    "INIT",
    "KNOWN_FLAGS",
    "LIKELY_PAGE_SIZES",
    "MAGIC",
    "MAGIC_BYTES",
    "MAGIC_VERSION",
    "METHODS",
    "NAME_SIZE",
    "PACKET_BYTES",
    "PAGE_BITS",
    "PAGE_COUNTS",
    "PAGE_SIZES",
    "RAM",
    "RAM_COUNTS",
    "VERSION",
    "ChannelType",
    "Compression",
    "MultifdFlag",
    "device_name",
    "is_init",
    "name_of",
    "names_device",
    "page_count_of",
    "page_size_of",
    "ram_header_size",
    "text_of",
    "uuid_text",
]

MAGIC = 0x11223344
VERSION = 1
MAGIC_BYTES = MAGIC.to_bytes(4, "big")
MAGIC_VERSION = MAGIC_BYTES + VERSION.to_bytes(4, "big")
"""The first eight bytes of every initial packet and of every packet header."""

PACKET_BYTES = 512 * 1024
"""A RAM packet covers at most this many bytes of guest memory, whatever the page size."""

COMPRESSED_MAX = 1 << 20
"""Size in bytes of the receiver's buffer for the compressed payload of a RAM packet."""


class MultifdFlag(IntFlag):
    """Packet flags as of QEMU 10.0; earlier, some bits were unused or meant something else."""

    SYNC = 0x01
    ZLIB = 0x02
    ZSTD = 0x04
    QPL = 0x08
    UADK = 0x10
    QATZIP = 0x20
    DEVICE_STATE = 0x40


DEVICE_MARKERS = MultifdFlag.DEVICE_STATE, MultifdFlag.UADK
"""Flags that mark a device-state packet: bit 6; in the RFC, v1 and v2 of the series bit 4."""
KNOWN_FLAGS = sum(MultifdFlag)


class Compression(IntEnum):
    """``multifd-compression``: the compression field of the flags, compared as one number."""

    none = 0
    zlib = MultifdFlag.ZLIB
    zstd = MultifdFlag.ZSTD
    qpl = MultifdFlag.QPL
    uadk = MultifdFlag.UADK
    qatzip = MultifdFlag.QATZIP


COMPRESSION_MASK = sum(Compression)
METHODS = frozenset(int(method) for method in Compression)


class ChannelType(IntEnum):
    """``channel_type`` of the RFC's channel header."""

    MAIN = 0
    POSTCOPY = 1
    MULTIFD = 2
    DEVICE_STATE = 3


CHANNEL_HEADER = Layout(
    "MigChannelHeader",
    "multifd.channel",
    "1.6",
    (
        Field("header_size", "Q", "4: bytes that follow"),
        Field("channel_type", "I", "0 main, 1 postcopy, 2 multifd, 3 multifd device state"),
    ),
)
"""Begins every connection in the RFC (v0); no later revision has it."""
CHANNEL_HEADER_START = CHANNEL_HEADER["channel_type"].size.to_bytes(8, "big")
"""Its first eight bytes: the size of what follows them."""

INIT = Layout(
    "MultiFDInit_t",
    "multifd.init",
    "2",
    (
        Field("magic", "I", "marks channels: 0x11223344", "hex"),
        Field("version", "I", "format version, always 1"),
        Field("uuid", "16s", "SMBIOS uuid of the guest; zero when it has none", "uuid"),
        Field("id", "B", "number of the channel, from 0"),
        Field("unused1", "7s", "reserved, sent as zero", "bytes"),
        Field("unused2", "32s", "reserved, sent as zero", "bytes"),
    ),
)

HEADER = Layout(
    "MultiFDPacketHdr_t",
    "multifd",
    "3.1",
    (
        Field("magic", "I", "marks a header: 0x11223344", "hex"),
        Field("version", "I", "format version, always 1"),
        Field("flags", "I", "SYNC, compression method, DEVICE_STATE", "flags", enum=MultifdFlag),
    ),
)

RAM = Layout(
    "MultiFDPacket_t",
    "multifd",
    "3.3",
    (
        Field("magic", "I", "marks a header: 0x11223344", "hex"),
        Field("version", "I", "format version, always 1"),
        Field("flags", "I", "SYNC and compression method", "flags", enum=MultifdFlag),
        Field("pages_alloc", "I", "capacity in pages; 0 in SYNC packets since 9.2"),
        Field("normal_pages", "I", "pages whose content is in the payload"),
        Field("next_packet_size", "I", "bytes of payload, if normal_pages is not 0"),
        Field("packet_num", "Q", "counter of RAM and SYNC packets over all channels"),
        Field("zero_pages", "I", "zero pages listed behind the normal ones", since="9.0"),
        Field("unused32", "I", "reserved"),
        Field("unused64", "24s", "reserved", "bytes"),
        Field("ramblock", "256s", "name of the RAM block, NUL-padded", "name"),
    ),
)
"""Followed on the wire by ``offset[N]``, N = 512 KiB / target page size, BE64 each."""
RAM_COUNTS = RAM.before("unused32")
"""Its fields up to the counts, without the reserved words and the block's name."""
NAME_SIZE = RAM["ramblock"].size
"""Bytes of a NUL-padded name: a RAM block's name, or the idstr in a device-state packet."""

DEVICE_STATE = Layout(
    "MultiFDPacketDeviceState_t",
    "multifd",
    "4",
    (
        Field("magic", "I", "marks a header: 0x11223344", "hex"),
        Field("version", "I", "format version, always 1"),
        Field("flags", "I", "DEVICE_STATE", "flags", enum=MultifdFlag),
        Field("idstr", "256s", "idstr of the device's section, NUL-padded", "name", since="10.0"),
        Field("instance_id", "I", "instance id of the section", since="10.0"),
        Field("next_packet_size", "I", "bytes of payload", since="10.0"),
    ),
)

PAGE_BITS = range(10, 17)
"""Base-2 logarithms of the page sizes that a target may have."""
PAGE_SIZES = tuple(1 << bits for bits in PAGE_BITS)
"""Those page sizes in bytes: 1K, 2K, 4K, 8K, 16K, 32K and 64K."""
LIKELY_PAGE_SIZES = (4096, 8192, 1024, 2048, 16384, 65536)
"""The page sizes that QEMU's targets use, the most common first."""
COMMON_PAGE_SIZE = LIKELY_PAGE_SIZES[0]
PAGE_COUNTS = tuple(PACKET_BYTES // size for size in reversed(PAGE_SIZES))
"""Entries of offset[] for those page sizes, ascending."""
COMMON_COUNT = PACKET_BYTES // COMMON_PAGE_SIZE
HASHED_COUNT = 1023
"""Entries of offset[] in a vendor fork's packets while it hashes pages, whatever the page size."""
ARRAY_SIZES = (*PAGE_COUNTS, HASHED_COUNT)
"""Entries that offset[] may have, ascending."""


def ram_header_size(page_count: int) -> int:
    """Size in bytes of a RAM packet with ``page_count`` offset entries, without its payload."""
    return RAM.size + 8 * page_count


def page_size_of(page_count: int) -> int:
    """Target page size in bytes of packets whose offset array has ``page_count`` entries.

    A number that is not a power of two is a vendor fork's and says nothing about the page size:
    then it is the common one.
    """
    return COMMON_PAGE_SIZE if page_count & (page_count - 1) else PACKET_BYTES // page_count


def page_count_of(page_size: int) -> int:
    """Entries of the offset array for a target page size in bytes."""
    return PACKET_BYTES // page_size


def is_init(data: bytes) -> bool:
    """Whether 64 bytes with the magic are an initial packet rather than a packet header.

    The reserved bytes of an initial packet, which follow its id, are zero.  At their place a RAM
    packet has its packet number, which is 0 only in a SYNC packet, and a device-state packet part
    of its idstr.  As a short idstr ends before them, device state is recognised by its flags and
    the beginning of its idstr.
    """
    reserved = INIT["unused1"].offset
    flags, name = HEADER.unpack(data)[-1], data[HEADER.size : reserved].rstrip(b"\0")
    if flags in DEVICE_MARKERS and name and name.isascii() and name.decode().isprintable():
        return False
    return data.count(0, reserved, INIT.size) == INIT.size - reserved and flags != MultifdFlag.SYNC


def name_of(padded: bytes) -> bytes:
    """A NUL-padded name up to its first NUL."""
    return padded.split(b"\0", 1)[0]


def text_of(name: bytes) -> str:
    r"""A NUL-padded name as text; bytes that are not UTF-8 become ``\xNN``."""
    return name_of(name).decode("utf-8", "backslashreplace")


def device_name(idstr: bytes | str, instance_id: int) -> str:
    """``idstr#instance``, the name of a device; not escaped for any output."""
    return f"{text_of(idstr) if isinstance(idstr, bytes) else idstr}#{instance_id}"


def names_device(text: str, device: str) -> bool:
    """Whether a text names a device (``idstr#instance``); without ``#`` it matches all
    instances.
    """
    return text == device or ("#" not in text and text == device.rpartition("#")[0])


def uuid_text(uuid: bytes) -> str:
    """A uuid as text, 8-4-4-4-12."""
    text = uuid.hex()
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))
