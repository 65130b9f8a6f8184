"""MF619 to MF628, MF640, MF641: every rule fires on its own fault, and stays silent elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from analyzer.analysis import analyze
from analyzer.migration.ram_facts import BLOCKS_MAX
from analyzer.synth import records
from dissectors.main_stream import MAPPED_RAM_HEADER, RamFlag
from tests.checks.case import Case, verify
from tests.checks.craft import (
    EOS,
    FLUSH,
    PAGE,
    RAM_ID,
    RAM_PART,
    RAM_START,
    SWITCHOVER_START,
    Tiny,
    findings,
    fired,
    part,
    start,
)
from tests.checks.craft import ram as multifd_ram
from tests.checks.main_edits import PAGES_AT, inserted, mapped_ram, replaced
from tests.migration import main_streams as build
from tests.shipped import capture

if TYPE_CHECKING:
    from collections.abc import Callable

FIRST = build.zero(0, b"pc.ram")
XBZRLE = build.u64(RamFlag.XBZRLE | RamFlag.CONTINUE)


def ram(*records: bytes, end: bytes = EOS) -> Callable[[], bytes]:
    """A migration with one more RAM section of these records."""
    return inserted(RAM_PART, part(RAM_ID, b"".join(records) + end))


def listed(blocks: dict[bytes, int], total: int) -> Callable[[], bytes]:
    """A migration with this list of RAM blocks."""
    return replaced(RAM_START, start("ram", RAM_ID, build.mem_size(blocks, total=total) + EOS))


CASES = {
    "MF619": Case(ram(FIRST, build.u64(0x401)), ram(FIRST), alone=True),
    "MF620": Case(ram(build.zero(0)), ram(FIRST, build.zero(PAGE)), alone=True),
    "MF621": Case(ram(build.zero(0, b"nvram")), ram(FIRST), alone=True),
    "MF622": Case(listed({b"pc.ram": 1 << 20, b"b": 2 * PAGE}, (1 << 20) + PAGE)),
    "MF623": Case(ram(build.zero(1 << 20, b"pc.ram")), alone=True),
    "MF624": Case(ram(build.zero(0, b"pc.ram", 7)), ram(FIRST), alone=True),
    "MF625": Case(ram(FIRST, XBZRLE + b"\2\0\1x"), ram(FIRST, XBZRLE + b"\1\0\3\4\1x"), alone=True),
    "MF626": Case(ram(FIRST, end=b""), ram(FIRST), alone=True),
    "MF627": Case(replaced(RAM_START, part(RAM_ID, FIRST + EOS))),
    "MF628": Case(ram(FIRST), alone=True),
    "MF640": Case(mapped_ram(version=2), mapped_ram(), alone=True),
    "MF641": Case(mapped_ram(records=build.zero(0, b"a")), mapped_ram(), alone=True),
}


@pytest.mark.parametrize("rule", CASES)
def test_fires_and_stays_silent(rule: str) -> None:
    verify(rule, CASES[rule])


HEADER_BEGINS = build.u32(1) + build.u64(PAGE)


@pytest.mark.parametrize(
    ("field", "bad", "said"),
    [
        ("version", build.u32(2), "version 2, expected 1"),
        ("page_size", build.u64(PAGE + 1), f"page size {PAGE + 1}"),
        (
            "pages_offset",
            build.u64(PAGES_AT + PAGE),
            "pages at 0x101000, which is no multiple of 1 MiB",
        ),
    ],
)
def test_what_is_wrong_in_a_mapped_ram_header(field: str, bad: bytes, said: str) -> None:
    made = mapped_ram()()
    at = made.index(HEADER_BEGINS) + MAPPED_RAM_HEADER[field].offset
    found = findings(made[:at] + bad + made[at + len(bad) :])
    assert [f.message for f in found if f.rule.id == "MF640"] == [f"block 'a': {said}"]


def test_a_section_without_eos_before_a_command() -> None:
    """Its footer and SWITCHOVER_START together look like a page record with further flags."""
    found = findings(inserted(SWITCHOVER_START, part(RAM_ID, FIRST))())
    assert [f.rule.id for f in found if f.severity != "info"] == ["MF626"]


def test_start_without_a_list_of_blocks() -> None:
    """The pages go over multifd, so nothing on main names a block."""
    found = findings(replaced(RAM_START, start("ram", RAM_ID, FLUSH + EOS))())
    (told,) = [f for f in found if f.severity != "info"]
    assert (told.rule.id, told.repeats) == ("MF627", 0)
    assert told.message == "no section before it listed the blocks"


# -- real streams with pages of every kind on main -------------------------------------------------


@pytest.mark.parametrize("name", ["10.0.13-xbzrle-nomultifd", "7.2-plain-tcp-nomultifd"])
def test_pages_on_main_without_multifd(name: str) -> None:
    found = fired(capture(name).read_bytes())
    assert not {f"MF{number}" for number in range(619, 629)} & set(found)


@pytest.mark.parametrize("name", ["7.2-multifd-2ch", "11.1.3-postcopy-multifd-2ch"])
def test_pages_on_main_with_multifd(name: str) -> None:
    found = fired(capture(name).read_bytes())
    assert {f"MF{number}" for number in range(619, 629)} & set(found) == {"MF628"}


def test_more_blocks_than_are_told_apart_are_no_fault_of_the_sender() -> None:
    names = [f"{number}.rom" for number in range(BLOCKS_MAX + 100)]
    listed = records.block_list({"pc.ram": 1 << 20, **dict.fromkeys(names, 4 * PAGE)})
    last = names[-1]
    pages = [records.zero_page(last, 0, False), records.zero_page(last, PAGE, True)]
    pages += [records.zero_page(names[-2], PAGE, False), records.zero_page("pc.ram", 0, False)]
    tiny = Tiny()
    tiny.main[tiny.main.index(RAM_START)] = start("ram", RAM_ID, listed + FLUSH + EOS)
    tiny.main[tiny.main.index(RAM_PART)] = part(RAM_ID, b"".join(pages) + FLUSH + EOS)
    tiny.multifd[1][2] = multifd_ram([2], [6], num=3, block=last.encode())
    analysis = analyze(tiny.pcap())
    assert analysis.count("error") == analysis.count("warning") == 0
    told = f"migration 0 has more than {BLOCKS_MAX} RAM blocks: the others are not told apart"
    assert analysis.scan.file.notes == [told]
    (migration,) = analysis.migrations
    assert migration.main_facts is not None
    assert migration.main_facts.ram.zero_pages == len(pages)
    assert [entry.reason for entry in migration.main_facts.ram.iterations].count("wrap") == 0
