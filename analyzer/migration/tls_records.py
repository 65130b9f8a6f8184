"""TLS records without keys: recognising them, the session they belong to, and whether an alert
comes last.

Wire-format page, section 1.3.
"""

from __future__ import annotations

from analyzer.migration.looking import occurrences
from analyzer.tcp.requests import Skip, Take

TYPE_CHECKING = False
if TYPE_CHECKING:
    from analyzer.migration.channel import Channel
    from analyzer.tcp.requests import Walker

__all__ = ["find_records", "is_handshake", "is_server_hello", "walk_tls"]

HEADER = Take(5)
HELLO = Take(38)
"""Handshake type, length and version, and the random by which key logs name a session."""
RANDOM_AT = 6
ALERT, HANDSHAKE, APPLICATION_DATA = 21, 22, 23
CLIENT_HELLO, SERVER_HELLO = 1, 2
TYPES = range(20, 25)
FRAGMENT_MAX = (1 << 14) + 2048
IN_A_ROW = 3
"""This many headers, each at the position that the one before gives, are no coincidence."""
DATA_HEADER = bytes((APPLICATION_DATA, 3, 3))
ALERT_MAX = 24
"""Largest alert of TLS 1.3, which is hidden in application data: two bytes, a type byte and a tag
of 8 or 16.
"""


def is_handshake(head: bytes) -> bool:
    """Whether a stream that begins with these 8 bytes begins with a TLS handshake."""
    return head[0] == HANDSHAKE and head[1] == 3 and head[2] <= 4


def is_server_hello(head: bytes) -> bool:
    """Whether that handshake is the server's."""
    return head[5] == SERVER_HELLO


def find_records(data: bytes) -> int | None:
    """Position of the first TLS record in a part of a stream without beginning; ``None`` without
    enough consecutive records to be sure.
    """
    for at in occurrences(data, DATA_HEADER):
        end = at
        for _ in range(IN_A_ROW):
            size = int.from_bytes(data[end + 3 : end + HEADER.size], "big")
            if not data.startswith(DATA_HEADER, end) or size > FRAGMENT_MAX:
                break
            end += HEADER.size + size
        else:
            return at
    return None


def walk_tls(channel: Channel) -> Walker:
    """Step from record to record; a hole or a byte that does not begin a record ends the walk."""
    last = 0, 0
    while True:
        header = yield HEADER
        if type(header) is not bytes:
            break
        size = int.from_bytes(header[3:], "big")
        if header[0] not in TYPES or header[1] != 3 or size > FRAGMENT_MAX:
            return
        if not last[0] and header[0] == HANDSHAKE and size >= HELLO.size:
            hello = yield HELLO
            if type(hello) is not bytes:
                return
            if hello[0] == CLIENT_HELLO:
                channel.tls_random = hello[RANDOM_AT:]
            whole = yield Skip(size - HELLO.size)
        else:
            whole = yield Skip(size)
        if type(whole) is not int:
            return
        last = header[0], size
        channel.tls_data += header[0] == APPLICATION_DATA
    kind, size = last
    channel.tls_close_notify = kind == ALERT or (kind == APPLICATION_DATA and size <= ALERT_MAX)
