"""Records of the main channel as trees: every byte is explained, and no input upsets it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analyzer.migration import vmdescription
from dissectors.main_stream import Command, RamFlag
from dissectors.main_tree import CHILDREN_MAX, colo_tree, record_tree
from dissectors.tree import Node
from tests.migration import main_streams as build
from tests.migration.mapped_files import mapped_file

CAPABILITIES = build.subsection(
    b"configuration/capabilities", build.u32(2) + build.text(b"mapped-ram") + build.text(b"other")
)
UUID = build.subsection(b"configuration/uuid", bytes(range(16)))
BITS = build.subsection(b"configuration/target-page-bits", build.u32(12))


def leaves(nodes: list[Node]) -> list[Node]:
    return [leaf for node in nodes for leaf in (leaves(node.children) if node.children else [node])]


def names(nodes: list[Node]) -> list[str]:
    return [node.name for node in nodes]


def inside(nodes: list[Node], size: int) -> None:
    for node in nodes:
        assert 0 <= node.offset <= node.offset + node.size <= size
        inside(node.children, size)


@pytest.mark.parametrize("name", sorted(build.STREAMS))
def test_every_record_of_a_clean_stream(name: str) -> None:
    stream = build.STREAMS[name]()
    main = build.walk(stream)
    description = vmdescription.load(main)
    for record in main.records:
        data = stream[record.offset : record.offset + record.length]
        section = main.sections.get(record.section_id or -1)
        device = None
        if section is not None and description is not None:
            key = section.idstr.decode(), section.instance_id
            device = description.devices.get(key)
        if record.kind == "COLO":
            nodes = colo_tree(data)
        else:
            nodes = record_tree(data, idstr=section.idstr if section else b"", device=device)
        inside(nodes, len(data))
        if device is not None or record.kind != "SECTION_FULL":
            assert "undecoded" not in names(leaves(nodes))
        assert nodes[0].offset == 0
        assert nodes[-1].offset + nodes[-1].size == len(data)


def test_the_configuration_shows_its_machine_and_subsections() -> None:
    nodes = record_tree(build.configuration(b"pc-q35-10.0", CAPABILITIES, UUID, BITS))
    assert names(nodes) == ["type", "length", "machine", *["subsection"] * 3]
    assert nodes[2].value == "pc-q35-10.0"
    assert [node.value for node in nodes[3].children if node.name == "capability"] == [
        "mapped-ram", "other"
    ]  # fmt: skip
    assert nodes[4].children[-1].value == "00010203-0405-0607-0809-0a0b0c0d0e0f"
    assert nodes[5].children[-1].value == "12"
    unknown = build.subsection(b"configuration/new", b"\1\2")
    assert names(record_tree(build.configuration(b"x", unknown))[-1].children)[-1] == "undecoded"


def test_commands_show_what_their_payload_says() -> None:
    discard = b"\0" + build.text(b"pc.ram") + b"\0" + build.u64(1) + build.u64(2)
    cases = {
        build.command(Command.PING, build.u32(3)): ("value", "0x00000003"),
        build.command(Command.PACKAGED, build.u32(77)): ("size", "77"),
        build.command(Command.POSTCOPY_ADVISE, build.u64(1) + build.u64(4096)): (
            "target_page_size",
            "4096",
        ),
        build.command(Command.RECV_BITMAP, build.text(b"pc.ram")): ("ramblock", "pc.ram"),
        build.command(Command.POSTCOPY_RAM_DISCARD, discard): ("range", ""),
        build.command(99, b"abc"): ("undecoded", "616263"),
    }
    for data, (name, value) in cases.items():
        last = record_tree(data)[-1]
        assert (last.name, last.value) == (name, value)


def test_ram_records() -> None:
    coded = build.record(0, RamFlag.XBZRLE, b"pc.ram", b"\1\0\3abc")
    packed = build.record(0x1000, RamFlag.COMPRESS_PAGE, None, build.u32(2) + b"zz")
    body = coded + packed + build.page(0x2000) + build.zero(0x3000) + build.FLUSH + build.EOS
    nodes = record_tree(build.part(2, body), idstr=b"ram")
    records = nodes[2].children
    assert [node.name for node in records] == [
        "XBZRLE",
        "CONTINUE | COMPRESS_PAGE",
        "PAGE | CONTINUE",
        "ZERO | CONTINUE",
        "MULTIFD_FLUSH",
        "EOS",
    ]
    assert records[2].value == "0x2000"
    assert names(records[0].children) == ["word", "ramblock", "encoding", "length", "content"]


def test_very_many_ram_records() -> None:
    body = build.zero(0, b"pc.ram") + build.zero(0x1000) * (CHILDREN_MAX + 5) + build.EOS
    nodes = record_tree(build.part(2, body), idstr=b"ram")
    assert len(nodes[2].children) == CHILDREN_MAX + 1
    assert nodes[2].children[-1].name == "more records"


def test_block_lists() -> None:
    huge = build.mem_size({b"mem": 1 << 21}, build.u64(1 << 21))
    nodes = record_tree(build.start(2, b"ram", huge + build.EOS))
    block = nodes[5].children[0].children[1]
    assert names(block.children) == ["name", "used_length", "page_size"]
    shared = build.mem_size({b"mem": 1 << 21}, build.u64(7 << 33))
    nodes = record_tree(
        build.start(2, b"ram", shared + build.EOS), capabilities=["x-ignore-shared"]
    )
    assert nodes[5].children[0].children[1].children[-1].name == "gpa"


def test_addresses_that_could_be_page_sizes() -> None:
    rows = build.mem_size({b"mem": 1 << 21, b"\xffvga": 1 << 12}, build.u64(1 << 30))
    nodes = record_tree(build.start(2, b"ram", rows + build.EOS), capabilities=["x-ignore-shared"])
    for block in nodes[5].children[0].children[1:]:
        assert names(block.children) == ["name", "used_length", "gpa"]
    assert nodes[5].children[1].name == "EOS"


def test_mapped_ram_blocks() -> None:
    stream = mapped_file({0: b"x"}, count=3)
    main = build.walk(stream)
    record = next(r for r in main.records if r.kind == "SECTION_START")
    data = stream[record.offset : record.offset + record.length]
    block = record_tree(data, capabilities=main.capabilities)[5].children[0].children[1]
    assert names(block.children) == ["name", "used_length", "mapped-ram header", "bitmap", "pages"]
    assert block.children[-1].size == 3 * build.PAGE
    assert names(record_tree(data)[5].children[0].children[1].children) == names(block.children)


def test_unknown_bytes() -> None:
    assert record_tree(b"") == []
    assert names(record_tree(b"\0")) == ["type"]
    assert names(record_tree(b"\x99rest")) == ["type", "undecoded"]
    vfio = build.full(5, build.VFIO, build.u64(3) + b"odd")
    assert "undecoded" in names(leaves(record_tree(vfio)))


@given(
    name=st.sampled_from(sorted(build.STREAMS)),
    number=st.integers(0, 30),
    changes=st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), max_size=3),
    cut=st.integers(0, 400),
    idstr=st.sampled_from([b"ram", build.VFIO, b""]),
    page_size=st.sampled_from([1024, 4096, 65536]),
)
@settings(max_examples=300)
def test_damaged_records(
    name: str,
    number: int,
    changes: list[tuple[int, int]],
    cut: int,
    idstr: bytes,
    page_size: int,
) -> None:
    stream = build.STREAMS[name]()
    records = build.walk(stream).records
    record = records[number % len(records)]
    data = bytearray(stream[record.offset : record.offset + min(record.length, cut)])
    for at, value in changes:
        if at < len(data):
            data[at] = value
    inside(record_tree(bytes(data), idstr=idstr, page_size=page_size), len(data))


def test_a_description_opens() -> None:
    nodes = record_tree(build.vmdescription([build.buffer_device("cpu", 8, 3)]))
    assert names(nodes) == ["type", "length", "description"]
    (devices,) = [node for node in nodes[-1].children if node.name == "devices"]
    assert names(devices.children) == ["cpu"]
    told = {node.name: node.value for node in devices.children[0].children}
    assert (told["name"], told["instance_id"]) == ('"cpu"', "3")


def test_every_element_of_a_list_in_a_description_is_shown() -> None:
    text = b'{"name": "l", "type": "qtailq", "vmsd_name": "a", "fields": [], "vmsd_name": "b"}'
    nodes = record_tree(build.vmdescription(text_=text))
    (elements,) = [node for node in nodes[-1].children if node.name == "elements"]
    assert names(elements.children) == ["a", "b"]


@pytest.mark.parametrize(
    "text",
    [
        b"{",
        b"[1, 2]",
        b"[" * 5000,
        b'{"a": ' * 100 + b"1" + b"}" * 100,
        b'{"n": [' + b"1," * 9999 + b"1]}",
    ],
)
def test_a_description_that_is_odd(text: bytes) -> None:
    nodes = record_tree(build.vmdescription(text_=text))
    assert nodes[-1].name == "description"
    assert len(leaves(nodes)) <= CHILDREN_MAX + 2
