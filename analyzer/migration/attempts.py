"""Which attempt at a migration a channel belongs to, where hosts and port are the same.

Wire-format page, section 1.4.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from analyzer.migration.channel import Channel
    from analyzer.migration.migration import Migration
    from analyzer.tcp.flow import Connection, Flow

__all__ = ["Attempts", "closed_before", "key_of", "over"]

Key = tuple[bytes, ...]

LOOKED_AT = 64
"""Attempts at the same port, the latest ones, that a channel can belong to."""
SILENT_MAX = 512
"""Connections, the latest ones, among which the main of a newer attempt is looked for: it opens at
most 255 others before it speaks.
"""


class Attempts:
    """The migrations of a capture by the hosts and the port that they go to, oldest first.

    A channel may be recognised long after its connection began, when something was missing in
    front; it goes to the attempt that was under way then.  ``connections`` gives those of the
    capture, ``known`` says whether somebody knows already what a connection is.
    """

    def __init__(
        self, connections: Callable[[], Sequence[Connection]], known: Callable[[Flow], bool]
    ) -> None:
        self._connections = connections
        self._known = known
        self._by_key: dict[Key, list[Migration]] = {}

    def add(self, migration: Migration) -> None:
        """A new one."""
        self._by_key.setdefault(migration.key, []).append(migration)

    def newest(self, flow: Flow) -> Migration | None:
        """The latest one that goes where a stream goes."""
        found = self._by_key.get(key_of(flow))
        return found[-1] if found else None

    def of_main(self, channel: Channel) -> Migration | None:
        """The one whose main a channel is, if that has begun."""
        for attempt in self._possible(channel):
            if attempt.main is None and not over(attempt, channel):
                return attempt
        return None

    def of_multifd(self, channel: Channel, most: int) -> Migration | None:
        """The one that a multifd channel belongs to; none has more than ``most`` channels."""
        for attempt in self._possible(channel):
            full = len(attempt.channels) >= most
            if not (full or over(attempt, channel) or self._taken(attempt, channel)):
                return attempt
        return None

    def _possible(self, channel: Channel) -> Iterator[Migration]:
        """The latest attempt that was under way when a connection began, and those behind it."""
        attempts = self._by_key.get(key_of(channel.flow), [])[-LOOKED_AT:]
        began = channel.flow.connection.began.frame
        first = 0
        for number, attempt in enumerate(attempts):
            if attempt.began <= began:
                first = number
        yield from attempts[first:]

    def _taken(self, attempt: Migration, channel: Channel) -> bool:
        """Whether the id is in use there, and this channel is of a newer attempt.

        A second channel of the same id whose predecessor is still open is a fault, unless there is
        a newer connection that has not spoken yet: the main of a newer attempt connects first.
        """
        if channel.id < 0:
            return False
        began = channel.flow.connection.began.frame
        for other in attempt.multifd:
            if other.id == channel.id:
                return closed_before(other, began) or self._is_main_awaited(other, channel)
        return False

    def _is_main_awaited(self, older: Channel, newer: Channel) -> bool:
        key, first = key_of(newer.flow), older.flow.connection.number
        for connection in reversed(self._connections()[-SILENT_MAX:]):
            if connection.number <= first:
                return False
            client = connection.forward
            silent = client.syn is not None and not connection.closed
            if silent and key_of(client) == key and not any(map(self._known, connection.flows)):
                return True
        return False


def key_of(flow: Flow) -> Key:
    """Source address, destination address, destination port."""
    key = flow.key
    width = (len(key) - 4) // 2
    return key[:width], key[width : 2 * width], key[-2:]


def closed_before(channel: Channel, frame: int) -> bool:
    """Whether a channel was closed before a frame."""
    flow = channel.flow
    ends = (flow.fin, flow.reset, flow.peer.reset)
    return any(end is not None and end.frame < frame for end in ends)


def over(attempt: Migration, channel: Channel) -> bool:
    """Whether an attempt had ended before this channel's connection began.

    When that was is only known of a connection whose beginning the capture has.
    """
    flow = channel.flow
    if any(other.flow.key == flow.key for other in attempt.channels):
        return True  # the ports of one that is gone
    if channel.midstream and flow.syn is None and flow.peer.syn is None:
        return False
    began = flow.connection.began.frame
    if attempt.main is not None:
        return closed_before(attempt.main, began)
    return any(closed_before(other, began) for other in attempt.channels)
