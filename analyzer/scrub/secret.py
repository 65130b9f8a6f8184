"""The key of one run, and what is derived from it: filling, names, addresses.  Filling never
depends on the bytes that it replaces, so that the original cannot be recovered even with the key.
Addresses and names are replaced consistently, by a keyed hash or by number.
"""

from __future__ import annotations

from hashlib import blake2b, shake_128

from dissectors.multifd import MAGIC_VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Addresses", "Filling", "Names"]

PERIOD = 65521
"""A prime, so that pages of one stream do not look alike."""
FORBIDDEN = (0x00, 0x7E, *set(MAGIC_VERSION), ord("Q"), ord("{"))
"""First bytes of headers, footers and magics, which filling avoids."""
STAND_IN = 0xA5
DIGITS = b"0123456789abcdefghijklmnopqrstuvwxyz"
SHORT = 3
"""Shorter replacements could not be unique; names up to this length identify nobody anyway."""
OWN_BLOCKS = (
    b"pc.ram", b"pc.bios", b"pc.rom", b"vga.vram", b"mach-virt.ram", b"virt.flash0",
    b"virt.flash1", b"ppc_spapr.ram", b"s390.ram", b"loongarch.ram", b"system.flash0",
)  # fmt: skip
ROM_PREFIX = b"/rom@etc/"


class Filling:
    """The replacement for contents: a function of key, stream and stream offset."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        table = bytes(STAND_IN if byte in FORBIDDEN else byte for byte in range(256))
        block = shake_128(key + b"filling").digest(PERIOD).translate(table)
        self._table = block + block
        self._shifts: dict[int, int] = {}

    def bytes(self, stream: int, offset: int, size: int) -> bytearray:
        """``size`` bytes for offset ``offset`` of a stream; none of them is zero."""
        shift = self._shifts.get(stream)
        if shift is None:
            shift = self._shifts[stream] = _number(self._key, b"stream", str(stream).encode())
        at = (offset + shift) % PERIOD
        filled = bytearray()
        while size > 0:
            piece = self._table[at : at + min(size, PERIOD)]
            filled += piece
            size -= len(piece)
            at = (at + len(piece)) % PERIOD
        return filled


def _hash(key: bytes, kind: bytes, value: bytes, size: int) -> bytes:
    return blake2b(value, digest_size=size, key=key[:64], person=kind.ljust(16, b"\0")).digest()


def _number(key: bytes, kind: bytes, value: bytes) -> int:
    return int.from_bytes(_hash(key, kind, value, 8), "big")


class Names:
    """Replaces names by others of the same length; equal names stay equal, different ones stay
    different.  QEMU's own names are kept: sections without a path, and the RAM blocks and ROMs that
    it names itself.  With ``keep`` all names are kept, except uuids.
    """

    def __init__(self, key: bytes, keep: bool = False) -> None:
        self._key = key
        self._keep = keep
        self._known: dict[tuple[bytes, bytes], bytes] = {}
        self._used: set[bytes] = set()
        self._count: dict[bytes, int] = {}

    def idstr(self, name: bytes) -> bytes:
        """The name of a section: the path before the last slash is replaced."""
        path, slash, last = name.rpartition(b"/")
        if not slash or self._keep:
            return name
        return self._other(b"dev", path) + slash + last

    def block(self, name: bytes) -> bytes:
        """The name of a RAM block."""
        if self._keep or name in OWN_BLOCKS or name.startswith(ROM_PREFIX):
            return name
        return self._other(b"block", name)

    def uuid(self, uuid: bytes) -> bytes:
        """The uuid of a guest; an all-zero one stays zero."""
        return _hash(self._key, b"uuid", uuid, 16) if any(uuid) else uuid

    def idstr_field(self, field: bytes) -> bytes:
        """The NUL-padded name of a section; bytes after the NUL are kept."""
        name, nul, rest = field.partition(b"\0")
        return self.idstr(name) + nul + rest

    def block_field(self, field: bytes) -> bytes:
        """The NUL-padded name of a RAM block."""
        name, nul, rest = field.partition(b"\0")
        return self.block(name) + nul + rest

    def _other(self, kind: bytes, name: bytes) -> bytes:
        if len(name) <= SHORT:
            return name
        found = self._known.get((kind, name))
        if found is None:
            plain = name.isascii() and name.decode("ascii").isprintable()
            found = self._numbered(kind, len(name)) if plain else self._odd(name)
            self._known[kind, name] = found
            self._used.add(found)
        return found

    def _numbered(self, kind: bytes, size: int) -> bytes:
        """``dev00000001``: as many digits as fit."""
        kind = kind if size > len(kind) + 1 else kind[:1]
        while True:
            count = self._count[kind] = self._count.get(kind, 0) + 1
            digits = bytearray()
            while count:
                count, digit = divmod(count, len(DIGITS))
                digits.insert(0, DIGITS[digit])
            name = kind + bytes(digits).rjust(size - len(kind), b"0")
            if len(name) > size:  # there cannot be that many names
                return _hash(self._key, b"name", name, 32).hex().encode()[:size].ljust(size, b"x")
            if name not in self._used:
                return name

    def _odd(self, name: bytes) -> bytes:
        """A name with bytes that are not printable text: the replacement has some too."""
        letters = shake_128(self._key + name).digest(len(name))
        return bytes(
            DIGITS[letter % len(DIGITS)] if 0x20 <= byte < 0x7F else byte
            for byte, letter in zip(name, letters, strict=True)
        )


class Addresses:
    """Replaces addresses and, if requested, ports; equal ones stay equal, different ones stay
    different.  Addresses that do not identify a machine (loopback, multicast, broadcast,
    unspecified) are kept.
    """

    def __init__(self, key: bytes, ports: bool = False) -> None:
        self._key = key
        self._ports = ports
        self._known: dict[tuple[bytes, bytes], bytes] = {}
        self._used: set[bytes] = set()

    def ipv4(self, address: bytes) -> bytes:
        """4 bytes; one of 10.0.0.0/8."""
        if address[0] in (0, 127) or address[0] >= 224:
            return address
        return self._other(b"ipv4", address, lambda raw: b"\x0a" + raw[:3])

    def ipv6(self, address: bytes) -> bytes:
        """16 bytes; one of fd00::/8, or of fe80::/64 if it is link-local."""
        if address[0] == 0xFF or not any(address[:15]):
            return address
        if not any(address[:10]) and address[10:12] == b"\xff\xff":
            return address[:12] + self.ipv4(address[12:])
        if address[0] == 0xFE and address[1] & 0xC0 == 0x80:
            return self._other(b"ipv6", address, lambda raw: address[:8] + raw[:8])
        return self._other(b"ipv6", address, lambda raw: b"\xfd" + raw[:15])

    def link(self, address: bytes) -> bytes:
        """A link-layer address of any length; locally administered, groups stay groups."""
        if not any(address) or address.count(0xFF) == len(address):
            return address
        first = bytes((0x02 | address[0] & 1,))
        size = len(address)
        return self._other(b"link", address, lambda raw: first + raw[: size - 1])

    def port(self, port: bytes) -> bytes:
        """2 bytes; one of 1024 to 65535, or itself."""
        if not self._ports:
            return port
        return self._other(
            b"port", port, lambda raw: (1024 + int.from_bytes(raw[:8]) % 64512).to_bytes(2)
        )

    def _other(self, kind: bytes, value: bytes, shape: Callable[[bytes], bytes]) -> bytes:
        found = self._known.get((kind, value))
        if found is None:
            again = 0
            while found is None or (found in self._used and again < 64):
                found = shape(_hash(self._key, kind, value + bytes(again), 32))
                again += 1
            self._known[kind, value] = found
            self._used.add(found)
        return found
