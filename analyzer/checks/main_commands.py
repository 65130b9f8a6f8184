"""MF614 to MF618, MF642 and MF648: commands of the main stream (wire-format page, 6.5)."""

from __future__ import annotations

from analyzer.checks.rule import (
    ERROR,
    INFO,
    WARNING,
    Spot,
    limit_rule,
    main_rule,
    walker_rule,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from analyzer.checks.selection import Selection
    from analyzer.migration.channel import Channel
    from analyzer.migration.main_channel import MainFacts
    from analyzer.migration.migration import Migration

SWITCHOVER_SINCE = (10, 0)


@walker_rule("MF614", "command-unknown", ERROR, holes="LG")
def command_unknown() -> None:
    """A command is not one that QEMU up to 11.1 knows (1 to 11).

    A receiver cannot skip an unknown command, since it may change how the rest must be read.

    Receiver: ``MIG_CMD 0x%x unknown (len 0x%x)``; the migration fails.

    Usual cause: a newer or modified source, or damaged bytes.
    """


@walker_rule("MF615", "command-length", ERROR)
def command_length() -> None:
    """A command has the wrong length.

    All commands but POSTCOPY_RAM_DISCARD and RECV_BITMAP have a fixed length.

    Receiver: ``%s received with bad length - expecting %zu, got %d``; the migration fails.

    Usual cause: a modified source, or damaged bytes.
    """


@walker_rule("MF616", "ping-without-rp", ERROR, holes="L")
def ping_without_rp() -> None:
    """A PING comes before OPEN_RETURN_PATH.

    The answer goes over the return path, which is not open yet.

    Receiver: ``CMD_PING (0x%x) received with no return path``; the migration fails.

    Usual cause: a modified source.
    """


@main_rule("MF617", "switchover-order", WARNING, holes="M")
def switchover_order(facts: MainFacts, channel: Channel | None) -> Iterator[Spot]:
    """SWITCHOVER_START is missing, repeated, or sent after the final sections have begun.

    With machine types 10.0 and later the source sends it once, before the rest of the state:
    devices then prepare to load their final state.  A background snapshot has none.

    Receiver: without it no device loads state from multifd; if it comes late, 11.1 reports
    ``Switchover start failed: %d`` when a device's handler fails.

    Usual cause: ``send-switchover-start=off`` at the source, or a modified sender.
    """
    version = facts.machine_version
    if version is None or version < SWITCHOVER_SINCE or facts.eof is None:
        return
    if facts.switchover_start is not None or facts.interrupted or facts.missing:
        return
    if facts.is_background_snapshot:
        return
    if any(device.completes for device in facts.devices.values()):
        return  # the first revisions of the device-state series had DATA_STATE_COMPLETE instead
    end = facts.first_section_end or facts.eof
    yield Spot(
        f"machine type {facts.machine}, but no SWITCHOVER_START before the final sections",
        mark=end,
    )


@limit_rule("MF618", "switchover-unsupported", INFO)
def switchover_unsupported(migration: Migration, selection: Selection) -> Iterator[Spot]:
    """SWITCHOVER_START is sent to a destination older than 10.0, which does not know the command.

    The capture does not show the destination's version; the rule runs only if the user states it.

    Receiver: ``MIG_CMD 0xb unknown (len 0x0)``; the migration fails.

    Usual cause: ``send-switchover-start`` was forced on, or the source runs a machine type that the
    destination only claims to support.
    """
    facts, version = migration.main_facts, selection.destination_version
    if version is None or version >= SWITCHOVER_SINCE:
        return
    if facts is not None and (start := facts.switchover_start) is not None:
        text = f"the destination is a QEMU {version[0]}.{version[1]}"
        yield Spot(text, channel=migration.main, mark=start)


@walker_rule("MF642", "postcopy-order", ERROR, holes="GE", forgiven=True)
def postcopy_order() -> None:
    """The postcopy commands are in an invalid order.

    ADVISE prepares the destination, DISCARD drops pages that were dirtied since, LISTEN lets it
    request pages and RUN starts the guest.  ADVISE comes once, before LISTEN, RUN and DISCARD;
    neither DISCARD nor another LISTEN may follow LISTEN, and none of these commands may follow RUN.
    A PACKAGED holds complete records, and no other PACKAGED.

    Receiver: it rejects a command that does not fit its state; the load fails.

    Usual cause: a modified source, or damaged bytes.
    """


@walker_rule("MF648", "postcopy-discard", ERROR)
def postcopy_discard() -> None:
    """A POSTCOPY_RAM_DISCARD is malformed, or names pages that do not exist.

    It holds version 0, the name of a block followed by a zero byte, and one or more byte ranges,
    all inside the block.

    Receiver: ``CMD_POSTCOPY_RAM_DISCARD invalid version (%d)``, ``missing nil (%d)``, ``invalid
    length (%d)``, or it rejects the block or the range; the load fails.

    Usual cause: a modified source, or damaged bytes.
    """
