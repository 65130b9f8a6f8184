"""The return path: messages from the destination to the source.

Wire-format page, section 1.7.
"""

from __future__ import annotations

from enum import IntEnum

from dissectors.fields import Field, Layout

__all__ = [
    "BITMAP_END",
    "HEADER",
    "PAYLOADS",
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

PAYLOADS: dict[int, Layout] = {
    ReturnPathType.SHUT: VALUE,
    ReturnPathType.PONG: VALUE,
    ReturnPathType.REQ_PAGES_ID: REQ_PAGES,
    ReturnPathType.REQ_PAGES: REQ_PAGES,
    ReturnPathType.RESUME_ACK: VALUE,
}
"""What payloads begin with; in REQ_PAGES_ID a length byte and the block's name follow it."""
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
    if kind == ReturnPathType.SWITCHOVER_ACK:
        return length == 0
    layout = PAYLOADS.get(kind)
    fixed = layout.size if layout is not None else 0
    if kind in (ReturnPathType.REQ_PAGES_ID, ReturnPathType.RECV_BITMAP):
        return fixed < length <= fixed + 256  # a length byte, and a name
    return layout is not None and length == fixed
