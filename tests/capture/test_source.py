"""Looking at a source's first bytes takes nothing away."""

from __future__ import annotations

import gzip
import io
import random
import struct
from typing import TYPE_CHECKING

import pytest
import zstandard

from analyzer.capture.source import WINDOW, Source, open_source
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
def test_peek_takes_nothing_from_the_source(
    pack: Callable[[bytes], bytes], from_file: bool, tmp_path: Path
) -> None:
    path = tmp_path / "source"
    path.write_bytes(pack(CONTENT))
    source = open_source(path if from_file else path.read_bytes())
    assert source.peek(8) == CONTENT[:8]
    assert source.peek(4) == CONTENT[:4]
    assert source.peek(5000) == CONTENT[:5000]  # more than is read at a time below
    if from_file and pack is bytes:
        assert source.position == 0
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


def zstd_frames(data: bytes) -> bytes:
    """Several frames of all kinds: with and without checksum and size, skippable, runs."""
    checked = zstandard.ZstdCompressor(write_checksum=True, write_content_size=False)
    stream = checked.compressobj()
    plain = zstandard.ZstdCompressor(write_checksum=False)
    parts = [
        stream.compress(data[:30_000]) + stream.flush(),
        b"\x53\x2a\x4d\x18" + (300).to_bytes(4, "little") + bytes(300),
        plain.compress(bytes(200_000)),
        checked.compress(b""),
        plain.compress(data[30_000:]),
    ]
    return b"".join(parts)


@pytest.mark.parametrize("first", [b"\x50", b"\x5f"])
def test_zstd_may_begin_with_a_skippable_frame(first: bytes) -> None:
    """As pzstd writes it."""
    skipped = first + b"\x2a\x4d\x18" + (4).to_bytes(4, "little") + bytes(4)
    assert everything(open_source(skipped + zstandard.compress(CONTENT))) == CONTENT


@pytest.mark.parametrize("in_memory", [False, True])
def test_zstd_is_whole_at_the_end_of_a_frame_and_nowhere_else(
    in_memory: bool, tmp_path: Path
) -> None:
    """The library takes any end of its input for the end of the data."""
    data = random.Random(3).randbytes(90_000)
    packed = zstd_frames(data)
    assert len(everything(open_source(packed))) == len(data) + 200_000
    path = tmp_path / "x.zst"
    for size in [*range(5, len(packed) - 1, 997), *range(len(packed) - 40, len(packed) - 1)]:
        path.write_bytes(packed[:size])
        with pytest.raises(CaptureError, match="damaged compression"):
            everything(open_source(packed[:size] if in_memory else path))


@pytest.mark.parametrize("size", [1000, 1 << 20])
@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress])
def test_damage_is_where_reading_stopped(size: int, pack: Callable[[bytes], bytes]) -> None:
    """Also where all that came before is given in one go."""
    whole = bytes(random.Random(2).choices(range(16), k=400_000))
    packed = pack(whole)
    source = open_source(packed[: len(packed) * 3 // 4])
    given: list[int] = []

    def read() -> None:
        while count := source.readinto(memoryview(bytearray(size))):
            given.append(count)

    with pytest.raises(CaptureError) as caught:
        read()
    assert sum(given) > 100_000
    assert caught.value.offset == sum(given)


def test_an_open_source_stays_as_it_is() -> None:
    source = open_source(CONTENT)
    assert open_source(source) is source


@pytest.mark.parametrize("stdin", [None, io.StringIO()], ids=["closed", "replaced"])
def test_files_need_no_standard_input(
    stdin: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program that uses the library may have none, or one without bytes."""
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    monkeypatch.setattr("sys.stdin", stdin)
    source = open_source(path)
    assert everything(source) == CONTENT
    source.close()


class Failing:
    """What is read from, and what that raises."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def read1(self, _size: int, /) -> bytes:
        raise self.error


def test_an_error_of_the_program_is_no_damage() -> None:
    with pytest.raises(struct.error, match="a mistake"):
        everything(Source("x", Failing(struct.error("a mistake"))))
    with pytest.raises(CaptureError, match="cannot be read further: it is gone"):
        everything(Source("x", Failing(OSError("it is gone"))))


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress])
def test_damage_inside_is_said_to_be_the_compression_s(pack: Callable[[bytes], bytes]) -> None:
    packed = bytearray(pack(random.Random(1).randbytes(5000) + CONTENT))
    packed[len(packed) // 2 :] = bytes(range(256)) * 20
    with pytest.raises(CaptureError, match="damaged compression"):
        everything(open_source(bytes(packed)))


@pytest.mark.parametrize("step", [1 << 16, 1 << 20])
def test_the_last_bytes_can_be_read_again_and_no_more_are_kept(step: int) -> None:
    content = random.Random(4).randbytes(1 << 10) * (12 << 10)
    source = open_source(gzip.compress(content, compresslevel=1))
    view = memoryview(bytearray(step))
    read = 0
    while count := source.readinto(view):
        read += count
        before = read - WINDOW
        if before >= 0:
            assert source.read_at(before, WINDOW) == content[before:read]
        if before >= step:
            assert source.read_at(before - step, 10) is None
    assert read == len(content)
