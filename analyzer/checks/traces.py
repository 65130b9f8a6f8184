"""MF97x: QEMU's own trace of the migration, held against the capture."""

from __future__ import annotations

from analyzer.checks.rule import INFO, WARNING, Spot, walker_rule
from analyzer.checks.wording import counted, milliseconds, ranges
from analyzer.migration.watcher import Watcher
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
    """A packet number, and how often it was there before (possible before QEMU 9.0)."""
    Pair: TypeAlias = "tuple[Channel, dict[Key, Seen], dict[Key, TracedPacket]]"
    Found: TypeAlias = tuple[str, Spot, Migration | None]

__all__ = ["Traced"]

EVENTS = {"source": "multifd_send_fill", "destination": "multifd_recv_unfill"}
CHANNELS = 256
"""A channel's id is a byte, so no others can be in a capture."""
NO_RAM = "the capture has no RAM packet"
SAME_CLOCK = 10**9
"""Clocks that are further apart (ns) are not the same one."""


@walker_rule("MF971", "trace-unmatched", WARNING)
def trace_unmatched() -> None:
    """A trace log is of no migration in the capture.

    Of its packets fewer than half have number, flags and size of a packet in the capture.  Where
    the capture has no RAM packet, the indexes of device-state buffers decide, which only the
    destination traces.

    Receiver: not affected.

    Usual cause: the trace of another run, or a capture without the channels that it speaks of, or
    one that began behind the last RAM packet.
    """


@walker_rule("MF972", "trace-packet-unseen", WARNING, holes="LGE", forgiven=True)
def trace_packet_unseen() -> None:
    """QEMU traced packets that are not in the capture.

    The source traces a packet when it has put it together, the destination when it has read its
    header, so every one has to be on the wire.

    Receiver: what never arrives, it never reads.

    Usual cause: frames that the capture lost, or a source that was stopped before it sent them.
    """


@walker_rule("MF973", "packet-untraced", WARNING, holes="LGE", forgiven=True)
def packet_untraced() -> None:
    """The capture has packets that QEMU did not trace.

    What the source sent it has traced; what the destination did not trace it did not read, although
    it arrived.

    Receiver: it was told to stop, hangs in another channel, or failed before it came to them.

    Usual cause: a destination that gave up, or a trace that was switched on late.
    """


@walker_rule("MF974", "trace-disagrees", WARNING)
def trace_disagrees() -> None:
    """A packet has other flags or another size than QEMU traced.

    Number and channel are the same.  On the way nothing may change.

    Receiver: goes by what arrived.

    Usual cause: a modified QEMU, a wrong era or dialect, or memory corruption.
    """


@walker_rule("MF975", "trace-delay", INFO)
def trace_delay() -> None:
    """How far trace and wire are apart in time.

    From the source's trace of a packet to its first frame, or from its last frame to the
    destination's trace.  It is what queues in QEMU, in the socket and in the network card took; the
    clocks have to be the same one.

    Receiver: not affected.

    Usual cause: a send queue that is full; a receiver that is busy.
    """


@walker_rule("MF976", "trace-buffers-differ", WARNING, holes="LGE", forgiven=True)
def trace_buffers_differ() -> None:
    """The destination traced other buffers of a device than the capture has.

    The trace names devices in its own way, so the one whose indexes agree best is taken.  That none
    of a device's buffers was traced is told where the log has other events of devices being loaded.

    Receiver: has what it traced.

    Usual cause: buffers that arrived and were not read: the destination gave up or hangs, or its
    ``x-migration-multifd-transfer`` is off.
    """


@walker_rule("MF977", "trace-buffers-not-loaded", WARNING, forgiven=True)
def trace_buffers_not_loaded() -> None:
    """The destination traced buffers that came in, but not that it loaded them.

    The load thread gives buffers to the device in order of their index, after the ones before
    them; the config state is loaded last, and traced differently.

    Receiver: waits for an earlier index, without a timeout, or has given up.

    Usual cause: a missing index before them (see MF506), or a device that refused a buffer.
    """


@walker_rule("MF978", "trace-compared", INFO)
def trace_compared() -> None:
    """How much of a trace log was held against the capture, and what of it could not be read.

    Lines of other events are left out silently, everything that is no line of a trace is counted.

    Receiver: not affected.

    Usual cause: it is always told.
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
    """Tells packets of the same number apart."""

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}

    def next(self, number: int) -> Key:
        """The next one of a number."""
        before = self._counts.get(number, 0)
        self._counts[number] = before + 1
        return number, before


class Traced(Watcher):
    """Watches a scan and holds what comes against trace logs."""

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
        """What disagrees: a rule's slug, where, and the migration."""
        for run in self._runs:
            traced = {n: _keyed(run.packets[n]) for n in run.packets if n < CHANNELS}
            pairs = {migration: self._pairs(traced, migration) for migration in scan.migrations}
            scores = {migration: _agreeing(pairs[migration]) for migration in scan.migrations}
            best = max(scores, key=lambda migration: scores[migration], default=None)
            if best is None:
                continue  # nothing could be read, which is told elsewhere
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
        """Why a log is of no migration."""
        packets = sum(map(len, run.packets.values()))
        buffers = sum(map(len, run.buffers.values()))
        count = counted(packets, "packet") if packets else counted(buffers, "buffer")
        told = f"{run.path}: {count} of the {run.side}"
        if packets and not any(map(self._count, migrations)):
            return Spot(f"{told} cannot be matched: {NO_RAM}", severity=INFO)
        if any(m.began_late or m.lacks_bytes for m in migrations):  # these may be missing
            return Spot(f"{told}, not of these migrations", severity=INFO)
        return Spot(f"{told}, not of these migrations")

    def _by_buffers(
        self, run: TraceRun, migrations: Sequence[Migration]
    ) -> tuple[Migration, str] | None:
        """The one migration whose buffers a log has, where one of the two lacks RAM packets."""
        found: list[tuple[Migration, int]] = []
        for migration in migrations:
            if self._count(migration) and run.packets:
                continue  # its packets would have told
            agreeing = sum(len(told & _known(d)) for _, told, d in _matched(run, migration) if d)
            seen = sum(len(_known(device)) for device in migration.devices.values())
            if 0 < min(seen, sum(map(len, run.buffers.values()))) <= 2 * agreeing:
                found.append((migration, agreeing))
        if len(found) != 1:
            return None  # indexes begin with 0 everywhere: among several they tell nothing
        migration, agreeing = found[0]
        why = NO_RAM if run.packets else "the log has no packet"
        traced = counted(sum(len(set(told)) for told in run.buffers.values()), "buffer")
        return migration, _told(run, f"{why}, {agreeing} of {traced} of the {run.side} agree")

    def _count(self, migration: Migration) -> int:
        """RAM and SYNC packets of a migration."""
        return sum(map(len, self._seen.get(migration, {}).values()))

    def _enough(self, agreeing: int, run: TraceRun, migration: Migration) -> bool:
        """Whether a trace is of a migration: SYNC packets are much the same everywhere."""
        seen = self._count(migration)
        return 0 < min(seen, sum(map(len, run.packets.values()))) <= 2 * agreeing

    def _pairs(
        self, traced: dict[int, dict[Key, TracedPacket]], migration: Migration
    ) -> list[Pair]:
        """Channels with what was traced of them; where the beginning is not in the capture, and
        with it the number of a channel, packets tell.
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
    """How many packets of the trace are in a migration."""
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
    """What is said of a log that was compared."""
    text = f"{run.path}: {text}"
    return f"{text}; {counted(run.ignored, 'line')} could not be read" if run.ignored else text


def _keyed(packets: Iterable[TracedPacket]) -> dict[Key, TracedPacket]:
    keys = Keys()
    return {keys.next(packet.packet_num): packet for packet in packets}


def _agrees(seen: Seen, packet: TracedPacket) -> bool:
    """Before QEMU 9.0 the source traces a packet before it puts the method into its flags."""
    if seen.size != packet.size:
        return False
    flags = seen.flags if packet.flags & COMPRESSION_MASK else seen.flags & ~COMPRESSION_MASK
    return flags == packet.flags


def _channel(
    run: TraceRun, packets: dict[Key, Seen], traced: dict[Key, TracedPacket]
) -> Iterator[tuple[str, Spot]]:
    """One channel's packets against those traced."""
    if unseen := [key for key in traced if key not in packets]:
        text = f"the {run.side} traced {counted(len(unseen), 'packet')} more: {_numbers(unseen)}"
        yield "trace-packet-unseen", Spot(text)
    if untraced := [key for key in packets if key not in traced]:
        which = f"{counted(len(untraced), 'packet')}: {_numbers(untraced)}"
        first = packets[untraced[0]]
        text = f"the {run.side} did not trace {which}"
        spot = Spot(text, frame=first.frame, offset=first.offset)
        if run.side == "destination" and all(packets[key].empty for key in untraced):
            spot.severity = INFO  # nothing that the guest needs: it was done without the last SYNC
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
        f"from {way}: {milliseconds(median)} in the median, at most {milliseconds(longest)} "
        f"({channel}, packet {number})"
    )


def _buffers(run: TraceRun, migration: Migration) -> Iterator[tuple[str, Spot]]:
    """What the destination traced of each device."""
    left = dict.fromkeys(migration.devices.values())
    for name, told, device in _matched(run, migration):
        if device is None:
            yield "trace-buffers-differ", Spot(f"{name}: traced, and no such device is here")
            continue
        del left[device]
        for slug, text in _of_device(run, name, told, device):
            yield slug, Spot(text, device=device.name)
    for device in left:
        if found := _indexes(device):
            text = f"{counted(len(found), 'buffer')} on the wire, none traced"
            yield "trace-buffers-differ", Spot(text, device=device.name)


def _matched(run: TraceRun, migration: Migration) -> Iterator[tuple[str, set[int], Device | None]]:
    """Each device of the trace, its indexes, and the one of the capture that is most like it."""
    left = {device: _indexes(device) for device in migration.devices.values()}
    for name, indexes in sorted(run.buffers.items(), key=lambda item: -len(item[1])):
        told = set(indexes)
        device = min(left, key=lambda device: len(left[device] ^ told), default=None)
        if device is not None:
            del left[device]
        yield name, told, device


def _indexes(device: Device) -> set[int | None]:
    return {buffer.idx for buffer in device.buffers} | {buffer.idx for buffer in device.cut}


def _known(device: Device) -> set[int]:
    """The indexes that can be read."""
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
    config = {buffer.idx for buffer in device.buffers if buffer.is_config}
    if run.loaded and (more := told - run.loaded.get(name, set()) - config):
        verb = "was" if len(more) == 1 else "were"
        text = f"idx {ranges(more)} came in, but {verb} not loaded, of what the destination calls"
        yield "trace-buffers-not-loaded", f"{text} {name}"
