"""MF636 to MF639: the description of all devices after EOF (wire-format page, 6.9)."""

from __future__ import annotations

from bisect import bisect_left

from analyzer.checks.rule import ERROR, WARNING, Spot, main_rule, walker_rule

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from analyzer.migration.anomaly import Anomaly
    from analyzer.migration.channel import Channel
    from analyzer.migration.main_channel import MainFacts

VERIFIED_MAX = 4 << 20
"""Descriptions larger than this are not parsed; real ones are some tens of KiB."""
PLACES_TOLD = 1000


@walker_rule("MF636", "vmdesc-length", ERROR, holes="E", forgiven=True)
def vmdesc_length() -> None:
    """The announced length of the description exceeds the rest of the stream.

    The description is the last record of the stream, so it was truncated or its length is wrong.

    Receiver: it reads up to the end and ignores the error; by then the guest's state is loaded.

    Usual cause: a source that died or closed the connection at this point; a saved file that was
    truncated.
    """


@main_rule("MF637", "vmdesc-json", WARNING)
def vmdesc_json(facts: MainFacts, channel: Channel | None) -> Iterator[Spot]:
    """The description is not valid JSON, or does not match the sections of the stream.

    Tools need it to decode the devices' fields.  If it is larger than 4 MiB, only its two ends are
    checked; real ones are some tens of KiB.

    Receiver: it never looks at it.

    Usual cause: damaged bytes; a modified source whose description was not updated.
    """
    if facts.description is None or not facts.description_complete or looks_like_json(facts):
        return
    yield Spot("not a JSON object", mark=facts.description)


@walker_rule("MF638", "vmdesc-section-size", WARNING)
def vmdesc_section_size() -> None:
    """A section's fields, as listed in the description, do not end where its footer begins.

    Section and description are generated from the same tables of the source, so they agree unless
    one of them is damaged.

    Receiver: it never looks at the description; if its own tables differ from the source's, it does
    not find the footer.

    Usual cause: damaged bytes, or a device that writes more than its description lists.
    """


@walker_rule("MF639", "subsection-bad", ERROR)
def subsection_bad() -> None:
    """A subsection is not the expected one.

    Optional parts of a device's state follow it as named subsections, in the order of the
    description.

    Receiver: ``Loading VM subsection ... failed``; the migration fails.

    Usual cause: a newer source, or damaged bytes.
    """


def looks_like_json(facts: MainFacts) -> bool:
    """Whether a complete description has the braces of a JSON object (a cheap check)."""
    parts = facts.description_parts
    text = b"".join(parts) if len(parts) < 3 else parts[0] + parts[-1]
    return text.startswith(b"{") and text.rstrip().endswith(b"}")


def description_anomalies(facts: MainFacts) -> list[Anomaly]:
    """Mismatches between the description and the sections: names, sizes, subsections."""
    if facts.description_length > VERIFIED_MAX or not looks_like_json(facts):
        return []
    from analyzer.migration import vmdescription

    description = vmdescription.load(facts)
    found = vmdescription.verify(facts, description)
    told = sorted(anomaly.offset for anomaly in found)
    for device in vmdescription.decode(facts, description, values=False):
        record = device.record
        at = bisect_left(told, record.offset)
        if at == len(told) or told[at] >= record.offset + record.length:
            found += device.anomalies
    return found[:PLACES_TOLD]
