"""MF97x: QEMU's own trace of the migration, compared with the capture."""

from __future__ import annotations

from analyzer.checks.rule import INFO, WARNING, Spot, walker_rule
from analyzer.checks.wording import counted, duration, ranges
from analyzer.migration.consumers import Watcher
from dissectors.multifd import COMPRESSION_MASK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import TypeAlias

    from analyzer.capture.trace_log import TracedPacket, TraceRun
    from analyzer.migration.channel import Channel
    from analyzer.migration.device import Device
    from analyzer.migration.migration import Migration
    from analyzer.migration.rows import RamPacket
    from analyzer.migration.scan import Scan

    Key: TypeAlias = tuple[int, int]
    """A packet number, and how often it occurred before (repeats are possible before QEMU 9.0)."""
    Pair: TypeAlias = "tuple[Channel, dict[Key, Seen], dict[Key, TracedPacket]]"
    Found: TypeAlias = tuple[str, Spot, Migration | None]

__all__ = ["Traced"]

EVENTS = {"source": "multifd_send_fill", "destination": "multifd_recv_unfill"}
CHANNELS = 256
"""A channel's id is one byte, so a capture cannot have others."""
NO_RAM = "the capture has no RAM packet"
SAME_CLOCK = 10**9
"""If times differ by more than this (ns), they are not from the same clock."""


@walker_rule("MF971", "trace-unmatched", WARNING)
def trace_unmatched() -> None:
    """A trace log belongs to no migration in the capture.

    Fewer than half of its packets match a packet in the capture by number, flags and size.  If the
    capture has no RAM packet, the indices of device-state buffers are compared instead, which only
    the destination traces.

    Receiver: not affected.

    Usual cause: a trace of another run, a capture without the traced channels, or one that began
    after the last RAM packet.
    """


@walker_rule("MF972", "trace-packet-unseen", WARNING, holes="LGE", forgiven=True)
def trace_packet_unseen() -> None:
    """QEMU traced packets that are not in the capture.

    The source traces a packet when it has built it, the destination when it has read its header, so
    every traced packet should be on the wire.

    Receiver: it does not get packets that were never sent.

    Usual cause: frames that the capture lost, or a source that was stopped before it sent them.
    """


@walker_rule("MF973", "packet-untraced", WARNING, holes="LGE", forgiven=True)
def packet_untraced() -> None:
    """The capture has packets that QEMU did not trace.

    The source traces every packet that it sends; a packet that the destination did not trace was
    not read, although it arrived.

    Receiver: it was stopped, hangs on another channel, or failed before it reached them.

    Usual cause: a destination that gave up, or a trace that was switched on late.
    """


@walker_rule("MF974", "trace-disagrees", WARNING)
def trace_disagrees() -> None:
    """A packet's flags or size differ from those that QEMU traced.

    Packet number and channel are the same, and nothing may change in transit.

    Receiver: it processes what arrived.

    Usual cause: a modified QEMU, a wrong era or dialect, or memory corruption.
    """


@walker_rule("MF975", "trace-delay", INFO)
def trace_delay() -> None:
    """The delay between trace and wire.

    From the source's trace of a packet to its first frame, or from its last frame to the
    destination's trace.  It is the time spent in queues of QEMU, the socket and the network card;
    trace and capture must use the same clock.

    Receiver: not affected.

    Usual cause: a full send queue; a busy receiver.
    """


@walker_rule("MF976", "trace-buffers-differ", WARNING, holes="LGE", forgiven=True)
def trace_buffers_differ() -> None:
    """The buffers of a device that the destination traced differ from those in the capture.

    The trace uses other device names, so devices are matched by their indices.  A device without
    any traced buffer is only reported if the log has other events of device loading.

    Receiver: it has the buffers that it traced.

    Usual cause: buffers that arrived but were not read: the destination failed or hangs, or its
    ``x-migration-multifd-transfer`` is off.
    """


@walker_rule("MF977", "trace-buffers-not-loaded", WARNING, forgiven=True)
def trace_buffers_not_loaded() -> None:
    """The destination traced that buffers arrived, but not that they were loaded.

    The load thread writes buffers to the device in index order; the config state is loaded last,
    and traced differently.

    Receiver: it waits for an earlier index, without a timeout, or has failed.

    Usual cause: a missing earlier index (see MF506), or a device that rejected a buffer.
    """


@walker_rule("MF978", "trace-compared", INFO)
def trace_compared() -> None:
    """How much of a trace log was compared with the capture, and how many of its lines could not be
    read.

    Lines of other trace events are ignored silently; lines that are not trace events are counted.

    Receiver: not affected.

    Usual cause: none; it is always reported with a trace log.
    """


class Seen:
    """A packet in the capture."""

    __slots__ = ("empty", "end", "flags", "frame", "offset", "size", "time")

    def __init__(self, packet: RamPacket) -> None:
        self.empty = not packet.normal_pages and not packet.zero_pages
        self.flags = packet.flags
        self.size = packet.next_packet_size
        self.offset = packet.offset
        self.frame = packet.first.frame
        self.time = packet.first.time
        self.end = packet.last.time


class Keys:
    """Distinguishes packets with the same number."""

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}

    def next(self, number: int) -> Key:
        """The key of the next packet with a number."""
        before = self._counts.get(number, 0)
        self._counts[number] = before + 1
        return number, before


class Traced(Watcher):
    """Watches a scan and compares its packets with trace logs."""

    def __init__(self, runs: Sequence[TraceRun]) -> None:
        self._runs = runs
        self._seen: dict[Migration, dict[Channel, dict[Key, Seen]]] = {}
        self._keys: dict[Channel, Keys] = {}

    def ram(
        self,
        migration: Migration,
        channel: Channel,
        packet: RamPacket,
        pages: Sequence[int],  # noqa: ARG002
    ) -> None:
        """A RAM or SYNC packet."""
        packets = self._seen.setdefault(migration, {}).setdefault(channel, {})
        keys = self._keys.setdefault(channel, Keys())
        packets[keys.next(packet.packet_num)] = Seen(packet)

    def ends(self, scan: Scan) -> Iterator[Found]:
        """What differs: a rule's slug, the place, and the migration."""
        for run in self._runs:
            traced = {n: _keyed(run.packets[n]) for n in run.packets if n < CHANNELS}
            pairs = {migration: self._pairs(traced, migration) for migration in scan.migrations}
            scores = {migration: _agreeing(pairs[migration]) for migration in scan.migrations}
            best = max(scores, key=lambda migration: scores[migration], default=None)
            if best is None:
                continue  # no migration, which is reported elsewhere
            if self._enough(scores[best], run, best):
                yield "trace-compared", Spot(_summary(run, scores[best])), best
            elif (by_buffers := self._by_buffers(run, scan.migrations)) is not None:
                best, text = by_buffers
                yield "trace-compared", Spot(text), best
            else:
                yield "trace-unmatched", self._unmatched(run, scan.migrations), None
                continue
            for slug, spot in _compared(run, best, pairs[best]):
                yield slug, spot, best

    def _unmatched(self, run: TraceRun, migrations: Sequence[Migration]) -> Spot:
        """Why a log matches no migration."""
        packets = sum(map(len, run.packets.values()))
        buffers = sum(map(len, run.buffers.values()))
        count = counted(packets, "packet") if packets else counted(buffers, "buffer")
        told = f"{run.path}: {count} of the {run.side}"
        if packets and not any(map(self._count, migrations)):
            return Spot(f"{told} cannot be matched: {NO_RAM}", severity=INFO)
        if any(
            m.began_late or m.lacks_bytes for m in migrations
        ):  # they may be among the missing bytes
            return Spot(f"{told}, not of these migrations", severity=INFO)
        return Spot(f"{told}, not of these migrations")

    def _by_buffers(
        self, run: TraceRun, migrations: Sequence[Migration]
    ) -> tuple[Migration, str] | None:
        """The one migration whose buffers match a log, if either of the two has no RAM packets."""
        found: list[tuple[Migration, int]] = []
        for migration in migrations:
            if self._count(migration) and run.packets:
                continue  # its packets would have matched
            agreeing = sum(len(told & _known(d)) for _, told, d in _matched(run, migration) if d)
            seen = sum(len(_known(device)) for device in migration.devices.values())
            if 0 < min(seen, sum(map(len, run.buffers.values()))) <= 2 * agreeing:
                found.append((migration, agreeing))
        if len(found) != 1:
            return None  # indices always start at 0, so they cannot tell several migrations apart
        migration, agreeing = found[0]
        why = NO_RAM if run.packets else "the log has no packet"
        traced = counted(sum(len(set(told)) for told in run.buffers.values()), "buffer")
        return migration, _told(run, f"{why}, {agreeing} of {traced} of the {run.side} agree")

    def _count(self, migration: Migration) -> int:
        """RAM and SYNC packets of a migration."""
        return sum(map(len, self._seen.get(migration, {}).values()))

    def _enough(self, agreeing: int, run: TraceRun, migration: Migration) -> bool:
        """Whether enough packets match: SYNC packets alone look alike in all migrations."""
        seen = self._count(migration)
        return 0 < min(seen, sum(map(len, run.packets.values()))) <= 2 * agreeing

    def _pairs(
        self, traced: dict[int, dict[Key, TracedPacket]], migration: Migration
    ) -> list[Pair]:
        """Each channel with its traced packets.  Channels whose id is unknown, because their
        beginning is not in the capture, are matched by their packets.
        """
        left = dict(traced)
        pairs: list[Pair] = []
        unknown = []
        for channel, packets in self._seen.get(migration, {}).items():
            if channel.id >= 0:
                pairs.append((channel, packets, left.pop(channel.id, {})))
            else:
                unknown.append((channel, packets))
        for channel, packets in unknown:
            shared = {n: sum(key in left[n] for key in packets) for n in left}
            number = max(shared, key=lambda n: shared[n], default=-1)
            if shared.get(number):
                pairs.append((channel, packets, left.pop(number)))
        return pairs


def _agreeing(pairs: Iterable[Pair]) -> int:
    """How many packets of the trace match packets of a migration."""
    return sum(
        key in traced and _agrees(seen, traced[key])
        for _, packets, traced in pairs
        for key, seen in packets.items()
    )


def _compared(
    run: TraceRun, migration: Migration, pairs: Sequence[Pair]
) -> Iterator[tuple[str, Spot]]:
    delays: list[tuple[int, str, int]] = []
    for channel, packets, traced in pairs:
        for slug, spot in _channel(run, packets, traced):
            spot.channel = channel
            yield slug, spot
        delays += _delays(run, channel.name, packets, traced)
    if delays:
        yield "trace-delay", Spot(_delay_text(run, delays))
    if run.side == "destination" and (run.buffers or run.loads):
        yield from _buffers(run, migration)


def _summary(run: TraceRun, agreeing: int) -> str:
    packets = sum(map(len, run.packets.values()))
    return _told(run, f"{agreeing} of {counted(packets, 'packet')} of the {run.side} agree")


def _told(run: TraceRun, text: str) -> str:
    """The message about a compared log."""
    text = f"{run.path}: {text}"
    return f"{text}; {counted(run.ignored, 'line')} could not be read" if run.ignored else text


def _keyed(packets: Iterable[TracedPacket]) -> dict[Key, TracedPacket]:
    keys = Keys()
    return {keys.next(packet.packet_num): packet for packet in packets}


def _agrees(seen: Seen, packet: TracedPacket) -> bool:
    """Whether a packet matches its trace; before QEMU 9.0 the source traces a packet before it sets
    the method in its flags.
    """
    if seen.size != packet.size:
        return False
    flags = seen.flags if packet.flags & COMPRESSION_MASK else seen.flags & ~COMPRESSION_MASK
    return flags == packet.flags


def _channel(
    run: TraceRun, packets: dict[Key, Seen], traced: dict[Key, TracedPacket]
) -> Iterator[tuple[str, Spot]]:
    """Compares one channel's packets with those traced."""
    if unseen := [key for key in traced if key not in packets]:
        text = f"the {run.side} traced {counted(len(unseen), 'packet')} more: {_numbers(unseen)}"
        yield "trace-packet-unseen", Spot(text)
    if untraced := [key for key in packets if key not in traced]:
        which = f"{counted(len(untraced), 'packet')}: {_numbers(untraced)}"
        first = packets[untraced[0]]
        text = f"the {run.side} did not trace {which}"
        spot = Spot(text, frame=first.frame, offset=first.offset)
        if run.side == "destination" and all(packets[key].empty for key in untraced):
            spot.severity = INFO  # no pages in them: it completed before the last SYNC
        yield "packet-untraced", spot
    for key, packet in traced.items():
        seen = packets.get(key)
        if seen is not None and not _agrees(seen, packet):
            text = (
                f"packet {key[0]}: the {run.side} traced flags {packet.flags:#x} and size "
                f"{packet.size}, the capture has {seen.flags:#x} and {seen.size}"
            )
            yield "trace-disagrees", Spot(text, frame=seen.frame, offset=seen.offset)


def _numbers(keys: Iterable[Key]) -> str:
    return ranges(number for number, _ in keys)


def _delays(
    run: TraceRun, channel: str, packets: dict[Key, Seen], traced: dict[Key, TracedPacket]
) -> Iterator[tuple[int, str, int]]:
    """Time between trace and wire (ns), with the channel's name and the packet's number."""
    for key, packet in traced.items():
        seen = packets.get(key)
        if seen is not None and packet.time:
            source = run.side == "source"
            delay = seen.time - packet.time if source else packet.time - seen.end
            yield delay, channel, key[0]


def _delay_text(run: TraceRun, delays: list[tuple[int, str, int]]) -> str:
    ordered = sorted(delays)
    median = ordered[len(ordered) // 2][0]
    longest, channel, number = ordered[-1]
    event = EVENTS[run.side]
    if abs(median) > SAME_CLOCK:
        return f"{event} and the capture have clocks that are {median / 1e9:.0f} s apart"
    way = f"{event} to the wire" if run.side == "source" else f"the wire to {event}"
    return (
        f"from {way}: {duration(median)} in the median, at most {duration(longest)} "
        f"({channel}, packet {number})"
    )


def _buffers(run: TraceRun, migration: Migration) -> Iterator[tuple[str, Spot]]:
    """Compares each device's buffers with those that the destination traced."""
    left = dict.fromkeys(migration.devices.values())
    for name, told, device in _matched(run, migration):
        if device is None:
            yield "trace-buffers-differ", Spot(f"{name}: traced, but there is no such device")
            continue
        del left[device]
        for slug, text in _of_device(run, name, told, device):
            yield slug, Spot(text, device=device.name)
    for device in left:
        if found := _indexes(device):
            text = f"{counted(len(found), 'buffer')} on the wire, none traced"
            yield "trace-buffers-differ", Spot(text, device=device.name)


def _matched(run: TraceRun, migration: Migration) -> Iterator[tuple[str, set[int], Device | None]]:
    """Each device of the trace, its indices, and the most similar device of the capture."""
    left = {device: _indexes(device) for device in migration.devices.values()}
    for name, indexes in sorted(run.buffers.items(), key=lambda item: -len(item[1])):
        told = set(indexes)
        device = min(left, key=lambda device: len(left[device] ^ told), default=None)
        if device is not None:
            del left[device]
        yield name, told, device


def _indexes(device: Device) -> set[int | None]:
    return {*device.buffers.idx, *(buffer.idx for buffer in device.cut)}


def _known(device: Device) -> set[int]:
    """The indices that are known."""
    return {idx for idx in _indexes(device) if idx is not None}


def _of_device(
    run: TraceRun, name: str, told: set[int], device: Device
) -> Iterator[tuple[str, str]]:
    found = _known(device)
    if more := found - told:
        text = f"the destination did not trace idx {ranges(more)} of what it calls {name}"
        yield "trace-buffers-differ", text
    if more := told - found:
        yield (
            "trace-buffers-differ",
            f"the destination traced idx {ranges(more)} of what it calls {name}, too",
        )
    config = {buffer.idx for buffer in device.buffers.configs}
    if run.loaded and (more := told - run.loaded.get(name, set()) - config):
        verb = "was" if len(more) == 1 else "were"
        text = f"idx {ranges(more)} came in, but {verb} not loaded, of what the destination calls"
        yield "trace-buffers-not-loaded", f"{text} {name}"
