"""Device fields read by a description."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dissectors import vmstate
from dissectors.vmstate import decode_section, with_elements


def field(name: str, kind: str, size: int, **more: Any) -> dict[str, Any]:
    return {"name": name, "type": kind, "size": size, **more}


def device(*fields: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"name": "d", "instance_id": 0, "fields": list(fields), **more}


@pytest.mark.parametrize(
    ("kind", "raw", "text"),
    [
        ("uint8", "05", "5"),
        ("uint32", "000000ff", "255 (0xff)"),
        ("uint64", "00" * 8, "0"),
        ("int16", "ffff", "-1"),
        ("int32 le", "00000003", "3"),
        ("uint32 equal", "00000009", "9"),
        ("int64", "8000000000000000", "-9223372036854775808"),
        ("bool", "00", "false"),
        ("bool", "01", "true"),
        ("bool", "02", "0x2"),
        ("timer", "ffffffffffffffff", "off"),
        ("timer", "0000000000000010", "16"),
        ("buffer", "72756e6e696e6700", '"running"'),
        ("buffer", "1b5b33316d", "1b5b33316d"),
        ("buffer", "4142", "4142"),
        ("buffer", "", ""),
        ("unknown", "0102", "0102"),
        ("nullptr", "30", "NULL"),
        ("capability", "0361626300", "abc"),
        ("bitmap", "0000000000000001", "0000000000000001"),
        ("uint32", "0102", "0102"),
        ("pci config", "00" * 256, "00" * 32 + "… (256 bytes)"),
    ],
)
def test_a_value_is_shown_as_its_type_demands(kind: str, raw: str, text: str) -> None:
    data = bytes.fromhex(raw)
    decoded = decode_section(device(field("f", kind, len(data))), data)
    assert not decoded.problems
    (node,) = decoded.nodes
    assert (node.name, node.value, node.offset, node.size) == ("f", text, 0, len(data))


def test_arrays_and_structures() -> None:
    inner = {"vmsd_name": "inner", "version": 1, "fields": [field("x", "uint16", 2)]}
    text = device(
        field("a", "uint8", 1, array_len=2),
        field("s", "struct", 2, struct=inner, array_len=2),
        field("i", "uint8", 1, index=4),
        field("t", "tmp", 2, vmsd_name="tmp", fields=[field("y", "uint16", 2)]),
    )
    decoded = decode_section(text, bytes(range(1, 10)), 0)
    assert not decoded.problems
    assert decoded.end == 9
    assert [(n.name, n.value, n.offset) for n in decoded.nodes] == [
        ("a[0]", "1", 0),
        ("a[1]", "2", 1),
        ("s[0]", "inner", 2),
        ("s[1]", "inner", 4),
        ("i[4]", "7", 6),
        ("t", "tmp", 7),
    ]
    assert decoded.nodes[3].children[0].value == "1286 (0x506)"


@pytest.mark.parametrize("values", [True, False])
def test_an_array_that_begins_with_null_pointers_is_not_told(values: bool) -> None:
    """Before QEMU 9.2 only the first element is described; the others may be structures."""
    text = device(
        field("a", "uint8", 1),
        field("css", "struct", 1, array_len=256, struct={}),
        field("b", "uint8", 1),
    )
    decoded = decode_section(text, bytes(700), values=values)
    assert (decoded.told, decoded.end, decoded.problems) == (False, 1, [])


def test_a_structure_that_holds_such_an_array_has_a_size() -> None:
    inner = {"vmsd_name": "i", "fields": [field("css", "struct", 1, array_len=9, struct={})]}
    text = device(field("s", "struct", 20, struct=inner), field("b", "uint8", 1))
    decoded = decode_section(text, bytes(20) + b"\7")
    assert (decoded.told, decoded.end, decoded.problems) == (True, 21, [])
    assert decoded.nodes[-1].value == "7"


def listed(kind: str, *elements: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    """A device whose list QEMU describes with these names and values, which repeat."""
    members = [("name", "l"), ("type", kind), *elements, ("size", 0)]
    text = ", ".join(f'"{name}": {json.dumps(value)}' for name, value in members)
    last = json.dumps(field("b", "uint8", 1))
    loaded = json.loads(f'{{"fields": [{{{text}}}, {last}]}}', object_pairs_hook=with_elements)
    assert isinstance(loaded, dict)
    return loaded


def element(name: str, *fields: dict[str, Any], **more: Any) -> list[tuple[str, Any]]:
    """What QEMU says of an element in the list's own object."""
    return [("vmsd_name", name), ("version", 1), ("fields", list(fields)), *more.items()]


SUB = {"vmsd_name": "e/sub", "version": 1, "fields": [field("z", "uint8", 1)]}
NUMBER = element("e", field("n", "uint16", 2))
NAMED = element("e", field("n", "uint16", 2), field("name", "buffer", 3), subsections=[SUB])
KEY, VALUE = element("k", field("low", "uint8", 1)), element("v", field("n", "uint16", 2))


@pytest.mark.parametrize(
    ("kind", "elements", "data", "shown"),
    [
        ("qtailq", [*NUMBER], "01 0007 00", ["true", "e", "false"]),
        (
            "qlist",
            [*NUMBER, *NAMED, *NUMBER],
            "01 0007 01 0008616263 0505652f73756200000001 09 01 0009 00",
            ["true", "e", "true", "e", "true", "e", "false"],
        ),
        (
            "gtree",
            [*NUMBER, *NUMBER],
            "00000002 01 0000000000000005 0007 01 0000000000000006 0008 00",
            ["2", "true", "5", "e", "true", "6", "e", "false"],
        ),
        (
            "gtree",
            [*KEY, *VALUE, *KEY, *VALUE],
            "00000002 01 05 0007 01 06 0008 00",
            ["2", "true", "k", "v", "true", "k", "v", "false"],
        ),
        ("qtailq", [], "00", []),
        ("gtree", [], "0000000000", []),
    ],
)
@pytest.mark.parametrize("values", [True, False])
def test_the_elements_of_a_list_are_described_one_by_one(
    kind: str, elements: list[tuple[str, Any]], data: str, shown: list[str], values: bool
) -> None:
    raw = bytes.fromhex(data)
    text = listed(kind, *elements)
    text["fields"][0]["size"] = len(raw)
    decoded = decode_section(text, raw + b"\x2a", values=values)
    assert (decoded.told, decoded.end, decoded.problems) == (True, len(raw) + 1, [])
    if values or shown:
        node = decoded.nodes[0]
        assert (node.name, node.size) == ("l", len(raw))
        assert [child.value for child in node.children] == shown
        assert sum(child.size for child in node.children) in {0, len(raw)}
    if values:
        assert decoded.nodes[1].value == "42 (0x2a)"


@pytest.mark.parametrize("size", [0, 3, 5, 9])
def test_a_list_that_is_not_as_long_as_described(size: int) -> None:
    text = listed("qtailq", *NUMBER)
    text["fields"][0]["size"] = size
    decoded = decode_section(text, b"\1\0\7\0\x2a")
    assert {problem.slug for problem in decoded.problems} == {"vmdesc-section-size"}


@pytest.mark.parametrize("limit", ["NODES_MAX", "FIELDS_MAX"])
def test_a_list_has_its_limits(monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    text = listed("qtailq", *element("e") * 9)
    text["fields"][0]["size"] = 10
    monkeypatch.setattr(vmstate, limit, 3)
    decoded = decode_section(text, b"\1" * 9 + b"\0\x2a", fields=vmstate.FIELDS_MAX)
    assert not decoded.told
    assert len(decoded.nodes[0].children) < 6


def test_a_subsection_is_decoded_where_it_stands() -> None:
    sub = {"vmsd_name": "d/sub", "version": 2, "fields": [field("z", "uint8", 1)]}
    body = b"\1" + b"\5\5d/sub\0\0\0\2" + b"\x09"
    decoded = decode_section(device(field("a", "uint8", 1), subsections=[sub]), b"__" + body, 2)
    assert not decoded.problems
    assert decoded.end == len(body) + 2
    node = decoded.nodes[1]
    assert (node.name, node.value, node.offset) == ("d/sub", "version 2", 3)
    assert node.children[0].value == "9"


@pytest.mark.parametrize(
    ("text", "data", "slug"),
    [
        (device(field("a", "uint32", 4)), b"\0\0\0", "vmdesc-section-size"),
        (device(field("a", "uint8", 1, array_len=9)), b"12345", "vmdesc-section-size"),
        (device(subsections=[{"vmsd_name": "x"}]), b"", "subsection-bad"),
        (device(subsections=[{"vmsd_name": "x"}]), b"\4\1x\0\0\0\1", "subsection-bad"),
        (device(subsections=[{"vmsd_name": "x"}]), b"\5\1y\0\0\0\1", "subsection-bad"),
        (device(subsections=[{"vmsd_name": "x"}]), b"\5\1x\0", "subsection-bad"),
        (
            device(field("s", "struct", 3, struct={"fields": [field("b", "uint8", 1)]})),
            b"123",
            "vmdesc-section-size",
        ),
    ],
)
def test_a_body_that_its_description_does_not_fit_is_told(
    text: dict[str, Any], data: bytes, slug: str
) -> None:
    decoded = decode_section(text, data)
    assert [problem.slug for problem in decoded.problems] == [slug]


def test_a_description_makes_no_more_nodes_than_there_are_bytes() -> None:
    many = device(field("a", "uint8", 0, array_len=10**15), field("b", "uint8", 1, array_len=10**9))
    decoded = decode_section(many, b"123")
    assert len(decoded.nodes) < 6


@pytest.mark.parametrize("inner", [{}, {"struct": {"fields": [field("x", "uint8", 1)]}}])
def test_more_fields_than_nodes_are_no_problem(
    inner: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vmstate, "NODES_MAX", 9)
    elements = field("f", "uint8", 1, array_len=10, **inner)
    decoded = decode_section(device(elements), bytes(10))
    assert (decoded.told, decoded.problems) == (False, [])
    assert 1 <= len(decoded.nodes) <= 9


def test_nesting_is_bounded() -> None:
    text: dict[str, Any] = device(field("x", "uint8", 0))
    for _ in range(200):
        text = device(field("s", "struct", 0, struct=text))
    assert [p.slug for p in decode_section(text, b"").problems] == ["vmdesc-json"]


SCALARS = st.none() | st.booleans() | st.integers(-5, 50) | st.sampled_from(["uint8", "struct"])
KEYS = st.sampled_from(
    ["name", "type", "size", "fields", "subsections", "struct", "array_len", "index", "vmsd_name"]
)
TEXTS = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner), max_leaves=30
)


@given(text=TEXTS, data=st.binary(max_size=40), offset=st.integers(0, 50))
@settings(max_examples=300)
def test_any_json(text: Any, data: bytes, offset: int) -> None:
    decode_section(json.loads(json.dumps(text)), data, offset)


@st.composite
def structures(draw: st.DrawFn, depth: int = 0) -> dict[str, Any]:
    """Descriptions like real ones, in which a size may be wrong."""
    text: dict[str, Any] = {"fields": []}
    for _ in range(draw(st.integers(0, 3))):
        one = field("f", "uint8", draw(st.sampled_from([0, 1, 2, 4])))
        if depth < 3 and draw(st.booleans()):
            inner = draw(structures(depth + 1))
            wrong = draw(st.sampled_from([0, 0, 0, 0, 1]))
            one["size"] = len(content(inner)) + wrong
            one["struct" if draw(st.booleans()) else "fields"] = inner
            if "fields" in one:
                one["fields"] = inner["fields"]
        if draw(st.booleans()):
            one["array_len"] = draw(st.integers(0, 3))
        text["fields"].append(one)
    if depth < 3 and draw(st.sampled_from([False, False, True])):
        text["subsections"] = [{"vmsd_name": "s", **draw(structures(depth + 1))}]
    return text


def content(text: dict[str, Any]) -> bytes:
    """What a source would write for it."""
    data = b""
    for one in text["fields"]:
        inner = one.get("struct") or ({"fields": one["fields"]} if one.get("fields") else None)
        data += (content(inner) if inner else bytes(one["size"])) * one.get("array_len", 1)
    for sub in text.get("subsections", ()):
        data += b"\5\1s\0\0\0\1" + content(sub)
    return data


@given(text=structures(), cut=st.sampled_from([0, 0, 0, 1, 5]), more=st.integers(0, 2))
@settings(max_examples=400)
def test_structure_alone_shows_what_the_values_show(
    text: dict[str, Any], cut: int, more: int
) -> None:
    data = content(text)
    data = data[: max(0, len(data) - cut)] + bytes(more)
    whole, quick = (decode_section(text, data, values=values) for values in (True, False))
    assert quick.end == whole.end
    assert [(p.slug, p.offset, p.detail) for p in quick.problems] == [
        (p.slug, p.offset, p.detail) for p in whole.problems
    ]
