"""The main channel: records, commands, RAM flags and headers.

Wire-format page, sections 6 and 7.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag

from dissectors.fields import Field, Layout
from dissectors.multifd import PAGE_SIZES
from dissectors.vfio import VfioTag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

__all__ = [
    "ANY_FOOTER",
    "BEGINNING",
    "BIG_ENDIAN_MACHINES",
    "COMMAND",
    "COMMAND_LENGTHS",
    "CONFIGURATION_CAPABILITIES",
    "CONFIGURATION_PAGE_BITS",
    "CONFIGURATION_UUID",
    "DIRTY_BITMAP",
    "DISCARD_RANGE",
    "EARLY",
    "EOS_WORD",
    "FILE_HEADER",
    "FOOTER",
    "FOOTER_BYTE",
    "IGNORE_SHARED",
    "LITTLE_ENDIAN_MACHINES",
    "MAGIC",
    "MAGIC_BYTES",
    "MAPPED_RAM",
    "MAPPED_RAM_HEADER",
    "MAPPED_VERSION",
    "POSTCOPY_ADVISE",
    "RAM_END",
    "RAM_FLAG_BITS",
    "RAM_PAGE_KINDS",
    "RAM_SECTION",
    "RAM_VERSION",
    "SECTIONS",
    "SECTION_ID",
    "SECTION_VERSIONS",
    "SMALLEST_PAGE",
    "STATE_END",
    "SUBSECTION_BYTE",
    "TINY_PAGE",
    "VERSION",
    "VFIO_VERSION",
    "Command",
    "RamFlag",
    "RecordType",
    "begins_stream",
    "can_follow_block",
    "command_length_fits",
    "host_order",
    "is_mapped_header",
    "is_page_size",
    "is_vfio",
    "page_size_follows",
]

MAGIC = 0x5145564D
MAGIC_BYTES = MAGIC.to_bytes(4, "big")
VERSION = 3
FOOTER_BYTE = 0x7E
SUBSECTION_BYTE = 0x05


class RecordType(IntEnum):
    """The type byte that begins every record."""

    EOF = 0x00
    SECTION_START = 0x01
    SECTION_PART = 0x02
    SECTION_END = 0x03
    SECTION_FULL = 0x04
    SUBSECTION = SUBSECTION_BYTE
    VMDESCRIPTION = 0x06
    CONFIGURATION = 0x07
    COMMAND = 0x08
    SECTION_FOOTER = FOOTER_BYTE


SECTIONS = range(RecordType.SECTION_START, RecordType.SECTION_FULL + 1)
"""The type bytes of sections: START, PART, END and FULL."""


class Command(IntEnum):
    """The number of a COMMAND record."""

    OPEN_RETURN_PATH = 1
    PING = 2
    POSTCOPY_ADVISE = 3
    POSTCOPY_LISTEN = 4
    POSTCOPY_RUN = 5
    POSTCOPY_RAM_DISCARD = 6
    PACKAGED = 7
    ENABLE_COLO = 8
    POSTCOPY_RESUME = 9
    RECV_BITMAP = 10
    SWITCHOVER_START = 11


AFTER_QEVM = VERSION.to_bytes(4, "big") + bytes((RecordType.CONFIGURATION, 0, 0))
"""What follows the magic: version, type of the first record, and the upper half of the length of
the machine's name.
"""
BEGINNING = len(MAGIC_BYTES + AFTER_QEVM)
"""Bytes that suffice for :func:`begins_stream`."""


def begins_stream(head: bytes) -> bool:
    """Whether a main stream begins like this: with the magic, or with what follows it where the
    magic is damaged.
    """
    return head.startswith(MAGIC_BYTES) or head.startswith(AFTER_QEVM, len(MAGIC_BYTES))


COMMAND_LENGTHS = {
    Command.OPEN_RETURN_PATH: (0,),
    Command.PING: (4,),
    Command.POSTCOPY_ADVISE: (0, 16),
    Command.POSTCOPY_LISTEN: (0,),
    Command.POSTCOPY_RUN: (0,),
    Command.PACKAGED: (4,),
    Command.ENABLE_COLO: (0,),
    Command.POSTCOPY_RESUME: (0,),
    Command.SWITCHOVER_START: (0,),
}
"""Valid payload lengths by command; the commands left out carry a name, so theirs vary."""


def command_length_fits(command: int, length: int) -> bool:
    """Whether ``length`` is a valid payload length of a command; false for an unknown command."""
    if command == Command.POSTCOPY_RAM_DISCARD:
        return length >= 4
    if command == Command.RECV_BITMAP:
        return 2 <= length <= 256
    return length in COMMAND_LENGTHS.get(command, ())  # type: ignore[call-overload]


class RamFlag(IntFlag):
    """Flags in the low bits of the word that begins every RAM record."""

    FULL = 0x01
    ZERO = 0x02
    MEM_SIZE = 0x04
    PAGE = 0x08
    EOS = 0x10
    CONTINUE = 0x20
    XBZRLE = 0x40
    HOOK = 0x80
    COMPRESS_PAGE = 0x100
    MULTIFD_FLUSH = 0x200


SMALLEST_PAGE = PAGE_SIZES[0]
RAM_FLAG_BITS = SMALLEST_PAGE - 1
"""Mask of the bits that are flags for every page size with which multifd works."""
TINY_PAGE = 256
"""AVR's page size up to QEMU 10.0: some of those bits belong to the address, and flushing multifd
looks like a page.
"""
EOS_WORD = int(RamFlag.EOS).to_bytes(8, "big")
RAM_PAGE_KINDS = RamFlag.ZERO | RamFlag.PAGE | RamFlag.XBZRLE | RamFlag.COMPRESS_PAGE
RAM_SECTION = b"ram"
RAM_VERSION, VFIO_VERSION = 4, 1
"""Versions of the RAM and VFIO sections, the same in every QEMU with multifd."""
DIRTY_BITMAP = b"dirty-bitmap"
EARLY = b"-early"
"""How the names of FULL sections end that are sent in setup, among the STARTs: virtio-mem's."""

FILE_HEADER = Layout(
    "QEMUFile header",
    "main",
    "6.1",
    (
        Field("magic", "I", "marks the stream: 0x5145564d, QEVM", "hex"),
        Field("version", "I", "format version, always 3"),
    ),
)

COMMAND = Layout(
    "COMMAND",
    "main.command",
    "6.5",
    (
        Field("type", "B", "8", "enum", enum=RecordType),
        Field("command", "H", "which command", "enum", enum=Command),
        Field("length", "H", "bytes of payload"),
    ),
)

SECTION_ID = Layout(
    "SECTION_PART",
    "main.section",
    "6.3",
    (
        Field("type", "B", "1 START, 2 PART, 3 END, 4 FULL", "enum", enum=RecordType),
        Field("section_id", "I", "number of the section"),
    ),
)
"""The whole header of a PART or END section; START and FULL go on with idstr and versions."""

SECTION_VERSIONS = Layout(
    "SECTION_START",
    "main.section",
    "6.3",
    (
        Field("instance_id", "I", "instance of the device"),
        Field("version_id", "I", "version of the section's layout"),
    ),
)
"""Behind the idstr of a START or FULL section."""

FOOTER = Layout(
    "SECTION_FOOTER",
    "main.footer",
    "6.3",
    (
        Field("type", "B", "0x7e", "enum", enum=RecordType),
        Field("section_id", "I", "number of the section that ends here"),
    ),
)
ANY_FOOTER = bytes((FOOTER_BYTE, 0, 0))
"""The first bytes of every footer: as no sender has 65536 sections, the id begins with zeros."""
RAM_END = EOS_WORD + ANY_FOOTER
"""A RAM section's EOS and the start of its footer, which end every round on a main channel."""
STATE_END = int(VfioTag.END_OF_STATE).to_bytes(8, "big") + ANY_FOOTER
"""A VFIO section's END_OF_STATE and the start of its footer."""

MAPPED_RAM_HEADER = Layout(
    "MappedRamHeader",
    "main.mapped_ram",
    "7",
    (
        Field("version", "I", "format version, always 1", since="9.0"),
        Field("page_size", "Q", "target page size in bytes", since="9.0"),
        Field("bitmap_offset", "Q", "file offset of the block's bitmap", "hex", since="9.0"),
        Field("pages_offset", "Q", "file offset of the block's pages", "hex", since="9.0"),
    ),
)

POSTCOPY_ADVISE = Layout(
    "POSTCOPY_ADVISE",
    "main.postcopy_advise",
    "6.5",
    (
        Field("host_page_sizes", "Q", "page sizes of all RAM blocks, ORed", "hex", since="2.5"),
        Field("target_page_size", "Q", "target page size in bytes", since="2.5"),
    ),
)

DISCARD_RANGE = Layout(
    "POSTCOPY_RAM_DISCARD",
    "main.discard",
    "6.5",
    (
        Field("start", "Q", "first byte in the block", "hex", since="2.5"),
        Field("length", "Q", "bytes", "hex", since="2.5"),
    ),
)

CONFIGURATION_PAGE_BITS = b"configuration/target-page-bits"
CONFIGURATION_CAPABILITIES = b"configuration/capabilities"
CONFIGURATION_UUID = b"configuration/uuid"
IGNORE_SHARED = "x-ignore-shared"
MAPPED_RAM = "mapped-ram"
MAPPED_VERSION = 1


def is_page_size(value: int) -> bool:
    """Whether ``value`` can be a page size in bytes; a block may have huge pages."""
    return value >= SMALLEST_PAGE and not value & (value - 1)


def is_mapped_header(data: bytes) -> bool:
    """Whether ``data`` begins like a mapped-ram header, whether or not that is announced."""
    return data[:4] == MAPPED_VERSION.to_bytes(4, "big") and is_page_size(
        int.from_bytes(data[4:12], "big")
    )


def page_size_follows(ahead: bytes, *, shared: bool, last: bool) -> bool:
    """Whether a block's own page size follows its length in the block list.

    ``ahead`` are the 16 bytes behind the length; ``shared``: guest addresses are announced
    (x-ignore-shared); ``last``: this is the last block.  Wire-format page, section 6.6.
    """
    if len(ahead) < 8 or not is_page_size(int.from_bytes(ahead[:8], "big")):
        return False
    # Where addresses are announced, a single word in front of the next block is the address.
    return not (shared and can_follow_block(ahead[8:], last=last))


def can_follow_block(data: bytes, *, last: bool) -> bool:
    """Whether ``data`` begins with what can follow a block: the next block's name or, behind the
    ``last`` block, a record without an address.  A guest address or a mapped-ram header cannot be
    mistaken for either.
    """
    if last:
        return 0 < int.from_bytes(data[:8], "big") < SMALLEST_PAGE
    return data[:1] > b"\0"


BIG_ENDIAN_MACHINES = ("s390-ccw-virtio",)
LITTLE_ENDIAN_MACHINES = ("pc", "microvm", "isapc", "virt")


def host_order(machine: str) -> Literal["little", "big", ""]:
    """The byte order of the hosts that usually run this machine type; empty if it can be either.

    A machine may be emulated on other hosts: where the bytes show another order, trust the bytes.
    """
    if machine.startswith(BIG_ENDIAN_MACHINES):
        return "big"
    return "little" if machine.partition("-")[0] in LITTLE_ENDIAN_MACHINES else ""


def is_vfio(idstr: bytes) -> bool:
    """Whether a section with this idstr belongs to a VFIO device."""
    return idstr.endswith(b"/vfio") or idstr == b"vfio"
