from __future__ import annotations

import threading
from pathlib import Path
from time import sleep

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
    for limit in ("LARGE", "FAR", "LONG"):
        monkeypatch.setattr(file, limit, 0)
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
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
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
@pytest.mark.parametrize(
    ("far", "long", "ahead"),
    [(8000, 150, True), (30_000, 150, False), (8000, 300, False)],
    ids=["pays", "nearly read", "short frames"],
)
def test_large_files_of_long_frames_are_read_ahead(
    far: int, long: int, ahead: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file, "FAR", far)
    monkeypatch.setattr(file, "LONG", long)
    path = tmp_path / "made.pcap"
    path.write_bytes(pcap(frames([200] * 100)))
    batches = CaptureFile(open_source(path)).batches()
    next(batches)
    next(batches)
    assert bool(readers()) == ahead
    assert sum(len(batch.starts) for batch in batches) > 80


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
    readinto_at = Source.readinto_at

    def failing(self: Source, view: memoryview, position: int) -> int:
        if position > 5000:
            raise CaptureError("cannot be read further: broken", path=self.path, offset=position)
        return readinto_at(self, view, position)

    monkeypatch.setattr(Source, "readinto_at", failing)
    reader = CaptureFile(source)
    count = sum(len(batch.starts) for batch in reader.batches())
    assert count == (FIRST + 5 * 1000 - 24) // 216
    assert reader.damage is not None
    assert reader.damage.reason == "cannot be read further: broken"
    assert not readers()


@pytest.mark.usefixtures("early")
def test_a_bug_in_the_thread_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "made.pcap"
    path.write_bytes(pcap(frames([200] * 100)))
    reader = CaptureFile(open_source(path))
    monkeypatch.setattr(Source, "readinto_at", lambda _self, _view, _position: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        list(reader.batches())
    assert not readers()


@pytest.mark.usefixtures("early")
def test_what_was_written_behind_the_end_is_read(tmp_path: Path) -> None:
    path = tmp_path / "made.pcap"
    whole = pcap(frames([200] * 100))
    path.write_bytes(whole[:9000])
    batches = CaptureFile(open_source(path)).batches()
    count = 0
    while count < 40:
        count += len(next(batches).starts)
    sleep(0.05)  # the thread comes to the end
    with path.open("ab") as more:
        more.write(whole[9000:])
    assert count + sum(len(batch.starts) for batch in batches) == 100


@pytest.mark.usefixtures("early")
def test_another_reader_of_the_same_source_is_not_disturbed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "made.pcap"
    path.write_bytes(pcap(frames([200] * 100)))
    source = open_source(path)
    readinto_at = Source.readinto_at

    def late(self: Source, view: memoryview, position: int) -> int:
        sleep(0.005)
        return readinto_at(self, view, position)

    monkeypatch.setattr(Source, "readinto_at", late)
    for _ in range(5):
        first = CaptureFile(source).batches()
        next(first)
        next(first)
        assert source.seek(0)
        second = CaptureFile(source)
        del first
        assert sum(len(batch.starts) for batch in second.batches()) == 100
        assert source.seek(0)


@pytest.mark.usefixtures("early")
def test_an_interrupted_start_leaves_no_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = threading.Thread.start
    started: list[threading.Thread] = []

    def interrupted(self: threading.Thread) -> None:
        start(self)
        started.append(self)
        raise KeyboardInterrupt

    path = tmp_path / "made.pcap"
    path.write_bytes(pcap(frames([200] * 100)))
    reader = CaptureFile(open_source(path))
    monkeypatch.setattr(threading.Thread, "start", interrupted)
    with pytest.raises(KeyboardInterrupt):
        list(reader.batches())
    (thread,) = started
    thread.join(5)
    assert not thread.is_alive()


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
