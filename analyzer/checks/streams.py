"""MF90x and MF91x: TCP, and gaps in the capture (wire-format page, section 12)."""

from __future__ import annotations

from bisect import bisect_left

from analyzer.checks.metrics import unmeasured
from analyzer.checks.rule import (
    ERROR,
    INFO,
    WARNING,
    Spot,
    channel_rule,
    flow_rule,
    limit_rule,
    metric_rule,
    migration_rule,
)
from analyzer.checks.wording import counted, duration, names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from analyzer.checks.selection import Selection
    from analyzer.migration.channel import Channel
    from analyzer.migration.migration import Migration
    from analyzer.migration.scan import Scan
    from analyzer.tcp.flow import Flow

RETRANSMITTED_TOLD = 0.001
"""Share of retransmitted bytes from which it is reported."""
SEEN_TWICE = 0.9
"""Share of duplicate bytes above which the capture, not the network, is assumed to double frames.
"""


@flow_rule("MF901", "tcp-hole", WARNING)
def tcp_hole(flow: Flow, channel: Channel) -> Iterator[Spot]:
    """Bytes of a stream are not in the capture.

    The missing bytes cannot be checked, and after a hole that contains a header the next packet
    must be searched for.  Findings that a hole could explain are never errors.

    Receiver: not affected if it acknowledged the bytes: the capture lost them, not the network.  If
    it closed the connection without, the network may have lost them (``info``).

    Usual cause: a capture that could not keep up (packets dropped by the kernel), or frames that
    took a path that avoids the capture point.
    """
    gone = flow.peer.fin is not None or flow.peer.reset is not None
    for hole in flow.holes:
        if hole.cut:
            continue
        severity = None
        told = "acknowledged by the receiver"
        if not flow.acknowledged(hole):
            told = "not acknowledged"
            if gone:
                told += " when the receiver closed the connection"
                severity = INFO
        text = (
            f"{counted(hole.size, 'byte')} missing, {hole.first} to {hole.last}, between "
            f"frames {hole.before} and {hole.after}; {told}"
        )
        yield Spot(text, frame=hole.after, offset=hole.first, severity=severity)


@flow_rule("MF902", "tcp-retransmission-differs", ERROR)
def tcp_retransmission_differs(flow: Flow, channel: Channel) -> Iterator[Spot]:
    """A retransmission carries different bytes than the first copy.

    A retransmission should carry the same bytes.  mfshark analyses the first copy; the receiver may
    have used the other.

    Receiver: it uses whichever copy arrives first, and does not notice the other.

    Usual cause: zero-copy send (the source sends a page from guest memory, which had changed by the
    time of the retransmission: harmless, the page is sent again in a later round); a middlebox
    that rewrites data; a capture merged from two different ones.
    """
    for difference in flow.differences:
        text = f"{counted(difference.count, 'byte')} sent again with different content"
        yield Spot(text, frame=difference.place.frame, offset=difference.offset)


@metric_rule("MF903", "tcp-snaplen", WARNING)
def tcp_snaplen(migration: Migration, selection: Selection, scan: Scan) -> Iterator[Spot]:
    """The capture holds only the beginning of each frame.

    The snaplen truncated the payload.  Headers in the truncated part cannot be checked, and device
    state cannot be reassembled.

    Receiver: not affected; it received the whole frames.

    Usual cause: ``tcpdump -s`` or ``dumpcap -s`` with a small value.
    """
    cut = [channel for channel in migration.channels if channel.flow.cut]
    if cut:
        total = sum(channel.flow.cut for channel in cut)
        holes = [hole for channel in cut for hole in channel.holes if hole.cut]
        text = f"frames are cut to {scan.engine.cut_to} bytes, which leaves out "
        text += f"{counted(total, 'byte')} of {names(cut)}"
        yield Spot(text, frame=min((hole.before for hole in holes), default=None))


@channel_rule("MF904", "tcp-midstream", INFO)
def tcp_midstream(channel: Channel, migration: Migration) -> Iterator[Spot]:
    """The capture has no SYN of the connection: the stream may begin in the middle.

    Offsets count from the first byte seen.  Decoding starts at the first packet or record that is
    consistent with what follows.

    Receiver: not affected.

    Usual cause: the capture was started during the migration.
    """
    if not channel.flow.midstream:
        return
    text = "no SYN in the capture"
    text += ", the stream begins in the middle" if channel.midstream else ""
    for begin, end, skipped, _ in _resyncs(channel, migration)[:1]:
        if not begin:
            text += f"; decoded from offset {end} on, {counted(skipped, 'byte')} skipped"
    yield Spot(text, frame=channel.flow.first.frame, offset=0)


@migration_rule("MF905", "tcp-one-direction", INFO)
def tcp_one_direction(migration: Migration) -> Iterator[Spot]:
    """Only one direction of a connection is in the capture.

    Without the destination's side there is no return path, and it is unknown whether missing bytes
    were acknowledged.

    Receiver: not affected.

    Usual cause: a capture filter, or a mirror port that copies one direction.
    """
    single = [c for c in migration.channels if not c.flow.peer.seen]
    if single:
        yield Spot(f"only one direction of {names(single)} is in the capture")


@migration_rule("MF906", "tcp-unfinished", INFO)
def tcp_unfinished(migration: Migration) -> Iterator[Spot]:
    """A connection's end is not in the capture: no FIN and no reset.

    It may then be unknown whether more data followed and how the migration ended.

    Receiver: not affected.

    Usual cause: the capture was stopped early; or the connection hangs: it is open, but idle.
    """
    open_ones = [c for c in migration.channels if c.kind != "return-path" and _never_closed(c)]
    if open_ones:
        last = max(channel.flow.last.frame for channel in open_ones)
        yield Spot(f"no FIN or reset on {names(open_ones)}", frame=last or None)


@flow_rule("MF907", "tcp-data-after-fin", WARNING)
def tcp_data_after_fin(flow: Flow, channel: Channel) -> Iterator[Spot]:
    """Data follow the FIN or RST of their stream.

    A side must not send data after its own FIN or reset; such bytes are not part of the stream and
    not analysed.  Data in flight when the other side reset the connection are reported as info.

    Receiver: it ignores them, or answers with a reset.

    Usual cause: two connections with the same ports in one capture, where the SYN of the second is
    missing; a middlebox that closes connections on behalf of others.
    """
    own, other = flow.own_end, flow.peer.reset
    if flow.data_after_end and own is not None:
        text = f"{counted(flow.data_after_end, 'byte')} after the end of the stream"
        yield Spot(text, frame=own.frame)
    elif flow.data_after_reset and other is not None:
        text = f"{counted(flow.data_after_reset, 'byte')} after the other side had reset"
        yield Spot(text, frame=other.frame, severity=INFO)


@migration_rule("MF908", "tcp-port-reuse", INFO)
def tcp_port_reuse(migration: Migration) -> Iterator[Spot]:
    """An earlier connection in the capture had the same addresses and ports.

    They are distinguished by their SYN, and get different stream numbers, as in Wireshark.

    Receiver: not affected.

    Usual cause: several migrations in one capture, with client ports reused.
    """
    again = [c for c in migration.channels if c.kind != "return-path" and c.flow.connection.reused]
    if again:
        frame = min(channel.flow.connection.began.frame for channel in again)
        yield Spot(f"the ports of {names(again)} were in use before", frame=frame)


@limit_rule("MF909", "tcp-zero-window", INFO)
def tcp_zero_window(migration: Migration, selection: Selection) -> Iterator[Spot]:
    """The receiver's window stayed closed for a long time: it did not read.

    A full receive buffer stops the sender of that channel.  Briefly this is normal; for longer it
    shows which side is slow.
    Reported above 0.2 s; ``--limit tcp-zero-window=TIME`` sets another limit, above which it is a
    warning.

    Receiver: its thread is busy loading a device or writing pages, or it waits at a SYNC for the
    other channels.

    Usual cause: a device that takes long to load its state; a SYNC round that waits.
    """
    yield from unmeasured("tcp-zero-window", migration, selection)
    limit = selection.limit("tcp-zero-window")
    level = selection.level("tcp-zero-window")
    for channel in migration.channels:
        peer = channel.flow.peer
        if channel.kind != "return-path" and peer.zero_window_longest > limit * 1e9:
            text = (
                f"the window was closed for {duration(peer.zero_window_longest)} continuously, "
                f"{duration(peer.zero_window)} in all"
            )
            place = peer.zero_window_place
            frame = place.frame if place is not None else None
            yield Spot(text, channel=channel, frame=frame, severity=level)


@migration_rule("MF910", "tcp-retransmission-rate", INFO)
def tcp_retransmission_rate(migration: Migration) -> Iterator[Spot]:
    """TCP retransmitted data.

    Retransmissions lengthen the downtime; they are reported from 0.1 % of the bytes on.  Counted
    are the bytes that were captured twice, and those that arrived more than a round trip after
    later bytes: their first copy was lost before the capture point.  If nearly everything is there
    twice, the capture recorded every frame at two places, and the network is fine.

    Receiver: not affected, except by the delay.

    Usual cause: packet loss in the network or in a queue of the hosts; for a doubled capture, the
    device ``any`` or both ends of a bridge.
    """
    twice = sum(channel.flow.duplicate_bytes for channel in migration.channels)
    late = sum(channel.flow.late_bytes for channel in migration.channels)
    total = sum(channel.length for channel in migration.channels)
    if not total or twice + late < RETRANSMITTED_TOLD * total:
        return
    if twice > SEEN_TWICE * total:
        yield Spot("nearly every byte is there twice: the frames were captured at two places")
        return
    worst = max(migration.channels, key=lambda c: c.flow.duplicate_bytes + c.flow.late_bytes)
    text = (
        f"{(twice + late) / total:.1%} of the bytes were sent again, most of them on {worst.name}"
    )
    if late:
        part = f"{late / total:.1%}" if twice else "all of them"
        text += f"; of {part} the first copy was lost on its way to the capture"
    yield Spot(text, frame=worst.flow.first.frame)


@channel_rule("MF911", "resync", INFO)
def resync(channel: Channel, migration: Migration) -> Iterator[Spot]:
    """After a hole, bytes were skipped until packets or records could be decoded again.

    The hole contains a header.  The bytes up to the next header that is consistent with what
    follows count as skipped and are not checked.

    Receiver: not affected.

    Usual cause: see MF901 and MF903.
    """
    for begin, end, skipped, frame in _resyncs(channel, migration):
        at = bisect_left(channel.holes, end, key=lambda hole: hole.first)
        if at and (begin or not channel.midstream):  # MF904 tells of the beginning
            hole = channel.holes[at - 1]
            text = f"decoded again from offset {end} on, {counted(skipped, 'byte')} skipped"
            yield Spot(text, frame=frame or hole.after, offset=end)


def _resyncs(channel: Channel, migration: Migration) -> list[tuple[int, int, int, int | None]]:
    """Where decoding stopped and went on, in stream offsets, the bytes skipped in between, and the
    frame, if it is known.
    """
    facts = migration.main_facts
    if channel is migration.main and facts is not None:
        return [(r.start.offset, r.end.offset, r.skipped, r.end.frame) for r in facts.resyncs]
    return [(*resync, None) for resync in channel.resyncs]


def _never_closed(channel: Channel) -> bool:
    flow = channel.flow
    return not flow.closed and flow.peer.fin is None
