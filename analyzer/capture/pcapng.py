"""pcapng: sections, interfaces and blocks."""

from __future__ import annotations

import struct

from analyzer.capture.frames import SLACK, Batch, Interface
from analyzer.capture.runs import Runs
from analyzer.errors import CaptureError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from analyzer.capture.frames import Contents

__all__ = [
    "BIG_ENDIAN",
    "BLOCK_MAX",
    "ENHANCED",
    "INTERFACE",
    "ISB_IFDROP",
    "SECRETS",
    "SECTION",
    "STATISTICS",
    "WORDS",
    "Blocks",
    "dropped_note",
]

SECTION = 0x0A0D0D0A
INTERFACE = 1
PACKET = 2
SIMPLE = 3
STATISTICS = 5
ENHANCED = 6
SECRETS = 10
TLS_KEY_LOG = 0x544C534B
SECRETS_MAX = 1 << 22
INTERFACES_MAX = 1 << 16
DROPPING_TOLD = 100
BLOCK_MAX = 1 << 24
BIG_ENDIAN = b"\x1a\x2b\x3c\x4d"
WORDS = 12
"""Offset within a packet block of the four words in front of a frame."""
LEAST = {SECTION: 28, INTERFACE: 20, PACKET: 32, SIMPLE: 16, ENHANCED: 32}
"""Least sizes of the blocks without which later frames could not be counted."""
NS = 1_000_000_000
TIME_MAX = (1 << 62) - 1
"""Ns from the epoch; limited so that the difference of two times also fits 64 bits."""

IF_NAME = 2
IF_TSRESOL = 9
IF_TSOFFSET = 14
ISB_IFDROP = 5
ISB_OSDROP = 7


class Blocks:
    """The block structure of one pcapng file: scans packet blocks, reads the others.

    ``interface`` is that of the frames scanned last, ``record`` unpacks the four words in front of
    a frame (see :class:`Batch`), ``pos`` is where the last scan stopped, ``runs`` what it found to
    be alike.
    """

    def __init__(self, contents: Contents) -> None:
        self._contents = contents
        self._interfaces: list[Interface] = []
        self._held = 0  # bytes of secrets
        self._dropped: dict[str, int] = {}  # frames, by name of interface
        self._number = -1
        self.interface = Interface(0, 0, lambda _a, _b: 0)
        self.pos = 0
        self.runs = Runs(WORDS)
        self._order("<")

    def _order(self, order: str) -> None:
        self._mark = order
        self.record: Callable[..., tuple[Any, ...]] = struct.Struct(order + "IIII").unpack_from
        self._head3 = struct.Struct(order + "III").unpack_from
        self._packet_head = struct.Struct(order + "III8xI").unpack_from
        self._word = struct.Struct(order + "I").unpack_from

    def head(self, buffer: bytearray | bytes, pos: int) -> tuple[int, int]:
        """Type and total length of the block at ``pos``."""
        kind, size, _ = self._head3(buffer, pos)
        if kind == SECTION:  # it is in its own byte order, not the previous section's
            order = ">" if buffer[pos + 8 : pos + 12] == BIG_ENDIAN else "<"
            (size,) = struct.unpack_from(order + "I", buffer, pos + 4)
        return int(kind), int(size)

    def scan(self, buffer: bytearray, pos: int, end: int) -> tuple[list[int], list[int], bool]:
        """Scan whole enhanced packet blocks of one interface from ``pos`` on.

        Gives the heads and ends of a :class:`Batch`, and whether the block after it needs
        :meth:`special`.  A block of another known interface ends the scan; that interface becomes
        the current one on the next call.
        """
        heads: list[int] = []
        ends: list[int] = []
        begin, finish, search = heads.append, ends.append, self.runs.search
        head = self._packet_head
        number = self._number
        usual = self.runs.stride
        while pos + 28 <= end:
            kind, size, owner, held = head(buffer, pos)
            if kind != ENHANCED or owner != number:
                if kind == ENHANCED and not heads and self._select(owner):
                    number = owner
                    continue
                self.pos = pos
                return heads, ends, not (kind == ENHANCED and heads)
            if held > size - 32 or size & 3 or size > BLOCK_MAX:
                self.pos = pos
                return heads, ends, True
            after = pos + size
            if after > end:
                break
            body = pos + 28
            begin(body)
            finish(body + held)
            pos = after if size != usual else search(buffer, pos, end)
        self.pos = pos
        # A short block (an end of section, say) may lie in the last 28 bytes of the file.
        if end - pos < 12:
            return heads, ends, False
        kind, size = self.head(buffer, pos)
        return heads, ends, kind != ENHANCED and size <= end - pos

    def batch(
        self, buffer: bytearray, base: int, heads: list[int], ends: list[int], first: int
    ) -> Batch:
        """Frames of the current interface; for the parameters see :class:`Batch`."""
        interface, record = self.interface, self.record
        return Batch(buffer, base, heads, ends, first, interface, record, self.runs)

    def _select(self, number: int) -> bool:
        if number >= len(self._interfaces):
            return False
        self._number = number
        self.interface = self._interfaces[number]
        return True

    def special(self, block: bytes, place: int) -> bytearray | None:
        """Handle a block, from file position ``place``, that :meth:`scan` does not.

        Gives a buffer with one frame at offset 16 for a simple or obsolete packet block, else
        ``None``.  Raises :class:`CaptureError` for an inconsistent block.
        """
        if len(block) < 12:  # the file ends inside it
            return None
        kind = self._word(block, 0)[0]
        if len(block) < LEAST.get(kind, 0):
            raise CaptureError(f"a block of type {kind:#x} has only {len(block)} bytes")
        if kind == SECTION:
            self._section(block)
            self._contents.declarations.append(place)
        elif kind == INTERFACE:
            self._interface(block)
            self._contents.declarations.append(place)
        elif kind == STATISTICS and len(block) >= 24:
            self._statistics(block)
        elif kind == SECRETS and len(block) >= 20:
            self._secrets(block)
        elif kind == SIMPLE:
            return self._simple(block)
        elif kind == PACKET:
            return self._obsolete(block)
        elif kind == ENHANCED:
            owner, size = self._head3(block, 0)[2], self._word(block, 20)[0]
            if owner < len(self._interfaces):
                raise CaptureError(f"a packet block of {len(block)} bytes claims {size} captured")
            raise CaptureError(f"a packet block names interface {owner}, which does not exist")
        return None

    def _section(self, block: bytes) -> None:
        magic = block[8:12]
        if magic not in (BIG_ENDIAN, BIG_ENDIAN[::-1]):
            raise CaptureError("a section header has no byte-order magic")
        self._order(">" if magic == BIG_ENDIAN else "<")
        self._interfaces = []
        self._number = -1

    def _interface(self, block: bytes) -> None:
        link, _, snaplen = struct.unpack_from(self._mark + "HHI", block, 8)
        resolution, shift, name = 6, 0, ""
        for code, value in self._options(block, 16):
            if code == IF_TSRESOL and value:
                resolution = value[0]
            elif code == IF_TSOFFSET and len(value) == 8:
                shift = struct.unpack(self._mark + "q", value)[0]
            elif code == IF_NAME:
                name = value.rstrip(b"\0").decode("utf-8", "backslashreplace")
        if len(self._interfaces) >= INTERFACES_MAX:
            raise CaptureError(f"a section has more than {INTERFACES_MAX} interfaces")
        interface = Interface(link, snaplen, _clock(resolution, shift), name)
        self._interfaces.append(interface)
        if len(self._contents.interfaces) < INTERFACES_MAX:
            self._contents.interfaces.append(interface)

    def _statistics(self, block: bytes) -> None:
        owner = self._head3(block, 0)[2]
        if owner >= len(self._interfaces):
            return
        dropped = {
            code: struct.unpack(self._mark + "Q", value)[0]
            for code, value in self._options(block, 20)
            if code in (ISB_IFDROP, ISB_OSDROP) and len(value) == 8
        }
        if total := max(dropped.values(), default=0):
            interface, notes = self._interfaces[owner], self._contents.notes
            more = total - interface.dropped  # these counts are cumulative within the section
            interface.dropped = total
            name = interface.name
            if name not in self._dropped and len(self._dropped) >= DROPPING_TOLD:
                name = ""
            before = self._dropped.get(name, 0)
            if before:
                notes.remove(dropped_note(before, name))
            self._dropped[name] = before + more
            notes.append(dropped_note(before + more, name))

    def _secrets(self, block: bytes) -> None:
        kind, size = struct.unpack_from(self._mark + "II", block, 8)
        if kind == TLS_KEY_LOG and size <= len(block) - 20 and self._held + size <= SECRETS_MAX:
            self._held += size
            self._contents.secrets.append(block[16 : 16 + size])

    def _simple(self, block: bytes) -> bytearray:
        if not self._interfaces:
            raise CaptureError("a simple packet block comes before any interface")
        self._select(0)
        original = self._word(block, 8)[0]
        held = min(original, len(block) - 16, self.interface.snaplen or original)
        return self._laid_out(0, 0, original, block[12 : 12 + held])

    def _obsolete(self, block: bytes) -> bytearray:
        (owner,) = struct.unpack_from(self._mark + "H", block, 8)
        high, low, held, original = self.record(block, 12)
        if not self._select(owner) or held > len(block) - 32:
            raise CaptureError("an obsolete packet block contradicts itself")
        return self._laid_out(high, low, original, block[28 : 28 + held])

    def _laid_out(self, high: int, low: int, original: int, data: bytes) -> bytearray:
        words = struct.pack(self._mark + "IIII", high, low, len(data), original)
        return bytearray(words + data + bytes(SLACK))

    def _options(self, block: bytes, pos: int) -> Iterator[tuple[int, bytes]]:
        end = len(block) - 4
        while pos + 4 <= end:
            code, size = struct.unpack_from(self._mark + "HH", block, pos)
            if code == 0 or pos + 4 + size > end:
                return
            yield code, block[pos + 4 : pos + 4 + size]
            pos += 4 + (size + 3 & ~3)


def dropped_note(count: int, interface: str = "") -> str:
    """The report's note about frames dropped while capturing."""
    where = f" on {interface}" if interface else ""
    return f"the capturing machine dropped {count} frame{'s' if count != 1 else ''}{where}"


def _clock(resolution: int, shift: int) -> Callable[[int, int], int]:
    """A function from the two words of a time stamp to ns since the epoch.

    ``resolution`` is as in if_tsresol, ``shift`` as in if_tsoffset (seconds).
    """
    offset = shift * NS
    power = resolution & 0x7F
    scale, divisor = (NS, 1 << power) if resolution & 0x80 else _decimal(power)
    return lambda a, b: max(-TIME_MAX, min((a << 32 | b) * scale // divisor + offset, TIME_MAX))


def _decimal(power: int) -> tuple[int, int]:
    """Ns of a tick of 10 ** -power seconds, as a fraction."""
    return 10 ** max(0, 9 - power), 10 ** max(0, power - 9)
