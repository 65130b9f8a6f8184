"""Faults of TCP and of the capture point: the script stays unchanged, only the capture differs.

``channel`` is ``main``, ``return-path``, the number of a multifd channel as text, or ``all``;
``at`` counts the data segments of that stream from 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from analyzer.synth.faults import segment_fault
from analyzer.synth.script import multifd
from analyzer.synth.units import MAIN
from analyzer.synth.wire import ACK, FIN, PSH, RST, SYN

if TYPE_CHECKING:
    from collections.abc import Callable

    from analyzer.synth.faults import Context, Segments, Values
    from analyzer.synth.wire import Segment

    Match = Callable[[Segment], bool]

STREAM: dict[str, Any] = {"channel": "0", "at": 3, "count": 1}
EVERYWHERE = "all"


def of_stream(channel: str) -> Match:
    """Segments of the stream that ``channel`` names."""
    if channel == EVERYWHERE:
        return lambda _segment: True
    side = "server" if channel == "return-path" else "client"
    name = MAIN if channel in (MAIN, "return-path") else multifd(int(channel))
    return lambda segment: segment.end.name == side and segment.end.connection.channel == name


def of_connection(channel: str) -> Match:
    """Segments of both directions of the connection that ``channel`` names."""
    if channel == EVERYWHERE:
        return lambda _segment: True
    name = MAIN if channel in (MAIN, "return-path") else multifd(int(channel))
    return lambda segment: segment.end.connection.channel == name


def chosen(values: Values) -> Match:
    """The data segments ``at`` and the ``count`` - 1 that follow (all if it is negative)."""
    of = of_stream(values.channel)
    last = values.at + values.count if values.count >= 0 else 1 << 62

    def match(segment: Segment) -> bool:
        found = values.at <= segment.number < last and of(segment)
        values.hits += found
        return found

    return match


def end_of(segment: Segment) -> int:
    """The sequence number after the segment's payload."""
    return (segment.seq + len(segment.payload)) & 0xFFFFFFFF


def precedes(first: int, second: int) -> bool:
    """Whether one sequence number precedes another, modulo 2^32."""
    return 0 < (second - first) & 0xFFFFFFFF < 1 << 31


def dropped(segments: Segments, pick: Match) -> Segments:
    """Drops the picked segments."""
    return (segment for segment in segments if not pick(segment))


def flagged(values: Values, flags: int) -> Match:
    """Segments of the connection ``channel`` with any of the flags; counts the hits."""
    of = of_connection(values.channel)

    def match(segment: Segment) -> bool:
        found = bool(segment.flags & flags) and of(segment)
        values.hits += found
        return found

    return match


@segment_fault("MF901", **STREAM)
def tcp_hole(segments: Segments, _context: Context, values: Values) -> Segments:
    """Data segments are missing from the capture."""
    return dropped(segments, chosen(values))


@segment_fault("MF911 MF901", channel="0", at=3, count=40)
def resync(segments: Segments, _context: Context, values: Values) -> Segments:
    """A hole that contains packet headers."""
    return dropped(segments, chosen(values))


def delayed(segments: Segments, values: Values) -> Segments:
    """The chosen segments are delayed by ``later`` data segments; ACKs wait meanwhile."""
    pick = chosen(values)
    waiting: list[Segment] = []
    passed = now = 0
    for segment in segments:
        if pick(segment):
            waiting.append(segment)
            continue
        now = segment.time
        if waiting and segment.end is waiting[0].end.peer:
            first = waiting[0].seq
            segment.ack = first if precedes(first, segment.ack) else segment.ack
        yield segment
        if waiting and segment.number >= 0 and segment.end is waiting[0].end:
            passed += 1
            if passed >= values.later:
                yield from released(waiting, now)
                waiting, passed = [], 0
    yield from released(waiting, now)


def released(waiting: list[Segment], time: int) -> Segments:
    """Releases the held segments."""
    for segment in waiting:
        segment.time = time
        yield segment


@segment_fault("", **STREAM, later=12)
def tcp_loss(segments: Segments, _context: Context, values: Values) -> Segments:
    """Segments are lost before the capture point, and captured when retransmitted."""
    return delayed(segments, values)


@segment_fault("", **STREAM, later=1)
def tcp_reorder(segments: Segments, _context: Context, values: Values) -> Segments:
    """Segments are overtaken by later ones of their stream."""
    return delayed(segments, values)


@segment_fault("", **STREAM)
def tcp_duplicate(segments: Segments, _context: Context, values: Values) -> Segments:
    """Frames appear twice in a row."""
    pick = chosen(values)
    for segment in segments:
        yield segment
        if pick(segment):
            yield segment.copy()


def repeated(segments: Segments, values: Values, again: Callable[[Segment], Segment]) -> Segments:
    """Sends the chosen segments again, ``later`` data segments later, as changed by ``again``."""
    pick = chosen(values)
    waiting: list[tuple[int, Segment]] = []
    for segment in segments:
        yield segment
        if pick(segment):
            waiting.append((segment.number + values.later, again(segment)))
        if segment.number < 0:
            continue
        for due in [item for item in waiting if item[0] <= segment.number]:
            if due[1].end is segment.end:
                waiting.remove(due)
                due[1].time = segment.time
                yield due[1]
    for _, segment in waiting:
        yield segment


@segment_fault("MF910", **STREAM, later=4)
def tcp_retransmission(segments: Segments, _context: Context, values: Values) -> Segments:
    """Segments are sent again with the same bytes."""
    return repeated(segments, values, lambda segment: segment.copy())


@segment_fault("MF902", **STREAM, later=4)
def tcp_retransmission_differs(segments: Segments, _context: Context, values: Values) -> Segments:
    """Segments are sent again with different bytes at their end."""

    def again(segment: Segment) -> Segment:
        other = segment.copy()
        data = bytes(segment.payload)
        other.payload = data[:-1] + bytes([data[-1] ^ 0xFF])
        return other

    return repeated(segments, values, again)


@segment_fault("MF910", **STREAM)
def tcp_overlap(segments: Segments, _context: Context, values: Values) -> Segments:
    """The next segment repeats the second half of the chosen one."""
    pick = chosen(values)
    tail: dict[object, bytes] = {}
    for segment in segments:
        if segment.number >= 0 and segment.end in tail:
            old = tail.pop(segment.end)
            segment.payload = old + bytes(segment.payload)
            segment.seq = (segment.seq - len(old)) & 0xFFFFFFFF
        if pick(segment):
            size = len(segment.payload)
            tail[segment.end] = bytes(segment.payload[size - size // 2 :])
        yield segment


@segment_fault("", **STREAM, garbage=1)
def tcp_keep_alive(segments: Segments, _context: Context, values: Values) -> Segments:
    """Keep-alives after a segment, with one garbage byte or none."""
    pick = chosen(values)
    for segment in segments:
        yield segment
        if pick(segment):
            probe = segment.copy()
            probe.seq = (end_of(segment) - 1) & 0xFFFFFFFF
            probe.payload = bytes(values.garbage)
            probe.flags = ACK
            yield probe
            yield answer(segment)


def answer(segment: Segment) -> Segment:
    """The peer's ACK of a segment."""
    reply = segment.copy()
    reply.end = segment.end.peer
    reply.flags = ACK
    reply.seq, reply.ack = segment.ack, end_of(segment)
    reply.payload = b""
    reply.number = -1
    return reply


@segment_fault("MF909", **STREAM, seconds=2.0, probes=3)
def tcp_zero_window(segments: Segments, _context: Context, values: Values) -> Segments:
    """The receiver closes its window for some seconds; the sender probes."""
    pick = chosen(values)
    pause = int(values.seconds * 1e9)
    shift = 0
    for segment in segments:
        segment.time += shift
        yield segment
        if not pick(segment):
            continue
        for probe in range(values.probes + 1):
            closed = answer(segment)
            closed.window = 0 if probe < values.probes else segment.window
            closed.time += pause * probe // values.probes
            yield closed
            if probe < values.probes:
                asked = segment.copy()
                asked.seq = (end_of(segment) - 1) & 0xFFFFFFFF
                asked.payload, asked.flags, asked.number = b"", ACK, -1
                asked.time += pause * (probe + 1) // values.probes
                yield asked
        shift += pause


@segment_fault("MF904", channel="0")
def tcp_no_handshake(segments: Segments, _context: Context, values: Values) -> Segments:
    """The SYNs of a connection are missing."""
    return dropped(segments, flagged(values, SYN))


@segment_fault("MF904", channel="0", at=20)
def tcp_midstream(segments: Segments, _context: Context, values: Values) -> Segments:
    """The capture begins after a data segment: nothing of any connection before it."""
    of = of_stream(values.channel)
    for segment in segments:
        if segment.number >= values.at and of(segment):
            values.hits += 1
            break
    yield from segments


@segment_fault("MF906", channel="0", at=20)
def capture_ends(segments: Segments, _context: Context, values: Values) -> Segments:
    """The capture ends with a data segment: nothing of any connection after it."""
    of = of_stream(values.channel)
    for segment in segments:
        yield segment
        if segment.number >= values.at and of(segment):
            values.hits += 1
            return


@segment_fault("MF905", side="client")
def tcp_one_direction(segments: Segments, _context: Context, values: Values) -> Segments:
    """Only what client or server sends is captured."""
    values.hits = 1
    return (segment for segment in segments if segment.end.name == values.side)


@segment_fault("MF906 MF115", channel="0")
def tcp_unfinished(segments: Segments, _context: Context, values: Values) -> Segments:
    """FIN and RST of a connection are missing."""
    return dropped(segments, flagged(values, FIN | RST))


@segment_fault("MF907", channel="0", size=100)
def tcp_data_after_fin(segments: Segments, _context: Context, values: Values) -> Segments:
    """A segment with data after the client's FIN."""
    of = of_stream(values.channel)
    for segment in segments:
        yield segment
        if segment.flags & FIN and of(segment):
            values.hits += 1
            more = segment.copy()
            more.seq = (segment.seq + 1) & 0xFFFFFFFF
            more.flags = PSH | ACK
            more.payload = bytes(range(1, 1 + values.size % 250)) or b"\1"
            yield more


@segment_fault("MF907", **STREAM)
def tcp_data_after_rst(segments: Segments, _context: Context, values: Values) -> Segments:
    """The server resets a connection, but the data continue."""
    pick = chosen(values)
    for segment in segments:
        yield segment
        if pick(segment):
            reset = answer(segment)
            reset.flags = RST | ACK
            yield reset


@segment_fault("MF903", **STREAM, keep=128)
def tcp_snaplen(segments: Segments, _context: Context, values: Values) -> Segments:
    """Frames are truncated after some bytes (of the frame)."""
    pick = chosen(values)
    for segment in segments:
        if pick(segment):
            segment.snaplen = values.keep
        yield segment


@segment_fault("MF901", **STREAM, size=512)
def ip_fragments(segments: Segments, _context: Context, values: Values) -> Segments:
    """Packets travel as IP fragments of some bytes."""
    pick = chosen(values)
    for segment in segments:
        if pick(segment):
            segment.fragment = values.size // 8 * 8 or 8
        yield segment


@segment_fault("MF910", hole=0.0, duplicate=0.01, reorder=0.02)
def tcp_netem(segments: Segments, context: Context, values: Values) -> Segments:
    """Random data segments are lost, duplicated or reordered."""
    values.hits = 1
    late: list[Segment] = []
    for segment in segments:
        dice = context.rng.random() if segment.number >= 0 else 1.0
        if dice < values.hole:
            continue
        if dice < values.hole + values.reorder:
            late.append(segment)
            continue
        yield segment
        if dice < values.hole + values.reorder + values.duplicate:
            yield segment.copy()
        if late and context.rng.random() < 0.5:
            yield from released(late, segment.time)
            late = []
    yield from late
