"""From batches of frames to streams: order, sequence number wrap, duplicates, holes, and
connections.

Nearly every frame of a large capture is the next piece of a payload that nobody reads, or a bare
ACK; :meth:`Engine.feed` recognises both with a few comparisons.  Every other frame takes the slow
path, :meth:`Engine._frame`.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from functools import lru_cache
from itertools import islice

from analyzer.capture.link import ETHERNET
from analyzer.capture.segment import ACK, FIN, MULTIPATH, RST, SYN, Segment, decode, options_of
from analyzer.capture.sequence import MASK, ahead_of
from analyzer.capture.shape import USUAL, shape_of
from analyzer.tcp.flow import Connections, Waiting
from analyzer.tcp.pauses import PAUSE, pauses_in
from analyzer.tcp.reader import UNREAD
from analyzer.tcp.requests import Place
from analyzer.tcp.retransmission import EarlierCopies, compare

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from analyzer.capture.frames import Batch
    from analyzer.capture.shape import Shape
    from analyzer.capture.source import Source
    from analyzer.tcp.flow import Connection, Flow
    from analyzer.tcp.reader import Reader

__all__ = ["Engine", "Multipath"]

ENDS = FIN | SYN | RST
FLAGS = 0x1FF  # all nine
ACK_TO_WINDOW = 6
"""Offset of TCP's window from its acknowledgment number."""

WINDOW_MAX = 1 << 30
"""Largest TCP window, in bytes: a sequence number farther ahead is not plausible."""
WAITING_BYTES = 8 << 20
WAITING_ALL = 16 << 20
WAITING_SEGMENTS = 1 << 15
WAITING_SEGMENTS_ALL = 1 << 16
"""Some 250 bytes each, even if nothing will read their bytes."""
PATIENCE = 64
"""How many frames to wait for a missing segment that the receiver has already acknowledged."""
SINGLE = 4
"""How many frames of a run to process by themselves: mostly one ends what the reader skipped, and
what it skips next begins.
"""
PAUSES_KEPT = 10_000
UNSEEN = bytes(1 << 18)
"""Stands in for bytes that are skipped: a Skip never looks at them."""


class Multipath(Exception):
    """The capture uses Multipath TCP and has to be read again, by
    :mod:`analyzer.capture.multipath`.
    """


class Engine:
    """The stream engine: fed with batches, it drives one reader per direction that carries data.

    ``attach(flow)`` is called at a direction's first payload and gives the reader to drive;
    ``multipath()`` is called before it if that segment has a Multipath TCP option; ``crowded`` is
    as in :class:`analyzer.tcp.flow.Connections`.  ``frames`` counts all frames, ``ignored`` those
    without a usable TCP segment, by reason, ``truncated`` those cut by snaplen, to at most
    ``cut_to`` bytes.  ``first_time`` and ``last_time`` are the times of the first and last frame,
    in ns; ``now`` is the place of the frame processed last on the slow path.  ``pauses`` are times
    without any frame: begin and end in ns, and the frame that ended it.  ``copies`` compares
    retransmitted bytes.
    """

    def __init__(
        self,
        source: Source,
        attach: Callable[[Flow], Reader],
        crowded: Callable[[], None] | None = None,
        multipath: Callable[[], None] | None = None,
    ) -> None:
        self.ignored: dict[str, int] = {}
        self.truncated = self.cut_to = 0
        self.frames = 0
        self.first_time = 0
        self.last_time = 0
        self.now = Place(0, 0, 0)
        self.pauses: list[tuple[int, int, int]] = []
        self.copies = EarlierCopies(source)
        self._attach = attach
        self._multipath = multipath
        self._known = Connections(crowded, self._give_all_up)
        self._flows = self._known.flows
        self._moved: set[Flow] = set()  # flows that carried bytes in this batch
        self._batch = 0  # file position of the current batch
        self._waiting_bytes = 0
        self._waiting_segments = 0
        self._waited: dict[Flow, None] = {}  # flows with queued segments, the longest first
        self._shapes = {ETHERNET: USUAL}  # of the most frequent frames, by link type
        self._slow = 0  # segments with payload in this batch that took the slow path
        self._slow_at = 0  # where the frame of the last of them begins

    @property
    def connections(self) -> list[Connection]:
        """The connections kept, in the order of Wireshark's numbers."""
        return self._known.all

    @property
    def streams(self) -> int:
        """How many connections there were: Wireshark's next ``tcp.stream``."""
        return self._known.count

    # -- the fast path ------------------------------------------------------------------------

    def feed(self, batch: Batch) -> None:
        """Process all frames of a batch."""
        self._batch = batch.base
        shape = self._shapes.get(batch.interface.link_type)
        if shape is None:  # nor do known keys mean anything in frames of an unknown link type
            for start in batch.starts:
                self._frame(batch, start)
        elif batch.runs.shape is shape:
            self._frames(batch, shape, zip(batch.heads, batch.ends, strict=True), batch.runs.frames)
        else:
            self._frames(batch, shape, zip(batch.starts, batch.stops, strict=True), {})
        self._close_batch(batch)

    def _frames(
        self, batch: Batch, shape: Shape, frames: Iterable[tuple[int, int]], runs: dict[int, int]
    ) -> None:
        """Process frames, given where each begins and ends, and the runs that they begin."""
        buffer, frame, follow, flows = batch.buffer, self._frame, self._follow, self._flows
        unpack, header, reach = shape.unpack, shape.header, shape.reach
        whole, mask, window = shape.whole, shape.mask, shape.window
        for start, stop in frames:
            if runs and start in runs:
                self._run(batch, shape, start, stop, runs[start])
                continue
            total, proto, key, seq, bits = unpack(buffer, start)
            # A known key proves the headers' layout: with another layout other bytes would be
            # there.
            try:
                flow = flows[key]
            except KeyError:
                frame(batch, start)
                continue
            if (  # same headers as the flow's last one, which passed all checks
                seq == flow.next
                and total == flow.last_total
                and bits == flow.last_bits
                and proto == flow.last_proto
                and flow.last_size < flow.fast_left
                and start + reach + total <= stop
            ):
                flow.next = seq + flow.last_size & MASK
                flow.fast_left -= flow.last_size
                flow.fast_start = start
                flow.seen += 1
                continue
            length = total - header - (bits >> 10 & 60)
            if not length:
                if (
                    bits & FLAGS == ACK
                    and flow.acks_idle
                    and proto & mask == whole
                    and (buffer[start + window] or buffer[start + window + 1])
                ):
                    flow.ack_start = start
                    flow.seen += 1
                else:
                    frame(batch, start)
            elif (
                seq != flow.next
                or bits & ENDS
                or proto & mask != whole
                or start + reach + total > stop
            ):
                frame(batch, start)
            elif 0 < length < flow.fast_left:
                flow.next = seq + length & MASK
                flow.fast_left -= length
                flow.fast_start = start
                flow.seen += 1
                flow.last_total, flow.last_proto, flow.last_bits = total, proto, bits
                flow.last_size = length
            elif (
                flow.data_expected
                and length > 0
                and (buffer[start + window] or buffer[start + window + 1])
            ):
                follow(batch, flow, start, start + reach + total - length, length)
            else:
                frame(batch, start)

    def _run(self, batch: Batch, shape: Shape, start: int, stop: int, count: int) -> None:
        """Process a run of ``count`` frames: as one where nothing but the next bytes of the payload
        is in them, else a few frames by themselves and then again as one.
        """
        stride = batch.runs.stride
        while count:
            passed = self._pass_run(batch, shape, start, stop, count)
            if not passed:
                passed = min(count, SINGLE)
                behind = passed * stride
                starts = range(start, start + behind, stride)
                stops = range(stop, stop + behind, stride)
                self._frames(batch, shape, zip(starts, stops, strict=True), {})
            count -= passed
            start += passed * stride
            stop += passed * stride

    def _pass_run(self, batch: Batch, shape: Shape, start: int, stop: int, count: int) -> int:
        """Pass the frames of a run that the fast path would, if they are in order; gives how many
        they are.
        """
        total, proto, key, seq, bits = shape.unpack(batch.buffer, start)
        flow = self._flows.get(key)
        length = total - shape.header - (bits >> 10 & 60)
        if (
            flow is None
            or seq != flow.next
            or bits & ENDS
            or proto & shape.mask != shape.whole
            or start + shape.reach + total > stop
            or not 0 < length < flow.fast_left
        ):
            return 0
        passed: int = min(count, (flow.fast_left - 1) // length)
        after = seq + passed * length
        stride = batch.runs.stride
        numbers = _numbers(passed, stride)(batch.buffer, start + shape.sequence)
        if after > MASK or numbers != tuple(range(seq, after, length)):
            return 0
        flow.next = after
        flow.fast_left -= after - seq
        flow.fast_start = start + (passed - 1) * stride
        flow.seen += passed
        return passed

    def _close_batch(self, batch: Batch) -> None:
        """Account for what passed on the fast path: times, and where its bytes can be found."""
        self.frames = batch.first + batch.count - 1
        begin = batch.time(batch.heads[0])
        if batch.first == 1:
            self.first_time = self.last_time = begin
        before = self.last_time
        self.last_time = batch.time(batch.last)
        if self.last_time - before > PAUSE:
            found = pauses_in(batch, before, begin, self.last_time)
            self.pauses += islice(found, PAUSES_KEPT - len(self.pauses))
        for flow in self._candidates(batch):
            if flow.fast_start or flow.peer.ack_start:
                self._catch_up(batch, flow)
        for flow in self._moved:
            flow.checkpoint(batch.base)
        self._moved.clear()
        if 2 * self._slow > batch.count:
            link_type = batch.interface.link_type
            shape = shape_of(batch.buffer, self._slow_at, batch.ends[-1], link_type)
            if shape is not None:
                self._shapes[link_type] = shape
        self._slow = 0

    def _candidates(self, batch: Batch) -> Iterable[Flow]:
        """The flows that may have used the fast path in a batch: all that carry data, or those of
        the batch's frames where these are fewer.
        """
        if len(batch.heads) >= len(self._known.carrying):
            return self._known.carrying
        shape = self._shapes.get(batch.interface.link_type)
        if shape is None:
            return ()
        keys = {shape.unpack(batch.buffer, start)[2] for start in batch.heads}
        known = (self._flows[key] for key in keys if key in self._flows)
        return [side for flow in known for side in flow.connection.flows]

    def _catch_up(self, batch: Batch, flow: Flow) -> None:
        """Note the flow's last frame on the fast path, and what the ACKs there acknowledged."""
        start, answer = flow.fast_start, flow.peer.ack_start
        if start:
            place = _place(batch, start, batch.time(start))
            if place.frame > flow.last.frame:
                flow.last = place
            flow.fast_start = 0
            self._moved.add(flow)
        if answer and flow.reader is not None:
            shape = self._shapes[batch.interface.link_type]
            begin = answer + shape.window - ACK_TO_WINDOW
            _note_acked(flow, int.from_bytes(batch.buffer[begin : begin + 4], "big"))
            flow.peer.ack_start = 0

    def _follow(self, batch: Batch, flow: Flow, start: int, data: int, length: int) -> None:
        """The flow's next segment, complete and in order, of which the walker wants some bytes.

        ``length`` bytes of payload begin at ``data``.  A shortcut for what :meth:`_frame` would do.
        """
        self.now = place = _place(batch, start, batch.time(start))
        flow.ack_start = start
        flow.seen += 1
        flow.take_in_fast()
        flow.fast_start = 0
        with memoryview(batch.buffer)[data : data + length] as view:
            self._deliver(flow, view, length, place)
        flow.open_fast_path()

    # -- the slow path ------------------------------------------------------------------------

    def _frame(self, batch: Batch, start: int) -> None:
        time, captured, original = batch.header(start)
        if captured < original:
            self.truncated += 1
            self.cut_to = max(self.cut_to, captured)
        segment = decode(batch.buffer, start, captured, original, batch.interface.link_type)
        if isinstance(segment, str):
            self.ignored[segment] = self.ignored.get(segment, 0) + 1
            return
        self.now = place = _place(batch, start, time)
        flow = self._flows.get(segment.key)
        if flow is None or (segment.flags & (SYN | ACK) == SYN and _is_new(flow, segment)):
            for side in flow.connection.flows if flow is not None else ():
                self._catch_up(batch, side)
                self._end(side)
            reused = flow is not None
            flow = self._known.begin(segment.key, place, reused=reused).forward
        flow.seen += 1
        flow.take_in_fast()
        peer = flow.peer
        if flow.fast_start or peer.ack_start:
            self._catch_up(batch, flow)
        if flow.base < 0:
            self._begin(flow, segment, place)
        if segment.flags & ACK:
            self._acknowledge(peer, segment)
        if segment.window == 0 and not segment.flags & RST:
            flow.close_window(place)
        elif flow.zero_since is not None:
            flow.open_window(place)
        if segment.length:
            self._slow += 1
            self._slow_at = start
            if flow.reset is not None or (flow.fin is not None and _behind_fin(flow, segment)):
                self._behind_end(flow, segment)
            else:
                self._payload(flow, segment, batch.buffer, place)
        if segment.flags & (FIN | RST):
            self._finish(flow, segment, place)
        flow.acks_idle = (
            not (peer.waiting or flow.reset or peer.never_sent) and flow.zero_since is None
        )
        flow.open_fast_path()

    def _begin(self, flow: Flow, segment: Segment, place: Place) -> None:
        if segment.flags & SYN:
            flow.base = segment.seq
            flow.syn = place
            flow.next = segment.seq + 1 & MASK
            flow.offset = 0
        else:
            flow.base = segment.seq - 1 & MASK
            flow.next = segment.seq
            flow.midstream = True

    def _acknowledge(self, peer: Flow, segment: Segment) -> None:
        """Note what a segment acknowledges of ``peer``; a missing segment that the receiver has
        acknowledged was lost by the capture.
        """
        if peer.base < 0:
            return
        peer.take_in_fast()
        acked = _note_acked(peer, segment.ack)
        if peer.waiting and acked >= peer.waiting[0].offset:
            if not peer.doubts:
                peer.doubted = acked
            self._doubt(peer)
        peer.open_fast_path()

    def _doubt(self, flow: Flow) -> None:
        """Count one more frame since the receiver acknowledged missing bytes; give them up after
        ``PATIENCE`` frames.
        """
        flow.doubts += 1
        if flow.doubts > PATIENCE:
            while flow.waiting and flow.waiting[0].offset <= flow.doubted:
                self._give_up(flow)

    def _payload(self, flow: Flow, segment: Segment, buffer: bytearray, place: Place) -> None:
        distance = ahead_of(_payload_seq(segment), flow.next)
        probe = segment.length == 1 and not segment.flags & (SYN | FIN | RST)
        if probe and distance in (-1, flow.ahead - 1):
            flow.keep_alives += 1
            return
        if flow.reader is None:
            if self._multipath is not None and any(
                options_of(buffer, segment, MULTIPATH, segment.start + segment.captured)
            ):
                self._multipath()
            flow.peer.ack_start = 0  # it may refer to an earlier batch
            flow.begin_payload(self._attach(flow))
            self._known.carrying.append(flow)
        if flow.peer.reset is not None:
            flow.data_after_reset += segment.length
        start, length, captured = segment.start, segment.length, segment.captured
        offset = flow.offset + distance
        if distance < 0:
            again = min(length, -distance)
            self._again(flow, offset, bytes(buffer[start : start + min(again, captured)]), place)
            flow.duplicate_bytes += again
            if again == length:
                return
            start, length, captured = start + again, length - again, max(0, captured - again)
            offset += again
        if offset > flow.offset or flow.waiting:
            self._wait(flow, offset, length, buffer[start : start + captured], place)
            self._drain(flow, place)
            if flow.doubts:
                self._doubt(flow)
        else:
            view = memoryview(buffer)[start : start + captured]
            self._deliver(flow, view, length, place)
            view.release()

    def _deliver(self, flow: Flow, data: memoryview | bytes, length: int, place: Place) -> None:
        """Deliver the next ``length`` bytes of the stream; those that ``data`` lacks were cut by
        snaplen.
        """
        reader = flow.reader
        assert reader is not None
        if not flow.carries:
            flow.first = place
        flow.last = place
        self._moved.add(flow)
        flow.next = flow.next + length & MASK
        flow.offset += length
        reader.feed(data, place)
        missing = length - len(data)
        if missing:
            first = flow.offset - missing
            flow.add_hole(first, flow.offset - 1, place.frame, place, cut=True)
            reader.gap(missing, place)
        if reader.done:
            flow.reader = UNREAD

    # -- out of order -------------------------------------------------------------------------

    def _wait(self, flow: Flow, offset: int, length: int, data: bytearray, place: Place) -> None:
        """Queue a segment that is ahead of its turn, or behind one that is queued, in stream
        order.
        """
        waiting = flow.waiting
        at = len(waiting)
        if at and offset < waiting[-1].offset + waiting[-1].length:
            at = bisect_right(waiting, offset, key=lambda entry: entry.offset)
        for other in waiting[max(0, at - 1) : at + 1]:
            if other.offset <= offset and other.offset + other.length >= offset + length:
                flow.retransmissions += 1
                flow.duplicate_bytes += length
                compare(flow, offset, bytes(data), other.part(offset, len(data)), place)
                return
        if offset > flow.offset:
            flow.reordered += 1
        if at < len(waiting) and flow.lost_before(at, place.time):
            flow.late_bytes += length
        reader = flow.reader
        assert reader is not None
        unseen = len(data) == length and offset + length <= reader.offset + reader.skippable
        kept = None if unseen else bytes(data)
        if not waiting:
            flow.waiting_from = place.pos
            self._waited[flow] = None
        # The other side's ACKs tell whether the missing bytes were received.
        flow.peer.acks_idle = flow.peer.data_expected = False
        waiting.insert(at, Waiting(offset, length, kept, place))
        self._waiting_segments += 1
        if kept is not None:
            flow.waiting_bytes += len(kept)
            self._waiting_bytes += len(kept)
        while flow.waiting_bytes > WAITING_BYTES or len(flow.waiting) > WAITING_SEGMENTS:
            self._give_up(flow)
        while self._waiting_bytes > WAITING_ALL or self._waiting_segments > WAITING_SEGMENTS_ALL:
            self._give_up(next(iter(self._waited)))

    def _drain(self, flow: Flow, place: Place | None) -> None:
        """Deliver the queued segments that are now in order.

        ``place`` is the frame that filled the hole, if one did: the bytes after the hole could not
        be read before it.
        """
        waiting = flow.waiting
        count = 0
        for entry in waiting:
            if entry.offset > flow.offset:
                break
            count += 1
            fresh = entry.offset + entry.length - flow.offset
            self._release(flow, entry)
            if fresh <= 0:
                flow.duplicate_bytes += entry.length
                continue
            flow.duplicate_bytes += entry.length - fresh
            when = entry.place
            seen = place if place is not None and place.frame > when.frame else when
            # Segments that follow this one in the stream may have been seen before it.
            when = Place(seen.frame, seen.time, min(when.pos, flow.waiting_from))
            data = entry.data
            if data is None:
                self._deliver_unseen(flow, fresh, when)
            else:
                self._deliver(flow, data[entry.length - fresh :], fresh, when)
        if count:
            del waiting[:count]
            if not waiting:
                self._waited.pop(flow, None)
            flow.doubts = 0
            if flow.fin is not None and flow.offset == flow.fin_offset:
                self._end(flow)

    def _release(self, flow: Flow, entry: Waiting) -> None:
        self._waiting_segments -= 1
        if entry.data is not None:
            flow.waiting_bytes -= len(entry.data)
            self._waiting_bytes -= len(entry.data)

    def _deliver_unseen(self, flow: Flow, length: int, place: Place) -> None:
        while length:
            step = min(length, len(UNSEEN))
            self._deliver(flow, UNSEEN[:step], step, place)
            length -= step

    def _give_up(self, flow: Flow) -> None:
        """Treat the bytes missing before the first queued segment as lost."""
        entry = flow.waiting[0]
        size = entry.offset - flow.offset
        if size > 0:
            _lose(flow, size, entry.place)
        flow.doubts = 0
        self._drain(flow, None)

    def _give_all_up(self, flow: Flow) -> None:
        """Let go of all queued segments: what is missing before them will not come."""
        while flow.waiting:
            self._give_up(flow)

    # -- retransmissions ----------------------------------------------------------------------

    def _again(self, flow: Flow, offset: int, data: bytes, place: Place) -> None:
        """Count a retransmission, and compare it with the first copy of the bytes."""
        flow.retransmissions += 1
        seen = 0
        if offset >= 0 and not self.truncated:
            seen = self.copies.compare(flow, offset, data, place, self._batch)
        flow.unverified += len(data) - seen

    # -- the end ------------------------------------------------------------------------------

    def _behind_end(self, flow: Flow, segment: Segment) -> None:
        """Count payload after this side's FIN or RST: a retransmission, or bytes past the end."""
        distance = ahead_of(_payload_seq(segment), flow.next)
        if flow.fin is not None:
            distance -= 1  # a FIN takes a sequence number
        behind = distance + segment.length
        if behind > 0:
            flow.data_after_end += behind
        else:
            flow.retransmissions += 1
            flow.duplicate_bytes += segment.length

    def _finish(self, flow: Flow, segment: Segment, place: Place) -> None:
        distance = ahead_of(_payload_seq(segment) + segment.length & MASK, flow.next)
        if segment.flags & RST:
            if flow.reset is None:
                flow.reset = place
                flow.peer.take_in_fast()
                flow.peer.open_fast_path()  # which is closed now: what follows is counted
                # Its sequence number follows the last byte sent.
                self._end(flow, flow.offset + distance if distance < WINDOW_MAX else 0)
            return
        if flow.fin is None and distance >= 0:
            flow.fin = place
            flow.fin_offset = flow.offset + distance
            flow.fin_read = flow.peer.acked
            if not flow.waiting and distance == 0:
                self._end(flow)

    def _end(self, flow: Flow, sent: int = 0) -> None:
        """End the stream; ``sent`` is the offset up to which bytes are known to have been sent."""
        flow.take_in_fast()
        self._give_all_up(flow)
        if flow.reader is not None:
            if not flow.reader.done:
                self._tail(flow, sent)
            flow.reader.end(flow.last)
            if flow.reader.done:
                flow.reader = UNREAD

    def _tail(self, flow: Flow, sent: int) -> None:
        """Note the bytes missing before this side's FIN or RST, or before what the receiver
        acknowledged.
        """
        if flow.fin is not None:
            end = flow.fin_offset
        else:
            end = max(flow.acked, sent)
            if end > flow.offset:
                flow.fin_lost = (flow.reset or flow.peer.fin) is not None
                end -= 1  # a FIN takes a sequence number, if there was one
        size = end - flow.offset
        if size > 0:
            _lose(flow, size, flow.fin or self.now)

    def end(self) -> None:
        """End of the capture: give up on missing bytes, and end every walker's stream."""
        self.now = Place(self.frames, self.last_time, self.now.pos)
        for flow in self._flows.values():
            flow.take_in_fast()
            if flow.zero_since is not None:
                flow.open_window(self.now)
            self._end(flow)


def _place(batch: Batch, start: int, time: int) -> Place:
    """The place of the frame at ``start`` of a batch, which was captured at ``time``."""
    return Place(batch.number(start), time, batch.position(start))


@lru_cache(1 << 10)
def _numbers(count: int, stride: int) -> Callable[..., tuple[int, ...]]:
    """Unpacks ``count`` sequence numbers that are ``stride`` bytes apart."""
    return struct.Struct(">" + f"I{stride - 4}x" * (count - 1) + "I").unpack_from


def _lose(flow: Flow, size: int, after: Place) -> None:
    """The next ``size`` bytes of the stream will not come; ``after`` is the place behind them."""
    flow.add_hole(flow.offset, flow.offset + size - 1, flow.last.frame, after)
    flow.next = flow.next + size & MASK
    flow.offset += size
    assert flow.reader is not None
    flow.reader.gap(size, after)


def _note_acked(flow: Flow, ack: int) -> int:
    """Note an acknowledgment number of ``flow``; gives the stream offset acknowledged."""
    passed = flow.fast_granted - flow.fast_left  # not counted in flow.offset yet
    acked = flow.offset + passed + ahead_of(ack, flow.next)
    flow.acked = max(flow.acked, acked)
    return acked


def _is_new(flow: Flow, segment: Segment) -> bool:
    """Whether a SYN on known ports begins a new connection, by Wireshark's criteria."""
    if flow.base < 0:
        return False
    if segment.seq != flow.base:
        return True
    return any(side.fin is not None or side.reset is not None for side in flow.connection.flows)


def _behind_fin(flow: Flow, segment: Segment) -> bool:
    ahead = ahead_of(_payload_seq(segment), flow.next) + segment.length
    return flow.offset + ahead > flow.fin_offset


def _payload_seq(segment: Segment) -> int:
    """Sequence number of the first payload byte; a SYN takes one itself."""
    return segment.seq + 1 & MASK if segment.flags & SYN else segment.seq
