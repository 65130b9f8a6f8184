"""The layout tables against struct, and against QEMU's own numbers."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dissectors import main_stream, multifd, vfio
from dissectors.fields import Field, Layout

LAYOUTS = {
    "channel header": (multifd.CHANNEL_HEADER, 12),
    "initial packet": (multifd.INIT, 64),
    "header": (multifd.HEADER, 12),
    "RAM packet": (multifd.RAM, 320),
    "device-state packet": (multifd.DEVICE_STATE, 276),
    "VFIO buffer": (vfio.BUFFER, 12),
    "VFIO buffer, host order": (vfio.BUFFER_HOST, 12),
}
OFFSETS = {
    (multifd.INIT, "uuid"): 8,
    (multifd.INIT, "id"): 24,
    (multifd.INIT, "unused1"): 25,
    (multifd.INIT, "unused2"): 32,
    (multifd.RAM, "pages_alloc"): 12,
    (multifd.RAM, "normal_pages"): 16,
    (multifd.RAM, "next_packet_size"): 20,
    (multifd.RAM, "packet_num"): 24,
    (multifd.RAM, "zero_pages"): 32,
    (multifd.RAM, "unused64"): 40,
    (multifd.RAM, "ramblock"): 64,
    (multifd.DEVICE_STATE, "idstr"): 12,
    (multifd.DEVICE_STATE, "instance_id"): 268,
    (multifd.DEVICE_STATE, "next_packet_size"): 272,
}

each_layout = pytest.mark.parametrize(
    "layout", [layout for layout, _ in LAYOUTS.values()], ids=list(LAYOUTS)
)


@pytest.mark.parametrize(("layout", "size"), LAYOUTS.values(), ids=list(LAYOUTS))
def test_layouts_are_as_long_as_qemu_s_structs(layout: Layout, size: int) -> None:
    assert layout.size == size == sum(field.size for field in layout)


@pytest.mark.parametrize(
    ("layout", "name", "offset"), [(layout, name, at) for (layout, name), at in OFFSETS.items()]
)
def test_fields_stand_where_qemu_has_them(layout: Layout, name: str, offset: int) -> None:
    assert layout[name].offset == offset


@each_layout
def test_fields_follow_each_other(layout: Layout) -> None:
    end = 0
    for field in layout:
        assert field.offset == end
        assert field.size == struct.calcsize(layout.order + field.code)
        end += field.size
    assert len({field.name for field in layout}) == len(layout.fields)


@each_layout
@given(data=st.data())
def test_round_trip(layout: Layout, data: st.DataObject) -> None:
    raw = data.draw(st.binary(min_size=layout.size, max_size=layout.size))
    assert layout.pack(layout.values(raw)) == raw
    assert layout.values(b"?" + raw, 1) == layout.values(raw)


def test_missing_values_are_zero() -> None:
    assert multifd.RAM.pack({}) == bytes(320)


def test_short_buffer() -> None:
    with pytest.raises(struct.error):
        multifd.INIT.values(bytes(63))


def test_unknown_field() -> None:
    with pytest.raises(KeyError):
        multifd.INIT["nothing"]


def test_before_is_the_beginning_of_the_same_table() -> None:
    raw = bytes(range(256)) * 2
    assert multifd.RAM_COUNTS.size == 36
    assert multifd.RAM_COUNTS.unpack(raw) == multifd.RAM.unpack(raw)[:8]
    with pytest.raises(KeyError):
        multifd.RAM.before("nothing")


def test_what_is_told_twice_is_the_same() -> None:
    assert multifd.DEVICE_STATE["idstr"].size == multifd.NAME_SIZE == 256
    assert multifd.DEVICE_STATE["idstr"].offset == multifd.HEADER.size
    assert multifd.MAGIC_VERSION.hex() == "1122334400000001"
    assert multifd.CHANNEL_HEADER_START.hex() == "0000000000000004"
    assert main_stream.MAGIC_BYTES == b"QEVM"
    assert main_stream.RAM_END.hex() == "00000000000000107e0000"
    assert main_stream.STATE_END.hex() == "ffffffffef1000017e0000"
    assert main_stream.RAM_FLAG_BITS == 0x3FF


def test_initial_packets_and_packet_headers_of_64_bytes() -> None:
    magic: dict[str, int | bytes] = {"magic": multifd.MAGIC, "version": multifd.VERSION}
    ram = {**magic, "flags": 0, "pages_alloc": 128, "packet_num": 7}
    state = {**magic, "flags": 0x40, "idstr": b"0000:00:02.0/vfio"}
    assert multifd.is_init(multifd.INIT.pack({**magic, "uuid": b"\1" * 16, "id": 3}))
    assert not multifd.is_init(multifd.INIT.pack({**magic, "unused2": b"\1"}))
    assert not multifd.is_init(multifd.RAM.pack(ram)[: multifd.INIT.size])
    assert not multifd.is_init(multifd.RAM.pack({**magic, "flags": 1})[: multifd.INIT.size])
    assert not multifd.is_init(multifd.DEVICE_STATE.pack(state)[: multifd.INIT.size])
    short = multifd.DEVICE_STATE.pack({**state, "idstr": b"vfio"})
    assert not multifd.is_init(short[: multifd.INIT.size])


def test_reordered_is_the_same_table() -> None:
    assert [field.name for field in vfio.BUFFER_HOST] == [field.name for field in vfio.BUFFER]
    assert vfio.BUFFER_HOST.pack({"idx": 1}) == bytes(4) + b"\1\0\0\0" + bytes(4)
    assert vfio.BUFFER.pack({"idx": 1}) == bytes(4) + b"\0\0\0\1" + bytes(4)


def test_repr_names_field_and_place() -> None:
    assert repr(multifd.INIT["id"]) == "Field('id', 'B', offset=24)"
    assert Field("x", "Q", "").size == 8


@pytest.mark.parametrize(("page", "count", "size"), [(1, 512, 4416), (4, 128, 1344), (64, 8, 384)])
def test_ram_header_size(page: int, count: int, size: int) -> None:
    assert multifd.ram_header_size(count) == size
    assert multifd.page_size_of(count) == page * 1024
    assert multifd.page_count_of(page * 1024) == count


def test_page_sizes() -> None:
    assert multifd.PAGE_SIZES[0] == 1024
    assert multifd.PAGE_SIZES[-1] == 65536
    assert multifd.PAGE_COUNTS == (8, 16, 32, 64, 128, 256, 512)
    assert {*multifd.LIKELY_PAGE_SIZES} < {*multifd.PAGE_SIZES}
    assert multifd.COMMON_COUNT == 128


def test_name_of() -> None:
    assert multifd.name_of(b"pc.ram\0junk\0") == b"pc.ram"
    assert multifd.name_of(b"unterminated") == b"unterminated"
    assert multifd.name_of(b"\0") == multifd.name_of(b"") == b""


def test_device_name() -> None:
    assert multifd.device_name(b"0000:00:02.0/vfio\0\0", 1) == "0000:00:02.0/vfio#1"
    assert multifd.device_name("\\xff", 0) == multifd.device_name(b"\xff", 0) == "\\xff#0"


def test_uuid_text() -> None:
    assert multifd.uuid_text(bytes(range(16))) == "00010203-0405-0607-0809-0a0b0c0d0e0f"


def test_text_of() -> None:
    assert multifd.text_of(b"pc.ram\0junk") == "pc.ram"
    assert multifd.text_of(b"\xff\0") == "\\xff"
