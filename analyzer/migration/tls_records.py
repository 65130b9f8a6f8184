"""TLS records without their keys: where a stream ends, and whether an alert comes last.

Wire-format page, section 1.3.
"""

from __future__ import annotations

from analyzer.tcp.requests import Skip, Take

TYPE_CHECKING = False
if TYPE_CHECKING:
    from analyzer.migration.channel import Channel
    from analyzer.tcp.requests import Walker

__all__ = ["walk_tls"]

HEADER = Take(5)
ALERT, APPLICATION_DATA = 21, 23
TYPES = range(20, 25)
FRAGMENT_MAX = (1 << 14) + 2048
ALERT_MAX = 24
"""TLS 1.3 hides an alert in application data: two bytes, a type byte and a tag of 8 or 16."""


def walk_tls(channel: Channel) -> Walker:
    """Step from record to record; a hole or a byte that begins no record ends the walk."""
    last = 0, 0
    while True:
        header = yield HEADER
        if type(header) is not bytes:
            break
        size = int.from_bytes(header[3:], "big")
        if header[0] not in TYPES or header[1] != 3 or size > FRAGMENT_MAX:
            return
        whole = yield Skip(size)
        if type(whole) is not int:
            return
        last = header[0], size
    kind, size = last
    channel.tls_close_notify = kind == ALERT or (kind == APPLICATION_DATA and size <= ALERT_MAX)
