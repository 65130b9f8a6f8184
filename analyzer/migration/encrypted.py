"""Migrations over TLS without keys: recognised by the behaviour of their connections.

Wire-format page, sections 1.1 and 1.3: one connection first, whose handshake ends before the others
are opened; all from one client to one port; nearly all bytes go to the server.
"""

from __future__ import annotations

from analyzer.migration.attempts import closed_before, key_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from analyzer.migration.attempts import Key
    from analyzer.migration.channel import Channel

__all__ = ["EncryptedMigration", "recognise", "unlikely"]

DOMINANCE = 4
"""A migration sends at least this many times as many bytes to the server as come back."""
SIZE_MIN = 1 << 16
"""Least bytes of a migration: main's device descriptions alone take more."""
ALONE_SIZE_MIN = 1 << 18
"""Least bytes of a single connection to be taken for a migration without multifd."""


class EncryptedMigration:
    """TLS connections that look like a migration: ``channels`` in the order in which they began.

    The first is main, if the capture has its beginning; the others are multifd channels, whose ids
    are encrypted.
    """

    __slots__ = ("channels",)

    def __init__(self, first: Channel) -> None:
        self.channels = [first]

    @property
    def main(self) -> Channel:
        """The connection that was opened first."""
        return self.channels[0]

    def kind(self, channel: Channel) -> str | None:
        """``main`` or ``multifd``; ``None`` where the capture began too late to tell."""
        if self.main.midstream:
            return None
        return "main" if channel is self.main else "multifd"

    def name(self, channel: Channel) -> str:
        """``main``, or ``multifd ?``, or ``channel ?``."""
        kind = self.kind(channel)
        return kind if kind == "main" else f"{kind or 'channel'} ?"

    @property
    def bytes(self) -> int:
        """Bytes to the server, including TLS overhead."""
        return sum(channel.length for channel in self.channels)

    @property
    def returned(self) -> int:
        """Bytes from the server."""
        return sum(channel.flow.peer.offset for channel in self.channels)

    @property
    def times(self) -> tuple[int, int]:
        """Time of the first connection's beginning and of the last payload, ns since the epoch."""
        return self.main.flow.connection.began.time, max(c.flow.last.time for c in self.channels)

    @property
    def likely(self) -> bool:
        """Whether sizes and directions fit a migration."""
        least = SIZE_MIN if len(self.channels) > 1 else ALONE_SIZE_MIN
        return self.bytes >= least and self.bytes >= DOMINANCE * self.returned


def recognise(tls: Iterable[Channel]) -> list[EncryptedMigration]:
    """The migrations among TLS connections, in order of appearance."""
    return [group for group in _groups(tls) if group.likely]


def unlikely(tls: Iterable[Channel]) -> list[Channel]:
    """The channels that do not belong to a migration and never will: all of their group are
    closed.
    """
    return [
        channel
        for group in _groups(tls)
        if not group.likely and all(c.flow.connection.closed for c in group.channels)
        for channel in group.channels
    ]


def _groups(tls: Iterable[Channel]) -> list[EncryptedMigration]:
    groups: list[EncryptedMigration] = []
    latest: dict[Key, EncryptedMigration] = {}
    for channel in sorted(tls, key=lambda c: c.flow.connection.began.frame):
        key = key_of(channel.flow)
        group = latest.get(key)
        if group is not None and _may_join(group, channel):
            group.channels.append(channel)
        else:
            latest[key] = group = EncryptedMigration(channel)
            groups.append(group)
    return groups


def _may_join(group: EncryptedMigration, channel: Channel) -> bool:
    """Whether a connection came after main's handshake began, and before main ended."""
    began, main = channel.flow.connection.began.frame, group.main.flow
    return main.first.frame < began and not closed_before(group.main, began)
