"""The search for the next packet: what is found, and every byte before it accounted for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from analyzer.migration.framing import Framing
from analyzer.migration.resync import CANDIDATES, Found, find_packet
from analyzer.migration.settings import Settings
from analyzer.tcp.requests import Take
from dissectors.multifd import MAGIC_VERSION
from tests.checks.craft import buffer, ram, sync
from tests.migration.main_streams import Piece, feed

if TYPE_CHECKING:
    from analyzer.tcp.reader import Reader
    from analyzer.tcp.requests import Walker

JUNK = bytes(range(1, 256)) * 5
PACKET = ram([0, 1], num=2)
HEADER = len(PACKET) - 2 * 4096


def search(*pieces: Piece, limit: int | None = None) -> tuple[Found, int]:
    """What is found, and where the reader stands then."""
    found: list[tuple[Found, int]] = []

    def walk(reader: Reader) -> Walker:
        result = yield from find_packet(reader, Framing(Settings()), limit)
        found.append((result, reader.offset))

    feed(walk, pieces)
    return found[0]


def figures(found: Found) -> tuple[int, int, int, int, int]:
    return found.offset, found.length, found.skipped, found.gap, found.missing


@pytest.mark.parametrize("packet", [PACKET, sync(3), buffer(0)], ids=["ram", "sync", "device"])
@pytest.mark.parametrize("junk", [JUNK, b"", MAGIC_VERSION + JUNK, JUNK + MAGIC_VERSION[:5]])
def test_a_packet_is_found_if_another_follows(packet: bytes, junk: bytes) -> None:
    stream = junk + packet + sync(4)
    begin, end = len(junk), len(junk) + len(packet)
    near = {at + off for at in (begin, end) for off in range(-9, 14)}
    for cut in sorted(at for at in {*near, *range(0, len(stream), 97)} if 0 < at < len(stream)):
        found, at = search(stream[:cut], stream[cut:])
        assert figures(found) == (begin, len(packet), begin, 0, 0), cut
        assert packet.startswith(found.header[:100])
        assert at == end


def test_a_packet_is_found_at_the_end_of_the_stream() -> None:
    found, at = search(JUNK + PACKET)
    assert figures(found) == (len(JUNK), len(PACKET), len(JUNK), 0, 0)
    assert at == len(JUNK) + len(PACKET)


@pytest.mark.parametrize("rest", [PACKET[:-1], b"", PACKET + b"\1"])
def test_a_packet_that_nothing_confirms_is_none(rest: bytes) -> None:
    found, at = search(JUNK[:700], 50, JUNK[700:] + rest)
    assert found.header == b""
    assert (found.skipped, found.gap) == (len(JUNK + rest), 50)
    assert at == found.offset == len(JUNK + rest) + 50


def test_holes_before_a_packet() -> None:
    found, _ = search(JUNK, 7, JUNK, 100, JUNK + PACKET + PACKET)
    begin = 3 * len(JUNK) + 107
    assert figures(found) == (begin, len(PACKET), 3 * len(JUNK), 107, 0)


@pytest.mark.parametrize("before", [0, 30])
def test_a_hole_in_the_packet(before: int) -> None:
    """What it lacks is not what was missing before it."""
    whole = PACKET + sync(3)
    at = HEADER + 4000
    pieces: list[Piece] = [JUNK, before] if before else [JUNK]
    found, _ = search(*pieces, whole[:at], 500, whole[at + 500 :])
    begin = len(JUNK) + before
    assert figures(found) == (begin, len(PACKET), len(JUNK), before, 500)


def test_a_header_is_recognised_in_front_of_a_hole() -> None:
    """However few bytes of its packet came before that."""
    packet = buffer(0, bytes(3000))
    found, _ = search(JUNK + packet[:400], len(packet) - 400, sync(3))
    assert figures(found) == (len(JUNK), len(packet), len(JUNK), 0, len(packet) - 400)


def test_a_header_in_front_of_a_hole_confirms_the_packet_before_it() -> None:
    """And is read next, although its packet has a hole."""
    packet = buffer(0, bytes(3000))
    found, at = search(JUNK + PACKET + packet[:400], len(packet) - 400, sync(3))
    assert figures(found) == (len(JUNK), len(PACKET), len(JUNK), 0, 0)
    assert at == len(JUNK + PACKET)


def test_headers_in_guest_memory_do_not_hide_the_packet() -> None:
    """However many announce a packet that nothing confirms."""
    false = b"".join(ram([0], num=n)[: HEADER + 9] for n in range(2 * CANDIDATES))
    found, _ = search(false, PACKET + sync(3))
    assert figures(found) == (len(false), len(PACKET), len(false), 0, 0)


def test_a_limit_counts_from_where_the_search_begins() -> None:
    found: list[Found] = []

    def walk(reader: Reader) -> Walker:
        yield Take(len(JUNK))
        found.append((yield from find_packet(reader, Framing(Settings()), 2 * len(JUNK))))

    feed(walk, (JUNK, JUNK, PACKET + sync(3)))
    assert figures(found[0]) == (2 * len(JUNK), len(PACKET), len(JUNK), 0, 0)


@pytest.mark.parametrize(("limit", "found_at"), [(len(JUNK), None), (2 * len(JUNK), 2 * len(JUNK))])
def test_a_search_ends_at_its_limit(limit: int, found_at: int | None) -> None:
    found, at = search(JUNK, JUNK, PACKET + sync(3), limit=limit)
    if found_at is None:
        assert (found.header, found.skipped, at) == (b"", 2 * len(JUNK), 2 * len(JUNK))
    else:
        assert found.offset == found_at
