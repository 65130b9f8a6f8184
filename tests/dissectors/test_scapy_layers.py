"""Layout tables, struct and scapy classes say the same; scapy's own sessions can use them."""

from __future__ import annotations

import struct
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw, split_layers
from scapy.plist import PacketList
from scapy.sendrecv import sniff
from scapy.sessions import TCPSession

from dissectors import multifd, vfio
from dissectors.fields import Layout
from dissectors.scapy_layers import (
    RAM_LAYERS,
    ChannelHeader,
    MultiFD,
    MultiFDInit,
    MultiFDPacket,
    MultiFDPacketDeviceState,
    VFIODeviceStatePacket,
    VFIODeviceStatePacketHost,
    bind_port,
    dissect_channel,
    ram_layer,
)

PAIRS: list[tuple[Layout, type[Packet]]] = [
    (multifd.CHANNEL_HEADER, ChannelHeader),
    (multifd.INIT, MultiFDInit),
    (multifd.HEADER, MultiFD),
    (multifd.DEVICE_STATE, MultiFDPacketDeviceState),
    (vfio.BUFFER, VFIODeviceStatePacket),
    (vfio.BUFFER_HOST, VFIODeviceStatePacketHost),
    *((multifd.RAM, layer) for layer in RAM_LAYERS.values()),
]
each_pair = pytest.mark.parametrize(
    ("layout", "layer"), PAIRS, ids=[layer.__name__ for _, layer in PAIRS]
)

INIT_BYTES = bytes.fromhex("1122334400000001" + "00" * 16 + "01" + "00" * 39)
SYNC_BYTES = bytes.fromhex("112233440000000100000001" + "00" * 12 + "0000000000000001").ljust(
    1344, b"\0"
)
RAM_BYTES = (
    bytes.fromhex("112233440000000100000000" + "000000800000000300003000" + "0000000000000002")
    + bytes.fromhex("0000007d00000000" + "00" * 24)
    + b"pc.ram".ljust(256, b"\0")
    + struct.pack(">128Q", 0, 0x9000, *range(0xA000, 0xA000 + 126 * 4096, 4096))
    + bytes(range(256)) * 48
)
CONFIG_BYTES = (bytes.fromhex("ffffffffef100002" + "00000002") + bytes(4096 + 16)) + bytes.fromhex(
    "ffffffffef100001"
)
DEVICE_BYTES = (
    bytes.fromhex("112233440000000100000040")
    + b"0000:00:02.0/vfio".ljust(256, b"\0")
    + bytes.fromhex("0000000000001030" + "000000000000000300000001")
    + CONFIG_BYTES
)


def dissect(data: bytes) -> Packet:
    return MultiFD(data)


def raw_value(value: Any) -> int | bytes:
    """A scapy value as the layout's struct gives it."""
    if isinstance(value, UUID):
        return value.bytes
    return value if isinstance(value, bytes) else int(value)


@each_pair
def test_same_names_offsets_and_sizes(layout: Layout, layer: type[Packet]) -> None:
    assert [field.name for field in layout] == [field.name for field in layer.fields_desc][
        : len(layout.fields)
    ]
    end = 0
    fields: list[Any] = list(layer.fields_desc)
    for row, field in zip(layout, fields, strict=False):
        assert row.offset == end
        assert row.size == field.sz or row.size == field.length_from(None)
        end += row.size


@each_pair
@settings(max_examples=25)
@given(data=st.data())
def test_dissects_and_builds_what_struct_does(
    layout: Layout, layer: type[Packet], data: st.DataObject
) -> None:
    tail = 8 * layer.page_count if issubclass(layer, MultiFDPacket) else 0
    size = layout.size + tail
    raw = data.draw(st.binary(min_size=layout.size, max_size=layout.size)) + bytes(tail)
    if layer is MultiFD:  # dispatches; the header itself is only built
        packet: Packet = MultiFD()
        for name, value in layout.values(raw).items():
            packet.setfieldval(name, value)
    else:
        packet = layer(raw)
    assert {name: raw_value(getattr(packet, name)) for name in layout.values(raw)} == layout.values(
        raw
    )
    packet.raw_packet_cache = None
    assert bytes(packet)[:size] == raw


def test_flags_are_named_as_in_qemu() -> None:
    packet = MultiFDPacket(flags=0x43)
    assert packet.flags.SYNC
    assert packet.flags.DEVICE_STATE
    assert str(packet.flags) == "SYNC+ZLIB+DEVICE_STATE"
    assert VFIODeviceStatePacketHost(flags=1).flags.CONFIG_STATE


# -- the worked bytes of the wire-format page, section 13 -------------------------------------


def test_worked_init() -> None:
    assert bytes(MultiFDInit(id=1)) == INIT_BYTES
    packet = dissect(INIT_BYTES)
    assert isinstance(packet, MultiFDInit)
    assert (packet.magic, packet.version, packet.uuid, packet.id) == (0x11223344, 1, UUID(int=0), 1)


def test_worked_sync() -> None:
    assert bytes(MultiFDPacket(flags="SYNC", packet_num=1)) == SYNC_BYTES
    packet = dissect(SYNC_BYTES)
    assert type(packet) is MultiFDPacket
    assert packet.flags.SYNC
    assert packet.packet_num == 1
    assert packet.offset == [0] * 128
    assert not packet.payload


def test_worked_ram() -> None:
    pages = bytes(range(256)) * 48
    built = MultiFDPacket(
        normal_pages=3,
        zero_pages=125,
        packet_num=2,
        ramblock="pc.ram",
        offset=[0, 0x9000, *range(0xA000, 0xA000 + 126 * 4096, 4096)],
    ) / Raw(pages)
    assert bytes(built) == RAM_BYTES
    packet = dissect(RAM_BYTES)
    assert type(packet) is MultiFDPacket
    assert packet.pages_alloc == 128
    assert packet.next_packet_size == 12288
    assert packet.offset[:2] == [0, 0x9000]
    assert bytes(packet.payload) == pages
    assert "'pc.ram'" in repr(packet)


def test_worked_device_state() -> None:
    built = (
        MultiFDPacketDeviceState(idstr="0000:00:02.0/vfio")
        / VFIODeviceStatePacket(idx=3, flags="CONFIG_STATE")
        / Raw(CONFIG_BYTES)
    )
    assert len(DEVICE_BYTES) == 276 + 4144
    assert bytes(built) == DEVICE_BYTES
    packet = dissect(DEVICE_BYTES)
    assert isinstance(packet, MultiFDPacketDeviceState)
    assert packet.next_packet_size == 4144
    assert packet[VFIODeviceStatePacket].idx == 3
    assert bytes(packet[Raw]) == CONFIG_BYTES


# -- telling packets apart --------------------------------------------------------------------


def test_page_sizes() -> None:
    for page_size, size in ((1024, 4416), (8192, 832), (16384, 576), (65536, 384)):
        layer = ram_layer(page_size)
        packet = layer(ramblock="r", zero_pages=1, offset=[0])
        assert len(packet) == size
        assert type(dissect(bytes(packet))) is layer
    with pytest.raises(KeyError):
        ram_layer(12345)


def test_too_many_offsets_are_cut_off() -> None:
    assert len(MultiFDPacket(offset=[4096] * 200)) == 1344


def test_stale_size_is_no_payload() -> None:
    packet = MultiFDPacket(bytes(MultiFDPacket(next_packet_size=4096)) + b"next")
    assert packet.payload_size() == 0
    assert bytes(packet.payload) == b"next"


@pytest.mark.parametrize(
    ("flags", "idx", "config", "host"),
    [
        (0x40, 0, 0, False),
        (0x10, 0, 0, True),
        (0x40, 3, 1, False),
        (0x40, 3, 1, True),
        (0x10, 7, 0, False),
        (0x40, 7, 0, True),
    ],
)
def test_byte_order_of_the_vfio_header(flags: int, idx: int, config: int, host: bool) -> None:
    layer = VFIODeviceStatePacketHost if host else VFIODeviceStatePacket
    raw = bytes(
        MultiFDPacketDeviceState(flags=flags, idstr="vfio") / layer(idx=idx, flags=config) / b"x"
    )
    packet = dissect(raw)
    assert layer in packet
    assert packet[layer].idx == idx


@pytest.mark.parametrize(("idstr", "payload"), [("timer", bytes(20)), ("vfio", b"short")])
def test_payload_that_is_no_vfio_buffer(idstr: str, payload: bytes) -> None:
    packet = dissect(bytes(MultiFDPacketDeviceState(idstr=idstr) / Raw(payload)))
    assert bytes(packet[Raw]) == payload


def test_uadk_is_not_taken_for_device_state() -> None:
    raw = bytes(MultiFDPacket(flags="UADK", normal_pages=1, ramblock="m", offset=[0]) / b"page")
    assert type(dissect(raw)) is MultiFDPacket


def test_foreign_bytes_stay_raw() -> None:
    assert type(dissect(b"QEVM" + bytes(20))) is Raw
    assert type(dissect(b"\x11\x22")) is Raw
    assert type(dissect(SYNC_BYTES[:100])) is Raw


# -- whole channels ---------------------------------------------------------------------------


def channel(layer: type[MultiFDPacket] = MultiFDPacket) -> list[Packet]:
    return [
        MultiFDInit(id=0, uuid="12345678-1234-1234-1234-123456789abc"),
        layer(flags="SYNC"),
        layer(normal_pages=1, packet_num=1, ramblock="pc.ram", offset=[8192]) / Raw(bytes(300)),
        MultiFDPacketDeviceState(idstr="vfio") / VFIODeviceStatePacket(idx=0) / Raw(b"state"),
    ]


@pytest.mark.parametrize("layer", RAM_LAYERS.values(), ids=lambda layer: layer.__name__)
def test_channel_of_every_page_size(layer: type[MultiFDPacket]) -> None:
    sent = channel(layer)
    got = dissect_channel(b"".join(map(bytes, sent)))
    assert [type(packet) for packet in got] == [type(packet) for packet in sent]
    assert [bytes(packet) for packet in got] == [bytes(packet) for packet in sent]


def test_channel_with_given_page_size() -> None:
    data = bytes(MultiFDInit()) + bytes(ram_layer(8192)(flags="SYNC")) + b"garbage"
    kinds = [type(packet) for packet in dissect_channel(data, 8192)]
    assert kinds == [MultiFDInit, ram_layer(8192), Raw]


def test_channel_of_the_rfc() -> None:
    data = bytes(ChannelHeader(channel_type=3)) + bytes(MultiFDInit(id=2))
    first, second = dissect_channel(data)
    assert first.channel_type == 3
    assert second.id == 2


@given(cut=st.integers(0, 3000))
@settings(max_examples=60)
def test_cut_channel_loses_nothing(cut: int) -> None:
    data = b"".join(map(bytes, channel()))[:cut]
    assert b"".join(bytes(packet) for packet in dissect_channel(data)) == data


@given(data=st.binary(max_size=400), head=st.sampled_from([b"", INIT_BYTES, SYNC_BYTES]))
@settings(max_examples=60)
def test_any_bytes_are_dissected_without_loss(data: bytes, head: bytes) -> None:
    raw = head + multifd.MAGIC_VERSION + data
    assert b"".join(bytes(packet) for packet in dissect_channel(raw)) == raw


def test_tcp_session_reassembles_a_channel() -> None:
    bind_port(4444)
    try:
        data = b"".join(map(bytes, channel()))
        frames = PacketList(
            [
                Ether(
                    bytes(
                        Ether()
                        / IP(src="10.0.0.1", dst="10.0.0.2")
                        / TCP(sport=50000, dport=4444, seq=1 + at, flags="PA")
                        / Raw(data[at : at + 700])
                    )
                )
                for at in range(0, len(data), 700)
            ]
        )
        seen = sniff(offline=frames, session=TCPSession, quiet=True)
    finally:
        split_layers(TCP, MultiFD, dport=4444)
    layers = [layer for frame in seen for layer in frame.layers()]
    assert layers.count(MultiFDInit) == 1
    assert layers.count(MultiFDPacket) == 2
    assert layers.count(VFIODeviceStatePacket) == 1


def test_tcp_reassemble_refuses_foreign_bytes() -> None:
    assert isinstance(MultiFD.tcp_reassemble(b"QEVM....", {}, {}), Raw)
    assert MultiFD.tcp_reassemble(INIT_BYTES[:20], {}, {}) is None
    for have in (1, 4, 11, 12, 20):
        assert MultiFD.tcp_reassemble(SYNC_BYTES[:have], {}, {"multifd_started": True}) is None
