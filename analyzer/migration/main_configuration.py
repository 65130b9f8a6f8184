"""The CONFIGURATION record.

Wire-format page, section 6.2.
"""

from __future__ import annotations

from analyzer.migration.broken import Broken
from analyzer.tcp.requests import Peek, Take
from dissectors.main_stream import (
    CONFIGURATION_CAPABILITIES,
    CONFIGURATION_PAGE_BITS,
    CONFIGURATION_UUID,
    SUBSECTION_BYTE,
    host_order,
)
from dissectors.multifd import PAGE_BITS, text_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from analyzer.migration.broken import Steps
    from analyzer.migration.main_channel import MainFacts, Record
    from analyzer.tcp.reader import Reader

__all__ = ["walk_configuration"]

NAME_MAX = 4096
SUBSECTIONS_MAX = 16
CAPABILITIES_MAX = 256
SUBSECTION = bytes((SUBSECTION_BYTE,))


def walk_configuration(reader: Reader, main: MainFacts, record: Record) -> Steps:
    """Walk the machine's name and the subsections, until a byte that does not begin one."""
    at = reader.offset
    length = yield Take(4)
    if not isinstance(length, bytes):
        return Broken(length, "machine name", at)
    size = int.from_bytes(length, "big")
    if size > NAME_MAX:
        main.anomalies.note(
            "main-no-configuration", at, reader.last, f"a machine name of {size} bytes"
        )
        return Broken(None, "machine name", at)
    name = yield Take(size)
    if not isinstance(name, bytes):
        return Broken(name, "machine name", at)
    main.machine = record.name = text_of(name)
    main.ram.byte_order = host_order(main.machine)
    for _ in range(SUBSECTIONS_MAX):
        at = reader.offset
        following = yield Peek(1)
        if not isinstance(following, bytes) or following[0] != SUBSECTION_BYTE:
            return None
        broken = yield from _subsection(reader, main, at)
        if broken is not None:
            return broken
    if (yield Peek(1)) != SUBSECTION:
        return None
    at = reader.offset
    detail = f"more than {SUBSECTIONS_MAX} in CONFIGURATION"
    main.anomalies.note("subsection-bad", at, reader.last, detail)
    return Broken(None, "subsection", at)


def _subsection(reader: Reader, main: MainFacts, at: int) -> Steps:
    head = yield Take(2)
    if not isinstance(head, bytes):
        return Broken(head, "subsection", at)
    rest = yield Take(head[1] + 4)
    if not isinstance(rest, bytes):
        return Broken(rest, "subsection", at)
    name = rest[:-4]
    if name == CONFIGURATION_PAGE_BITS:
        bits = yield Take(4)
        if not isinstance(bits, bytes):
            return Broken(bits, "target-page-bits", at)
        main.page_bits = int.from_bytes(bits, "big")
        if main.page_bits in PAGE_BITS:
            main.ram.page_size = 1 << main.page_bits
        return None
    if name == CONFIGURATION_UUID:
        uuid = yield Take(16)
        if not isinstance(uuid, bytes):
            return Broken(uuid, "uuid", at)
        main.uuid = uuid
        return None
    if name == CONFIGURATION_CAPABILITIES:
        return (yield from _capabilities(main, at))
    main.anomalies.note("subsection-bad", at, reader.last, f"{text_of(name)!r} in CONFIGURATION")
    return Broken(None, "subsection", at)


def _capabilities(main: MainFacts, at: int) -> Steps:
    head = yield Take(4)
    if not isinstance(head, bytes):
        return Broken(head, "capabilities", at)
    count = int.from_bytes(head, "big")
    if count > CAPABILITIES_MAX:
        return Broken(None, "capabilities", at)
    for _ in range(count):
        length = yield Take(1)
        if not isinstance(length, bytes):
            return Broken(length, "capabilities", at)
        name = yield Take(length[0])
        if not isinstance(name, bytes):
            return Broken(name, "capabilities", at)
        main.capabilities.append(text_of(name))
    return None
