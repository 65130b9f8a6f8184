"""The register of filter fields follows the layout tables."""

from __future__ import annotations

import pytest

from analyzer.migration.table_fields import TABLE_FIELDS
from dissectors import multifd, vfio
from dissectors.fields import Layout
from dissectors.registry import FIELDS, field_lines, nearest

LAYOUTS = (multifd.HEADER, multifd.RAM, multifd.DEVICE_STATE, multifd.INIT, vfio.BUFFER)
CONSTANT = ("magic", "unused1", "unused2", "unused32", "unused64")
TYPES = {"uint", "int", "bool", "string", "bytes", "time", "duration"}


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
def test_every_field_of_a_layout_is_there_unless_it_is_constant(layout: Layout) -> None:
    for field in layout:
        name = f"{layout.prefix}.{field.name}"
        constant = field.name in CONSTANT or (field.name == "version" and layout is not vfio.BUFFER)
        assert (name in FIELDS) != constant


def test_a_field_says_what_its_layout_says() -> None:
    ramblock, uuid, flags = (
        FIELDS[n] for n in ("multifd.ramblock", "multifd.init.uuid", "multifd.flags")
    )
    assert (ramblock.type, ramblock.description) == ("string", multifd.RAM["ramblock"].meaning)
    assert (uuid.type, uuid.display, uuid.reference) == ("bytes", "uuid", "2")
    assert (flags.type, flags.mask) == ("uint", 0)


@pytest.mark.parametrize("enum", [multifd.MultifdFlag, vfio.VfioStateFlag])
def test_every_flag_is_a_field(enum: type[multifd.MultifdFlag | vfio.VfioStateFlag]) -> None:
    prefix = "multifd.flags." if enum is multifd.MultifdFlag else "vfio.flags."
    found = {name: field.mask for name, field in FIELDS.items() if name.startswith(prefix)}
    assert found == {prefix + str(flag.name).lower(): int(flag) for flag in enum}
    assert {FIELDS[name].type for name in found} == {"bool"}


def test_fields_of_every_packet_are_there() -> None:
    names = (
        "number frame frame.number time time.relative channel tcp.stream migration kind length "
        "offset device missing severity"
    )
    assert set(names.split()) <= set(FIELDS)
    assert {field.type for field in FIELDS.values()} == TYPES
    assert all(field.description and field.name == name for name, field in FIELDS.items())


def test_the_table_keeps_every_field() -> None:
    assert TABLE_FIELDS.keys() == FIELDS.keys()


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("multfd.flags", "multifd.flags"),
        ("idx", "vfio.idx"),
        ("packet_num", "multifd.packet_num"),
        ("vfio.indx", "vfio.idx"),
        ("FRAME", "frame"),
        ("Vfio.Idx", "vfio.idx"),
        ("xyzzy", None),
        ("", None),
        ("a" * 100_000, None),
    ],
)
def test_a_mistyped_name_finds_the_field_that_was_meant(typed: str, meant: str | None) -> None:
    assert nearest(typed) == meant


def test_every_field_is_listed_in_a_line_of_four_columns() -> None:
    lines = [line.split("\t") for line in field_lines()]
    assert ["vfio.idx", "uint", vfio.BUFFER["idx"].meaning, "5.1"] in lines
    assert len(lines) == len(FIELDS)
    assert {len(line) for line in lines} == {4}
