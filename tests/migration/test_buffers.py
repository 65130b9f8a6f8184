"""The buffers of a device in columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from analyzer.migration.buffers import BY_PARAMETER, Buffers
from analyzer.migration.rows import Buffer, DevicePacket
from analyzer.tcp.requests import Place

if TYPE_CHECKING:
    from collections.abc import Iterable


def packet(idx: int, *, end: int = 0, config: bool = False) -> DevicePacket:
    made = DevicePacket(-3, 1 << 40, Place(7, 8, 9), (0, 1, 0x40, b"vfio", 0, 112))
    made.idx, made.state_flags, made.missing = idx, int(config), 2
    made.last = Place(end or idx + 10, 10 * idx, 0)
    return made


def of(indices: Iterable[int]) -> Buffers:
    made = Buffers()
    for idx in indices:
        made.add(packet(idx))
    return made


def test_a_buffer_has_what_its_packet_had() -> None:
    buffers = Buffers()
    buffers.add(packet(5, config=True))
    (told,) = buffers
    values = [getattr(told, name) for name in Buffer.__slots__]
    assert values == [getattr(buffers[0], name) for name in Buffer.__slots__]
    assert [getattr(told, name) for name in BY_PARAMETER] == [
        5, True, -3, 100, 2, 1 << 40, 7, 8, 15, 50, 9,
    ]  # fmt: skip
    assert sorted(BY_PARAMETER) == sorted(Buffer.__slots__)


def test_they_are_put_in_the_order_of_their_last_bytes() -> None:
    """Those that end in one frame stay in the order in which they were read."""
    buffers = Buffers()
    for idx, end in enumerate((30, 20, 30, 10)):
        buffers.add(packet(idx, end=end))
    assert list(buffers.by_arrival().idx) == [3, 1, 0, 2]
    ordered = of(range(3))
    assert ordered.by_arrival() is ordered


@pytest.mark.parametrize(
    ("indices", "whole"),
    [([], True), ([0], True), ([1, 0, 2], True), ([0, 2], False), ([0, 0], False), ([1], False)],
)
def test_whether_every_index_is_there_once(indices: list[int], whole: bool) -> None:
    assert of(indices).are_contiguous is whole


def test_a_hundred_thousand_buffers_take_eight_megabytes() -> None:
    buffers = of(range(100_000))
    held = sum(memoryview(getattr(buffers, name)).nbytes for name in BY_PARAMETER)
    assert held == 81 * 100_000


def test_all_config_states_are_found() -> None:
    buffers = Buffers()
    for idx in range(6):
        buffers.add(packet(idx, config=idx in (2, 5)))
    assert [buffer.idx for buffer in buffers.configs] == [2, 5]
