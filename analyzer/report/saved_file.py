"""Reports about saved migrations, as text and as plain data.

The data have the format of a capture in ``analyzer/report/schema/report-1.json``: fields that only
a capture has are ``null`` or empty, and ``saved_migration`` describes the main stream.
"""

from __future__ import annotations

from analyzer.checks.wording import counted
from analyzer.report.escape import terminal
from analyzer.report.parts import finding_report
from analyzer.report.style import pages_text, size_text, table
from analyzer.report.text import findings_lines
from analyzer.report.verdict import complaint_of, led
from dissectors.multifd import text_of, uuid_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from analyzer.analysis import SavedAnalysis
    from analyzer.migration.main_channel import MainFacts, VfioSection
    from analyzer.migration.ram_facts import RamBlock
    from analyzer.migration.saved_file import SavedFile
    from analyzer.report.parts import Json
    from analyzer.report.style import Style

__all__ = ["saved_notes", "saved_report", "saved_text", "saved_verdict_text"]

ROWS_SHOWN = 10
FORMAT = "file"


def is_complete(facts: MainFacts) -> bool:
    """Whether the stream reached its end."""
    return facts.eof is not None and facts.truncated is None


def device_complete(section: VfioSection) -> bool | None:
    """Whether all of a device's state is in the file; ``None`` if some of it went elsewhere."""
    if section.announced == "multifd":
        return None
    return bool(section.config_bytes and section.data_ended and not section.missing_bytes)


def section_bytes(facts: MainFacts) -> dict[int, int]:
    """Bytes of all records of each section."""
    sizes: dict[int, int] = {}
    for record in facts.records:
        if record.section_id is not None:
            sizes[record.section_id] = sizes.get(record.section_id, 0) + record.length
    return sizes


# -- plain data ------------------------------------------------------------------------------------


def saved_report(analysis: SavedAnalysis) -> Json:
    """One file's part of the report."""
    saved = analysis.saved
    return {
        "path": analysis.path,
        "format": FORMAT,
        "frames": None,
        "bytes": saved.size,
        "truncated_frames": None,
        "first_time": None,
        "last_time": None,
        "ignored_frames": {},
        "notes": list(saved_notes(saved)),
        "damage": str(saved.damage) if saved.damage is not None else None,
        "migrations": [],
        "tls": [],
        "findings": [finding_report(finding) for finding in analysis.findings],
        "saved_migration": main_report(saved.main),
    }


def saved_notes(saved: SavedFile) -> Iterator[str]:
    """What to know about the file besides the migration in it."""
    begin = saved.begin
    if begin.before:
        yield f"the stream begins at byte {begin.offset}, behind {begin.before}"


def main_report(facts: MainFacts) -> Json:
    """The report on a main stream: RAM blocks, sections, devices."""
    sizes = section_bytes(facts)
    return {
        "machine": facts.machine,
        "uuid": uuid_text(facts.uuid) if facts.uuid is not None else None,
        "page_size": facts.ram.page_size or None,
        "capabilities": facts.capabilities,
        "complete": is_complete(facts),
        "skipped_bytes": facts.skipped,
        "description_bytes": facts.description_length,
        "ram_blocks": [_block_report(block) for block in facts.ram.blocks.values()],
        "sections": [
            {
                "section_id": section.section_id,
                "idstr": text_of(section.idstr),
                "instance_id": section.instance_id,
                "version": section.version,
                "records": section.parts,
                "bytes": sizes.get(section.section_id, 0),
            }
            for section in facts.sections.values()
        ],
        "devices": [
            {
                "idstr": text_of(device.idstr),
                "instance_id": device.instance_id,
                "main_bytes": device.main_bytes,
                "config_bytes": device.config_bytes,
                "complete": device_complete(device),
            }
            for device in facts.devices.values()
        ],
    }


def _block_report(block: RamBlock) -> Json:
    return {
        "name": text_of(block.name),
        "used_length": block.used_length,
        "mapped": block.mapped is not None,
        "normal_pages": block.normal_pages,
        "zero_pages": block.zero_pages,
        "encoded_pages": block.xbzrle_pages + block.compressed_pages,
    }


# -- text ------------------------------------------------------------------------------------------


def saved_verdict_text(analysis: SavedAnalysis) -> tuple[str, str]:
    """What the file holds, and what is wrong with it: the leading word and the sentence, which is
    safe on terminals.
    """
    facts = analysis.saved.main
    parts = [f"saved migration {'complete' if is_complete(facts) else 'INCOMPLETE'}"]
    parts.append(size_text(analysis.saved.size))
    parts.append(counted(len(facts.sections), "section"))
    if facts.devices:
        parts.append(counted(len(facts.devices), "VFIO device"))
    word, complaint = complaint_of(analysis)
    unfinished = analysis.saved.begin.unfinished
    if unfinished:
        parts.append("libvirt did not finish the image")
    if word == "OK" and (unfinished or not is_complete(facts)):
        word = "WARNING"
    return word, "; ".join([", ".join(parts), *complaint])


def saved_text(analysis: SavedAnalysis, style: Style, *, verbose: bool = False) -> Iterator[str]:
    """The lines of the report.  ``verbose`` shows everything that is otherwise summarised."""
    facts = analysis.saved.main
    yield led(*saved_verdict_text(analysis), analysis.path, style)
    if known := list(_facts(facts)):
        yield ""
        yield "  " + terminal(", ".join(known))
    for head, rows, left in (
        (BLOCK_HEAD, _block_rows(facts), 1),
        (SECTION_HEAD, _section_rows(facts), 1),
        (DEVICE_HEAD, _device_rows(facts), 2),
    ):
        if rows:
            yield ""
            yield from table(head, rows if verbose else _shortened(rows), style, left=left)
    notes = list(saved_notes(analysis.saved))
    if analysis.saved.damage is not None:
        notes.append(str(analysis.saved.damage))
    if notes:
        yield ""
        yield from (style.dim("note: ") + terminal(note) for note in notes)
    yield from findings_lines(analysis, style, verbose)


def _facts(facts: MainFacts) -> Iterator[str]:
    if facts.machine:
        yield f"machine {facts.machine}"
    if facts.ram.page_size:
        yield pages_text(facts.ram.page_size)
    yield from facts.capabilities
    if facts.uuid is not None:
        yield f"uuid {uuid_text(facts.uuid)}"
    if facts.description_length:
        yield f"description of {size_text(facts.description_length)}"
    if facts.skipped:
        yield f"{size_text(facts.skipped)} could not be decoded"


BLOCK_HEAD = ("RAM block", "length", "normal", "zero", "encoded")
SECTION_HEAD = ("section", "id", "version", "records", "bytes")
DEVICE_HEAD = ("device", "state", "data", "config")


def _block_rows(facts: MainFacts) -> list[tuple[str, ...]]:
    return [
        (
            terminal(text_of(block.name)),
            size_text(block.used_length),
            f"{block.normal_pages:,}",
            f"{block.zero_pages:,}",
            f"{block.xbzrle_pages + block.compressed_pages:,}",
        )
        for block in facts.ram.blocks.values()
    ]


def _section_rows(facts: MainFacts) -> list[tuple[str, ...]]:
    sizes = section_bytes(facts)
    return [
        (
            terminal(section.text),
            str(section.section_id),
            str(section.version),
            str(section.parts),
            size_text(sizes.get(section.section_id, 0)),
        )
        for section in facts.sections.values()
    ]


def _device_rows(facts: MainFacts) -> list[tuple[str, ...]]:
    words = {True: "complete", False: "INCOMPLETE", None: "elsewhere"}
    return [
        (
            terminal(device.name),
            words[device_complete(device)],
            size_text(device.main_bytes),
            size_text(device.config_bytes),
        )
        for device in facts.devices.values()
    ]


def _shortened(rows: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Limit the rows so that the report fits a screen."""
    if len(rows) <= ROWS_SHOWN:
        return rows
    rest = (f"{len(rows) - ROWS_SHOWN + 1} more",)
    return [*rows[: ROWS_SHOWN - 1], rest + ("",) * (len(rows[0]) - 1)]
