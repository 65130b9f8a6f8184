"""MF115 to MF119: how channels end (wire-format page, section 1.5)."""

from __future__ import annotations

from analyzer.checks.rule import (
    ERROR,
    INFO,
    WARNING,
    Spot,
    capture_rule,
    migration_rule,
)
from analyzer.checks.wording import names
from analyzer.migration.early_ends import ended_early
from analyzer.migration.outcome import outcome_of, unread_end

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from analyzer.migration.channel import Channel
    from analyzer.migration.migration import Migration
    from analyzer.migration.scan import Scan


@migration_rule("MF115", "channel-unterminated", INFO, holes="E")
def channel_unterminated(migration: Migration) -> Iterator[Spot]:
    """A multifd channel ends after a complete packet, but the capture does not show its close.

    A channel may end at a packet boundary, so it is not known whether more followed.

    Receiver: normal, if the stream was closed there.

    Usual cause: the capture was stopped before the connections were closed.
    """
    opened = [c for c in migration.multifd if c.ended_at_boundary and not c.flow.closed]
    if opened:
        text = f"the capture does not show the end of {names(opened)}"
        yield Spot(text, frame=max(c.flow.last.frame for c in opened))


@migration_rule("MF116", "channel-ended-early", ERROR, holes="GLE", forgiven=True)
def channel_ended_early(migration: Migration) -> Iterator[Spot]:
    """The source closed a multifd channel while the migration went on with the others.

    Every SYNC round needs a SYNC packet on every channel.  This channel was closed, and a later
    round took place without it.

    Receiver: the channel's thread ends without an error, since a close between packets is the
    normal end.  At the next sync point main waits for that channel without a timeout: a hang.

    Usual cause: a send thread of the source that ended early, or a middlebox that closed an idle
    connection.
    """
    for channel, fin, number, missed in ended_early(migration):
        done = len(channel.syncs)
        text = f"closed after SYNC round {done}; round {number + 1} follows in frame {missed.frame}"
        yield Spot(text, channel=channel, frame=fin.frame)


@migration_rule("MF117", "channel-reset", WARNING, forgiven=True)
def channel_reset(migration: Migration) -> Iterator[Spot]:
    """A channel of a migration that did not complete was reset, or main by a destination that had
    reported success.

    A reset discards data in flight; the side that sent it had died or given up.  A destination that
    loaded everything closes main with a FIN: a RST shows that it ended with bytes unread, although
    the source will call the migration completed.

    Receiver: the reading side gets ``Connection reset by peer``.

    Usual cause: one QEMU was killed, failed or yanked the migration; a destination whose VFIO
    device has multifd transfer off while the source's has it on.  Other resets at the end of a
    completed migration are not unusual and not reported; if the outcome is unknown, they are
    reported as info only.
    """
    outcome = outcome_of(migration).name
    if outcome == "completed":
        main = migration.main
        if main is not None and unread_end(main) and not migration.in_colo:
            assert main.flow.peer.reset is not None
            text = "the destination reported success and reset main with bytes unread"
            yield Spot(text, channel=main, frame=main.flow.peer.reset.frame)
        return
    resets: list[tuple[int, str, Channel]] = []
    for channel in migration.channels:
        if channel.kind == "return-path":
            continue
        for place, who in (
            (channel.flow.reset, "source"),
            (channel.flow.peer.reset, "destination"),
        ):
            if place is not None:
                resets.append((place.frame, who, channel))
    if resets:
        frame, who, channel = min(resets, key=lambda reset: reset[0])
        text = f"the {who} reset {channel.name}"
        more = {id(c): c for _, _, c in resets if c is not channel}
        if more:
            text += f"; also reset: {names(more.values())}"
        severity = INFO if outcome == "unknown" else None
        yield Spot(text, channel=channel, frame=frame, severity=severity)


@migration_rule("MF118", "cancelled", INFO, holes="E")
def cancelled(migration: Migration) -> Iterator[Spot]:
    """The source aborted the migration before everything was sent.

    It closed main before the EOF byte; or main is complete and multifd channels stop inside a
    packet, as in a cancel during device state.  If the destination had everything and reports
    success all the same, the guest may run on both sides: that is a warning.

    Receiver: ``load of migration failed``; the guest continues on the source.

    Usual cause: ``migrate_cancel``; an error, a yank, or the end of the source's process look the
    same.
    """
    outcome = outcome_of(migration)
    if outcome.name == "cancelled":
        returned = migration.return_facts
        if returned is not None and returned.shut == 0:
            text = "too late: the guest may run on both sides"
            yield Spot(text, frame=outcome.frame, severity=WARNING)
        else:
            yield Spot(outcome.evidence, frame=outcome.frame)


@capture_rule("MF119", "tls-no-close-notify", WARNING, holes="E", forgiven=True)
def tls_no_close_notify(scan: Scan) -> Iterator[tuple[Spot, Migration | None]]:
    """A TLS multifd channel was closed without close_notify, although others of its migration sent
    one.

    Since 10.0 a source sends close_notify on every multifd channel before it shuts down the socket
    (not on main, which has an EOF byte).  Without it, the end of the channel cannot be
    distinguished from a truncated connection.

    Receiver: an error with machine types 10.0 and later, if it happens inside data; with older ones
    it counts as the normal end.

    Usual cause: the source was killed or cancelled; a middlebox closed the connection.
    """
    for migration, channels in _encrypted_multifd(scan):
        if not any(channel.tls_close_notify for channel in channels):
            continue  # probably a sender up to 9.2
        for channel in channels:
            end = channel.flow.fin
            if end is not None and not channel.tls_close_notify and not channel.flow.holes:
                text = f"closed without close_notify, in frame {end.frame}"
                yield Spot(text, channel=channel, frame=end.frame), migration


def _encrypted_multifd(scan: Scan) -> Iterator[tuple[Migration | None, list[Channel]]]:
    """The multifd channels over TLS of each migration, which is ``None`` if it was not decrypted;
    none where it is not known which of the connections is main.
    """
    from analyzer.migration.encrypted import recognise  # seldom needed

    decrypted = {channel.flow.connection: channel for channel in scan.grouper.decrypted}
    for migration in scan.migrations:
        connections = [channel.flow.connection for channel in migration.multifd]
        yield migration, [decrypted[one] for one in connections if one in decrypted]
    for encrypted in recognise(scan.grouper.tls):
        if not encrypted.main.midstream:
            yield None, encrypted.channels[1:]
