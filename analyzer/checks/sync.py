"""MF3xx: synchronisation of the multifd channels with main (wire-format page, section 3.6).

Only counts, and positions within one stream, are compared; never times across streams, which are
not causal.
"""

from __future__ import annotations

from collections import Counter

from analyzer.checks.rule import (
    ERROR,
    INFO,
    WARNING,
    Spot,
    channel_rule,
    migration_rule,
    walker_rule,
)
from analyzer.checks.wording import counted, duration, names
from analyzer.migration.early_ends import ended_early, refused
from dissectors.multifd import CHANNEL_HEADER, INIT, MultifdFlag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from analyzer.migration.channel import Channel
    from analyzer.migration.main_channel import MainFacts
    from analyzer.migration.mark import Mark
    from analyzer.migration.migration import Migration

LAG_TOLD = 500_000_000
"""The spread of a SYNC round, in ns, above which it is reported."""
FLUSHED_ALWAYS = (8, 1)
"""The machine type with which QEMU 8.1.0 to 8.1.2 write FLUSH records without multifd too."""
BIT4 = int(MultifdFlag.UADK)


@migration_rule("MF301", "sync-count-differs", ERROR, holes="GXEL", forgiven=True)
def sync_count_differs(migration: Migration) -> Iterator[Spot]:
    """The channels carried different numbers of SYNC packets.

    A round is one SYNC packet on every channel, so at the end all channels have the same count.

    Receiver: at each sync point main waits, without a timeout, for one SYNC from each channel: it
    hangs in the round that a channel skipped.

    Usual cause: a sender that dropped a SYNC request; a channel that ended early (MF116).
    """
    channels = _countable(migration)
    if not channels:
        return
    counts = [len(channel.syncs) for channel in channels]
    most, least = max(counts), min(counts)
    if most == least:
        return
    behind = [channel for channel in channels if len(channel.syncs) < most]
    fullest = next(channel for channel in channels if len(channel.syncs) == most)
    text = f"{counted(most, 'SYNC')} on {fullest.name}, {least} on "
    text += names(channel for channel in behind if len(channel.syncs) == least)
    only = behind[0] if len(behind) == 1 else None
    yield Spot(text, channel=only, frame=fullest.syncs[least].frame)


@migration_rule("MF302", "sync-vs-flush", ERROR, holes="GXEL", forgiven=True)
def sync_vs_flush(migration: Migration) -> Iterator[Spot]:
    """The channels carried more or fewer SYNCs than main has sync points.

    Main synchronises at every MULTIFD_FLUSH record; with QEMU or machine types up to 8.0, at the
    EOS of every RAM section instead.  QEMU 9.1 and 9.2, and v3 of the device-state series, send one
    extra SYNC round at the end.

    Receiver: fewer SYNCs than sync points: main waits forever.  More: each channel's thread stops
    at the SYNC that has no sync point on main, and never reads what follows.

    Usual cause: source and destination disagree about ``multifd-flush-after-each-section``; a
    modified sender whose SYNCs and sync points do not match.
    """
    rounds, facts = _rounds(migration), migration.main_facts
    if rounds is None or facts is None:
        return
    if facts.unread_records and not migration.lacks_bytes:
        return  # main is damaged itself, and the unreadable part may hold sync points
    points = _points(migration, facts)
    if _matches(rounds, migration, facts):
        return
    if _mixed(rounds, facts) and rounds != points + 1 and migration.framing.settings.sync is None:
        return  # MF303 reports it
    kind = "MULTIFD_FLUSH record" if _by_flush(migration, facts) else "RAM section"
    effect = "fewer" if rounds < points else "more"
    text = f"{counted(rounds, 'SYNC round')}, {effect} than main has sync points: "
    text += counted(points, kind)
    marks = _marks(migration, facts) if rounds < points else _countable(migration)[0].syncs
    unpaired = min(rounds, points)
    yield Spot(text, frame=marks[unpaired].frame if unpaired < len(marks) else None)


@migration_rule("MF303", "sync-mode-mixed", WARNING, holes="GXEM", forgiven=True)
def sync_mode_mixed(migration: Migration) -> Iterator[Spot]:
    """Main holds MULTIFD_FLUSH records, yet the channels synchronise after each RAM section too.

    There are two ways to mark a sync point: a MULTIFD_FLUSH record, or the EOS of every RAM
    section.  A sender uses one of them.

    Receiver: with ``multifd-flush-after-each-section`` it synchronises at both, else at the FLUSH
    records only; it hangs if that does not match the SYNCs that were sent.

    Usual cause: a modified sender, or a property that was changed on one side only.
    """
    rounds, facts = _rounds(migration), migration.main_facts
    if rounds is None or facts is None or migration.framing.settings.sync is not None:
        return
    if _mixed(rounds, facts) and not _matches(rounds, migration, facts):
        flushes = counted(facts.ram.flush_count, "FLUSH record")
        sections = counted(facts.ram.section_end_count, "RAM section")
        text = f"{counted(rounds, 'SYNC round')} with {flushes} and {sections}"
        yield Spot(text, channel=migration.main, frame=facts.ram.flushes[0].frame)


@migration_rule("MF304", "flush-without-multifd", ERROR, holes="GX")
def flush_without_multifd(migration: Migration) -> Iterator[Spot]:
    """Main holds MULTIFD_FLUSH records although the pages go over main itself.

    The record is only sent with multifd.  Here there are no multifd channels, and main carries
    pages, so multifd is not in use.  QEMU 8.1.0 to 8.1.2 send it nevertheless, so with machine
    type 8.1, or one without a version, it is reported as info.

    Receiver: without multifd it ignores the record; with multifd it waits for SYNCs that never
    come: a hang.

    Usual cause: QEMU 8.1.0 to 8.1.2; a modified sender; a capture merged from two.
    """
    facts = migration.main_facts
    if facts is None or not facts.ram.flushes or migration.multifd or migration.strangers:
        return
    if facts.ram.sent_pages and facts.postcopy_run is None:
        flushes = counted(facts.ram.flush_count, "MULTIFD_FLUSH record")
        text = f"{flushes}, and {counted(facts.ram.sent_pages, 'page')} on main"
        severity = INFO if facts.machine_version in (None, FLUSHED_ALWAYS) else None
        frame = facts.ram.flushes[0].frame
        yield Spot(text, channel=migration.main, frame=frame, severity=severity)


@walker_rule("MF305", "sync-packet-has-payload", ERROR)
def sync_packet_has_payload() -> None:
    """Bytes follow a SYNC packet that has no pages.

    A packet without normal pages has no payload, whatever next_packet_size says; the next header
    must follow its offset array.

    Receiver: it takes the bytes for a packet header: ``multifd: received packet magic %x, expected
    %x``; the migration fails.

    Usual cause: a sender that sets next_packet_size and writes the previous packet's payload again.
    """


@channel_rule("MF306", "sync-first", INFO, holes="GL")
def sync_first(channel: Channel, migration: Migration) -> Iterator[Spot]:
    """The first packet of a channel is not a SYNC.

    Every sender holds a SYNC round during setup, before any page is sent.

    Receiver: the channel itself accepts it; but main waits for that round before the first page.

    Usual cause: a modified sender; a capture in which the first packets are missing.
    """
    if not channel.synchronises or channel.init is None or channel.incomplete_start:
        return
    first = INIT.size + (CHANNEL_HEADER.size if channel.channel_header is not None else 0)
    if channel.flow.hole_in(0, first) is not None:
        return
    if channel.packets and (not channel.syncs or channel.syncs[0].offset != first):
        yield Spot("its first packet is not a SYNC", offset=first, frame=channel.flow.first.frame)


@migration_rule("MF307", "data-after-last-sync", WARNING, holes="GX", forgiven=True)
def data_after_last_sync(migration: Migration) -> Iterator[Spot]:
    """RAM packets follow the last SYNC of a channel.

    The last round ensures that all pages are loaded before main continues.  Main does not wait for
    pages that follow it.

    Receiver: it accepts them.  Whether they are loaded before the guest runs is a matter of timing.

    Usual cause: a sender that does its last SYNC round before it has sent the last pages.
    """
    for channel in _whole(migration):
        if channel.since_sync and channel.syncs and not channel.skipped:
            # No offset: a hole anywhere after that SYNC may have held another one.
            text = f"{counted(channel.since_sync, 'RAM packet')} after the last SYNC"
            mark = channel.behind_sync or channel.syncs[-1]
            yield Spot(text, channel=channel, frame=mark.frame)


@migration_rule("MF308", "device-state-after-unpaired-sync", ERROR, holes="GXE")
def device_state_after_unpaired_sync(migration: Migration) -> Iterator[Spot]:
    """Device-state packets follow a SYNC for which main has no FLUSH.

    v2 of the device-state series was based on a QEMU (9.1) that sends a last SYNC round without a
    MULTIFD_FLUSH record.  The receiver's channels stop at it.

    Receiver: the channel's thread waits at that SYNC for main, which has no such sync point; the
    device state after it is never read: a hang.

    Usual cause: device state that is queued after the last RAM.  For this reason v3 of the series
    sent the last SYNC after the device state.
    """
    facts = migration.main_facts
    if facts is None or not facts.ram.flushes or migration.framing.device_flag != BIT4:
        return
    points = facts.ram.flush_count
    stops = {c.id: c.syncs[points].offset for c in migration.multifd if len(c.syncs) > points}
    behind = Counter(
        buffer.channel
        for device in migration.devices.values()
        for buffer in device.buffers
        if buffer.offset > stops.get(buffer.channel, buffer.offset)
    )
    for channel in migration.multifd:
        if channel.id in stops and behind[channel.id]:
            unpaired = channel.syncs[points]
            packets = counted(behind[channel.id], "device-state packet")
            text = f"{packets} after SYNC {points + 1}, for which main has no FLUSH"
            yield Spot(text, channel=channel, mark=unpaired)


@migration_rule("MF309", "sync-lag", INFO, holes="X")
def sync_lag(migration: Migration) -> Iterator[Spot]:
    """The SYNCs of a round, or the SYNCs and their record on main, are far apart in time.

    The sender writes all SYNCs of a round together and then the record on main; but each connection
    has its own queue, so in a capture the record may even come first.

    Receiver: channels that have reached the SYNC wait for the last one.

    Usual cause: one connection has more data queued than the others; a slow network.
    """
    rounds, facts = _rounds(migration), migration.main_facts
    if not rounds or migration.began_late or migration.lacks_bytes:
        return
    points = []
    if facts is not None and not facts.interrupted:
        points = _marks(migration, facts)
    worst, text, frame = LAG_TOLD, "", None
    for number, marks in enumerate(zip(*(c.syncs for c in _countable(migration)), strict=True)):
        first, last = min(m.time for m in marks), max(marks, key=lambda m: m.time)
        lag = points[number].time - last.time if number < len(points) else 0
        if max(last.time - first, abs(lag)) > worst:
            worst = max(last.time - first, abs(lag))
            side = "after" if lag >= 0 else "before"
            text = f"round {number + 1}: SYNCs over {duration(last.time - first)}"
            text += f", main's record {duration(abs(lag))} {side} the last one"
            frame = last.frame
    if text:
        yield Spot(text, frame=frame)


# -- what the rules above ask ----------------------------------------------------------------------


def _whole(migration: Migration) -> list[Channel]:
    """The channels that took part in SYNC rounds until the end.

    Those without an initial packet (MF103), refused (MF112), truncated (MF203) or closed early
    (MF116) are reported by those rules.
    """
    early = {id(channel) for channel, *_ in ended_early(migration)}
    early |= {id(channel) for _, channel in refused(migration)}
    return [
        channel
        for channel in migration.multifd
        if channel.synchronises
        and (channel.init is not None or channel.incomplete_start)
        and channel.cut_in is None
        and id(channel) not in early
    ]


def _countable(migration: Migration) -> list[Channel]:
    """The same; none if one of them lost its framing, since SYNCs in the skipped bytes cannot be
    counted.
    """
    channels = _whole(migration)
    lost = any(channel.skipped and not channel.holes for channel in channels)
    return [] if lost else channels


def _rounds(migration: Migration) -> int | None:
    """The number of SYNC rounds, if all channels have the same."""
    counts = {len(channel.syncs) for channel in _countable(migration)}
    return counts.pop() if len(counts) == 1 else None


def _by_flush(migration: Migration, facts: MainFacts) -> bool:
    """Whether main synchronises at FLUSH records rather than at the EOS of every section."""
    forced = migration.framing.settings.sync
    return bool(facts.ram.flushes) if forced is None else forced == "round"


def shown_sync(migration: Migration, facts: MainFacts) -> str | None:
    """The way of synchronising that the bytes prove, as :class:`Settings` names it."""
    if facts.ram.flushes:
        return "round"
    rounds = _rounds(migration)
    return "legacy" if rounds and rounds == facts.ram.section_end_count else None


def _points(migration: Migration, facts: MainFacts) -> int:
    """The number of sync points on main."""
    by_flush = _by_flush(migration, facts)
    return facts.ram.flush_count if by_flush else facts.ram.section_end_count


def _marks(migration: Migration, facts: MainFacts) -> list[Mark]:
    """The places of the sync points, as far as they are kept."""
    return facts.ram.flushes if _by_flush(migration, facts) else facts.ram.section_ends


def _matches(rounds: int, migration: Migration, facts: MainFacts) -> bool:
    """Whether the number of SYNC rounds is right for the sender's version."""
    extra = rounds - _points(migration, facts)
    if not _by_flush(migration, facts) and facts.postcopy_run is not None:
        return True  # sections go on during postcopy, SYNCs do not
    return not extra or (extra == 1 and _may_end_with_sync(migration, facts))


def _may_end_with_sync(migration: Migration, facts: MainFacts) -> bool:
    """Whether the sender may end with a SYNC round without a FLUSH, as QEMU 9.1 and 9.2 do.

    So do v2 and v3 of the device-state series, whatever QEMU they are applied to.
    """
    if not _by_flush(migration, facts):
        return False
    era = migration.era
    if era is not None and era.name == "7.2":
        return False
    if migration.framing.byte_order == "le":
        return True
    machine = facts.machine_version
    return facts.switchover_start is None if machine is None else machine <= (9, 2)


def _mixed(rounds: int, facts: MainFacts) -> bool:
    """Whether there is a SYNC round for each RAM section although main has FLUSH records."""
    flushes, sections = facts.ram.flush_count, facts.ram.section_end_count
    return 0 < flushes < rounds and rounds in (sections, sections + flushes)
