from __future__ import annotations

import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analyzer.capture import file, read_ahead
from analyzer.capture.file import CaptureFile
from analyzer.capture.source import Source, open_source
from analyzer.errors import CaptureError
from tests.capture.files import Frame, Section, pcap
from tests.capture.test_file import T0, frames_of

FIRST = 1 << 9


@pytest.fixture
def early(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading ahead begins behind the first chunk, and chunks are small."""
    monkeypatch.setattr(file, "CHUNK", FIRST)
    monkeypatch.setattr(file, "LARGE", 0)
    monkeypatch.setattr(read_ahead, "CHUNK", 1000)
    monkeypatch.setattr(read_ahead, "FRONT", 100)


def frames(sizes: list[int]) -> list[Frame]:
    return [(T0 + i * 1000, i.to_bytes(2, "big") * (n // 2), n) for i, n in enumerate(sizes)]


def ng(some: list[Frame]) -> bytes:
    made = Section().interface().interface()
    for number, (time, data, original) in enumerate(some):
        if number % 5 == 3:
            made.block(0x0BAD, bytes(number * 40))
        made.enhanced(time // 1000, data, original, number // 7 % 2)
    return bytes(made)


def readers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "read-ahead"]


@pytest.mark.usefixtures("early")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    sizes=st.lists(st.sampled_from([0, 2, 60, 98, 700, 1400, 5000]), max_size=60),
    made=st.sampled_from([pcap, ng]),
    cut=st.integers(0, 60),
)
def test_gives_what_reading_in_order_gives(
    sizes: list[int], made: object, cut: int, tmp_path: Path
) -> None:
    assert callable(made)
    data = made(frames(sizes))
    data = data[: max(28, len(data) - cut)]
    path = tmp_path / "made"
    path.write_bytes(data)
    found, plain = frames_of(path)
    expected, packed = frames_of(data)  # of memory nothing is read ahead
    assert found == expected
    assert plain.notes == packed.notes
    assert plain.bytes == packed.bytes == len(data)
    assert str(plain.damage).replace(str(path), "<memory>") == str(packed.damage)
    assert not readers()


@pytest.mark.usefixtures("early")
def test_goes_on_from_the_middle(tmp_path: Path) -> None:
    path = tmp_path / "made.pcap"
    path.write_bytes(pcap(frames([200] * 100)))
    reader = CaptureFile(open_source(path))
    reader.begin_at(24 + 216 * 40)
    numbers = [
        int.from_bytes(batch.buffer[start : start + 2], "big")
        for batch in reader.batches()
        for start in batch.starts
    ]
    assert numbers == list(range(40, 100))


@pytest.mark.usefixtures("early")
def test_who_stops_early_leaves_no_thread(tmp_path: Path) -> None:
    path = tmp_path / "made.pcap"
    path.write_bytes(pcap(frames([200] * 100)))
    source = open_source(path)
    batches = CaptureFile(source).batches()
    next(batches)
    next(batches)
    assert len(readers()) == 1
    del batches
    assert not readers()
    assert source.seek(0)
    assert sum(len(batch.starts) for batch in CaptureFile(source).batches()) == 100


@pytest.mark.usefixtures("early")
def test_a_file_that_cannot_be_read_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "made.pcap"
    path.write_bytes(pcap(frames([200] * 100)))
    source = open_source(path)
    readinto = Source.readinto

    def failing(self: Source, view: memoryview) -> int:
        if self.position > 5000:
            raise CaptureError("cannot be read on: broken", path=self.path, offset=self.position)
        return readinto(self, view)

    monkeypatch.setattr(Source, "readinto", failing)
    reader = CaptureFile(source)
    count = sum(len(batch.starts) for batch in reader.batches())
    assert count == (FIRST + 5 * 1000 - 24) // 216
    assert reader.damage is not None
    assert reader.damage.reason == "cannot be read on: broken"
    assert not readers()


@pytest.mark.usefixtures("early")
def test_a_bug_in_the_thread_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "made.pcap"
    path.write_bytes(pcap(frames([200] * 100)))
    reader = CaptureFile(open_source(path))
    monkeypatch.setattr(Source, "readinto", lambda _self, _view: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        list(reader.batches())
    assert not readers()


@pytest.mark.usefixtures("early")
def test_no_thread_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    path = tmp_path / "made.pcap"
    some = frames([200] * 100)
    path.write_bytes(pcap(some))
    found, _ = frames_of(path)
    assert [data for _, _, data, _ in found] == [data for _, data, _ in some]
