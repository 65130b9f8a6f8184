"""Reassembly by index: order, gaps, duplicates, and what a receiver had to hold."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from analyzer.migration.device import Device
from analyzer.migration.reassembly import (
    CONFIG,
    DUPLICATE,
    IN_ORDER,
    LATE,
    arrival_states,
    index_states,
)
from analyzer.migration.rows import DevicePacket
from analyzer.tcp.requests import Place

MS = 1_000_000


def device(arrivals: list[tuple[int, int, bool]], step: int = MS) -> Device:
    """Buffers (idx, data size, config) in order of arrival, one every ``step`` ns."""
    result = Device(b"0000:00:02.0/vfio", 0)
    for number, (idx, size, config) in enumerate(arrivals, 1):
        values = (0x11223344, 1, 0x40, result.idstr, 0, size + 12)
        place = Place(number, number * step, number)
        packet = DevicePacket(idx % 3, 0, place, values)
        packet.idx, packet.state_flags, packet.vfio_version = idx, int(config), 0
        packet.last = place
        result.add(packet)
    return result


def test_in_order() -> None:
    found = device([(0, 10, False), (1, 20, False), (2, 5, True)])
    assert (found.missing_ranges(), found.duplicates(), found.out_of_order()) == ([], [], 0)
    assert found.bytes == 35
    queue = found.queue()
    assert (queue.peak_buffers, queue.peak_bytes, queue.longest_wait) == (0, 0, 0)


def test_what_had_to_be_queued_and_how_long() -> None:
    found = device([(0, 10, False), (2, 30, False), (3, 7, True), (1, 20, False)])
    queue = found.queue()
    assert found.out_of_order() == 1
    assert (queue.peak_buffers, queue.peak_bytes, queue.distance) == (2, 37, 2)
    assert (queue.longest_wait, queue.waited_for) == (2 * MS, 1)
    assert (queue.waited, queue.waits) == ([0, 0, 0, 2 * MS], [(2 * MS, 4 * MS)])


def test_what_was_held_is_used_when_its_turn_comes_and_holds_up_nothing_later() -> None:
    order = [(0, 10, False), (2, 30, False), (1, 20, False), (4, 40, False), (3, 5, True)]
    queue = device(order).queue()
    assert (queue.peak_buffers, queue.peak_bytes, queue.distance) == (1, 40, 1)
    assert queue.waits == [(2 * MS, 3 * MS), (4 * MS, 5 * MS)]
    assert queue.waited == [0, 0, MS, 0, MS]
    assert (queue.longest_wait, queue.waited_for, queue.meanwhile) == (MS, 1, 1)  # the first


def test_a_buffer_that_comes_twice_is_held_once_and_not_late() -> None:
    found = device([(0, 10, False), (2, 30, False), (2, 30, False), (1, 20, False)])
    assert found.out_of_order() == 1
    queue = found.queue()
    assert (queue.peak_buffers, queue.peak_bytes, queue.meanwhile) == (1, 30, 1)


def test_what_comes_at_the_same_time_waits_for_nothing() -> None:
    queue = device([(1, 10, False), (0, 30, False)], step=0).queue()
    assert (queue.waits, queue.waited, queue.peak_buffers) == ([], [0, 0], 1)


def test_states_by_arrival_and_by_index() -> None:
    order = [(1, False), (0, False), (3, True), (1, False), (4, True), (4, False)]
    states = [IN_ORDER, LATE, CONFIG, DUPLICATE, CONFIG, DUPLICATE]
    assert list(arrival_states(order)) == states
    assert index_states(order) == {1: DUPLICATE, 0: LATE, 3: CONFIG, 4: DUPLICATE}


def test_a_packet_without_index_counts_as_a_packet() -> None:
    found = device([(0, 10, False)])
    packet = DevicePacket(0, 0, Place(2, 0, 0), (0x11223344, 1, 0x10, found.idstr, 0, 3))
    packet.last = packet.first
    for _ in range(2):
        found.add(packet)
    assert (found.packets, found.unindexed, found.flags) == (3, 2, 0x50)


def test_gaps_duplicates_and_a_missing_config() -> None:
    found = device([(0, 1, False), (4, 1, False), (4, 1, False), (7, 1, False)])
    assert found.missing_ranges() == [(1, 3), (5, 6)]
    assert found.duplicates() == [4]
    assert found.config is None


def test_indexes_above_the_config_are_not_needed() -> None:
    found = device([(0, 1, False), (1, 1, True), (9, 1, False)])
    assert found.missing_ranges() == []


def test_a_huge_index_costs_nothing() -> None:
    found = device([(0, 1, False), (0xFFFFFFFE, 1, False)])
    assert found.missing_ranges() == [(1, 0xFFFFFFFD)]
    assert found.queue().peak_buffers == 1


@given(st.permutations(range(12)), st.integers(1, 12))
def test_any_order_of_a_complete_device(order: list[int], seen: int) -> None:
    arrivals = [(idx, idx + 1, idx == 11) for idx in order[:seen]]
    found = device(arrivals)
    present = {idx for idx, _, _ in arrivals}
    top = 11 if 11 in present else max(present)
    missing = {i for first, last in found.missing_ranges() for i in range(first, last + 1)}
    assert missing == set(range(top + 1)) - present
    queue = found.queue()
    assert queue.peak_buffers <= seen
    highest = -1
    late = 0
    for idx, _, _ in arrivals:
        late += idx < highest
        highest = max(highest, idx)
    assert found.out_of_order() == late
