"""MF7xx: the return path, from the destination to the source (wire-format page, 1.7)."""

from __future__ import annotations

from analyzer.checks.rule import ERROR, INFO, WARNING, Spot, migration_rule, walker_rule
from analyzer.checks.wording import counted
from analyzer.migration.main_channel import PINGS_KEPT
from analyzer.migration.outcome import outcome_of, refuses_colo
from dissectors.multifd import text_of
from dissectors.return_path import ReturnPathType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from analyzer.migration.main_channel import MainFacts
    from analyzer.migration.mark import Mark
    from analyzer.migration.migration import Migration
    from analyzer.migration.return_path import Message

SINGLE_ACK_UP_TO = (11, 0)
BITMAP = int(ReturnPathType.RECV_BITMAP)
REQUESTS = (int(ReturnPathType.REQ_PAGES), int(ReturnPathType.REQ_PAGES_ID))
HOST_PAGE_MIN = 4096
"""The smallest page of a host, in bytes."""


def _spot(migration: Migration, text: str, mark: Mark, severity: str | None = None) -> Spot:
    """A place of the return path."""
    return Spot(text, channel=migration.return_path, mark=mark, severity=severity)


def _never_opened(migration: Migration) -> bool:
    """Whether main, which is whole, did not open the return path.

    COLO needs the reverse direction, and older sources do not open a return path for it.
    """
    facts = migration.main_facts
    if facts is None or facts.interrupted or facts.missing or migration.in_colo:
        return False
    return facts.opened_return_path is None


@walker_rule("MF701", "rp-unknown-type", ERROR, holes="G")
def rp_unknown_type() -> None:
    """A message's type is not one that QEMU up to 11.1 knows (1 to 7).

    SWITCHOVER_ACK (7) was added in 8.1; older sources reject it too.

    Receiver: the source: ``Received invalid message 0x%04x length 0x%04x``; it ends the return path
    and the migration fails.

    Usual cause: a newer destination, or damaged bytes.
    """


@walker_rule("MF702", "rp-length", ERROR)
def rp_length() -> None:
    """A message has the wrong length for its type.

    All messages have a fixed length, except the two that end with a block's name.

    Receiver: the source: ``Received '%s' message (0x%04x) withincorrect length %d expecting %zu``;
    it ends the return path and the migration fails.

    Usual cause: a modified destination, or damaged bytes.
    """


@migration_rule("MF703", "rp-pong-value", WARNING, holes="XM")
def rp_pong_value(migration: Migration) -> Iterator[Spot]:
    """A PONG answers a PING that was never sent.

    A PONG repeats the PING's value.

    Receiver: the source only traces it, except for the values 3 and 0x42, which it waits for in
    postcopy.

    Usual cause: a modified destination; channels of two migrations mistaken for one.
    """
    facts, returned = migration.main_facts, migration.return_facts
    if facts is None or returned is None or facts.interrupted or len(facts.pings) >= PINGS_KEPT:
        return
    if "command-length" in facts.anomalies.counts:
        return  # it may answer a PING without a value (MF615)
    if _never_opened(migration):
        return  # MF706 reports that
    sent = {value for value, _ in facts.pings}
    for value, mark in returned.pongs:
        if value not in sent:
            yield _spot(migration, f"PONG {value:#x} without such a PING", mark)


@migration_rule("MF704", "rp-shut-error", ERROR)
def rp_shut_error(migration: Migration) -> Iterator[Spot]:
    """The destination reports a failure.

    SHUT is its last message: 0 if everything was loaded, any other value if not.  After a cancel it
    reports one as well, because the state breaks off: that is no error (``info``).

    Receiver: the source: ``Sibling indicated error %d``; the guest continues on the source.

    Usual cause: see the destination's log; other findings may explain it too.
    """
    returned = migration.return_facts
    if returned is not None and returned.shut and returned.shut_mark is not None:
        text, severity = f"SHUT with value {returned.shut}", None
        if outcome_of(migration).name == "cancelled":
            text, severity = f"{text}, after the source had closed main", INFO
        yield _spot(migration, text, returned.shut_mark, severity=severity)


@migration_rule("MF705", "rp-no-shut", WARNING, holes="EG")
def rp_no_shut(migration: Migration) -> Iterator[Spot]:
    """The return path ended without SHUT although main was sent completely.

    SHUT tells the source whether the destination has loaded everything.  (With COLO, older
    destinations send CHECKPOINT_READY instead.)  If either side gave up before all was sent,
    none is expected (``info``).

    Receiver: the source treats the end of the return path as an error and resumes the guest,
    although the destination may already run it.

    Usual cause: the destination died at the very end, or a middlebox closed the connection.
    """
    facts, returned, channel = migration.main_facts, migration.return_facts, migration.return_path
    if facts is None or returned is None or channel is None or facts.eof is None:
        return
    if _never_opened(migration) or returned.anomalies:
        return  # MF706 reports the one; after the other the source gives it up
    if returned.shut is None and not migration.in_colo and not returned.skipped:
        last, outcome = channel.flow.last, outcome_of(migration)
        severity = None if outcome.awaited else INFO
        yield Spot(
            "ended without SHUT",
            channel=channel, frame=last.frame, offset=channel.length, severity=severity,
        )  # fmt: skip


@migration_rule("MF706", "rp-without-open", WARNING, holes="LM")
def rp_without_open(migration: Migration) -> Iterator[Spot]:
    """The destination sends data on main's connection although the source did not open a return
    path.

    OPEN_RETURN_PATH tells the destination that the source reads its messages.

    Receiver: the source does not read them.

    Usual cause: a modified source or destination; something other than QEMU listens on the port.
    """
    channel = migration.return_path
    if channel is not None and _never_opened(migration):
        text = f"{counted(channel.length, 'byte')}, and main has no OPEN_RETURN_PATH"
        yield Spot(text, channel=channel, frame=channel.flow.first.frame, offset=0)


@migration_rule("MF707", "rp-ack-count", WARNING, holes="X")
def rp_ack_count(migration: Migration) -> Iterator[Spot]:
    """SWITCHOVER_ACK came more than once, or before the last device had sent its initial data.

    With QEMU or machine types up to 11.0 the destination acknowledges once: when the last device
    that asked for it has its initial data, or at once if none asks.  Later versions may acknowledge
    each device.

    Receiver: the source may switch over too early, before a device is prepared, and the downtime
    grows.  11.1 counts: with one too many it ends the return path (``Switchover ack pending num
    underflowed``), and the migration fails.

    Usual cause: a destination 11.1 or later that does not follow the machine type, or a modified
    one.
    """
    facts, returned = migration.main_facts, migration.return_facts
    if facts is None or returned is None or not returned.acks or facts.interrupted:
        return
    version = facts.machine_version
    if version is not None and version > SINGLE_ACK_UP_TO:
        return
    severity = INFO if version is None else None
    if len(returned.acks) > 1:
        text = f"{len(returned.acks)} SWITCHOVER_ACKs"
        yield _spot(migration, text, returned.acks[1], severity)
    last = _last_init_data(facts)
    if last is not None and returned.acks[-1].frame < last.frame:
        text = f"SWITCHOVER_ACK before the DEV_INIT_DATA_SENT of frame {last.frame}"
        yield _spot(migration, text, returned.acks[-1], severity)


def _last_init_data(facts: MainFacts) -> Mark | None:
    """The last DEV_INIT_DATA_SENT of all devices."""
    marks = [mark for device in facts.devices.values() for mark in device.init_data_sent]
    return max(marks, key=lambda mark: mark.offset, default=None)


@migration_rule("MF708", "rp-bitmap-mark", ERROR, holes="G")
def rp_bitmap_mark(migration: Migration) -> Iterator[Spot]:
    """A bitmap of received pages lacks its end mark, or its size does not match its block.

    Size, bitmap and the mark 0x0123456789abcdef follow RECV_BITMAP outside its length.  The bitmap
    has a bit for every page of the block, and its size is a multiple of 8 bytes.

    Receiver: the source: ``ramblock '%s' end mark incorrect: ...`` or ``ramblock '%s' bitmap size
    mismatch ...``; the recovery fails.

    Usual cause: a block with different sizes at source and destination; damaged bytes.
    """
    returned = migration.return_facts
    if returned is None:
        return
    told = {anomaly.offset for anomaly in returned.anomalies}
    for message in returned.messages:
        if message.kind != BITMAP or message.mark.offset in told:
            continue
        name, size = message.block or b"", migration.bitmap_size(message.block or b"")
        if size is not None and message.size != size:
            text = f"block {text_of(name)!r}, {message.size} bytes, expected {size}"
            yield _spot(migration, text, message.mark)


@migration_rule("MF709", "rp-reqpages", WARNING, holes="X")
def rp_reqpages(migration: Migration) -> Iterator[Spot]:
    """The destination requests a page outside its block, a part of one, or one before the guest
    runs there.

    Requests are sent in postcopy, when the guest touches a page that the destination does not have
    yet.  They ask for whole pages of the host, which have 4 KiB at least.

    Receiver: the source: ``MIG_RP_MSG_REQ_PAGES has no block '%s'``, ``MIG_RP_MSG_REQ_PAGES
    request overrun, start=%lx len=%lx blocklen=%lx`` or ``Misaligned page request, start:%lx len:
    %zd``; it ends the return path.

    Usual cause: a modified destination; damaged bytes.
    """
    facts, returned = migration.main_facts, migration.return_facts
    if facts is None or returned is None or facts.interrupted:
        return
    for message in returned.messages:
        if message.kind in REQUESTS and (text := _request_fault(message, facts)):
            yield _spot(migration, text, message.mark)


@walker_rule("MF710", "rp-colo-message", ERROR, holes="G")
def rp_colo_message() -> None:
    """The secondary of a COLO pair sends an unexpected message.

    It begins with CHECKPOINT_READY; then it answers every checkpoint with CHECKPOINT_REPLY,
    VMSTATE_RECEIVED and VMSTATE_LOADED, in that order.

    Receiver: the primary: ``Unexpected COLO message %d, expected %d``; it leaves COLO and waits for
    the failover.

    Usual cause: a modified secondary, or damaged bytes.
    """


@migration_rule("MF711", "rp-colo-early", ERROR, holes="LGX")
def rp_colo_early(migration: Migration) -> Iterator[Spot]:
    """CHECKPOINT_READY, or bytes that look like it, came while the source still reads the return
    path.

    A secondary starts COLO once it has loaded the whole migration, up to main's EOF, and, if the
    source opened a return path, after SHUT.  Only then do four zero bytes mean CHECKPOINT_READY;
    before that they are not a valid message.

    Receiver: the source: ``Received invalid message 0x%04x length 0x%04x``; it ends the return path
    and the migration fails.

    Usual cause: ``x-colo`` together with ``return-path``, for which QEMU up to 10.2 sends no SHUT;
    a modified destination; damaged bytes.
    """
    facts, returned = migration.main_facts, migration.return_facts
    if facts is None or returned is None or returned.ready is None or facts.interrupted:
        return
    if facts.eof is None or facts.eof.frame > returned.ready.frame:
        yield _spot(migration, "CHECKPOINT_READY before main's EOF", returned.ready)
    elif refuses_colo(migration):
        text = "CHECKPOINT_READY without SHUT, though the source opened the return path"
        yield _spot(migration, text, returned.ready)


@walker_rule("MF712", "rp-resume-ack", ERROR)
def rp_resume_ack() -> None:
    """RESUME_ACK does not have the value 1.

    With it the destination of a recovered postcopy says that it is ready to continue.

    Receiver: the source: ``illegal resume_ack value %u``; the recovery fails, and the migration
    pauses again.

    Usual cause: a modified destination; damaged bytes.
    """


@migration_rule("MF713", "rp-shut-early", WARNING, holes="LGEXM")
def rp_shut_early(migration: Migration) -> Iterator[Spot]:
    """The destination reports success before main has reached its EOF.

    SHUT with 0 means that everything was loaded, which the destination cannot know before EOF.

    Receiver: the source takes it for success: it may consider a migration completed that the
    destination has not loaded.

    Usual cause: a modified destination; a capture whose two directions were recorded separately.
    """
    facts, returned, main = migration.main_facts, migration.return_facts, migration.main
    if facts is None or returned is None or main is None or returned.shut != 0:
        return
    if facts.interrupted or facts.colo is not None or (mark := returned.shut_mark) is None:
        return
    if facts.eof is not None and facts.eof.frame > mark.frame:
        yield _spot(migration, f"SHUT before main's EOF in frame {facts.eof.frame}", mark)
    elif facts.eof is None and main.flow.closed and not main.flow.missing:
        yield _spot(migration, "SHUT with success, but main never reached its EOF", mark)


def _request_fault(message: Message, facts: MainFacts) -> str:
    """What is wrong with a page request, if anything is."""
    run = facts.postcopy_run
    start, size = message.start or 0, message.size or 0
    if run is None or message.mark.frame < run.frame:
        return f"{size} bytes at {start:#x} requested before POSTCOPY_RUN"
    if message.block is None:
        return f"{size} bytes at {start:#x} requested, but no request named a block before"
    if (start | size) % HOST_PAGE_MIN:
        return f"{size} bytes at {start:#x} requested, not whole pages of a host"
    name = text_of(message.block)
    if facts.ram.lacks(message.block):
        return f"{size} bytes at {start:#x} requested of {name!r}, which is not in the block list"
    block = facts.ram.blocks.get(message.block)
    if block is not None and start + size > block.used_length:
        return (
            f"{size} bytes at {start:#x} requested of {name!r}, whose length is "
            f"{block.used_length:#x}"
        )
    return ""
