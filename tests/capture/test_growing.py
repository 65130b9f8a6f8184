"""Captures that grow while they are read: whatever pieces come when, what is read is the same."""

from __future__ import annotations

import fcntl
import os
import threading
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analyzer.capture import growing
from analyzer.capture.file import CaptureFile
from analyzer.capture.growing import Feed, GrowingSource, follow
from analyzer.errors import CaptureError
from analyzer.migration.scan import Scan
from analyzer.report.parts import iso_time
from analyzer.synth import build
from tests.capture.files import Section

if TYPE_CHECKING:
    from pathlib import Path

CAPTURE = build({"migration": [{"channels": 2}]})


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(growing, "PAUSE", 0.001)
    monkeypatch.setattr(growing, "GRACE", 0.02)


class Writer:
    """Appends a piece to a file every time that its reader looks for more; then says stop."""

    def __init__(self, path: Path, pieces: list[bytes]) -> None:
        self._path = path
        self._left = iter(pieces)
        path.write_bytes(b"")

    def __call__(self) -> bool:
        piece = next(self._left, None)
        if piece is None:
            return True
        with self._path.open("ab") as file:
            file.write(piece)
        return False


def cut(data: bytes, places: list[int]) -> list[bytes]:
    ends = sorted(place % len(data) for place in places)
    return [data[a:b] for a, b in zip([0, *ends], [*ends, len(data)], strict=True)]


def told(scan: Scan) -> tuple[object, ...]:
    migrations = [[(c.name, c.packets) for c in m.channels] for m in scan.migrations]
    return scan.file.frames, migrations, iso_time(scan.engine.last_time), scan.file.notes


def read(source: GrowingSource) -> Scan:
    try:
        return Scan(source).run()
    finally:
        source.close()


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(places=st.lists(st.integers(0, len(CAPTURE)), max_size=12))
def test_a_file_is_the_same_whatever_pieces_it_comes_in(places: list[int], tmp_path: Path) -> None:
    path = tmp_path / "growing.pcap"
    writer = Writer(path, cut(CAPTURE, places))
    source = follow(str(path))
    source.stops.append(writer)
    assert told(read(source)) == told(Scan(CAPTURE).run())


@pytest.mark.parametrize("left", [1, 15, 17])
def test_a_last_record_that_is_not_all_there_is_noted(left: int, tmp_path: Path) -> None:
    path = tmp_path / "growing.pcap"
    path.write_bytes(CAPTURE[:-left])
    source = follow(str(path))
    source.stops.append(lambda: True)
    scan = read(source)
    assert scan.file.damage is None
    assert scan.file.frames == Scan(CAPTURE).run().file.frames - 1
    assert any("ends inside a record" in note for note in scan.file.notes)


def test_frames_are_given_as_they_come(tmp_path: Path) -> None:
    path = tmp_path / "growing.pcapng"
    section = Section().interface()
    parts = [bytes(section)]
    for number in range(3):
        parts.append(bytes(section.enhanced(number, b"x" * 60, 60))[len(b"".join(parts)) :])
    path.write_bytes(parts[0])
    source = follow(str(path))
    seen: list[int] = []
    left = parts[1:]

    def stop() -> bool:
        if len(seen) == 3 - len(left) and left:  # only when what came before was given
            with path.open("ab") as file:
                file.write(left.pop(0))
            return False
        return not left and len(seen) == 3

    source.stops.append(stop)
    file = CaptureFile(source)
    for batch in file.batches():
        seen += batch.starts
    source.close()
    assert len(seen) == file.frames == 3


@pytest.mark.parametrize("how", ["removed", "replaced"])
def test_a_file_that_goes_away_ends_with_a_note(how: str, tmp_path: Path) -> None:
    path = tmp_path / "growing.pcap"
    path.write_bytes(CAPTURE)
    source = follow(str(path))
    if how == "removed":
        path.unlink()
    else:
        (tmp_path / "next").write_bytes(CAPTURE[:24])
        (tmp_path / "next").rename(path)
    scan = read(source)
    assert len(scan.migrations) == 1
    assert [note for note in scan.file.notes if "removed or replaced" in note]


def test_what_is_written_after_the_removal_still_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(growing, "GRACE", 0.5)
    path = tmp_path / "growing.pcap"
    with path.open("wb", buffering=0) as file:
        file.write(CAPTURE[:1000])
        source = follow(str(path))
        path.unlink()
        threading.Timer(0.1, lambda: os.write(file.fileno(), CAPTURE[1000:])).start()
        assert len(read(source).migrations) == 1


def test_a_file_that_becomes_shorter_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "growing.pcap"
    path.write_bytes(CAPTURE)
    source = follow(str(path))

    def shorten() -> bool:
        os.truncate(path, 100)
        return False

    source.stops.append(lambda: source.position == len(CAPTURE) and shorten())
    scan = read(source)
    assert len(scan.migrations) == 1
    assert "shrank" in str(scan.file.damage)


def test_a_pipe_is_read_until_its_writer_leaves() -> None:
    out, into = os.pipe()

    def write() -> None:
        for piece in cut(CAPTURE, [10, 5000, 90000]):
            os.write(into, piece)
            time.sleep(0.01)
        os.close(into)

    thread = threading.Thread(target=write)
    thread.start()
    scan = read(GrowingSource("<pipe>", Feed(out)))
    thread.join()
    assert told(scan) == told(Scan(CAPTURE).run())


def test_nothing_but_a_stop_is_an_empty_capture(tmp_path: Path) -> None:
    path = tmp_path / "growing.pcap"
    path.write_bytes(b"")
    source = follow(str(path))
    source.stops.append(lambda: True)
    with pytest.raises(CaptureError, match="is empty"):
        Scan(source)
    source.close()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nothing", "No such file"),
        ("file.gz", "is compressed, and cannot be followed"),
        ("file.mig", "is a saved migration, and cannot be followed"),
        (".", "directory"),
    ],
)
def test_what_cannot_be_followed_is_an_error(name: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "file.gz").write_bytes(b"\x1f\x8b\x08" + bytes(40))
    (tmp_path / "file.mig").write_bytes(b"QEVM" + bytes(40))
    with pytest.raises(CaptureError, match=message):
        read(follow(str(tmp_path / name)))


class Bursts(Feed):
    """A pipe for 100 bytes, in which so many have come whenever it is empty."""

    def __init__(self, sizes: list[int]) -> None:
        self.room = 100
        self._pieces = [piece for size in sizes for piece in (None, bytes(size), None)]

    def read(self, size: int) -> bytes | None:
        assert size > 100
        return self._pieces.pop(0) if self._pieces else b""


def test_pauses_are_short_while_a_pipe_fills_up_in_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer that waits for room in a pipe loses frames."""
    pauses: list[float] = []
    monkeypatch.setattr(growing, "PAUSE", 64.0)
    monkeypatch.setattr(time, "sleep", pauses.append)
    source = GrowingSource("pipe", Bursts([40] * 2 + [50] * 8 + [49] * 8))
    while source.readinto(memoryview(bytearray(1000))):
        pass
    assert pauses[:3] == [64, 64, 64]
    assert pauses[3:11] == [32, 16, 8, 4, 2, 1, 1, 1]
    assert pauses[11:] == [2, 4, 8, 16, 32, 64, 64]


def test_a_pipe_is_made_to_hold_more() -> None:
    reading, writing = os.pipe()
    feed = Feed(reading)
    assert feed.room == fcntl.fcntl(writing, fcntl.F_GETPIPE_SZ)
    os.close(writing)
    feed.close()


def test_a_file_has_no_room_to_fill(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"")
    feed = Feed(os.open(path, os.O_RDONLY))
    assert not feed.room
    feed.close()
