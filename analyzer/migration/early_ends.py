"""Channels that were closed while the migration went on: refused by the destination, or ended by
the source before a round.

Wire-format page, section 1.5.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate

from analyzer.migration.outcome import outcome_of
from dissectors.multifd import CHANNEL_HEADER, INIT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from analyzer.migration.channel import Channel
    from analyzer.migration.mark import Mark
    from analyzer.migration.migration import Migration
    from analyzer.tcp.requests import Place

__all__ = ["ended_early", "refused"]


def refused(migration: Migration) -> list[tuple[int, Channel]]:
    """Channels that the destination closed while the others went on, each with the frame of its
    close.

    In a completed migration only a channel that carried nothing counts: there the destination
    normally closes channels first, once it has read them to the end.
    """
    main = migration.main
    if main is None:
        return []
    closed: list[tuple[int, Channel]] = []
    kept: list[Channel] = []
    end = main.flow.last.frame  # until when the others went on
    for channel in migration.streams:
        server, client = channel.flow.peer.first_end, channel.flow.first_end
        if server is not None and (client is None or server.frame < client.frame):
            if not _was_read(channel):
                closed.append((server.frame, channel))
        elif client is not None:
            kept.append(channel)
            end = min(end, client.frame)
    early = [(frame, channel) for frame, channel in closed if frame < end]
    if not early or all(_is_unused(channel) for _, channel in early):
        return early
    # A destination that fails closes everything.
    if main in kept and len(kept) > 1 and outcome_of(migration).name != "completed":
        return early
    return [(frame, channel) for frame, channel in early if _is_unused(channel)]


def _was_read(channel: Channel) -> bool:
    """Whether the destination had read packets of the channel when it closed it: a close with
    unread bytes is a RST, and one that refuses a channel follows its initial packet.
    """
    peer = channel.flow.peer
    return peer.first_end is peer.fin and peer.fin_read > INIT.size + CHANNEL_HEADER.size


def _is_unused(channel: Channel) -> bool:
    """Whether a multifd channel carried its initial packet and nothing else."""
    return channel.kind == "multifd" and not channel.packets and not channel.flow.missing


def ended_early(migration: Migration) -> Iterator[tuple[Channel, Place, int, Mark]]:
    """Channels that the source closed before a round that was still to come: the FIN, and number
    and first SYNC or FLUSH of that round.  Those that the destination refused do not count.

    Other connections may lag in the capture; but a round that begins after the close did not wait
    for this channel, be it not the first that the channel missed: the others' SYNCs of that one may
    be ahead of the close.  A channel with a SYNC for every FLUSH of main has missed none, even if
    another channel has more.
    """
    facts = migration.main_facts
    flushes = facts.ram.flushes if facts is not None else []
    rounds: list[Iterable[Mark]] = [channel.syncs for channel in migration.multifd]
    firsts: list[Mark] = []
    for marks in (*rounds, flushes):
        for number, mark in enumerate(marks):
            if number == len(firsts):
                firsts.append(mark)
            elif mark.frame < firsts[number].frame:
                firsts[number] = mark
    begun = list(accumulate((mark.frame for mark in firsts), max))  # ascending, to be searched
    awaited = len(flushes)
    if facts is not None and facts.missing:  # of all rounds the last alone may be without a FLUSH
        awaited = max(awaited, len(firsts) - 1)
    unwanted = {id(channel) for _, channel in refused(migration)}
    for channel in migration.multifd:
        fin, done = channel.flow.fin, len(channel.syncs)
        if id(channel) in unwanted:
            continue
        if fin is None or not channel.ended_at_boundary or not channel.synchronises:
            continue
        if flushes and done >= awaited:
            continue
        number = max(done, bisect_right(begun, fin.frame))
        if number < len(firsts) and firsts[number].frame > fin.frame:
            yield channel, fin, number, firsts[number]
