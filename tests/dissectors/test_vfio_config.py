"""Config states of VFIO devices."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dissectors.tree import Node
from dissectors.vfio import VfioTag
from dissectors.vfio_config import parse_config
from dissectors.vfio_config_tree import config_tree

BEGIN = int(VfioTag.DEV_CONFIG_STATE).to_bytes(8, "big")
END = int(VfioTag.END_OF_STATE).to_bytes(8, "big")
SUBSECTION = b"\5\x0aVFIOPCI/xx\0\0\0\1data"


def space(size: int, msix: int = 0) -> bytes:
    """Config space of device 10de:2203, with MSI-X for ``msix`` vectors if not 0."""
    content = bytearray(size)
    content[0:4] = b"\xde\x10\x03\x22"
    if msix:
        content[6] = 0x10
        content[0x34] = 0x40
        content[0x40:0x42] = b"\x01\x50"
        content[0x50:0x54] = bytes((0x11, 0)) + (msix - 1 | 0x8000).to_bytes(2, "little")
    return bytes(content)


def state(size: int, msix: int = 0, rest: bytes = b"", version: int = 2) -> bytes:
    tables = bytes(16 * msix + (msix + 7) // 8)
    irq = b"".join(i.to_bytes(4, "big") for i in range(4))
    return BEGIN + version.to_bytes(4, "big") + space(size, msix) + irq + tables + rest + END


@pytest.mark.parametrize("size", [256, 4096])
@pytest.mark.parametrize("msix", [0, 1, 9, 2048])
@pytest.mark.parametrize("rest", [b"", SUBSECTION])
def test_good_states(size: int, msix: int, rest: bytes) -> None:
    data = state(size, msix, rest)
    parsed = parse_config(data)
    assert not parsed.problems
    assert (parsed.vendor_id, parsed.device_id) == (0x10DE, 0x2203)
    assert (parsed.space_size, parsed.msix_entries, parsed.version) == (size, msix, 2)
    assert parsed.end_at == len(data) - 8
    assert parsed.capabilities == ([(1, 0x40), (0x11, 0x50)] if msix else [])


@pytest.mark.parametrize(
    ("data", "slugs"),
    [
        (b"", ["vfio-config-header"]),
        (b"\0" * 300, ["vfio-config-header"]),
        (state(256)[:-1] + b"\0", ["vfio-config-end", "vfio-config-size"]),
        (state(256, version=3), ["vfio-config-version"]),
        (state(256, rest=b"???"), ["vfio-config-size"]),
        (state(4096, rest=b"???"), ["vfio-config-size"]),
        (BEGIN + END, ["vfio-config-version", "vfio-config-size"]),
        (BEGIN, ["vfio-config-end", "vfio-config-version", "vfio-config-size"]),
    ],
    ids=["empty", "header", "end", "version", "rest", "rest of pcie", "nothing", "tag alone"],
)
def test_all_faults_of_a_config_state_are_told(data: bytes, slugs: list[str]) -> None:
    assert [problem.slug for problem in parse_config(data).problems] == slugs


def test_a_fault_stands_where_the_right_bytes_should_be() -> None:
    (end,) = parse_config(state(256)[:-8] + bytes(8)).telling
    assert (end.slug, end.offset) == ("vfio-config-end", len(state(256)) - 8)


def test_a_loop_of_capabilities_ends() -> None:
    content = bytearray(state(256, 1))
    content[12 + 0x51] = 0x40
    assert len(parse_config(bytes(content)).capabilities) == 48


def leaves(nodes: list[Node]) -> list[Node]:
    return [leaf for node in nodes for leaf in (leaves(node.children) if node.children else [node])]


def test_the_tree_of_a_config_state_covers_all_its_bytes() -> None:
    data = b"head" + state(4096, 3, SUBSECTION)
    nodes = config_tree(data, 4)
    assert [node.name for node in nodes] == [
        "tag", "version_id", "config", "irq_state", "msix", "subsection", "tag"
    ]  # fmt: skip
    assert nodes[2].value == "10de:2203"
    assert [node.value for node in nodes[3].children] == ["0", "1", "2", "3"]
    assert nodes[4].value == "3 entries"
    assert nodes[5].value == "VFIOPCI/xx"
    assert nodes[0].offset == 4
    assert sum(node.size for node in nodes) == len(data) - 4
    assert {"vendor_id", "capability PM", "capability MSIX"} <= {n.name for n in leaves(nodes)}


@given(
    size=st.sampled_from([256, 4096]),
    msix=st.integers(0, 3),
    changes=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=5),
    cut=st.integers(0, 5000),
)
@settings(max_examples=200)
def test_damaged_states(size: int, msix: int, changes: list[tuple[int, int]], cut: int) -> None:
    data = bytearray(state(size, msix))
    for at, value in changes:
        if at < len(data):
            data[at] = value
    damaged = bytes(data[:cut])
    parse_config(damaged)
    for node in leaves(config_tree(damaged)):
        assert 0 <= node.offset <= node.offset + node.size <= len(damaged)
