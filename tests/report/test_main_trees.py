"""Records of main as trees of fields: read as the walk of the stream has read them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analyzer.migration.scan import Scan
from analyzer.report.main_lines import MainTrees, main_lines
from tests.checks.craft import Craft
from tests.migration import main_streams as build

if TYPE_CHECKING:
    from dissectors.tree import Node


def trees(stream: bytes) -> dict[str, list[Node]]:
    """The fields of each section of a stream, by kind and name."""
    made = Craft()
    made.connect(46000).send(stream)
    decoded = MainTrees()
    return {
        f"{line.kind} {line.name}": decoded.nodes(
            line, stream[line.offset : line.offset + line.length]
        )
        for line in main_lines(Scan(made.pcap()).run().migrations)
    }


def body(nodes: list[Node]) -> list[Node]:
    return next(node for node in nodes if node.name == "body").children


def test_a_capability_that_the_block_list_contradicts_is_ignored() -> None:
    names = build.u32(1) + build.text(b"x-ignore-shared")
    told = build.subsection(b"configuration/capabilities", names)
    found = trees(build.header() + build.configuration(b"pc-q35-10.0", told) + build.RAM_START)
    blocks = body(found["SECTION_START ram"])[0].children[1:]
    assert [[node.name for node in block.children] for block in blocks] == [
        ["name", "used_length"]
    ] * len(build.BLOCKS)


def test_pages_have_the_size_that_their_records_show() -> None:
    size = 8192
    records = build.page(0, b"pc.ram", size) + build.page(size, size=size) + build.EOS
    found = trees(build.OPENING + build.RAM_START + build.part(build.RAM_ID, records))
    pages = body(found["SECTION_PART ram"])
    assert [node.name for node in pages] == ["PAGE", "PAGE | CONTINUE", "EOS"]
    assert [node.children[-1].size for node in pages[:2]] == [size, size]


def test_a_section_with_another_ones_id_is_read_by_its_own_description() -> None:
    own = build.full(build.CPU_ID, b"i8259", build.PIC_BODY)
    fields = build.buffer_device("cpu", 3), build.buffer_device("i8259", len(build.PIC_BODY))
    found = trees(
        build.OPENING + build.RAM_START + build.CPU + own + b"\0" + build.vmdescription(fields)
    )
    (node,) = body(found["SECTION_FULL i8259"])
    assert (node.name, node.size) == ("data", len(build.PIC_BODY))
