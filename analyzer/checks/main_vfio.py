"""MF629 to MF634, MF643 and MF647: VFIO devices on the main stream (wire-format page, 6.8)."""

from __future__ import annotations

from analyzer.checks.rule import ERROR, INFO, WARNING, Spot, migration_rule, walker_rule
from analyzer.checks.wording import counted, duration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from analyzer.migration.migration import Migration


@walker_rule("MF629", "vfio-tag-unknown", ERROR)
def vfio_tag_unknown() -> None:
    """A VFIO section holds an unknown tag.

    The body is a sequence of tags, and the tag alone determines what follows it.

    Receiver: ``%s: Unknown tag 0x%lx``; the migration fails.

    Usual cause: a newer source, or damaged bytes.
    """


@walker_rule("MF630", "vfio-setup-end", ERROR)
def vfio_setup_end() -> None:
    """DEV_SETUP_STATE is not followed by END_OF_STATE.

    The START section of a VFIO device consists of these two tags.

    Receiver: ``%s: SETUP STATE: EOS not found 0x%lx``; the migration fails.

    Usual cause: a newer source, or damaged bytes.
    """


@migration_rule("MF631", "vfio-config-on-main", ERROR, holes="X")
def vfio_config_on_main(migration: Migration) -> Iterator[Spot]:
    """A device's config state is on main although its state goes over multifd.

    With multifd transfer the config state is the device's last packet; the FULL section on main
    holds only END_OF_STATE or DEV_CONFIG_LOAD_READY.

    Receiver: ``%s: got DEV_CONFIG_STATE in main migration channel but doing multifd transfer``; the
    migration fails.

    Usual cause: a bug in the source, or channels of two migrations mistaken for one.
    """
    facts = migration.main_facts
    if facts is None:
        return
    for key, section in facts.devices.items():
        device = migration.devices.get(key)
        if section.announced != "main" or device is None or device.first is None:
            continue
        known = facts.sections.get(section.section_id)
        yield Spot(
            "DEV_CONFIG_STATE on main, and "
            f"{counted(len(device.buffers), 'buffer')} on multifd from frame {device.first.frame}",
            channel=migration.main,
            mark=known.full if known is not None else None,
            device=section.name,
        )


@migration_rule("MF632", "vfio-init-data-without-ack", WARNING, holes="LX", forgiven=True)
def vfio_init_data_without_ack(migration: Migration) -> Iterator[Spot]:
    """A device sent DEV_INIT_DATA_SENT, but no SWITCHOVER_ACK came back.

    The tag is sent only with the capability ``switchover-ack``, and the source does not switch over
    until the destination has acknowledged it.

    Receiver: ``%s: Received INIT_DATA_SENT but switchover ack is not used`` if the capability is
    off there.

    Usual cause: the capability is on only at the source.
    """
    facts, returned = migration.main_facts, migration.return_facts
    main = migration.main
    if facts is None or main is None or (returned is not None and returned.acks):
        return
    if not main.flow.peer.seen:
        return  # the destination's side is not in the capture
    for section in facts.devices.values():
        if section.init_data_sent:
            yield Spot(
                "DEV_INIT_DATA_SENT was never acknowledged",
                channel=main,
                mark=section.init_data_sent[0],
                device=section.name,
            )


@walker_rule("MF633", "vfio-config-load-ready-dup", ERROR)
def vfio_config_load_ready_dup() -> None:
    """DEV_CONFIG_LOAD_READY comes twice for a device.

    It tells the destination that it may load the config state now, after the iterable devices.

    Receiver: ``%s: duplicate DEV_CONFIG_LOAD_READY``; the migration fails.

    Usual cause: a bug in the source.
    """


@walker_rule("MF634", "vfio-data-after-switchover", WARNING)
def vfio_data_after_switchover() -> None:
    """A device that uses multifd sends data on main after SWITCHOVER_START.

    From then on a device in multifd mode sends its state over the multifd channels.

    Receiver: it writes them to the device, in undefined order relative to the buffers from the
    channels.

    Usual cause: a bug in the source, or a damaged FULL section.
    """


@migration_rule("MF643", "main-end-before-device", INFO, holes="X")
def main_end_before_device(migration: Migration) -> Iterator[Spot]:
    """Main ended before the device state on the other channels did.

    The same as MF412, but for main: how long only device state was left to transfer.

    Receiver: normal; main waits for the load threads after the EOF byte.

    Usual cause: much device state, or a slow link.
    """
    facts = migration.main_facts
    eof = facts.eof if facts is not None else None
    if eof is None:
        return
    places = [device.last for device in migration.devices.values() if device.last is not None]
    late = [place for place in places if place.frame > eof.frame]
    if late:
        last = max(place.time for place in late)
        yield Spot(
            f"{counted(len(late), 'device')} went on for {duration(last - eof.time)} after "
            "the EOF byte",
            channel=migration.main,
            mark=eof,
        )


@migration_rule("MF647", "vfio-no-state", ERROR, holes="LGEXMC", forgiven=True)
def vfio_no_state(migration: Migration) -> Iterator[Spot]:
    """A VFIO device was started and ended on main, but its final state came neither on main nor on
    multifd channels.

    After its END every VFIO device has a FULL section, which holds its config state or says that
    this goes over multifd.

    Receiver: with multifd it waits forever for the device's buffers; otherwise the device runs
    without its config space and interrupts.

    Usual cause: a modified source, or one that skipped the device on completion.
    """
    facts = migration.main_facts
    if facts is None or facts.eof is None or facts.interrupted or facts.resync_count:
        return
    # A section that was never started (MF608) is not a device: the id of a known one is wrong.
    sections = [section for section in facts.sections.values() if not section.guessed]
    ended = {section.key for section in sections if section.ended is not None}
    for device in facts.devices.values():
        if device.announced is None and device.key in ended - migration.devices.keys():
            yield Spot(
                "the section was ended, but no FULL section and no buffer has its state",
                channel=migration.main,
                mark=facts.eof,
                device=device.name,
            )
