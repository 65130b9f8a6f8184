from __future__ import annotations

import gzip
import struct
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from analyzer.capture import pcapng
from analyzer.capture.file import LARGE, CaptureFile
from analyzer.capture.source import open_source
from analyzer.errors import CaptureError
from tests.capture.files import Frame, Section, pcap

T0 = 1_750_000_000_123_456_789


def frames_of(data: bytes | Path) -> tuple[list[tuple[int, int, bytes, int]], CaptureFile]:
    """(number, time, captured bytes, original length) of every frame."""
    file = CaptureFile(open_source(data))
    out = []
    for batch in file.batches():
        for number, (start, stop) in enumerate(
            zip(batch.starts, batch.stops, strict=True), batch.first
        ):
            first, second, held, original = batch.record(batch.buffer, start - 16)
            assert held == stop - start
            time = batch.interface.clock(first, second)
            out.append((number, time, bytes(batch.buffer[start:stop]), original))
    return out, file


FRAMES: list[Frame] = [
    (T0 + i * 1000, bytes([i]) * (i * 7 % 90), i * 7 % 90 + i % 3) for i in range(40)
]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("scale", [1000, 1])
def test_pcap_in_both_byte_orders_and_resolutions(order: str, scale: int) -> None:
    found, file = frames_of(pcap(FRAMES, order, scale))
    assert file.format == "pcap"
    assert found == [
        (i + 1, time // scale * scale, data, original)
        for i, (time, data, original) in enumerate(FRAMES)
    ]


def test_gzip_and_zstd_are_told_by_content(tmp_path: Path) -> None:
    plain = pcap(FRAMES)
    expected, _ = frames_of(plain)
    for name, data in (("a.bin", gzip.compress(plain)), ("b.bin", zstandard.compress(plain))):
        path = tmp_path / name
        path.write_bytes(data)
        found, file = frames_of(path)
        assert found == expected
        assert file.damage is None


def test_a_large_file_is_read_in_chunks(tmp_path: Path) -> None:
    frames: list[Frame] = [(T0, bytes([i % 251]) * (1000 + i % 500), 2000) for i in range(4000)]
    path = tmp_path / "large.pcap"
    path.write_bytes(pcap(frames))
    found, _ = frames_of(path)
    assert [f[2] for f in found] == [data for _, data, _ in frames]


@pytest.mark.parametrize("order", ["<", ">"])
def test_pcapng_blocks_of_every_kind(order: str) -> None:
    section = Section(order)
    section.interface(options=section.option(2, b"eth0") + section.option(9, b"\x09"))
    section.interface(link=276, snaplen=20)
    section.block(4, bytes(8)).block(0xBAD, b"custom").block(0x80000001, b"unknown")
    section.enhanced(T0, b"a" * 61, 61).enhanced(T0 + 1, b"b" * 5, 99)
    section.enhanced(T0 // 1000, b"c" * 9, 9, number=1)
    section.obsolete(T0 + 2, b"d" * 14, 15)
    section.simple(b"e" * 30, 30)
    counters = section.option(4, bytes(8)) + section.option(5, struct.pack(order + "Q", 17))
    section.block(5, struct.pack(order + "III", 0, 0, 0) + counters)
    section.block(10, struct.pack(order + "II", 0x544C534B, 6) + b"SECRET")
    found, file = frames_of(bytes(section))
    assert [(t, d, o) for _, t, d, o in found] == [
        (T0, b"a" * 61, 61),
        (T0 + 1, b"b" * 5, 99),
        (T0 // 1000 * 1000, b"c" * 9, 9),
        (T0 + 2, b"d" * 14, 15),
        (0, b"e" * 30, 30),
    ]
    assert file.secrets == [b"SECRET"]
    assert [i.name for i in file.interfaces] == ["eth0", ""]
    assert any("dropped 17 frames on eth0" in note for note in file.notes)


def test_drops_are_told_once_however_often_they_are_counted() -> None:
    """Counters go on within a section and begin anew in the next one."""
    data = b""
    for counts in ((3, 5), (2,)):
        section = Section()
        section.interface(options=section.option(2, b"eth0"))
        for count in counts:
            dropped = section.option(5, struct.pack("<Q", count))
            section.block(5, struct.pack("<III", 0, 0, 0) + dropped)
        data += bytes(section)
    _, file = frames_of(data)
    assert file.notes == ["the capturing machine dropped 7 frames on eth0"]


def test_many_names_of_interfaces_that_drop_are_not_all_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pcapng, "DROPPING_TOLD", 2)
    section = Section()
    for number in range(6):
        section.interface(options=section.option(2, b"eth%d" % number))
        dropped = section.option(5, struct.pack("<Q", 1))
        section.block(5, struct.pack("<III", number, 0, 0) + dropped)
    _, file = frames_of(bytes(section))
    assert file.notes[-1] == "the capturing machine dropped 4 frames"
    assert len(file.notes) == 3


def test_more_interfaces_than_there_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pcapng, "INTERFACES_MAX", 3)
    section = Section().interface().enhanced(T0, b"x", 1).interface().interface()
    _, file = frames_of(bytes(section))
    assert file.damage is None
    found, file = frames_of(bytes(section.interface().enhanced(T0, b"y", 1)))
    assert len(found) == 1
    assert "more than 3 interfaces" in str(file.damage)


def test_sections_of_different_byte_order_in_one_file() -> None:
    first = Section("<").interface().enhanced(1_000_000, b"little", 6)
    second = Section(">").interface().enhanced(2_000_000, b"big", 3)
    found, file = frames_of(bytes(first) + bytes(second))
    assert [(t, d) for _, t, d, _ in found] == [(10**9, b"little"), (2 * 10**9, b"big")]
    assert file.damage is None


@pytest.mark.parametrize(
    ("resolution", "offset", "ticks", "time"),
    [
        (b"\x06", 0, 5, 5000),
        (b"\x03", 0, 5, 5_000_000),
        (b"\x0c", 0, 5_000_000, 5000),
        (b"\x94", 0, 1 << 20, 1_000_000_000),
        (b"\x06", -7, 8_000_000, 1_000_000_000),
    ],
)
def test_time_stamps_of_an_interface(resolution: bytes, offset: int, ticks: int, time: int) -> None:
    section = Section()
    options = section.option(9, resolution) + section.option(14, struct.pack("<q", offset))
    section.interface(options=options).enhanced(ticks, b"x", 1)
    found, _ = frames_of(bytes(section))
    assert found[0][1] == time


@pytest.mark.parametrize("resolution", [b"\x00", b"\x06", b"\x09", b"\x80"])
@pytest.mark.parametrize("offset", [-(1 << 63), 0, (1 << 63) - 1])
def test_the_difference_of_any_two_times_fits_64_bits(resolution: bytes, offset: int) -> None:
    section = Section()
    options = section.option(9, resolution) + section.option(14, struct.pack("<q", offset))
    section.interface(options=options).enhanced(0, b"x", 1).enhanced((1 << 64) - 1, b"x", 1)
    times = [time for _, time, _, _ in frames_of(bytes(section))[0]]
    assert times == sorted(times)
    assert all(abs(time) < 1 << 62 for time in times)


@pytest.mark.parametrize(("kind", "least"), [(0x0A0D0D0A, 28), (1, 20), (2, 32), (3, 16), (6, 32)])
def test_a_block_too_short_for_its_kind_is_damage(kind: int, least: int) -> None:
    good = bytes(Section().interface().enhanced(1_000_000, b"abc", 3))
    for size in range(12, least, 4):
        short = struct.pack("<IIIII", kind, size, 0x1A2B3C4D, 0, 0)[: size - 4].ljust(size - 4)
        found, file = frames_of(good + short + struct.pack("<I", size) + bytes(64))
        assert [data for _, _, data, _ in found] == [b"abc"]
        assert f"a block of type {kind:#x} has only {size} bytes" in str(file.damage)


def test_a_file_that_ends_inside_a_record_is_read_up_to_there() -> None:
    data = pcap(FRAMES)
    found, file = frames_of(data[:-3])
    assert len(found) == len(FRAMES) - 1
    assert file.damage is None
    assert "ends inside a record" in file.notes[0]


def test_damage_ends_the_reading_and_says_where() -> None:
    good = pcap(FRAMES[:3])
    found, file = frames_of(good + struct.pack("<IIII", 0, 0, 0x7FFFFFFF, 0) + bytes(100))
    assert len(found) == 3
    assert file.damage is not None
    assert file.damage.offset == len(good)
    assert file.damage.frame == 3
    assert "2147483647" in str(file.damage)


@pytest.mark.parametrize("data", [b"", b"GIF89a" + bytes(40), b"\xd4\xc3\xb2\xa1"])
def test_what_is_no_capture_is_an_error(data: bytes) -> None:
    with pytest.raises(CaptureError):
        CaptureFile(open_source(data))


def test_a_missing_file_is_an_error() -> None:
    with pytest.raises(CaptureError, match="cannot be opened"):
        open_source("/nonexistent/x.pcap")


def test_broken_compression_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "broken.pcap.gz"
    packed = gzip.compress(pcap(FRAMES * 200))
    path.write_bytes(packed[: len(packed) // 2])
    found, file = frames_of(path)
    assert found
    assert file.damage is not None


def test_damage_inside_a_block_while_the_buffer_grows() -> None:
    """The error that ended the reading still holds the buffer, which so cannot be made larger."""
    section = Section().interface()
    for number in range(LARGE // 1400):
        section.enhanced(number, bytes(1400), 1400)
    packed = gzip.compress(bytes(section.block(0xBAD, bytes(1 << 19))), 0)
    found, file = frames_of(packed[: -(1 << 18)])
    assert len(found) == LARGE // 1400
    assert "damaged compression" in str(file.damage)


SMALL = bytes(Section().interface().enhanced(1, b"abc", 3).simple(b"defgh", 5)) + bytes(
    Section(">").interface().obsolete(4, b"xyz", 3)
)


@given(st.data())
def test_mutated_files_never_raise(data: st.DataObject) -> None:
    raw = bytearray(data.draw(st.sampled_from([SMALL, pcap(FRAMES[:4]), pcap(FRAMES[:4], ">", 1)])))
    for _ in range(data.draw(st.integers(1, 6))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(raw)))
    try:
        frames, file = frames_of(bytes(raw[:cut]))
    except CaptureError:
        return
    assert file.frames == len(frames)
    assert file.bytes <= cut
