"""Every method's decoder: pages come back, damage is a value, memory is bounded."""

from __future__ import annotations

import gzip
import random
import struct
import tracemalloc
import zlib
from typing import TYPE_CHECKING, Any

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from analyzer.synth.compression import compressor
from dissectors.compression import Problem, decoder_of, inflated_page
from dissectors.multifd import Compression

if TYPE_CHECKING:
    from collections.abc import Callable

PAGE = 4096
NAMES = [method.name for method in Compression]
STREAMS = ("zlib", "zstd")


def pages(first: int, count: int) -> list[bytes]:
    """Pages that differ; every third one does not get smaller."""
    noise = zlib.compress(bytes(range(256)) * 80)
    made = []
    for number in range(first, first + count):
        text = b"page %d " % number * 600
        made.append((noise * 20 if number % 3 == 0 else text)[:PAGE].ljust(PAGE, b"\1"))
    return made


@pytest.mark.parametrize("name", NAMES)
def test_pages_come_back(name: str) -> None:
    compress, decoder = compressor(name), decoder_of(Compression[name])
    for first, count in ((0, 3), (3, 1), (4, 128), (132, 21)):
        sent = pages(first, count)
        decoded = decoder.decode(b"".join(compress(sent)), count, PAGE)
        assert decoded.problems == []
        assert not decoded.broken
        assert [bytes(decoded.page(number) or b"") for number in range(count)] == sent
        assert decoded.page(count) is None


# -- held against zlib, gzip and zstandard --------------------------------------------------------


def by_the_page(level: int, wbits: int) -> Callable[[list[bytes]], bytes]:
    """The lengths, then pages, as zlib makes them; what gets no smaller goes as it is."""

    def compress(sent: list[bytes]) -> bytes:
        out = []
        for page in sent:
            stream = zlib.compressobj(level, zlib.DEFLATED, wbits)
            small = stream.compress(page) + stream.flush()
            out.append(small if len(small) < PAGE else page)
        return struct.pack(f">{len(out)}I", *map(len, out)) + b"".join(out)

    return compress


def as_members(level: int) -> Callable[[list[bytes]], bytes]:
    """gzip members of 16 pages."""

    def compress(sent: list[bytes]) -> bytes:
        groups = [sent[at : at + 16] for at in range(0, len(sent), 16)]
        return b"".join(gzip.compress(b"".join(group), level) for group in groups)

    return compress


def in_one_stream(name: str, level: int) -> Callable[[list[bytes]], bytes]:
    """A stream that is flushed behind every packet."""
    stream: Any
    if name == "zlib":
        stream, flush = zlib.compressobj(level), zlib.Z_SYNC_FLUSH
    else:
        stream = zstandard.ZstdCompressor(level=level).compressobj()
        flush = zstandard.COMPRESSOBJ_FLUSH_BLOCK

    def compress(sent: list[bytes]) -> bytes:
        data: bytes = stream.compress(b"".join(sent)) + stream.flush(flush)
        return data

    return compress


LIBRARIES: dict[str, Callable[[int], Callable[[list[bytes]], bytes]]] = {
    "zlib": lambda level: in_one_stream("zlib", level),
    "zstd": lambda level: in_one_stream("zstd", level),
    "qpl": lambda level: by_the_page(level, -12),
    "uadk": lambda level: by_the_page(level, 15),
    "qatzip": as_members,
}
PAGES = st.one_of(
    st.integers(0, 99).map(lambda seed: random.Random(seed).randbytes(PAGE)),
    st.binary(min_size=1, max_size=64).map(lambda piece: (piece * PAGE)[:PAGE]),
    st.binary(max_size=64).map(lambda piece: piece.ljust(PAGE, b"\0")),
)


@pytest.mark.parametrize("name", LIBRARIES)
@given(
    packets=st.lists(st.lists(PAGES, min_size=1, max_size=6), min_size=1, max_size=5),
    level=st.integers(1, 9),
)
@settings(max_examples=40)
def test_what_the_libraries_compress_comes_back(
    name: str, packets: list[list[bytes]], level: int
) -> None:
    compress, decoder = LIBRARIES[name](level), decoder_of(Compression[name])
    for sent in packets:
        decoded = decoder.decode(compress(sent), len(sent), PAGE)
        assert decoded.problems == []
        assert decoded.data == b"".join(sent)


@pytest.mark.parametrize("name", LIBRARIES)
@given(sent=st.lists(PAGES, min_size=2, max_size=4), wrong=st.sampled_from([-1, 1]))
@settings(max_examples=30)
def test_a_packet_with_another_count_of_pages_is_no_success(
    name: str, sent: list[bytes], wrong: int
) -> None:
    payload = LIBRARIES[name](1)(sent)
    decoded = decoder_of(Compression[name]).decode(payload, len(sent) + wrong, PAGE)
    assert decoded.problems
    assert len(decoded.data) <= (len(sent) + wrong) * PAGE


@given(page=PAGES, wbits=st.sampled_from([15, -15]))
@settings(max_examples=40)
def test_single_pages(page: bytes, wbits: int) -> None:
    stream = zlib.compressobj(6, zlib.DEFLATED, wbits)
    packed = stream.compress(page) + stream.flush()
    assert inflated_page(packed, PAGE, wbits) == page
    for other in (PAGE - 1, PAGE + 1):
        assert isinstance(inflated_page(packed, other, wbits), Problem)


@pytest.mark.parametrize("name", NAMES)
def test_zero_pages_are_seen(name: str) -> None:
    payload = b"".join(compressor(name)([bytes(PAGE), b"\0" * (PAGE - 1) + b"x", bytes(PAGE)]))
    decoded = decoder_of(Compression[name]).decode(payload, 3, PAGE)
    assert [decoded.is_zero(number) for number in range(4)] == [True, False, True, False]


def test_a_bad_page_does_not_spoil_the_others() -> None:
    sent = pages(1, 2)
    payload = bytearray(b"".join(compressor("uadk")(sent)))
    payload[8] ^= 0xFF
    decoded = decoder_of(Compression.uadk).decode(payload, 2, PAGE)
    assert [problem.slug for problem in decoded.problems] == ["page-bad"]
    assert decoded.page(0) is None
    assert bytes(decoded.page(1) or b"") == sent[1]


BOMBS: dict[str, Callable[[], tuple[str, bytes]]] = {
    "zlib": lambda: ("zlib", zlib.compress(bytes(1 << 26))),
    "zstd": lambda: ("zstd", zstandard.ZstdCompressor().compress(bytes(1 << 26))),
    "members": lambda: ("qatzip", b"".join(compressor("qatzip")([bytes(1 << 24)]))),
    "member": lambda: ("qatzip", gzip.compress(bytes(1 << 26))),
    "page": lambda: ("uadk", struct.pack(">II", 4000, 4096) + zlib.compress(bytes(1 << 26))[:8096]),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_stops_at_its_pages(bomb: str) -> None:
    name, payload = BOMBS[bomb]()
    tracemalloc.start()
    decoded = decoder_of(Compression[name]).decode(payload, 2, PAGE)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [problem.slug for problem in decoded.problems] == ["bomb"]
    assert len(decoded.data) == 2 * PAGE
    assert peak < 20 << 20


def test_a_window_too_large_is_refused() -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=27)
    stream = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    payload = stream.compress(pages(0, 1)[0]) + stream.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
    decoded = decoder_of(Compression.zstd).decode(payload, 1, PAGE)
    assert [problem.slug for problem in decoded.problems] == ["zstd-bad"]


@pytest.mark.parametrize("name", NAMES)
@given(data=st.data())
@settings(max_examples=60)
def test_damage_never_raises(name: str, data: st.DataObject) -> None:
    payload = bytearray(b"".join(compressor(name)(pages(1, 3))))
    for at in data.draw(st.lists(st.integers(0, len(payload) - 1), max_size=4)):
        payload[at] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(payload)))
    decoder = decoder_of(Compression[name])
    for piece in (payload[:cut], payload[cut:]):
        decoded = decoder.decode(piece, 3, PAGE)
        assert name == "none" or len(decoded.data) <= 3 * PAGE
        if decoded.broken:
            assert decoded.problems
            break


@pytest.mark.parametrize("name", NAMES)
@given(payload=st.binary(max_size=200), count=st.integers(1, 128))
@settings(max_examples=60)
def test_nonsense_never_raises(name: str, payload: bytes, count: int) -> None:
    decoded = decoder_of(Compression[name]).decode(payload, count, PAGE)
    assert decoded.problems or name == "none"
