"""Trees of fields: values as text, and where their bytes lie."""

from __future__ import annotations

from enum import IntFlag

import pytest

from dissectors.fields import Field, Layout
from dissectors.main_stream import RecordType
from dissectors.multifd import DEVICE_STATE, HEADER, INIT, MAGIC, RAM
from dissectors.tree import Node, layout_tree, shown
from dissectors.vfio import VfioTag


class Colour(IntFlag):
    RED = 1
    BLUE = 4


@pytest.mark.parametrize(
    ("field", "value", "text"),
    [
        (Field("n", "I", ""), 7, "7"),
        (Field("n", "H", "", "hex"), 7, "0x0007"),
        (Field("n", "B", "", "enum", enum=RecordType), 2, "SECTION_PART (2)"),
        (Field("n", "B", "", "enum", enum=RecordType), 126, "SECTION_FOOTER (0x7e)"),
        (Field("n", "B", "", "enum", enum=RecordType), 99, "unknown (0x63)"),
        (
            Field("n", "Q", "", "enum", enum=VfioTag),
            0xFFFF_FFFF_EF10_0002,
            "DEV_CONFIG_STATE (0xffffffffef100002)",
        ),
        (Field("n", "B", "", "flags", enum=Colour), 5, "RED | BLUE (0x5)"),
        (Field("n", "B", "", "flags", enum=Colour), 9, "RED | 0x8 (0x9)"),
        (Field("n", "B", "", "flags", enum=Colour), 0, "0x0"),
        (Field("n", "8s", "", "name"), b"pc.ram\0\0", "pc.ram"),
        (Field("n", "2s", "", "bytes"), b"\1\xff", "01ff"),
        (Field("n", "40s", "", "bytes"), bytes(40), "00" * 32 + "… (40 bytes)"),
        (
            Field("n", "16s", "", "uuid"),
            bytes(range(16)),
            "00010203-0405-0607-0809-0a0b0c0d0e0f",
        ),
    ],
)
def test_a_value_is_shown_as_its_field_s_kind_demands(
    field: Field, value: int | bytes, text: str
) -> None:
    assert shown(field, value) == text


@pytest.mark.parametrize("layout", [INIT, HEADER, RAM, DEVICE_STATE], ids=lambda x: x.name)
def test_a_layout_s_tree_covers_all_its_bytes(layout: Layout) -> None:
    data = b"before" + layout.pack({"magic": MAGIC}) + b"behind"
    nodes = layout_tree(layout, data, 6)
    assert [node.name for node in nodes] == [field.name for field in layout]
    assert nodes[0].value == "0x11223344"
    assert sum(node.size for node in nodes) == layout.size
    assert nodes[0].offset == 6
    assert all(node.meaning for node in nodes)


def test_byte_orders() -> None:
    layout = Layout("x", "x", "0", (Field("a", "H", ""), Field("b", "h", "")), order="<")
    assert [node.value for node in layout_tree(layout, b"\1\0\xff\xff")] == ["1", "-1"]


def test_short_data_give_the_fields_that_are_there() -> None:
    assert [node.name for node in layout_tree(HEADER, bytes(9))] == ["magic", "version"]
    assert layout_tree(HEADER, b"", 5) == []


def test_nodes_do_not_share_children() -> None:
    assert Node("a", "", 0, 1).children is not Node("b", "", 0, 1).children
