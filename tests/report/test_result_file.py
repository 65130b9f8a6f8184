"""Files for results: whole or not at all, and never in place of an input."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from analyzer.errors import UsageError
from analyzer.report.result_file import ResultFile


def test_what_was_there_stays_until_the_file_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "report"
    path.write_text("before", encoding="utf-8")
    path.chmod(0o640)
    with ResultFile(str(path)).text() as stream:
        stream.write("after")
        assert path.read_text(encoding="utf-8") == "before"
    assert path.read_text(encoding="utf-8") == "after"
    assert path.stat().st_mode & 0o777 == 0o640
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_run_that_fails_changes_nothing(error: type[BaseException], tmp_path: Path) -> None:
    path = tmp_path / "report"
    path.write_text("before", encoding="utf-8")
    file = ResultFile(str(path))

    def fail() -> None:
        with file.text() as stream:
            stream.write("half")
            raise error

    with pytest.raises(error):
        fail()
    assert path.read_text(encoding="utf-8") == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_an_input_is_refused_whatever_it_is_called(tmp_path: Path) -> None:
    capture, link, hard = (tmp_path / name for name in ("c.pcap", "link", "hard"))
    capture.write_bytes(b"bytes")
    link.symlink_to(capture)
    hard.hardlink_to(capture)
    for path in (capture, link, hard):
        with pytest.raises(UsageError, match="is an input"):
            ResultFile(str(path), ["-", str(capture)])
    with pytest.raises(UsageError, match="is an input"):
        ResultFile(f"{tmp_path}/./new", [str(tmp_path / "new")])
    assert capture.read_bytes() == b"bytes"


def test_a_symbolic_link_stays_one(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    link.symlink_to(target)
    with ResultFile(str(link)).binary() as stream:
        stream.write(b"bytes")
    assert link.is_symlink()
    assert target.read_bytes() == b"bytes"


def test_pipes_and_devices_are_written_directly(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(fifo.read_bytes()))
    reader.start()
    with ResultFile(str(fifo)).text() as stream:
        stream.write("through")
    reader.join(10)
    assert got == [b"through"]
    assert list(tmp_path.iterdir()) == [fifo]
    with ResultFile("/dev/null", ["/dev/null"]).text() as stream:
        stream.write("nowhere")


def test_a_live_file_grows_in_its_place(tmp_path: Path) -> None:
    path = tmp_path / "rows"
    with ResultFile(str(path), live=True).text() as stream:
        stream.write("row\n")
        stream.flush()
        assert path.read_text(encoding="utf-8") == "row\n"
