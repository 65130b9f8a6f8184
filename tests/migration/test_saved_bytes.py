"""Bytes of saved migrations, read again."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import pytest

from analyzer.capture.replayable import copied
from analyzer.errors import CaptureError
from analyzer.migration import saved_bytes
from analyzer.migration.saved_bytes import SavedBytes

if TYPE_CHECKING:
    from pathlib import Path
    from typing import IO

    from analyzer.capture.source import Source

CONTENT = bytes(range(256)) * 64
END = len(CONTENT)


@pytest.fixture
def copies(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that were copied."""
    made: list[str] = []

    def noted(source: Source, *, whole: bool) -> IO[bytes]:
        made.append(source.path)
        return copied(source, whole=whole)

    monkeypatch.setattr(saved_bytes, "copied", noted)
    return made


@pytest.mark.parametrize("packed", [False, True])
def test_a_compressed_file_is_unpacked_once_and_a_plain_one_read_where_it_is(
    packed: bool, tmp_path: Path, copies: list[str]
) -> None:
    path = tmp_path / "saved"
    path.write_bytes(gzip.compress(CONTENT) if packed else CONTENT)
    saved = SavedBytes(path)
    for offset, size in ((9000, 100), (0, 5), (END - 3, 1000), (END, 1)):  # in any order
        assert saved.read(offset, size) == CONTENT[offset : offset + size]
    saved.close()
    assert len(copies) == packed


def test_what_comes_before_damaged_compression_is_there(tmp_path: Path) -> None:
    path = tmp_path / "saved"
    packed = gzip.compress(CONTENT, 0)
    path.write_bytes(packed[: len(packed) // 2])
    saved = SavedBytes(path)
    assert saved.read(100, 50) == CONTENT[100:150]
    assert saved.read(END - 50, 50) == b""
    saved.close()


def test_a_file_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match="cannot be read a second time"):
        SavedBytes(tmp_path / "absent")
