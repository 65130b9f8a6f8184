"""The description at the end of a stream, held against its sections."""

from __future__ import annotations

from typing import Any

import pytest

from analyzer.migration import vmdescription
from analyzer.migration.main_channel import BODIES_KEPT
from tests.migration import main_streams as build
from tests.migration.main_streams import (
    CPU,
    CPU_BODY,
    OPENING,
    PIC,
    PIC_BODY,
    RAM_START,
    buffer_device,
    walk,
)

CPU_DEVICE = buffer_device("cpu", len(CPU_BODY))
PIC_DEVICE = buffer_device("i8259", len(PIC_BODY), 1)


def described(*devices: dict[str, Any], text: bytes | None = None) -> bytes:
    return OPENING + RAM_START + CPU + PIC + b"\0" + build.vmdescription(devices, text)


def verify(stream: bytes) -> set[str]:
    return {anomaly.slug for anomaly in vmdescription.verify(walk(stream))}


@pytest.mark.parametrize("name", sorted(build.STREAMS))
def test_a_description_that_fits_its_sections_is_no_anomaly(name: str) -> None:
    assert not vmdescription.verify(walk(build.STREAMS[name]()))


@pytest.mark.parametrize(
    ("stream", "slug"),
    [
        (described(CPU_DEVICE), "vmdesc-json"),
        (described(CPU_DEVICE, PIC_DEVICE, buffer_device("apic", 4)), "vmdesc-json"),
        (described(text=b"{no json"), "vmdesc-json"),
        (described(text=b"[" * 100_000), "vmdesc-json"),
        (described(text=b"[1]"), "vmdesc-json"),
        (described(text=b"\xff\xfe"), "vmdesc-json"),
        (described(CPU_DEVICE, buffer_device("i8259", 99, 1)), "vmdesc-section-size"),
    ],
    ids=["missing", "too many", "broken", "deep", "list", "no text", "size"],
)
def test_a_description_that_does_not_fit_is_told(stream: bytes, slug: str) -> None:
    assert verify(stream) == {slug}


def test_no_description_no_anomaly() -> None:
    main = walk(OPENING + RAM_START + CPU + b"\0")
    assert not vmdescription.verify(main)
    assert not vmdescription.decode(main)
    assert vmdescription.load(main) is None


def test_fields_are_decoded() -> None:
    device = {
        "name": "i8259",
        "instance_id": 1,
        "vmsd_name": "i8259",
        "version": 1,
        "fields": [
            {"name": "irr", "type": "uint32", "size": 4},
            {"name": "isr", "type": "uint8", "size": 1, "array_len": len(PIC_BODY) - 4},
        ],
    }
    main = walk(described(CPU_DEVICE, device))
    assert not vmdescription.verify(main)
    cpu, pic = vmdescription.decode(main)
    assert cpu.complete
    assert pic.complete
    assert [node.value for node in pic.nodes[:2]] == ["5", "126 (0x7e)"]
    assert pic.record.name == "i8259#1"


@pytest.mark.parametrize("kind", ["qtailq", "qlist"])
def test_a_list_is_described_with_names_that_repeat(kind: str) -> None:
    """As QEMU does for the EFI variables of ``uefi-vars`` and the mappings of ``virtio-iommu``."""
    named = '"vmsd_name": "e", "version": 1, "fields": [{"name": "n", "type": "uint8", "size": 1}]'
    other = named.replace('"size": 1', '"size": 3').replace("uint8", "buffer")
    size = 1 + 2 + 4
    text = '{"devices": [{"name": "d", "instance_id": 0, "fields": [{"name": "l", '
    text += f'"type": "{kind}", {named}, {other}, "size": {size}}}]}}]}}'
    stream = OPENING + RAM_START + build.full(4, b"d", b"\1\7\1abc\0") + b"\0"
    main = walk(stream + build.vmdescription([], text.encode()))
    assert not vmdescription.verify(main)
    (device,) = vmdescription.decode(main)
    assert device.complete
    (node,) = device.nodes
    assert node.value == "2 elements"
    assert [n.children[0].value for n in node.children if n.children] == ["7", '"abc"']


def test_a_description_that_stops_short_is_noticed() -> None:
    device = dict(CPU_DEVICE, fields=[{"name": "a", "type": "buffer", "size": 100}])
    (cpu, _pic) = vmdescription.decode(walk(described(device, PIC_DEVICE)))
    assert not cpu.complete
    assert [a.slug for a in cpu.anomalies] == ["vmdesc-section-size"]


def test_anomalies_of_fields_stand_where_the_bytes_are() -> None:
    sub = {"vmsd_name": "cpu/sub", "version": 1, "fields": []}
    device = {
        "name": "cpu",
        "instance_id": 0,
        "fields": [{"name": "a", "type": "buffer", "size": 50}],
        "subsections": [sub],
    }
    stream = described(device, PIC_DEVICE)
    (cpu, _pic) = vmdescription.decode(walk(stream))
    (anomaly,) = cpu.anomalies
    assert anomaly.slug == "subsection-bad"
    assert anomaly.offset == stream.index(CPU_BODY) + 50


def test_bodies_beyond_the_limit_are_measured_only() -> None:
    size = BODIES_KEPT // 2 + 1
    stream = OPENING + RAM_START
    stream += build.full(4, b"a", bytes(size)) + build.full(5, b"b", bytes(size)) + b"\0"
    stream += build.vmdescription([buffer_device("a", size), buffer_device("b", size)])
    main = walk(stream)
    assert not vmdescription.verify(main)
    assert [d.record.name for d in vmdescription.decode(main)] == ["a"]


def test_odd_descriptions() -> None:
    """JSON of the wrong shape is read as far as it makes sense."""
    fields = b'[4, {"size": -3}, {"size": "x"}, {"size": 1e3}, {"size": 1%s, "array_len": 1%s}]' % (
        b"0" * 30,
        b"0" * 15,
    )
    texts = [
        b'{"devices": 5}',
        b'{"devices": [1, null, {"name": 3}, {"instance_id": "x"}]}',
        b'{"page_size": true, "devices": [{"name": "cpu", "instance_id": 0, "fields": 7}]}',
        b'{"devices": [{"name": "cpu", "instance_id": 0, "fields": %s}]}' % fields,
    ]
    for text in texts:
        main = walk(described(text=text))
        assert vmdescription.verify(main)
        vmdescription.decode(main)
        description = vmdescription.load(main)
        assert description is not None
        assert description.page_size == 0


@pytest.mark.parametrize(
    "name",
    [
        rb"\ufffd\ufffdcaf\u00e9",
        b"\xff\xfecaf\xc3\xa9",
        rb"\u00ff\u00fecaf\u00e9",
        b"\xff\xfecaf\xe9",
    ],
)
def test_names_that_are_not_ascii(name: bytes) -> None:
    """Sources write signs for them, or bytes as they are, or what their locale makes of them."""
    idstr = b"\xff\xfecaf\xc3\xa9"
    fields = b'"fields": [{"name": "a", "type": "buffer", "size": 4}]'
    text = b'{"devices": [{"name": "%s", "instance_id": 0, %s}]}' % (name, fields)
    stream = OPENING + RAM_START + build.full(9, idstr, b"body") + b"\0"
    main = walk(stream + build.vmdescription(text_=text))
    assert not main.anomalies
    assert not vmdescription.verify(main)


@pytest.mark.parametrize("instance", [0, 1])
def test_a_section_with_another_ones_id_is_found_by_its_name(instance: int) -> None:
    own = build.full(build.CPU_ID, b"i8259", PIC_BODY, instance)
    devices = (CPU_DEVICE, buffer_device("i8259", len(PIC_BODY), instance))
    main = walk(OPENING + RAM_START + CPU + own + b"\0" + build.vmdescription(devices))
    assert build.slugs(main.anomalies) == {"section-id-reused"}
    assert not vmdescription.verify(main)
    assert len(vmdescription.decode(main)) == 2
