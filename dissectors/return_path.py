"""The return path: messages from the destination to the source.

Wire-format page, section 1.7.
"""

from __future__ import annotations

from enum import IntEnum

from dissectors.fields import Field, Layout

__all__ = [
    "BITMAP_END",
    "HEADER",
    "PAYLOAD_MAX",
    "REQ_PAGES",
    "RESUMED",
    "VALUE",
    "ReturnPathType",
    "is_message",
    "length_fits",
]


class ReturnPathType(IntEnum):
    """The type of a return-path message."""

    SHUT = 1
    PONG = 2
    REQ_PAGES_ID = 3
    REQ_PAGES = 4
    RECV_BITMAP = 5
    RESUME_ACK = 6
    SWITCHOVER_ACK = 7


HEADER = Layout(
    "return path message",
    "rp",
    "1.7",
    (
        Field("type", "H", "which message", "enum", enum=ReturnPathType),
        Field("length", "H", "bytes of payload, at most 512"),
    ),
)

VALUE = Layout("value", "rp", "1.7", (Field("value", "I", "result, or the PING's value", "hex"),))
"""Payload of SHUT, PONG and RESUME_ACK."""
RESUMED = 1
"""The only valid value of RESUME_ACK."""

REQ_PAGES = Layout(
    "REQ_PAGES",
    "rp.req_pages",
    "1.7",
    (
        Field("start", "Q", "offset in the block", "hex"),
        Field("length", "I", "bytes"),
    ),
)
"""Payload of REQ_PAGES; in REQ_PAGES_ID a length byte and the block's name follow it."""

PAYLOAD_MAX = 512
BITMAP_END = 0x0123456789ABCDEF
"""The end mark of the bitmap that follows RECV_BITMAP."""


def is_message(data: bytes | bytearray) -> bool:
    """Whether ``data`` begins with a complete and valid message.

    Its length must fit its type; a block's name must be printable and fill the rest of the payload.
    """
    if len(data) < HEADER.size:
        return False
    kind, length = HEADER.unpack(data[: HEADER.size])
    if len(data) < HEADER.size + length or not length_fits(kind, length):
        return False
    payload = data[HEADER.size : HEADER.size + length]
    begin = {ReturnPathType.REQ_PAGES_ID: REQ_PAGES.size, ReturnPathType.RECV_BITMAP: 0}.get(kind)
    if begin is None:
        return True
    name = payload[begin + 1 :]
    return payload[begin] == len(name) > 0 and name.isascii() and name.decode().isprintable()


def length_fits(kind: int, length: int) -> bool:
    """Whether a message of this type may have this length; false for an unknown type."""
    if kind in (ReturnPathType.SHUT, ReturnPathType.PONG, ReturnPathType.RESUME_ACK):
        return length == VALUE.size
    if kind == ReturnPathType.REQ_PAGES:
        return length == REQ_PAGES.size
    if kind == ReturnPathType.REQ_PAGES_ID:
        return REQ_PAGES.size + 1 <= length <= REQ_PAGES.size + 256
    if kind == ReturnPathType.RECV_BITMAP:
        return 1 <= length <= 256
    return kind == ReturnPathType.SWITCHOVER_ACK and length == 0
