"""Whether a pcapng file begins with a decryption secrets block."""

from __future__ import annotations

import struct

from analyzer.capture.pcapng import BIG_ENDIAN, BLOCK_MAX, INTERFACE, SECRETS, SECTION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from analyzer.capture.source import Source

__all__ = ["holds_secrets"]

LOOK = 1 << 16
"""Bytes to search: Wireshark and editcap write the secrets before the first packet."""
SHORTEST = 12
HEADERS = (SECTION, INTERFACE)


def holds_secrets(source: Source) -> bool:
    """Whether a secrets block precedes the first packet.  The source is not advanced."""
    head = source.peek(SHORTEST)
    if int.from_bytes(head[:4], "little") != SECTION:
        return False
    data = source.peek(LOOK)
    word = struct.Struct((">" if head[8:12] == BIG_ENDIAN else "<") + "II").unpack_from
    at = 0
    while at + SHORTEST <= len(data):
        kind, size = word(data, at)
        if kind == SECRETS:
            return True
        if kind not in HEADERS or not SHORTEST <= size <= BLOCK_MAX:
            return False
        at += size
    return False
