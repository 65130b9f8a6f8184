"""MF607 to MF613, MF646: every rule fires on its own fault, and stays silent where it must."""

from __future__ import annotations

import pytest

from analyzer.analysis import Analysis, analyze
from analyzer.report.style import Style
from analyzer.report.text import text_report
from analyzer.synth import records
from dissectors.main_stream import SECTION_VERSIONS, Command
from tests.checks.case import Case, edited, verify
from tests.checks.craft import (
    END_OF_STATE,
    EOS,
    RAM_END,
    RAM_ID,
    RAM_PART,
    RAM_START,
    STATE,
    VFIO_END,
    VFIO_ID,
    VFIO_START,
    Craft,
    Tiny,
    end,
    findings,
    fired,
    part,
    start,
)
from tests.checks.main_edits import inserted, replaced
from tests.migration import main_streams as build
from tests.shipped import capture

UNKNOWN_ID = 9
VERSION_1, VERSION_7 = b"/vfio" + bytes(7) + b"\1", b"/vfio" + bytes(7) + b"\7"
FOOTER = records.footer(RAM_ID)


def started_again(tiny: Tiny) -> None:
    tiny.main.insert(tiny.main.index(RAM_PART), VFIO_START)


CASES = {
    "MF607": Case(inserted(RAM_PART, b"\x09"), alone=True),
    "MF608": Case(inserted(RAM_PART, part(UNKNOWN_ID, EOS)), alone=True),
    "MF609": Case(edited(started_again), alone=True),
    "MF610": Case(replaced(RAM_PART, RAM_PART.removesuffix(FOOTER)), alone=True),
    "MF611": Case(
        replaced(RAM_PART, RAM_PART.removesuffix(FOOTER) + records.footer(UNKNOWN_ID)), alone=True
    ),
    "MF612": Case(replaced(RAM_END, part(RAM_ID, RAM_END[5:-5])), alone=True),
    "MF613": Case(inserted(STATE, part(RAM_ID, EOS)), alone=True),
    "MF646": Case(replaced(VFIO_START, VFIO_START.replace(VERSION_1, VERSION_7)), alone=True),
}


@pytest.mark.parametrize("rule", CASES)
def test_fires_and_stays_silent(rule: str) -> None:
    verify(rule, CASES[rule])


def with_id(unit: bytes, number: int) -> bytes:
    """A section with another id in its head and footer."""
    wrong = number.to_bytes(4, "big")
    return unit[:1] + wrong + unit[5:-4] + wrong


@pytest.mark.parametrize(
    ("unit", "with_ram_id"),
    [
        (VFIO_START, with_id(VFIO_START, RAM_ID)),
        (STATE, with_id(records.timer(), RAM_ID) + records.globalstate()),
    ],
    ids=["start", "full"],
)
def test_an_id_that_was_given_before_stays_with_its_owner(unit: bytes, with_ram_id: bytes) -> None:
    """RAM's sections are read as RAM's, the device's as the device's."""
    (finding,) = [f for f in findings(replaced(unit, with_ram_id)()) if f.severity != "info"]
    assert finding.rule.id == "MF609"
    assert finding.message.endswith("belongs to 'ram'")


@pytest.mark.parametrize("footer_too", [False, True])
@pytest.mark.parametrize("unit", [RAM_PART, RAM_END, VFIO_END], ids=["part", "end", "vfio"])
def test_wrong_id_of_one_section(unit: bytes, footer_too: bool) -> None:
    """Main is read on behind the section's own footer, and nothing else is told."""
    wrong = unit[:1] + UNKNOWN_ID.to_bytes(4, "big") + unit[5:]
    if footer_too:
        wrong = wrong[: -len(FOOTER)] + records.footer(UNKNOWN_ID)
    (finding,) = [f for f in findings(replaced(unit, wrong)()) if f.severity != "info"]
    assert (finding.rule.id, finding.message) == ("MF608", "section 9 was never started")


@pytest.mark.parametrize("version", [3, 5])
def test_ram_of_another_version(version: int) -> None:
    old = SECTION_VERSIONS.pack({"instance_id": 0, "version_id": 4})
    assert old in RAM_START
    new = SECTION_VERSIONS.pack({"instance_id": 0, "version_id": version})
    assert fired(replaced(RAM_START, RAM_START.replace(old, new))())["MF646"] == "error"


# -- what looks like a fault and is none -----------------------------------------------------------


def test_two_final_sections_are_no_fault() -> None:
    """The first revisions of the device-state series send two END sections for each device."""
    twice = inserted(RAM_END, end(RAM_ID, EOS))
    assert not {"MF609", "MF612", "MF613"} & set(fired(twice()))


@pytest.mark.parametrize(("body", "told"), [(b"\x01", False), (b"\x08\x01d\x01", True)])
def test_dirty_bitmaps_without_bitmaps_have_no_end(body: bytes, told: bool) -> None:
    """Of a guest without bitmaps the section has a START with the end flag alone."""
    begun = start("dirty-bitmap", UNKNOWN_ID, body)
    assert ("MF612" in fired(inserted(RAM_PART, begun)())) == told


def test_the_section_without_end_is_named() -> None:
    (finding,) = [f for f in findings(CASES["MF612"].faulty()) if f.rule.id == "MF612"]
    assert finding.message == "section 1 'ram' has no END"
    assert finding.spot.device == "ram#0"


def test_a_missing_footer_behind_a_hole_cannot_be_told() -> None:
    tiny = Tiny(device=False)
    at = tiny.main.index(RAM_PART)
    tiny.main[at] = RAM_PART.removesuffix(FOOTER)
    built = tiny.craft()
    gone = next(f for f in built.frames if RAM_START in f.data)
    built.frames.remove(gone)
    assert "error" not in {
        severity for rule, severity in fired(built.pcap()).items() if rule.startswith("MF6")
    }


@pytest.mark.parametrize("name", ["derived-v1-vfio-3dev-4ch", "10.0.13-vfio-gaps-2ch"])
def test_real_streams(name: str) -> None:
    found = fired(capture(name).read_bytes())
    assert not {f"MF{number}" for number in range(607, 614)} & set(found)


SNAPSHOT = (
    build.OPENING
    + build.RAM_START
    + build.part(build.RAM_ID, build.page(0, b"pc.ram") + EOS)
    + build.CLOSING
)


def alone(stream: bytes) -> Analysis:
    """A capture of a main channel without return path."""
    made = Craft()
    main = made.connect(46000)
    main.send(stream)
    main.fin()
    main.fin("server")
    return analyze(made.pcap())


def test_a_background_snapshot_ends_no_section() -> None:
    """Nor does it announce a switchover: RAM comes first, then the state of the beginning."""
    analysis = alone(SNAPSHOT)
    (migration,) = analysis.migrations
    assert migration.main_facts is not None
    assert migration.main_facts.is_background_snapshot
    assert {finding.severity for finding in analysis.findings} <= {"info"}
    assert "background snapshot" in "\n".join(text_report(analysis, Style()))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (build.RAM_START, build.command(Command.OPEN_RETURN_PATH) + build.RAM_START),
        (build.CPU, build.command(Command.SWITCHOVER_START) + build.CPU),
        (build.page(0, b"pc.ram"), build.zero(0, b"pc.ram")),
    ],
    ids=["return path", "switchover", "no page"],
)
def test_what_a_background_snapshot_never_has(old: bytes, new: bytes) -> None:
    """QEMU refuses a return path and multifd, which alone leaves main without pages."""
    assert SNAPSHOT.count(old) == 1
    analysis = alone(SNAPSHOT.replace(old, new))
    assert "MF612" in {f.rule.id for f in analysis.findings if f.severity == "error"}


def test_a_late_start_explains_what_a_section_was_taken_for() -> None:
    """Nobody saw what it is: storage attributes of s390 look like RAM records."""
    storage = build.u64(0x4000 | 2) + build.u64(8) + bytes(8) + build.u64(1)
    tiny = Tiny()
    at = tiny.main.index(RAM_PART)
    vfio = build.part(VFIO_ID, END_OF_STATE)
    tiny.main[at:at] = [vfio, vfio, vfio, build.part(UNKNOWN_ID, storage)]
    made = tiny.craft()
    first = next(i for i, frame in enumerate(made.frames) if frame.data.endswith(vfio))
    del made.frames[:first]
    found = fired(made.pcap())
    assert found["MF619"] == "info"
    assert "error" not in found.values()
