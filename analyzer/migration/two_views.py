"""One migration in two captures, taken at its source and at its destination: matched packet by
packet.

There may be address translation between the hosts, and their clocks differ, so addresses, ports and
times are not compared: migrations are matched by what they carried, channels by kind and the id in
their initial packet, packets by stream offset and bytes.
"""

from __future__ import annotations

from collections import Counter
from heapq import heapify, heappop, heappush
from typing import TypeVar

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import TypeAlias

    from analyzer.migration.channel import Channel
    from analyzer.migration.migration import Migration
    from analyzer.migration.sightings import Sighting, Sightings
    from analyzer.tcp.flow import Flow

    Key: TypeAlias = tuple[str, int, int, int | None]

__all__ = [
    "BEFORE",
    "CUT",
    "END",
    "HOLE",
    "UNDECODED",
    "Absent",
    "ChannelPair",
    "Clock",
    "MigrationPair",
    "match",
    "strangers",
]

BEFORE, HOLE, END, CUT, UNDECODED = "before", "hole", "end", "cut", "undecoded"
"""Why a capture does not show a packet: it began later; it has a hole there; the stream ended; the
capture ended; or the bytes there could not be decoded.
"""
Thing = TypeVar("Thing")

MATCHED_MIN, MATCHED_SHARE = 10, 10
"""From this many packets on, one in this many has to match, or the captures are of different
migrations.
"""
COMPARED_MAX = 4096
"""How many of a channel's packets are compared to recognise it if its id is unknown."""


class Absent:
    """A packet that only one capture has, or of which the other one lacks bytes.

    ``why`` says what the other one has in its place, ``acknowledged`` that the receiver
    acknowledged the bytes (``None`` where only the sender's capture lacks the packet), ``seen`` how
    many of its bytes the other one has.
    """

    __slots__ = ("acknowledged", "packet", "seen", "why")

    def __init__(self, packet: Sighting, why: str, acknowledged: bool | None, seen: int) -> None:
        self.packet = packet
        self.why = why
        self.acknowledged = acknowledged
        self.seen = seen


class ChannelPair:
    """A channel in both captures; ``source`` or ``destination`` is ``None`` where one lacks it.

    Adding ``shift`` to a stream offset at the source gives that at the destination (0 unless a
    capture began late); ``None`` if the two cannot be aligned.  ``both`` counts packets that are
    the same, ``unread`` those of them that could not be compared because both captures lack bytes;
    ``sent_only`` and ``arrived_only`` are those in one capture only, ``differing`` those at the
    same offset that are not the same.  ``delays`` are in ns between the two clocks, in the
    direction in which the channel sends.
    """

    def __init__(self, source: Channel | None, destination: Channel | None) -> None:
        self.source = source
        self.destination = destination
        self.shift: int | None = None
        self.both = 0
        self.unread = 0
        self.sent_only: list[Absent] = []
        self.arrived_only: list[Absent] = []
        self.differing: list[tuple[Sighting, Sighting]] = []
        self.delays: list[int] = []

    @property
    def channel(self) -> Channel:
        """The channel, that of the source if there is one."""
        channel = self.source or self.destination
        assert channel is not None
        return channel

    @property
    def backwards(self) -> bool:
        """Whether the destination sends on it."""
        return self.channel.kind == "return-path"

    @property
    def same(self) -> bool:
        """Whether both captures show the same of it."""
        return self.shift is not None and not (
            self.sent_only or self.arrived_only or self.differing
        )


class Clock:
    """How the two clocks compare, in ns.

    ``offset`` is how far the destination's clock is ahead, ``None`` unless both captures saw
    packets in both directions; without it delays are relative to the shortest in their direction.
    ``round_trip`` is the shortest delay there and back, which does not depend on the clocks: half
    of it is the largest error of ``offset``.  ``there`` and ``back`` count the samples.
    """

    def __init__(self, there: Sequence[int], back: Sequence[int]) -> None:
        self.there = len(there)
        self.back = len(back)
        self.offset: int | None = None
        self.round_trip: int | None = None
        self._shortest = min(there, default=0), min(back, default=0)
        if there and back:
            self.offset = (min(there) - min(back)) // 2
            self.round_trip = min(there) + min(back)

    @property
    def swapped(self) -> bool:
        """Whether packets arrived before they were sent: the captures are swapped, or are not of
        the two ends.
        """
        return self.round_trip is not None and self.round_trip < 0

    def corrected(self, pair: ChannelPair) -> list[int]:
        """The delays of a channel, corrected to one clock, ascending."""
        if self.offset is None:
            base = self._shortest[pair.backwards]
        else:
            base = -self.offset if pair.backwards else self.offset
        return sorted(delay - base for delay in pair.delays)


class MigrationPair:
    """A migration in both captures; one is ``None`` where only the other has it."""

    def __init__(self, source: Migration | None, destination: Migration | None) -> None:
        self.source = source
        self.destination = destination
        self.channels: list[ChannelPair] = []
        self.clock = Clock((), ())

    @property
    def same(self) -> bool:
        """Whether both captures show the same of it."""
        whole = self.source is not None and self.destination is not None
        return whole and all(pair.same for pair in self.channels)


def match(source: Sightings, destination: Sightings) -> list[MigrationPair]:
    """Match all migrations of two captures: the source's order, then those that only the
    destination's capture has.
    """
    ours = [(m, _keys(source, m, m.channels)) for m in source.migrations]
    theirs = [(m, _keys(destination, m, m.channels)) for m in destination.migrations]
    pairs = []
    for one, other in _best(ours, theirs):
        pair = MigrationPair(one, other)
        if one is not None and other is not None:
            _match_channels(pair, source, destination)
        pairs.append(pair)
    return pairs


def strangers(
    pairs: Sequence[MigrationPair], source: Sightings, destination: Sightings
) -> tuple[int, int] | None:
    """The number of matching packets, and of those that could match, if the captures seem to be of
    different migrations; else ``None``.
    """
    matching = sum(len(channel.delays) for pair in pairs for channel in pair.channels)
    possible = min(source.count, destination.count)
    if possible < MATCHED_MIN or matching * MATCHED_SHARE >= possible:
        return None
    return matching, possible


# -- what belongs together -------------------------------------------------------------------------


def _keys(view: Sightings, migration: Migration, channels: Iterable[Channel]) -> set[Key]:
    return {
        packet.key for channel in channels for packet in view.of(migration, channel)[:COMPARED_MAX]
    }


def _best(
    ours: list[tuple[Thing, set[Key]]], theirs: list[tuple[Thing, set[Key]]]
) -> Iterator[tuple[Thing | None, Thing | None]]:
    """Pairs of things that have most in common, then the rest without a partner."""
    partner = _partners([keys for _, keys in ours], [keys for _, keys in theirs])
    taken = set(partner.values())
    for a, (thing, _) in enumerate(ours):
        yield thing, theirs[partner[a]][0] if a in partner else None
    for b, (thing, _) in enumerate(theirs):
        if b not in taken:
            yield None, thing


def _partners(ours: list[set[Key]], theirs: list[set[Key]]) -> dict[int, int]:
    """Match sets with most in common, by index.

    Only the best candidate of each is kept at a time, since there may be thousands on both sides.
    """
    holders: dict[Key, list[int]] = {}
    for b, keys in enumerate(theirs):
        for key in keys:
            holders.setdefault(key, []).append(b)
    partner: dict[int, int] = {}
    taken: set[int] = set()

    def choice(a: int) -> tuple[int, int, int] | None:
        common = Counter(b for key in ours[a] for b in holders.get(key, ()) if b not in taken)
        return min(((-count, a, b) for b, count in common.items()), default=None)

    choices = [found for a in range(len(ours)) if (found := choice(a)) is not None]
    heapify(choices)
    while choices:
        _, a, b = heappop(choices)
        if b not in taken:
            partner[a] = b
            taken.add(b)
        elif (found := choice(a)) is not None:
            heappush(choices, found)
    return partner


def _match_channels(pair: MigrationPair, source: Sightings, destination: Sightings) -> None:
    one, other = pair.source, pair.destination
    assert one is not None
    assert other is not None
    pair.channels = sorted(
        (ChannelPair(a, b) for a, b in _channels(one, other, source, destination)),
        key=lambda channels: _name(channels.channel),
    )
    there: list[int] = []
    back: list[int] = []
    for channels in pair.channels:
        if channels.source is None or channels.destination is None:
            continue
        ours = source.of(one, channels.source)
        theirs = destination.of(other, channels.destination)
        _compare(channels, ours, theirs)
        (back if channels.backwards else there).extend(channels.delays)
        if not channels.backwards:
            _handshake(channels.source.flow, channels.destination.flow, there, back)
    pair.clock = Clock(there, back)


def _channels(
    one: Migration, other: Migration, source: Sightings, destination: Sightings
) -> Iterator[tuple[Channel | None, Channel | None]]:
    """Pairs of channels: matched by kind and id, those without an id by what they carried."""
    ours, theirs = ({_name(c): c for c in m.channels if c.id >= 0 or c.kind != "multifd"}
                    for m in (one, other))  # fmt: skip
    for name in sorted(ours.keys() & theirs.keys()):
        yield ours[name], theirs[name]
    paired = ours.keys() & theirs.keys()
    left, right = (
        [(c, _keys(view, m, [c])) for c in m.channels if _name(c) not in paired]
        for view, m in ((source, one), (destination, other))
    )
    yield from _best(left, right)


def _name(channel: Channel) -> tuple[str, int]:
    return channel.kind, channel.id if channel.kind == "multifd" else 0


# -- packet by packet ------------------------------------------------------------------------------


def _compare(pair: ChannelPair, ours: list[Sighting], theirs: list[Sighting]) -> None:
    assert pair.source is not None
    assert pair.destination is not None
    pair.shift = shift = _shift(pair, ours, theirs)
    if shift is None:
        return
    if pair.backwards:  # here the destination sends, and the source's capture may lack packets
        sent, arrived, ours, theirs, shift = pair.destination, pair.source, theirs, ours, -shift
    else:
        sent, arrived = pair.source, pair.destination
    at = {packet.offset - shift: packet for packet in theirs}
    for packet in ours:
        found = at.pop(packet.offset, None)
        acknowledged = sent.flow.acked >= packet.end
        if found is None:
            pair.sent_only.append(_absent(packet, shift, arrived, theirs, acknowledged))
        elif not packet.agrees(found):
            pair.differing.append((packet, found))
        else:
            pair.delays.append(found.time - packet.time)
            if found.missing and not packet.missing:
                pair.sent_only.append(_holed(packet, found, acknowledged))
            elif packet.missing and not found.missing:
                pair.arrived_only.append(_holed(found, packet, None))
            else:
                pair.both += 1
                pair.unread += bool(packet.missing)
    pair.arrived_only += [_absent(packet, -shift, sent, ours, None) for packet in at.values()]


def _holed(packet: Sighting, other: Sighting, acknowledged: bool | None) -> Absent:
    return Absent(packet, HOLE, acknowledged, packet.length - other.missing)


def _shift(pair: ChannelPair, ours: list[Sighting], theirs: list[Sighting]) -> int | None:
    """What to add to the source's stream offsets.

    If a capture began late, the packets that are unique in both decide by majority.
    """
    assert pair.source is not None
    assert pair.destination is not None
    if not pair.source.midstream and not pair.destination.midstream:
        return 0
    mine, other = _unmistakable(ours), _unmistakable(theirs)
    votes = Counter(other[key] - mine[key] for key in mine.keys() & other.keys())
    return min(votes, key=lambda shift: (-votes[shift], shift)) if votes else None


def _unmistakable(packets: list[Sighting]) -> dict[Key, int]:
    counts = Counter(packet.key for packet in packets)
    return {packet.key: packet.offset for packet in packets if counts[packet.key] == 1}


def _absent(
    packet: Sighting, shift: int, other: Channel, others: list[Sighting], acknowledged: bool | None
) -> Absent:
    """Why the other side's capture lacks a packet."""
    first, end = packet.offset + shift, packet.end + shift
    seen = max(0, min(end, other.length) - max(first, 0))
    for hole in other.holes:
        seen -= max(0, min(end - 1, hole.last) - max(first, hole.first) + 1)
    if first < 0 or (other.midstream and (not others or first < others[0].offset)):
        why = BEFORE
    elif other.flow.hole_in(first, end - 1) is not None:
        why = HOLE
    elif end > other.length:
        why = CUT if other.incomplete_end else END
    else:
        why = UNDECODED
    return Absent(packet, why, acknowledged, seen)


def _handshake(ours: Flow, theirs: Flow, there: list[int], back: list[int]) -> None:
    """Add the delays of SYN and FIN of both directions."""
    for first, last, times in ((ours, theirs, there), (theirs.peer, ours.peer, back)):
        for left, came in ((first.syn, last.syn), (first.fin, last.fin)):
            if left is not None and came is not None:
                times.append(came.time - left.time)
