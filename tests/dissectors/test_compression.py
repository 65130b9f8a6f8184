"""Every method's decoder: pages come back, damage is a value, memory is bounded."""

from __future__ import annotations

import tracemalloc
import zlib

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from analyzer.synth.compression import compressor
from dissectors.compression import decoder_of
from dissectors.multifd import Compression

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
    for first, count in ((0, 3), (3, 1), (4, 128)):
        sent = pages(first, count)
        decoded = decoder.decode(b"".join(compress(sent)), count, PAGE)
        assert decoded.problems == []
        assert not decoded.broken
        assert [bytes(decoded.page(number) or b"") for number in range(count)] == sent
        assert decoded.page(count) is None


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


@pytest.mark.parametrize(
    ("name", "payload"),
    [
        ("zlib", zlib.compress(bytes(1 << 28))),
        ("zstd", zstandard.ZstdCompressor().compress(bytes(1 << 28))),
        ("qatzip", b"".join(compressor("qatzip")([bytes(1 << 24)]))),
    ],
)
def test_a_bomb_stops_at_its_pages(name: str, payload: bytes) -> None:
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
@settings(max_examples=60, deadline=None)
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
@settings(max_examples=60, deadline=None)
def test_nonsense_never_raises(name: str, payload: bytes, count: int) -> None:
    decoded = decoder_of(Compression[name]).decode(payload, count, PAGE)
    assert decoded.problems or name == "none"
