"""Assigns a channel to one of several migration attempts between the same hosts and port.

Wire-format page, section 1.4.
"""

from __future__ import annotations

from analyzer.capture.segment import split_key

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import TypeAlias

    from analyzer.migration.channel import Channel
    from analyzer.migration.migration import Migration
    from analyzer.tcp.flow import Connection, Flow

    Key: TypeAlias = "tuple[bytes | int, ...]"
    """Source address, destination address, destination port."""

__all__ = ["Attempts", "closed_before", "key_of", "over"]


LOOKED_AT = 64
"""How many of the latest attempts at the same port a channel can belong to."""
CHANNELS_LOOKED_AT = 2048
"""How many channels these have in all, unless the latest attempt alone has more."""
CHANNELS_MAX = 1024
"""Channels of one attempt; QEMU opens at most 255 multifd channels."""
SILENT_MAX = 512
"""How many of the latest connections are searched for the main of a newer attempt: it opens at most
255 others before it sends anything.
"""

FOREVER = 1 << 62
SILENT_KEPT = 16
"""Connections without any byte that are noted with an attempt."""


class Attempts:
    """The migrations of a capture by hosts and destination port, oldest first.

    A channel may be recognised long after its connection began, if its beginning is missing; it
    goes to the attempt that was under way when the connection began.  ``connections`` gives those
    of the capture, ``known`` says whether a flow has been identified already.
    """

    def __init__(
        self, connections: Callable[[], Sequence[Connection]], known: Callable[[Flow], bool]
    ) -> None:
        self._connections = connections
        self._known = known
        self._by_key: dict[Key, list[Migration]] = {}
        self._by_hosts: dict[Key, list[Migration]] = {}

    def add(self, migration: Migration) -> None:
        """Add a new attempt."""
        self._by_key.setdefault(migration.key, []).append(migration)
        self._by_hosts.setdefault(migration.key[:2], []).append(migration)

    def newest(self, flow: Flow) -> Migration | None:
        """The latest attempt with the hosts and port of a flow."""
        found = self._by_key.get(key_of(flow))
        return found[-1] if found else None

    def paused(self, flow: Flow) -> Migration | None:
        """The latest attempt that a flow may recover: one between its hosts, if possible at its
        port, of which no end was seen since it went into postcopy.
        """
        key = key_of(flow)
        for attempts in (self._by_key.get(key, []), self._by_hosts.get(key[:2], [])):
            for attempt in reversed(attempts[-LOOKED_AT:]):
                facts = attempt.main_facts
                if facts is not None and facts.in_postcopy and facts.eof is None:
                    return attempt
        return None

    def note_silent(self) -> None:
        """Give every attempt the connections between its hosts, to its port, that carried nothing:
        :attr:`Migration.silent`.

        Main connects first, so one that was open when an attempt without main began is its main.  A
        source that is cancelled then may have closed its side of it already.
        """
        for connection in self._connections():
            client = connection.forward
            if client.syn is None or not (client.never_sent and connection.reverse.never_sent):
                continue
            attempts = self._by_key.get(key_of(client), [])[-LOOKED_AT:]
            began = connection.began.frame
            until = connection.closed_at or FOREVER
            later = (a for a in attempts if a.main is None and began < a.began < until)
            before = (a for a in reversed(attempts) if a.began <= began)
            owner = next(later, None) or next(before, None)
            if owner is not None and len(owner.silent) < SILENT_KEPT:
                owner.silent.append(connection)

    def of_main(self, channel: Channel) -> Migration | None:
        """The attempt that a main channel belongs to, if that exists already."""
        for attempt in self._possible(channel):
            if attempt.main is None and not over(attempt, channel):
                return attempt
        return None

    def of_multifd(self, channel: Channel) -> Migration | None:
        """The attempt that a multifd channel belongs to, if that exists already."""
        silent: list[int] | None = None
        for attempt in self._possible(channel):
            if len(attempt.channels) >= CHANNELS_MAX or over(attempt, channel):
                continue
            other = attempt.by_id.get(channel.id) if channel.id >= 0 else None
            if other is None:
                return attempt
            if closed_before(other, channel.flow.connection.began.frame):
                continue
            # A duplicate id while the first channel is still open is a fault of one attempt, unless
            # a connection between these two has not sent anything yet: the main of a newer attempt
            # connects first.  While this attempt's own main is silent too, it is one of its
            # channels.
            silent = self._silent_before(channel.flow) if silent is None else silent
            began = other.flow.connection.number
            if max(silent, default=-1) < began or (attempt.main is None and min(silent) < began):
                return attempt
        return None

    def _possible(self, channel: Channel) -> Iterator[Migration]:
        """The attempt that was under way when a channel's connection began, and the later ones."""
        attempts = self._latest(key_of(channel.flow))
        began = channel.flow.connection.began.frame
        first = 0
        for number, attempt in enumerate(attempts):
            if attempt.began <= began:
                first = number
        yield from attempts[first:]

    def _latest(self, key: Key) -> list[Migration]:
        """The latest attempts at a port, as many as are looked at, oldest first."""
        found: list[Migration] = []
        channels = 0
        for attempt in reversed(self._by_key.get(key, [])[-LOOKED_AT:]):
            channels += len(attempt.channels)
            if found and channels > CHANNELS_LOOKED_AT:
                break
            found.append(attempt)
        return found[::-1]

    def _silent_before(self, flow: Flow) -> list[int]:
        """The numbers of the connections to a flow's port that were opened before it, are open and
        have not sent anything yet.
        """
        key, began = key_of(flow), flow.connection.number
        return [
            connection.number
            for connection in self._connections()[-SILENT_MAX:]
            if connection.number < began
            and connection.forward.syn is not None
            and not connection.closed
            and key_of(connection.forward) == key
            and not any(map(self._known, connection.flows))
        ]


def key_of(flow: Flow) -> Key:
    """Source address, destination address, destination port."""
    source, destination, _, port = split_key(flow.key)
    return source, destination, port


def closed_before(channel: Channel, frame: int) -> bool:
    """Whether a FIN or RST closed a channel before frame ``frame``."""
    flow = channel.flow
    ends = (flow.fin, flow.reset, flow.peer.reset)
    return any(end is not None and end.frame < frame for end in ends)


def over(attempt: Migration, channel: Channel) -> bool:
    """Whether an attempt had ended before this channel's connection began.

    False if the capture lacks the connection's beginning, since it is unknown when that was.
    """
    flow = channel.flow
    if flow.key in attempt.flow_keys:
        return True  # the ports are being reused
    if channel.midstream and flow.syn is None and flow.peer.syn is None:
        return False
    began = flow.connection.began.frame
    if attempt.main is not None:
        return closed_before(attempt.main, began)
    return any(closed_before(other, began) for other in attempt.channels)
