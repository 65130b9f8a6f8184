"""Looking at a source's first bytes takes nothing away."""

from __future__ import annotations

import gzip
import random
import struct
from typing import TYPE_CHECKING

import pytest
import zstandard

from analyzer.capture.source import Source, open_source
from analyzer.errors import CaptureError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CONTENT = bytes(range(256)) * 400


def everything(source: object, size: int = 1000) -> bytes:
    parts = []
    buffer = bytearray(size)
    while count := source.readinto(memoryview(buffer)):  # type: ignore[attr-defined]
        parts.append(bytes(buffer[:count]))
    return b"".join(parts)


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstandard.compress])
@pytest.mark.parametrize("from_file", [False, True])
def test_peek(pack: Callable[[bytes], bytes], from_file: bool, tmp_path: Path) -> None:
    path = tmp_path / "source"
    path.write_bytes(pack(CONTENT))
    source = open_source(path if from_file else path.read_bytes())
    assert source.peek(8) == CONTENT[:8]
    assert source.position == 0 or not from_file or pack is not bytes
    assert everything(source) == CONTENT


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_peek_at_less_than_there_is(pack: Callable[[bytes], bytes]) -> None:
    for content in (b"", b"abc"):
        source = open_source(pack(content))
        assert source.peek(8) == content
        assert everything(source) == content


def test_peek_at_damage() -> None:
    source = open_source(gzip.compress(CONTENT)[:12])
    assert source.peek(4) == b""
    with pytest.raises(CaptureError):
        everything(source)


def test_damage_behind_what_was_peeked_at() -> None:
    """What is readable is given first."""
    packed = gzip.compress(CONTENT[:4] * 100, compresslevel=0)
    source = open_source(packed[:-9])
    assert source.peek(4) == CONTENT[:4]
    buffer = bytearray(1000)
    assert source.readinto(memoryview(buffer)) == 399
    with pytest.raises(CaptureError):
        source.readinto(memoryview(buffer))


@pytest.mark.parametrize("size", [1000, 1 << 20])
def test_damage_is_where_reading_stopped(size: int) -> None:
    """Also where all that came before is given in one go."""
    whole = random.Random(2).randbytes(100_000)
    source = open_source(gzip.compress(whole)[:50_000])
    given: list[int] = []

    def read() -> None:
        while count := source.readinto(memoryview(bytearray(size))):
            given.append(count)

    with pytest.raises(CaptureError) as caught:
        read()
    assert sum(given) > 40_000
    assert caught.value.offset == sum(given)


def test_an_open_source_stays_as_it_is() -> None:
    source = open_source(CONTENT)
    assert open_source(source) is source


class Failing:
    """What is read from, and what that raises."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def read1(self, _size: int, /) -> bytes:
        raise self.error


def test_an_error_of_the_program_is_no_damage() -> None:
    with pytest.raises(struct.error, match="a mistake"):
        everything(Source("x", Failing(struct.error("a mistake"))))
    with pytest.raises(CaptureError, match="cannot be read on: it is gone"):
        everything(Source("x", Failing(OSError("it is gone"))))


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress])
def test_damage_inside_is_said_to_be_the_compression_s(pack: Callable[[bytes], bytes]) -> None:
    packed = bytearray(pack(random.Random(1).randbytes(5000) + CONTENT))
    packed[len(packed) // 2 :] = bytes(range(256)) * 20
    with pytest.raises(CaptureError, match="damaged compression"):
        everything(open_source(bytes(packed)))
