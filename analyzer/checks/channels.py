"""MF1xx: channels and initial packets (wire-format page, sections 1 and 2)."""

from __future__ import annotations

from analyzer.checks.ram_pages import told_page_sizes
from analyzer.checks.rule import (
    ERROR,
    INFO,
    WARNING,
    Spot,
    channel_rule,
    limit_rule,
    migration_rule,
    walker_rule,
)
from analyzer.checks.wording import counted, names, ranges
from analyzer.migration.absent_channels import absent_ids, all_captured
from analyzer.migration.early_ends import refused
from analyzer.migration.main_ram import is_ram_record
from analyzer.migration.outcome import outcome_of
from dissectors.main_stream import IGNORE_SHARED, RAM_SECTION
from dissectors.multifd import COMMON_PAGE_SIZE, MAGIC, VERSION, ChannelType, uuid_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from analyzer.checks.selection import Selection
    from analyzer.migration.channel import Channel
    from analyzer.migration.main_channel import MainFacts
    from analyzer.migration.mark import Mark
    from analyzer.migration.migration import Migration

HEADER_SIZES = 1 << 16
"""A first word below this is taken for the size field of the RFC's channel header, right or wrong.
"""


# -- the initial packet ---------------------------------------------------------------------------


@migration_rule("MF101", "init-magic", ERROR, holes="L")
def init_magic(migration: Migration) -> Iterator[Spot]:
    """A connection of the migration begins with neither 0x11223344, QEVM nor a TLS handshake.

    Every multifd channel starts with an initial packet that begins with 0x11223344, and main begins
    with QEVM.  From these bytes the destination knows which channel a connection is.

    Receiver: ``failed to receive packet via multifd channel %d: multifd: received packet magic %x
    expected %x``; up to 10.0 everything that is not QEVM is treated as a multifd channel.  10.1 and
    later: ``unknown channel magic: %u``.

    Usual cause: something other than the source connected to the migration port (a port scan, a
    health check), or a proxy in between prepended bytes of its own.
    """
    for channel in migration.multifd:
        if channel.init is not None and channel.init.magic != MAGIC:
            yield _at_init(channel, f"begins with {channel.init.magic:#010x}, not {MAGIC:#x}")
    for channel in migration.strangers:
        if channel.channel_header is None and channel.head and not _is_size(migration, channel):
            if is_ram_record(channel.head) and migration.preempt is None:
                continue  # it may be that channel: MF121
            what = "a connection to the migration port begins with"
            yield _at_start(channel, f"{what} {channel.head[:8].hex(' ')}, not a known channel")


@channel_rule("MF102", "init-version", ERROR)
def init_version(channel: Channel, migration: Migration) -> Iterator[Spot]:
    """The version in the initial packet is not 1.

    No other version was ever used, so the stream does not come from QEMU.

    Receiver: ``multifd: received packet version %u expected %u``; the migration fails before any
    data are loaded.

    Usual cause: damaged bytes, or a sender that is not QEMU.
    """
    init = channel.init
    if init is not None and init.version != VERSION:
        yield _at_init(channel, f"version {init.version} in the initial packet, not {VERSION}")


@walker_rule("MF103", "init-short", ERROR, holes="EA", forgiven=True)
def init_short() -> None:
    """The stream ends inside the initial packet.

    The destination does not count a channel whose initial packet is incomplete.

    Receiver: a read error on that channel fails the migration, or the destination waits for the
    channel without a timeout.

    Usual cause: the source closed the connection while it was being set up: another channel failed
    to connect, or the migration was cancelled at once.
    """


@migration_rule("MF104", "uuid-mismatch", ERROR)
def uuid_mismatch(migration: Migration) -> Iterator[Spot]:
    """The channels of one migration carry different guest uuids.

    Each initial packet holds the uuid of the guest; with ``validate-uuid`` main's CONFIGURATION
    does too.  All channels of a migration belong to one guest, and the destination compares each
    uuid with its own.

    Receiver: ``multifd: received uuid '%s' and expected uuid '%s' for channel %hhd``, where the
    expected one is its own; for main ``UUID received is %s and local is %s``.  The migration fails.

    Usual cause: two concurrent migrations to the same address and port, so that channels of one
    reach the other's destination; or damaged bytes.
    """
    inits = [(channel, channel.init) for channel in migration.multifd if channel.init is not None]
    uuids = [init.uuid for _, init in inits]
    facts = migration.main_facts
    if facts is not None and facts.uuid is not None and uuids and facts.uuid not in uuids:
        text = f"uuid {uuid_text(facts.uuid)} in CONFIGURATION, {uuid_text(uuids[0])} on multifd"
        yield Spot(text, channel=migration.main, mark=facts.configuration)
    if len(set(uuids)) < 2:
        return
    usual = max(uuids, key=uuids.count)
    for channel, init in inits:
        if init.uuid != usual:
            text = f"uuid {uuid_text(init.uuid)} while other channels have {uuid_text(usual)}"
            yield _at_init(channel, text)


@migration_rule("MF105", "uuid-zero", INFO)
def uuid_zero(migration: Migration) -> Iterator[Spot]:
    """The guest has no uuid: it is all zero in every initial packet.

    Without ``-uuid`` QEMU sends zeros; libvirt always sets one.  Connections are then grouped into
    migrations by endpoints and times alone.

    Receiver: nothing; its own uuid is zero too.

    Usual cause: a guest that was started by hand.
    """
    inits = [(channel, channel.init) for channel in migration.multifd if channel.init is not None]
    if inits and not any(any(init.uuid) for _, init in inits):
        yield Spot("the guest's uuid is all zero", frame=inits[0][1].place.frame)


@migration_rule("MF106", "init-duplicate-id", ERROR)
def init_duplicate_id(migration: Migration) -> Iterator[Spot]:
    """Two channels of one migration have the same id.

    The destination keeps its channels in an array indexed by id, so an id identifies one
    connection.

    Receiver: ``multifd: received id '%d' already setup'``; the migration fails.

    Usual cause: two sources migrate to the same address and port at the same time.
    """
    first: dict[int, Channel] = {}
    for channel in sorted(migration.multifd, key=_init_frame):
        if channel.id < 0:
            continue
        other = first.setdefault(channel.id, channel)
        if other is not channel:
            text = f"id {channel.id} is in use by tcp.stream {other.stream} already"
            yield _at_init(channel, text)


@migration_rule("MF107", "init-id-gap", WARNING, holes="LX", forgiven=True)
def init_id_gap(migration: Migration) -> Iterator[Spot]:
    """A multifd channel is missing: the ids are not 0 to n-1.

    The source numbers its channels from 0 without gaps.  A missing id is a channel that was never
    opened, or one that the capture filter left out.

    Receiver: it waits without a timeout until the configured number of channels is connected;
    nothing is loaded before that.

    Usual cause: the capture has only some of the connections; or one of them was never established
    (a firewall, a full accept queue).
    """
    missing = absent_ids(migration)
    if missing and not all_captured(migration):
        highest = max(channel.id for channel in migration.multifd)
        text = f"no channel has id {ranges(missing)}, the highest is {highest}"
        yield Spot(text, frame=_init_frame(_by_id(migration, highest)))


@limit_rule("MF108", "init-id-out-of-count", ERROR, holes="XE")
def init_id_out_of_count(migration: Migration, selection: Selection) -> Iterator[Spot]:
    """A channel's id is greater than or equal to the number of channels.

    With n channels the ids are 0 to n-1.  n is what the user specified, or else the number of
    connections in the capture, if the packet numbers prove that it has all of them.

    Receiver: id > n: ``multifd: received channel id %u is greater than number of channels %u``
    (7.2: ``received channel version %u expected %u``, which actually prints ids).  id == n is
    accepted up to 10.2 and indexes past the end of an array; 11.1 rejects it: ``multifd: received
    channel id %u exceeds channel count %u``.

    Usual cause: source and destination are configured for different numbers of channels, or a
    damaged initial packet.
    """
    count = selection.channels
    if count is None:
        if not all_captured(migration):
            return
        count = len(migration.multifd) + len(migration.strangers)
    for channel in migration.multifd:
        if channel.id >= count:
            spot = _at_init(channel, f"id {channel.id} with {counted(count, 'channel')}")
            spot.certain = selection.channels is not None
            yield spot


@channel_rule("MF109", "init-reserved-nonzero", INFO)
def init_reserved_nonzero(channel: Channel, migration: Migration) -> Iterator[Spot]:
    """The reserved bytes of the initial packet are not all zero.

    Every release sends zeros in bytes 25 to 63.

    Receiver: it does not look at them.

    Usual cause: a vendor fork, or a newer QEMU that uses these bytes.
    """
    if channel.init is not None and channel.init.reserved:
        yield _at_init(channel, "reserved bytes of the initial packet are not zero")


# -- which channels there are ---------------------------------------------------------------------


@migration_rule("MF110", "main-missing", INFO, holes="LX")
def main_missing(migration: Migration) -> Iterator[Spot]:
    """The capture has multifd channels but not the main channel that belongs to them.

    Main carries the RAM block list, the device sections, the sync points and the end of the
    migration; rules that need them do not run.

    Receiver: not affected.  There is no migration without main; only the capture lacks it, or the
    source, which sends nothing on main before all multifd channels are connected, never came to
    use it.

    Usual cause: a capture filter on ports, or a capture that began late; if main was opened, a
    destination that accepts fewer channels than the source opens.
    """
    if migration.main is not None or not migration.multifd:
        return
    if (silent := migration.silent_main) is not None:
        text = f"main is stream {silent.number}, which never carried a byte"
        yield Spot(text, frame=silent.began.frame)
    else:
        yield Spot(f"main is not in the capture, only {names(migration.multifd)}")


@migration_rule("MF111", "multifd-missing", WARNING, holes="X")
def multifd_missing(migration: Migration) -> Iterator[Spot]:
    """Main belongs to multifd channels that the capture does not have.

    MULTIFD_FLUSH records are sent only with multifd on; senders up to 8.1, and later ones with
    their machine types, send none, but there main goes through all of guest memory without a page
    that has content, and without a zero page for each.  The pages, and any device state, went over
    connections that are not in the capture.

    Receiver: not affected.  The migration is fine, but the capture lacks most of it.

    Usual cause: a capture filter that lets only one connection pass.
    """
    facts = migration.main_facts
    if facts is None or migration.multifd or migration.strangers or not facts.ram.blocks:
        return
    if _pages_before_postcopy(migration):
        return
    if facts.ram.flushes:
        text = f"{counted(facts.ram.flush_count, 'MULTIFD_FLUSH record')} but no multifd channel"
        yield Spot(text, channel=migration.main, frame=facts.ram.flushes[0].frame)
    elif (end := _end_without_pages(facts)) is not None:
        text = "no page with content on main, and no multifd channel"
        yield Spot(text, channel=migration.main, mark=end)


@migration_rule("MF112", "channel-count-mismatch", ERROR, holes="E")
def channel_count_mismatch(migration: Migration) -> Iterator[Spot]:
    """The destination closed a multifd channel that it did not expect.

    The source opens as many channels as it is configured for.  A destination configured for fewer
    closes the extra ones and keeps the others; the source notices when it writes to them.

    Receiver: ``Extra incoming migration connection; ignoring``, and the connection is closed (with
    a reset if it holds unread data).  The source then fails with ``Unable to write to socket:
    Connection reset by peer``.

    Usual cause: ``multifd-channels`` is larger on the source than on the destination, or the
    destination does not have ``multifd`` on.
    """
    found = refused(migration)
    closed = {id(channel) for _, channel in found}
    kept = [c for c in migration.streams if id(c) not in closed]
    for frame, channel in found:
        text = f"the destination closed this channel and kept {names(kept)}"
        yield Spot(text, channel=channel, frame=frame)


@channel_rule("MF113", "channel-reverse-data", WARNING)
def channel_reverse_data(channel: Channel, migration: Migration) -> Iterator[Spot]:
    """The destination sends data on a multifd channel.

    Multifd channels carry data from the source to the destination only; messages from the
    destination use the return path.

    Receiver: the source never reads from them.  The data stay unread in its socket, so that its
    close becomes a reset.

    Usual cause: a proxy or another program in between.
    """
    peer = channel.flow.peer
    keep_alive = peer.midstream and peer.offset == 1
    if channel.kind == "multifd" and peer.carries and not keep_alive:
        text = f"the destination sent {counted(peer.offset, 'byte')}"
        yield Spot(text, frame=peer.first.frame)


@migration_rule("MF114", "roles-swapped", ERROR, holes="L")
def roles_swapped(migration: Migration) -> Iterator[Spot]:
    """Main was connected after a multifd channel.

    A source connects main first and opens the multifd channels once it is established.  A
    destination up to 7.2 takes the first connection that it accepts for main, without looking at
    its bytes.  If the migration completed, the destination has looked: a warning.

    Receiver: 7.2 ``failed to receive packet via multifd channel 0: multifd: received packet magic
    5145564d expected 11223344``.  Later versions peek at the first bytes and are not affected,
    unless TLS, postcopy or mapped-ram prevent the peek.

    Usual cause: a proxy that forwards the connections in a different order than it accepted them.
    """
    main = migration.main
    if main is None or main.flow.syn is None:
        return
    connected = main.flow.syn
    # A SYN may have been captured out of order; the SYN-ACK would not.  Frames in another order
    # than their times say nothing.
    begun = [(c, c.flow.peer.syn or c.flow.first) for c in migration.multifd]
    earlier = [
        (channel, place)
        for channel, place in begun
        if 0 < place.frame < connected.frame and place.time <= connected.time
    ]
    if earlier:
        channel, place = min(earlier, key=lambda pair: pair[1].frame)
        coped = outcome_of(migration).name == "completed"
        yield Spot(
            f"main was connected in frame {connected.frame}, after {channel.name} in {place.frame}",
            channel=main,
            frame=connected.frame,
            severity=WARNING if coped else None,
        )


# -- dialects and strangers -----------------------------------------------------------------------


@migration_rule("MF120", "rfc0-channel-header", INFO)
def rfc0_channel_header(migration: Migration) -> Iterator[Spot]:
    """The connections begin with the channel header of the RFC (April 2024).

    Only the first posting of the device-state series sent it: eight bytes of header size, always 4,
    and four bytes of channel type, 0 to 3.  Any other size or type is an error.

    Receiver: ``Received unknown migration channel type %u``, or ``Received header of size %lu
    bytes which is greater than max header size of %lu bytes``.  A QEMU without the RFC's patches
    takes the header for garbage.

    Usual cause: a QEMU built from that series with ``x-channel-header`` on.
    """
    bearers = [c for c in migration.channels if c.channel_header is not None]
    if bearers:
        text = f"channel headers of the RFC on {names(bearers)}"
        yield Spot(text, frame=min(c.flow.first.frame for c in bearers))
    for channel in migration.strangers:
        if channel.channel_header is not None:
            kind = channel.channel_header[1]
            if kind > max(ChannelType):
                yield _at_start(channel, f"channel type {kind} is not 0 to 3", ERROR)
        elif _is_size(migration, channel):
            size = int.from_bytes(channel.head[:8], "big")
            yield _at_start(channel, f"channel header of size {size}, not 4", ERROR)


@migration_rule("MF121", "preempt-unannounced", WARNING, holes="LX")
def preempt_unannounced(migration: Migration) -> Iterator[Spot]:
    """A connection looks like a postcopy preempt channel, but postcopy was not announced.

    The preempt channel has no magic and begins with a RAM record.  It is opened only with the
    capability postcopy-preempt, which needs postcopy-ram: then main holds POSTCOPY_ADVISE.

    Receiver: it treats the connection as a multifd channel or as main, and fails.

    Usual cause: capabilities that differ between source and destination.
    """
    facts = migration.main_facts
    if facts is None or facts.postcopy_advise is not None:
        return
    for channel in migration.strangers:
        if is_ram_record(channel.head) and not _is_size(migration, channel):
            text = "a connection begins with a RAM record, without POSTCOPY_ADVISE on main"
            yield _at_start(channel, text)


# -- what the rules above ask ----------------------------------------------------------------------


def _at_init(channel: Channel, text: str) -> Spot:
    return Spot(text, channel=channel, frame=_init_frame(channel), offset=0)


def _at_start(channel: Channel, text: str, severity: str | None = None) -> Spot:
    frame = channel.flow.first.frame
    return Spot(text, channel=channel, frame=frame, offset=0, severity=severity)


def _init_frame(channel: Channel) -> int:
    return channel.init.place.frame if channel.init is not None else channel.flow.first.frame


def _by_id(migration: Migration, number: int) -> Channel:
    return next(channel for channel in migration.multifd if channel.id == number)


def _is_size(migration: Migration, channel: Channel) -> bool:
    """Whether an unidentified connection begins with a channel header of the RFC whose size is
    wrong.
    """
    return any(c.channel_header is not None for c in migration.channels) and _has_size(channel)


def _has_size(channel: Channel) -> bool:
    return len(channel.head) == 8 and int.from_bytes(channel.head, "big") < HEADER_SIZES


def is_told_apart(channel: Channel) -> bool:
    """Whether the first bytes of an unidentified connection may decide which rule it breaks."""
    return is_ram_record(channel.head) or _has_size(channel)


def _end_without_pages(facts: MainFacts) -> Mark | None:
    """The end of RAM, all of which was seen, if no page was sent with content although no block can
    have been left out, and not every page is a zero page.
    """
    ram = facts.ram
    told = next((size for size, *_ in told_page_sizes(facts)), COMMON_PAGE_SIZE)
    if ram.zero_pages * (ram.page_size or told) >= (ram.mem_size or 0):
        return None
    unseen = facts.interrupted or facts.unread_records or facts.in_postcopy
    shared = IGNORE_SHARED in facts.capabilities and IGNORE_SHARED not in ram.belied
    if ram.sent_pages or unseen or shared:
        return None
    sections = facts.sections.values()
    return next((s.ended for s in sections if s.idstr == RAM_SECTION and s.ended), None)


def _pages_before_postcopy(migration: Migration) -> bool:
    """Whether main carried pages with content although postcopy had not begun."""
    facts = migration.main_facts
    return facts is not None and facts.ram.sent_pages > 0 and facts.postcopy_run is None
