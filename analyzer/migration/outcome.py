"""How a migration, its channels and its devices ended, judged by the wire.

Wire-format page, section 1.5.
"""

from __future__ import annotations

from analyzer.migration.absent_channels import lacks_channels

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from analyzer.migration.channel import Channel
    from analyzer.migration.device import Device
    from analyzer.migration.main_channel import MainFacts
    from analyzer.migration.mark import Mark
    from analyzer.migration.migration import Migration
    from analyzer.tcp.flow import Connection, Flow
    from analyzer.tcp.requests import Place

__all__ = [
    "Outcome", "is_complete", "outcome_of", "refuses_colo", "unread_end",
]  # fmt: skip

CLOSING = 100_000_000
"""A source that completes closes all connections at once: a channel that still sends this many ns
after main's end shows that it did not complete.
"""

STALL = 1_000_000_000
"""A destination whose receive buffer is full for this many ns hangs, rather than being slow."""


class Outcome:
    """How a migration ended.

    ``name`` is ``completed``, ``cancelled``, ``failed``, ``incomplete`` or ``unknown``;
    ``evidence`` says in a few words what shows it, ``frame`` where.  ``forgives`` says that it
    explains streams and devices that end prematurely; ``awaited`` that everything was sent and the
    destination's answer was due.
    """

    __slots__ = ("awaited", "evidence", "forgives", "frame", "name")

    def __init__(
        self,
        name: str,
        evidence: str,
        frame: int | None = None,
        *,
        forgives: bool | None = None,
        awaited: bool = False,
    ) -> None:
        self.name = name
        self.evidence = evidence
        self.frame = frame
        unfinished = name in ("cancelled", "failed", "incomplete")
        self.forgives = unfinished if forgives is None else forgives
        self.awaited = awaited or not unfinished


class Close:
    """The destination's end of a channel at ``place``; ``word`` is ``closed`` or ``reset``."""

    __slots__ = ("channel", "place", "word")

    def __init__(self, channel: Channel, place: Place, word: str) -> None:
        self.channel = channel
        self.place = place
        self.word = word

    @property
    def text(self) -> str:
        """What happened, in words."""
        return f"the destination {self.word} {self.channel.name}"


def outcome_of(migration: Migration) -> Outcome:
    """The outcome by the first row that fits of the table in section 1.5."""
    found = _by_first_row(migration)
    if found.name in ("failed", "cancelled", "incomplete"):
        unread = max(migration.streams, key=_unread_for, default=None)
        if unread is not None and (time := _unread_for(unread)) >= STALL:
            found.evidence += f"; nothing was read from {unread.name} for {time / 1e9:.1f} s"
    return found


def _unread_for(channel: Channel) -> int:
    """Longest time in ns for which the destination's receive buffer was full."""
    return channel.flow.peer.zero_window_longest


def _by_first_row(migration: Migration) -> Outcome:
    returned = migration.return_facts
    if returned is not None and returned.shut is not None:
        frame = returned.shut_mark.frame if returned.shut_mark is not None else None
        if returned.shut:
            return _failure(migration, f"reported error {returned.shut}", frame)
        found = _colo(migration) or _not_awaited(migration, returned.shut_mark)
        return found or Outcome("completed", "the destination reported success", frame)
    if (pair := _colo(migration)) is not None:
        return pair
    if (early := _destination_closed_first(migration)) is not None:
        return early
    if migration.main is None or migration.main_facts is None:
        return _without_main(migration)
    if migration.main_facts.eof is None:
        return _before_eof(migration, migration.main, migration.main_facts)
    return _after_eof(migration, migration.main, migration.main_facts)


def _not_awaited(migration: Migration, success: Mark | None) -> Outcome | None:
    """A cancel that came too late: the source had closed main before the success.

    The two directions may have been captured out of order; then the times tell.
    """
    main, facts = migration.main, migration.main_facts
    end = None if main is None else main.flow.own_end
    if main is None or facts is None or facts.in_postcopy or end is None:
        return None
    if success is None or end.frame > success.frame or end.time > success.time:
        return None
    text = (
        f"the source {_did(main.flow)} main without waiting for an answer, then the destination "
        "reported success"
    )
    return Outcome("cancelled", text, end.frame)


def _colo(migration: Migration) -> Outcome | None:
    """The outcome under COLO, which starts when the first state is loaded and ends with a failover;
    ``None`` without COLO.
    """
    main, facts, returned = migration.main, migration.main_facts, migration.return_facts
    if main is None or facts is None:
        return None
    colo = facts.colo
    ready = returned.ready if returned is not None else None
    begin = ready or (colo.begin if colo is not None else None)
    if begin is None or (facts.eof is None and not facts.interrupted):
        return None
    if refuses_colo(migration):
        text = "the source refuses CHECKPOINT_READY on a return path that it still reads"
        return Outcome("failed", text, begin.frame)
    last = colo.last.begin if colo is not None else None
    loaded = returned.answers[-1][-1:] if returned is not None else []
    between = last is None or bool(loaded and loaded[0].frame >= last.frame)
    text = "COLO keeps the pair in sync"
    if main.flow.closed or main.flow.peer.closed:
        where = "inside a checkpoint"
        if between:
            where = "before the first checkpoint" if last is None else "between two checkpoints"
        text = f"COLO kept the pair in sync and ended {where}"
    return Outcome("completed", text, begin.frame, forgives=not between)


def refuses_colo(migration: Migration) -> bool:
    """Whether the source refuses COLO.

    It does if CHECKPOINT_READY came, without a SHUT before it, on a return path that the source
    opened, and no checkpoint followed: the source takes it for an invalid message (seen up to
    10.2).
    """
    facts, returned = migration.main_facts, migration.return_facts
    if facts is None or returned is None or returned.ready is None or facts.colo_count:
        return False
    shut = returned.shut_mark
    is_open = shut is None or shut.offset > returned.ready.offset
    return facts.opened_return_path is not None and is_open


def _before_eof(migration: Migration, main: Channel, facts: MainFacts) -> Outcome:
    end = main.flow.own_end
    gone = _first_close(migration)
    if end is None and gone is None:
        return Outcome("incomplete", "the capture ends before the migration does")
    if main.holes or (main.midstream and facts.postcopy_resume is None):
        text = "the end of main is not in the capture"
        if main.flow.cut:
            text = "the capture's snaplen cut main off"
        return Outcome("unknown", text, forgives=True)
    if not main.flow.peer.seen:
        return _one_sided(main)
    if gone is not None and not _finished_before(main, gone):
        return _gave_up(migration, main, gone)
    frame = end.frame if end is not None else None
    source = f"the source {_did(main.flow)} main"
    if facts.in_postcopy:
        return _paused(migration, source, frame)
    pages = facts.ram.sent_pages + facts.ram.zero_pages
    if not pages and not any(channel.ram_packets for channel in migration.multifd):
        text = f"{source} in setup: a cancel, or an error at the source"
        return Outcome("cancelled", text, frame)
    return Outcome("cancelled", f"{source} before its EOF byte", frame)


def _gave_up(migration: Migration, main: Channel, gone: Close) -> Outcome:
    """The outcome if the destination was the first to close a channel."""
    if gone.channel is main and migration.main_facts is not None:
        if migration.main_facts.in_postcopy:
            return _paused(migration, gone.text, gone.place.frame)
        return Outcome("failed", f"{gone.text} before its EOF byte", gone.place.frame)
    return Outcome("failed", f"{gone.text} before main's EOF byte", gone.place.frame)


def _paused(migration: Migration, what: str, frame: int | None) -> Outcome:
    """The outcome of a postcopy that lost its main (``what``): the guest waits for its pages."""
    later = migration.recovered_by
    then = "stays paused until it is recovered"
    if later is not None:
        then = f"migration {later.number} recovered"
    return Outcome("incomplete", f"{what} in postcopy, which {then}", frame)


def _first_close(migration: Migration) -> Close | None:
    """The first close of a channel by the destination that does not answer the source's."""
    found: Close | None = None
    for channel in migration.streams:
        flow, peer = channel.flow, channel.flow.peer
        place = peer.first_end
        if place is None or (found is not None and place.frame > found.place.frame):
            continue
        own = flow.own_end
        if own is None or own.frame > place.frame:
            found = Close(channel, place, "reset" if place is peer.reset else "closed")
    return found


def _finished_before(main: Channel, gone: Close) -> bool:
    """Whether the source closed main before ``gone``; the frame with its FIN may be missing."""
    flow = main.flow
    if (end := flow.own_end) is not None:
        return end.frame < gone.place.frame
    return flow.peer.fin is gone.place and _fin_unseen(flow)


def _fin_unseen(flow: Flow) -> bool:
    """Whether the destination, when it closed, had received a FIN that the capture lacks."""
    return not (flow.decrypted or flow.lacks_end) and flow.peer.fin_read > flow.offset


def _after_eof(migration: Migration, main: Channel, facts: MainFacts) -> Outcome:
    """The outcome if main was sent completely: it depends on the other channels."""
    if (broken_off := _broken_off(migration, main, facts)) is not None:
        return broken_off
    if unread_end(main):
        reset = main.flow.peer.reset
        text = "the destination reset main without having read its end: it failed to load the state"
        return Outcome("failed", text, reset.frame if reset is not None else None)
    if (unanswered := _unanswered(migration, main)) is not None:
        return unanswered
    if any(not channel.flow.closed for channel in [main, *migration.multifd]):
        return Outcome("incomplete", "the capture ends before all channels are closed")
    if (open_end := _lost_end(migration)) is not None:
        text = f"the end of {open_end.name}, which stops inside a packet, is not in the capture"
        return Outcome("unknown", text, forgives=True)
    text = "main and every channel ended where they should"
    if migration.lacks_bytes or migration.began_late or lacks_channels(migration):
        text = "main and every channel were closed in order"
    elif (name := _incomplete_device(migration)) is not None:
        text = f"device {name} is incomplete: the destination waits for it for ever"
        return Outcome("failed", text, forgives=False)
    assert facts.eof is not None
    if facts.opened_return_path is None and not facts.interrupted:
        text += "; no return path to confirm it"
    return Outcome("completed", text, facts.eof.frame)


def _broken_off(migration: Migration, main: Channel, facts: MainFacts) -> Outcome | None:
    """The outcome if a channel stops inside a packet although main was sent completely."""
    cut = [c for c in migration.multifd if c.cut_in is not None and _over(c, main)]
    if not cut:
        return None
    shut = [(channel.name, channel.flow.fin) for channel in cut if channel.flow.fin is not None]
    if shut and facts.opened_return_path is None:
        # Without a return path the source reports completion without waiting for the destination.
        name, end = shut[0]
        text = (
            f"the source finished main, did not wait (no return path) and closed {name} inside a "
            "packet: the destination waits for ever"
        )
        return Outcome("failed", text, end.frame, forgives=False)
    if not main.flow.peer.seen:
        return _one_sided(main)
    if main.flow.closed:
        flow, where = cut[0].flow, f"{cut[0].name} stops inside a packet although main is complete"
        if not flow.closed:  # a slow link may have delivered the rest later
            where += ", and the capture lacks its end"
        return Outcome("cancelled", where, flow.last.frame)
    return None


def unread_end(main: Channel) -> bool:
    """Whether the destination closed main with bytes unread: its kernel then sends a RST, no FIN.

    (A destination that read all of QEMU's bytes may leave TLS's closing record unread.)
    """
    peer = main.flow.peer
    return peer.reset is not None and peer.fin is None and not main.flow.decrypted


def _unanswered(migration: Migration, main: Channel) -> Outcome | None:
    """The outcome if the return path was used and ended without SHUT: one side gave up."""
    returned, facts = migration.return_facts, migration.main_facts
    flow, peer = main.flow, main.flow.peer
    if returned is None or facts is None or facts.opened_return_path is None:
        return None
    if peer.missing or peer.midstream or flow.own_end is None or peer.own_end is None:
        return None
    if peer.own_end.frame < flow.own_end.frame:
        text = f"everything was sent, but the destination {_did(peer)} main without an answer"
        return Outcome("failed", text, peer.own_end.frame, awaited=True)
    text = f"the source {_did(flow)} main without waiting for an answer"
    return Outcome("cancelled", text, flow.own_end.frame, awaited=True)


def _one_sided(main: Channel) -> Outcome:
    """The outcome if the capture lacks the destination's direction, so that it is unknown who
    closed first.
    """
    text = "it was cancelled or failed; the capture has nothing that the destination sent on main"
    return Outcome("unknown", text, main.flow.last.frame, forgives=True)


def _lost_end(migration: Migration) -> Channel | None:
    """A channel that ends in a hole inside a packet."""
    found = (c for c in migration.multifd if c.cut_in is not None and c.flow.lacks_end)
    return next(found, None)


def _over(channel: Channel, main: Channel) -> bool:
    """Whether a channel, whose last bytes were captured, is closed or has outlived main for longer
    than it should.
    """
    if channel.flow.lacks_end:
        return False
    end = main.flow.own_end
    late = end is not None and channel.flow.last.time - end.time > CLOSING
    return channel.flow.closed or late


def _without_main(migration: Migration) -> Outcome:
    if (silent := migration.silent_main) is not None:
        return _never_begun(migration, silent)
    if any(not channel.flow.closed for channel in migration.multifd):
        return Outcome("incomplete", "the capture ends before all channels are closed")
    return Outcome("unknown", "main is not in the capture")


def _never_begun(migration: Migration, main: Connection) -> Outcome:
    """The outcome if main was opened but carried nothing: the source was still setting up.

    It sends main's first byte when all multifd channels are connected.
    """
    text = f"main (stream {main.number}) never carried a byte"
    later = (c for c in migration.silent if c.began.frame > migration.began)
    if (unanswered := next((c for c in later if not c.reverse.seen), None)) is not None:
        text += f": the destination did not answer stream {unanswered.number}"
    end, gone = main.forward.own_end, main.reverse.first_end
    if gone is not None and (end is None or gone.frame < end.frame):
        return Outcome("failed", f"{text}; the destination closed it in setup", gone.frame)
    close = _first_close(migration)
    if close is not None and (end is None or close.place.frame < end.frame):
        return Outcome("failed", f"{text}: {close.text}", close.place.frame)
    if end is None:
        return Outcome("incomplete", text)
    return Outcome("cancelled", f"{text}; the source closed it in setup", end.frame)


def _destination_closed_first(migration: Migration) -> Outcome | None:
    """The failure if the destination closed a channel before the source's state was complete, else
    ``None``.
    """
    closes = [close for channel in migration.streams for close in _unwelcome(channel)]
    earliest = min(closes, key=lambda close: close.place.frame, default=None)
    if earliest is None:
        return None
    facts, frame = migration.main_facts, earliest.place.frame
    ended = facts is None or facts.eof is not None
    if earliest.channel is migration.main and facts is not None and facts.in_postcopy and not ended:
        return _paused(migration, earliest.text, frame)
    what = f"{earliest.word} {earliest.channel.name} before its data ended"
    return _failure(migration, what, frame)


def _unwelcome(channel: Channel) -> Iterator[Close]:
    """The destination's ends of a channel that came before the source's data ended."""
    flow, peer = channel.flow, channel.flow.peer
    # Frames may be captured out of order: data that the destination acknowledged did not come late.
    unread = flow.acked < flow.offset or flow.decrypted
    for end, word in ((peer.reset, "reset"), (peer.fin, "closed")):
        if end is None:
            continue
        finished = flow.fin is not None and flow.fin.frame < end.frame  # the rest was sent again
        late = unread and flow.last.frame > end.frame and not finished
        cut = word == "reset" and channel.cut_in is not None and not flow.missing
        if late or cut:
            yield Close(channel, end, word)


def _failure(migration: Migration, what: str, frame: int | None) -> Outcome:
    """A failure shown by what the destination did, unless the source had closed main before."""
    main, facts = migration.main, migration.main_facts
    end = None if main is None else main.flow.own_end
    failed = Outcome("failed", f"the destination {what}", frame)
    if main is None or facts is None:
        return failed
    if end is None:
        # It reports and closes at once: what it had received when it closed made it report.
        left = facts.eof is None and _fin_unseen(main.flow)
        text = f"the source closed main before its EOF byte, then the destination {what}"
        return Outcome("cancelled", text, frame) if left else failed
    if frame is not None and end.frame > frame:
        return failed
    # With a return path the source closes main only when the destination has reported.
    if facts.eof is not None and facts.opened_return_path is None:
        return failed
    gone = _first_close(migration)
    if gone is not None and gone.place.frame < end.frame:
        return Outcome("failed", f"{gone.text}, then {what}", gone.place.frame)
    # A destination that was left in the middle of the state reports that as an error, too.
    source = f"the source {_did(main.flow)} main"
    source += " before its EOF byte" if facts.eof is None else " without waiting for an answer"
    return Outcome("cancelled", f"{source}, then the destination {what}", end.frame)


def _did(flow: Flow) -> str:
    """Verb for how a direction was ended."""
    return "reset" if flow.fin is None and flow.reset is not None else "closed"


def _incomplete_device(migration: Migration) -> str | None:
    for device in migration.awaited:
        if device.cut or device.config is None or device.missing_ranges():
            return device.name
    return None


def is_complete(device: Device, migration: Migration) -> bool | None:
    """Whether every buffer up to the config state arrived; ``None`` where the capture may have
    missed some.
    """
    whole = device.config is not None and not device.missing_ranges() and not device.unindexed
    if whole:
        return None if any(device.buffers.missing) else True
    if any(c.flow.missing or c.incomplete_start for c in migration.multifd):
        return None
    if lacks_channels(migration):
        return None
    closed = {c.id for c in migration.multifd if c.flow.closed}
    cut = any(buffer.channel in closed for buffer in device.cut)
    if migration.ends_early and not cut and outcome_of(migration).name != "cancelled":
        return None
    return False
