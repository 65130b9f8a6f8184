"""MF607 to MF613 and MF646: the sections of the main stream (wire-format page, 6.3)."""

from __future__ import annotations

from analyzer.checks.rule import ERROR, Spot, main_rule, walker_rule
from dissectors.main_stream import DIRTY_BITMAP, RecordType
from dissectors.multifd import device_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from analyzer.migration.channel import Channel
    from analyzer.migration.main_channel import MainChannel, Section


@walker_rule("MF607", "section-unknown-type", ERROR, holes="G")
def section_unknown_type() -> None:
    """A byte that no record begins with stands where one must begin.

    Sections have no length, so one that was read too short or too long shows here.

    Receiver: ``Unknown section type %d``; the migration fails.

    Usual cause: source and destination read a device's state differently, or the bytes are
    damaged.
    """


@walker_rule("MF608", "section-unknown-id", ERROR, holes="GL")
def section_unknown_id() -> None:
    """A PART or END names a section that was never started.

    Only START and FULL carry a device's name; the others refer to it by the section's id.

    Receiver: ``Unknown section %d``; the migration fails.

    Usual cause: damaged bytes, or a place that was taken for a record and is none.
    """


@walker_rule("MF609", "section-id-reused", ERROR)
def section_id_reused() -> None:
    """A section begins with an id that another one has, or a second time.

    An id is given once, when a device registers.  A VFIO device's FULL section has the id of its
    START, which is right.

    Receiver: gives the parts that follow to the wrong device, or ``Unknown section or instance '%s'
    %u``.

    Usual cause: damaged bytes; a source whose devices registered twice.
    """


@walker_rule("MF610", "footer-missing", ERROR, holes="G")
def footer_missing() -> None:
    """A section is not followed by a footer.

    Every section of a machine type later than 2.3 ends with 7e and its id, so that a body that
    was read wrong is noticed at once.

    Receiver: ``Missing section footer for %s``; the migration fails.

    Usual cause: source and destination disagree about the size of a device's state; older senders
    with ``send-section-footer=off``.
    """


@walker_rule("MF611", "footer-mismatch", ERROR, holes="G")
def footer_mismatch() -> None:
    """A section's footer has the id of another section.

    The footer repeats the id of its section, so a body that ran into the next one is noticed.

    Receiver: ``Mismatched section id in footer for %s - read 0x%x expected 0x%x``; the migration
    fails.

    Usual cause: damaged bytes, or a sender that mixes the sections of two devices.
    """


@main_rule("MF612", "iterable-no-end", ERROR, holes="GEM", forgiven=True)
def iterable_no_end(facts: MainChannel, channel: Channel | None) -> Iterator[Spot]:
    """A section was started and never ended, although the stream came to its EOF.

    RAM, VFIO and every other device that is sent in rounds finishes with an END section; in
    postcopy that comes late, but before EOF.  Only ``dirty-bitmap`` has nothing behind its START
    where there are no bitmaps.

    Receiver: it does not notice; the device stays without the last part of its state.

    Usual cause: a source that forgot a device when it completed.
    """
    if facts.eof is None or facts.resync_count:
        return
    if any(section.guessed and section.ended for section in facts.sections.values()):
        return  # that END has a wrong id (MF608); it may be this section's
    for section in facts.unfinished_sections:
        if section.started is not None and not section.guessed and not _bare(facts, section):
            yield Spot(
                f"section {section.section_id} {section.text!r} has no END",
                frame=section.started.frame or None,
                offset=section.started.offset,
                device=device_name(*section.key),
            )


def _bare(facts: MainChannel, section: Section) -> bool:
    """Whether it is that of a guest without dirty bitmaps: a START with a byte of flags."""
    if section.idstr != DIRTY_BITMAP:
        return False
    starts = (r for r in facts.records if r.kind == RecordType.SECTION_START.name)
    return any(r.section_id == section.section_id and r.body_length == 1 for r in starts)


@walker_rule("MF613", "part-after-end", ERROR)
def part_after_end() -> None:
    """A PART comes after the END of its section.

    END says that nothing more of the device will follow in rounds.

    Receiver: whatever the device's handler makes of it; VFIO and RAM load it over the final state.

    Usual cause: a source that goes on with an iteration after it completed.
    """


@walker_rule("MF646", "section-version", ERROR)
def section_version() -> None:
    """The RAM or a VFIO section has another version than QEMU gives it.

    RAM has had version 4 for ages, VFIO devices have version 1; what is in a section changes with
    machine types and properties instead.

    Receiver: ``unsupported version %d for '%s' v%d`` if it is higher; RAM of a lower one is refused
    too.  The load fails.

    Usual cause: a newer or modified source, or damaged bytes.
    """
