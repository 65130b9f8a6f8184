"""MF607 to MF613 and MF646: the sections of the main stream (wire-format page, 6.3)."""

from __future__ import annotations

from analyzer.checks.rule import ERROR, Spot, main_rule, walker_rule
from dissectors.main_stream import DIRTY_BITMAP, RecordType
from dissectors.multifd import device_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from analyzer.migration.channel import Channel
    from analyzer.migration.main_channel import MainFacts, Section


@walker_rule("MF607", "section-unknown-type", ERROR, holes="LG")
def section_unknown_type() -> None:
    """The byte where a record must begin is not a known record type.

    Sections have no length field, so reading one too short or too long shows up here.

    Receiver: ``Unknown section type %d``; the migration fails.

    Usual cause: source and destination read a device's state differently, or the bytes are
    damaged.
    """


@walker_rule("MF608", "section-unknown-id", ERROR, holes="GL")
def section_unknown_id() -> None:
    """A PART or END names a section that was never started.

    Only START and FULL carry a device's name; PART and END refer to it by the section's id.

    Receiver: ``Unknown section %d``; the migration fails.

    Usual cause: damaged bytes, or bytes mistaken for a record.
    """


@walker_rule("MF609", "section-id-reused", ERROR)
def section_id_reused() -> None:
    """A section is started with an id that is already in use.

    Each device gets its id once, when it registers.  A VFIO device's FULL section has the id of its
    START, which is correct.

    Receiver: it passes the parts that follow to the wrong device, or fails with ``Unknown section
    or instance '%s' %u``.

    Usual cause: damaged bytes; a source whose devices registered twice.
    """


@walker_rule("MF610", "footer-missing", ERROR, holes="LG")
def footer_missing() -> None:
    """A section is not followed by a footer.

    Every section of a machine type later than 2.3 ends with 7e and its id, so that misreading a
    body is detected at once.

    Receiver: ``Missing section footer for %s``; the migration fails.

    Usual cause: source and destination disagree about the size of a device's state; an END_OF_STATE
    after DEV_INIT_DATA_SENT or DEV_CONFIG_LOAD_READY, which end a VFIO section themselves; older
    senders with ``send-section-footer=off``.
    """


@walker_rule("MF611", "footer-mismatch", ERROR, holes="LG")
def footer_mismatch() -> None:
    """A section's footer has the id of another section.

    The footer repeats the id of its section, so that a body that runs into the next one is
    detected.

    Receiver: ``Mismatched section id in footer for %s - read 0x%x expected 0x%x``; the migration
    fails.

    Usual cause: damaged bytes, or a sender that mixes up the sections of two devices.
    """


@main_rule("MF612", "iterable-no-end", ERROR, holes="GEM", forgiven=True)
def iterable_no_end(facts: MainFacts, channel: Channel | None) -> Iterator[Spot]:
    """A section was started but never ended, although the stream reached its EOF.

    RAM, VFIO and every other iterable device finishes with an END section; in postcopy that comes
    late, but before EOF.  Only ``dirty-bitmap`` sends nothing after its START if there are no
    bitmaps, and a background snapshot ends no section at all.

    Receiver: it does not notice; the device lacks the last part of its state.

    Usual cause: a source that skipped a device on completion.
    """
    if facts.eof is None or facts.resync_count or facts.is_background_snapshot:
        return
    if any(section.guessed and section.ended for section in facts.sections.values()):
        return  # that END has a wrong id (MF608) and may belong to this section
    for section in facts.unfinished_sections:
        if section.started is not None and not section.guessed and not _bare(facts, section):
            yield Spot(
                f"section {section.section_id} {section.text!r} has no END",
                mark=section.started,
                device=device_name(*section.key),
            )


def _bare(facts: MainFacts, section: Section) -> bool:
    """Whether it is the section of a guest without dirty bitmaps: a START with a byte of flags."""
    if section.idstr != DIRTY_BITMAP:
        return False
    starts = (r for r in facts.records if r.kind == RecordType.SECTION_START.name)
    return any(r.section_id == section.section_id and r.body_length == 1 for r in starts)


@walker_rule("MF613", "part-after-end", ERROR)
def part_after_end() -> None:
    """A PART comes after the END of its section.

    END says that no further part of the device follows.

    Receiver: it depends on the device's handler; VFIO and RAM load it over the final state.

    Usual cause: a source that continues to iterate after completion.
    """


@walker_rule("MF646", "section-version", ERROR)
def section_version() -> None:
    """The RAM section or a VFIO section has an unexpected version.

    RAM has long had version 4, VFIO devices have version 1; the contents change with machine types
    and properties instead.

    Receiver: ``unsupported version %d for '%s' v%d`` if it is higher; RAM with a lower version is
    rejected too.  The load fails.

    Usual cause: a newer or modified source, or damaged bytes.
    """
