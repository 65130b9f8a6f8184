"""What a migration's packets say together, and which headers found by search are believed."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest

from analyzer.analysis import analyze
from analyzer.migration.consumers import Watcher
from analyzer.migration.framing import PAYLOAD_MAX, Framing
from analyzer.migration.scan import Scan
from analyzer.migration.settings import Settings
from dissectors.multifd import DEVICE_STATE, HASHED_COUNT, RAM_COUNTS, ram_header_size
from dissectors.vfio import BUFFER, BUFFER_HOST
from tests.checks.craft import PAGE, Tiny, buffer, fired, init, ram, sync

if TYPE_CHECKING:
    from collections.abc import Sequence

    from analyzer.migration.channel import Channel
    from analyzer.migration.migration import Migration
    from analyzer.migration.rows import RamPacket

WHOLE = ram([0, 1], num=2)
UADK, DEVICE, ZLIB, ZSTD = 0x10, 0x40, 2, 4


def length(packet: bytes, page_count: int = 0) -> int | None:
    """The length that the header of a packet shows, if it is believed."""
    framing = Framing(Settings())
    framing.page_count = page_count
    return framing.packet_length(packet[: framing.header_needed()])


def read(*packets: bytes, settings: Settings | None = None) -> Migration:
    """The migration of a source that sends these on its only multifd channel."""
    tiny = Tiny(device=False)
    tiny.multifd = [[init(0), *packets]]
    return analyze(tiny.pcap(), settings).migrations[0]


# -- headers found by search -----------------------------------------------------------------------


BELIEVED = {
    "pages": WHOLE,
    "zero pages": ram(zero=[1], num=2),
    "compressed": ram([0], num=2, payload=b"x" * 100, flags=ZLIB),
    "high packet_num": ram([0], num=(1 << 48) - 1),
    "full": ram(range(64), range(64, 128), num=2),
    "size without pages": ram(num=2, next_packet_size=5),
    "SYNC": sync(3),
    "SYNC of old": sync(3, pages_alloc=128),
    "buffer": buffer(0),
    "buffer without data": buffer(0, b""),
    "buffer in host order": buffer(1, host_order=True),
}


@pytest.mark.parametrize("page_count", [0, 128])
@pytest.mark.parametrize("name", BELIEVED)
def test_a_packet_is_believed(name: str, page_count: int) -> None:
    packet = BELIEVED[name]
    assert length(packet, page_count) == len(packet)


def test_the_largest_payload_that_is_believed() -> None:
    packet = ram([0], num=2, flags=ZLIB, next_packet_size=PAYLOAD_MAX)
    assert length(packet) == ram_header_size(128) + PAYLOAD_MAX
    assert length(buffer(0, next_packet_size=PAYLOAD_MAX)) == DEVICE_STATE.size + PAYLOAD_MAX


@pytest.mark.parametrize(
    ("alloc", "believed"), [(64, True), (512, True), (1024, True), (1025, False)]
)
def test_the_number_of_offsets_is_told_by_the_first_packet(alloc: int, believed: bool) -> None:
    packet = ram([0], num=2, count=alloc, payload=bytes((1 << 19) // alloc))
    assert length(packet) == (len(packet) if believed else None)


MEMORY = {
    "magic": b"\x11\x22\x33\x45" + WHOLE[4:],
    "cut off": WHOLE[: RAM_COUNTS.size - 1],
    "high flags": ram([0], num=2, flags=0x100),
    "other capacity": ram([0], num=2, pages_alloc=64),
    "more than fit": ram(range(100), range(29), num=2),
    "packet_num": ram([0], num=1 << 48),
    "reserved": ram([0], num=2, unused32=1),
    "reserved end": ram([0], num=2, unused64=b"\0" * 23 + b"\1"),
    "no block": ram([0], num=2, block=b""),
    "block": ram([0], num=2, block=b"pc\x07ram"),
    "block not ASCII": ram(zero=[0], num=2, block=b"pc.r\xe4m"),
    "block and more": ram([0], num=2, block=b"pc.ram\0x"),
    "nothing": ram(num=2),
    "size": ram([0], num=2, payload=bytes(PAGE - 1)),
    "large": ram([0], num=2, flags=ZLIB, next_packet_size=PAYLOAD_MAX + 1),
    "no idstr": buffer(0, idstr=b""),
    "idstr": buffer(0, idstr=b"vfio\x01"),
    "idstr not ASCII": buffer(0, idstr=b"vfi\xf6"),
    "idstr and more": buffer(0, idstr=b"vfio\0x"),
    "short buffer": buffer(0, payload=bytes(11)),
    "large buffer": buffer(0, next_packet_size=PAYLOAD_MAX + 1),
    "VFIO version": buffer(0, header={"version": 1}),
    "buffer cut off": buffer(0)[: DEVICE_STATE.size - 1],
}


@pytest.mark.parametrize("name", MEMORY)
def test_guest_memory_that_resembles_a_header_is_not_believed(name: str) -> None:
    assert length(MEMORY[name], 128) is None


# -- the sender's era and compression --------------------------------------------------------------

LISTED = ram([0], [1], num=2)
PLAIN = ram([0], num=2)
OLD_SYNC = sync(3, pages_alloc=128)


ERAS: list[tuple[list[bytes], str | None]] = [
    ([PLAIN, sync(3)], "9.2"),
    ([LISTED, sync(3)], "9.2"),
    ([PLAIN, buffer(0)], "9.2"),  # without a SYNC the device state tells
    ([LISTED, OLD_SYNC], "9.0"),
    ([LISTED, OLD_SYNC, buffer(0)], "9.0"),
    ([PLAIN, OLD_SYNC], "8.2"),
    ([PLAIN, sync(3, pages_alloc=128, next_packet_size=PAGE)], "7.2"),
    ([OLD_SYNC, ram([0], num=3, flags=1)], "7.2"),
    ([OLD_SYNC, ram(num=3, next_packet_size=PAGE)], "7.2"),
    ([OLD_SYNC, PLAIN], None),  # the SYNC's size tells only behind pages
    ([PLAIN], None),
]


@pytest.mark.parametrize("number", range(len(ERAS)))
def test_the_era_that_packets_show(number: int) -> None:
    packets, era = ERAS[number]
    found = read(*packets).framing.era
    assert (found.name if found is not None else None) == era


@pytest.mark.parametrize(
    ("methods", "most"),
    [
        ([0, ZLIB, ZLIB], ZLIB),
        ([ZSTD, ZLIB], ZSTD),
        ([ZLIB, ZSTD, ZSTD, ZLIB], ZSTD),
        ([ZLIB | ZSTD, ZLIB], ZLIB),  # two bits are no method
    ],
)
def test_the_compression_is_that_of_most_packets(methods: list[int], most: int) -> None:
    packets = [ram([0], num=n, flags=flags, payload=bytes(PAGE)) for n, flags in enumerate(methods)]
    assert read(*packets).framing.compression == most


class Pages(Watcher):
    """The pages of every RAM and SYNC packet."""

    def __init__(self) -> None:
        self.seen: list[list[int]] = []

    def ram(
        self, migration: Migration, channel: Channel, packet: RamPacket, pages: Sequence[int]
    ) -> None:
        del migration, channel, packet
        self.seen.append(list(pages))


def hashed(normal: Sequence[int], skipped: Sequence[int], zero: Sequence[int], num: int) -> bytes:
    """A packet of the vendor fork that hashes pages: QEMU 7.2 with the skipped ones counted."""
    listed = [PAGE * number for number in [*normal, *skipped, *zero]]
    return ram(
        normal,
        zero,
        num=num,
        count=HASHED_COUNT,
        payload=bytes(PAGE * len(normal)),
        offsets=struct.pack(f">{len(listed)}Q", *listed).ljust(8 * HASHED_COUNT, b"\0"),
        unused32=len(skipped),
    )


def test_a_vendor_fork_lists_skipped_pages_before_zero_pages() -> None:
    """Its SYNC packets do not tell how long offset[] is, and come first."""
    packets = [
        sync(0, count=HASHED_COUNT),
        hashed(range(300), range(300, 310), [311, 312], 1),
        hashed([], [320], [], 2),
        sync(3, count=HASHED_COUNT),
    ]
    watcher = Pages()
    tiny = Tiny(device=False)
    tiny.multifd = [[init(0), *packets]]
    capture = tiny.pcap()
    migration = Scan(capture, watchers=(watcher,)).run().migrations[0]
    assert migration.framing.page_count == HASHED_COUNT
    assert watcher.seen == [[], [PAGE * n for n in [*range(300), 311, 312]], [], []]
    assert not {"MF201", "MF223", "MF227"} & set(fired(capture))
    assert [length(packet) for packet in packets[1:3]] == [len(packet) for packet in packets[1:3]]


def test_a_vendor_s_number_of_offsets_says_nothing_of_the_page_size() -> None:
    for settings, size in ((Settings(), 4096), (Settings(page_size=8192), 8192)):
        framing = Framing(settings)
        framing.page_count = 1023
        assert framing.page_size == size


# -- device state ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "order"),
    [
        ({"idx": 1}, "be"),
        ({"idx": 1 << 24}, "le"),
        ({"flags": 1}, "be"),
        ({"idx": 5, "flags": 1}, "be"),
        ({"idx": 5, "flags": 1 << 24}, None),
        ({"idx": 0x01000001}, None),
        ({"version": 1}, None),
        ({}, None),
    ],
)
def test_the_byte_order_that_a_header_proves(values: dict[str, int], order: str | None) -> None:
    assert Framing.order_of(BUFFER.pack(values)) == order


PROVEN = {"be": BUFFER.pack({"idx": 1}), "le": BUFFER_HOST.pack({"idx": 1})}


@pytest.mark.parametrize(
    ("forced", "before", "flag", "order"),
    [
        (None, None, DEVICE, "be"),
        (None, None, UADK, "le"),
        (None, "be", UADK, "be"),
        (None, "le", DEVICE, "le"),
        ("le", "be", DEVICE, "le"),
        ("be", "le", UADK, "be"),
    ],
)
def test_a_header_that_proves_nothing_is_read_in_the_usual_order(
    forced: str | None, before: str | None, flag: int, order: str
) -> None:
    """That of the headers before it, else the dialect's, unless the user says one."""
    framing = Framing(Settings(byte_order=forced))
    framing.saw_device_state(flag)
    if before is not None:
        framing.read_vfio(PROVEN[before], {})
    layout = BUFFER if order == "be" else BUFFER_HOST
    assert framing.read_vfio(layout.pack({"idx": 0x01000002}), {})[1] == 0x01000002


def test_what_a_header_proves_counts_more_than_what_others_do() -> None:
    framing = Framing(Settings())
    for _ in range(3):
        framing.read_vfio(BUFFER.pack({"idx": 1}), {})
    assert framing.read_vfio(BUFFER_HOST.pack({"idx": 7}), {})[1] == 7
    assert framing.byte_order == "be"
    assert Framing(Settings(byte_order="le")).byte_order == "le"


def test_bit_4_of_an_unnamed_packet_is_what_it_is_in_most() -> None:
    framing = Framing(Settings())
    named, pages = buffer(0, flags=UADK), ram([0], num=2, flags=UADK)
    unnamed = pages[:12] + bytes(4) + pages[16:]
    assert not framing.decide_bit4(unnamed)
    assert framing.decide_bit4(named)
    assert not framing.decide_bit4(unnamed)
    for _ in range(3):
        framing.decide_bit4(named)
    assert framing.decide_bit4(unnamed)
    assert not framing.decide_bit4(pages)
