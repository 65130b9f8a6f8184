"""MF601 to MF606, MF635, MF644 and MF645: how a main stream begins and ends, and COLO after it.

Wire-format page, sections 6.1 to 6.4 and 6.10.
"""

from __future__ import annotations

from analyzer.checks.rule import ERROR, INFO, WARNING, Spot, main_rule, walker_rule

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from analyzer.migration.channel import Channel
    from analyzer.migration.main_channel import MainFacts


@walker_rule("MF601", "main-magic", ERROR, holes="L")
def main_magic() -> None:
    """The main stream does not begin with QEVM.

    The destination recognises a migration stream by this magic.  Only a main connection that
    recovers a paused postcopy has none: it continues with a command.

    Receiver: ``Not a migration stream, magic: %x != %x``; nothing is loaded.  Later ones look at
    the magic first: without QEVM 8.0 to 10.0 with multifd take the connection for a multifd
    channel, and 10.1 rejects it (MF101), with or without multifd.

    Usual cause: the file or connection is not a migration stream, or its first bytes are damaged.
    """


@walker_rule("MF602", "main-version", ERROR)
def main_version() -> None:
    """The version after QEVM is not 3.

    Version 2 was written before 2009; no other was ever used.

    Receiver: ``SaveVM v2 format is obsolete and no longer supported`` or ``Unsupported migration
    stream version, file version %x != %x``.

    Usual cause: damaged bytes, or a sender that is not QEMU.
    """


@walker_rule("MF603", "main-no-configuration", WARNING, holes="M")
def main_no_configuration() -> None:
    """The header is not followed by a CONFIGURATION record with the machine's name.

    It lets the destination reject a stream of another machine type before it loads any state.

    Receiver: ``Configuration section missing, %x != %x``, unless its own ``send-configuration`` is
    off.

    Usual cause: ``send-configuration=off``, the default of machine types up to 2.3; damaged bytes.
    """


@walker_rule("MF604", "main-truncated", ERROR, holes="LEA", forgiven=True)
def main_truncated() -> None:
    """The main stream, or a postcopy preempt channel, ends inside a record.

    A complete main stream ends with its EOF byte or with the vmdescription after it.

    Receiver: the read fails, and the load with it.

    Usual cause: the source died or gave up, or a saved file was cut off.
    """


@main_rule("MF605", "main-no-eof", INFO, holes="EG")
def main_no_eof(facts: MainFacts, channel: Channel | None) -> Iterator[Spot]:
    """The main stream ended, but its EOF byte never came.

    EOF follows the last section.  Without it the source had more to send: the migration did not
    complete.  For a saved file that ends like this between two records it is an error.

    Receiver: it waits for the next record, gets the end of the stream instead, and fails.

    Usual cause: a migration that was cancelled or failed, or a saved file that was cut off.
    """
    if facts.eof is not None or facts.interrupted or not facts.ended:
        return
    if channel is not None and (channel.incomplete_end or channel.incomplete_start):
        return
    text = "the stream ended without an EOF byte"
    if channel is not None:
        yield Spot(text, frame=channel.flow.last.frame)
    else:
        yield Spot(text, severity=ERROR if facts.truncated is None else None)


@main_rule("MF606", "main-trailing", WARNING, holes="G")
def main_trailing(facts: MainFacts, channel: Channel | None) -> Iterator[Spot]:
    """Bytes follow the end of the main stream.

    Only the vmdescription may follow EOF, and nothing follows that, unless COLO continues with its
    checkpoints.  Anything else right after EOF is an error: it may be the rest of the state.

    Receiver: the load ends at EOF, successfully.  It expects the vmdescription there (``Expected
    vmdescription section, but got %d``) and never reads what follows: state is lost silently.

    Usual cause: a sender that writes EOF too early, or a damaged type byte; after the
    vmdescription, something that was appended to a saved file.
    """
    if facts.trailing is None:
        return
    byte, mark = facts.trailing
    if facts.description is not None or facts.interrupted:
        yield Spot(f"byte {byte:#04x} after the end", mark=mark)
        return
    text = f"byte {byte:#04x} after EOF, at which the load ends: what follows is never loaded"
    yield Spot(text, mark=mark, severity=ERROR)


@walker_rule("MF635", "capabilities-differ", WARNING)
def capabilities_differ() -> None:
    """The stream contradicts the capabilities in its CONFIGURATION.

    The record names mapped-ram and x-ignore-shared if they are on; each adds a field to every entry
    of the block list.  Here the field is there without the capability, or the capability without
    the field.

    Receiver: ``Capability %s is %s, but received capability is %s`` if its own capabilities differ
    from those announced, else it misreads the block list.

    Usual cause: ``send-configuration=off`` together with mapped-ram; damaged bytes.
    """


@walker_rule("MF644", "colo-message", ERROR, holes="G")
def colo_message() -> None:
    """The primary of a COLO pair sends an unexpected message, or device state of the wrong size.

    A checkpoint is CHECKPOINT_REQUEST, VMSTATE_SEND with guest memory, and VMSTATE_SIZE with that
    many bytes of device state.

    Receiver: the secondary: ``Unexpected COLO message %d, expected %d`` or ``Got unknown COLO
    message: %d``; it leaves COLO and waits for the failover.

    Usual cause: a modified primary, or damaged bytes.
    """


@walker_rule("MF645", "record-unreadable", ERROR, holes="LG")
def record_unreadable() -> None:
    """A record holds a flag, number or position that QEMU never writes.

    Records and their contents have no length field, so decoding cannot continue after such a value.
    The message says where; decoding resumes after the next footer.

    Receiver: the code that reads the record fails, and the load with it.

    Usual cause: damaged bytes; a newer or modified source.
    """
