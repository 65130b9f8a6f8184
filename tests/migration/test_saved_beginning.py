"""Streams that begin later in their file, as behind the header of a libvirt save image."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING

import pytest

from analyzer.analysis import is_saved
from analyzer.capture.source import open_source
from analyzer.errors import CaptureError
from analyzer.migration import saved_file
from analyzer.migration.saved_beginning import HEAD
from dissectors.main_stream import BEGINNING
from dissectors.save_image import COMPLETE, HEADERS, PARTIAL, ImageFormat
from tests.commands.run import mfshark
from tests.migration import main_streams as build
from tests.migration.mapped_files import mapped_file
from tests.schemas import conform

if TYPE_CHECKING:
    from pathlib import Path


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


XML = b"<domain type='kvm'/>\0".ljust(65600, b"\0")
AFTER_XML = 92 + len(XML)


def image(
    way: int = ImageFormat.RAW,
    *,
    order: int = 0,
    magic: bytes = COMPLETE,
    version: int = 2,
    data: bytes = XML,
    length: int | None = None,
) -> bytes:
    """What libvirt puts in front of the stream."""
    values: dict[str, int | bytes] = {
        "magic": magic,
        "version": version,
        "data_len": len(data) if length is None else length,
        "was_running": 1,
        "format": way,
    }
    return HEADERS[order].pack(values) + data


IMAGE = "the header of a libvirt save image of format"


@pytest.mark.parametrize(
    ("before", "told"),
    [
        (image(), f"{IMAGE} raw"),
        (image(order=1), f"{IMAGE} raw"),
        (image(version=1), f"{IMAGE} raw"),
        (image(ImageFormat.SPARSE) + bytes(999), f"{IMAGE} sparse"),
        (image(magic=PARTIAL), f"{IMAGE} raw"),
        (bytes(1), "zeros"),
        (bytes(HEAD - BEGINNING), "zeros"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_a_stream_that_begins_later(before: bytes, told: str, packed: bool, tmp_path: Path) -> None:
    content = before + build.with_vfio()
    path = written(tmp_path / "saved", gzip.compress(content) if packed else content)
    assert is_saved(open_source(path))
    saved = saved_file.read(path)
    alone = saved_file.read(build.with_vfio())
    assert (saved.begin.offset, saved.begin.before) == (len(before), told)
    assert saved.size == len(content)
    assert saved.main.skipped == saved.main.missing == 0
    assert saved.main.decoded == alone.main.decoded
    assert [record.offset - len(before) for record in saved.main.records] == [
        record.offset for record in alone.main.records
    ]
    loaded = json.loads(mfshark("check", "--format", "json", path).out)
    conform(loaded, "report-1")
    (entry,) = loaded["captures"]
    assert entry["notes"] == [f"the stream begins at byte {len(before)}, behind {told}"]
    assert entry["format"] == "file"


@pytest.mark.parametrize("before", [image(ImageFormat.SPARSE), bytes(4096)])
def test_pages_of_a_mapped_file_are_where_its_header_says(before: bytes, tmp_path: Path) -> None:
    """QEMU counts from the beginning of the file, not of the stream."""
    path = written(tmp_path / "saved", mapped_file({3: b"x"}, preceded_by=before))
    folder = tmp_path / "taken"
    ran = mfshark("extract", path, "--ram", "pc.ram", "-o", str(folder))
    assert ran.status == 0
    (taken,) = folder.glob("*.ram")
    assert taken.read_bytes()[3 * build.PAGE : 4 * build.PAGE] == b"x" * build.PAGE
    assert saved_file.read(path).main.ram.normal_pages == 1


@pytest.mark.parametrize(("magic", "word"), [(COMPLETE, "OK"), (PARTIAL, "WARNING")])
def test_an_image_that_libvirt_did_not_finish(magic: bytes, word: str, tmp_path: Path) -> None:
    """However complete the stream is, libvirt does not restore it."""
    ran = mfshark("check", written(tmp_path / "saved", image(magic=magic) + build.plain()))
    first = ran.out.splitlines()[0]
    assert first.startswith(word)
    assert ("libvirt did not finish the image" in first) == (magic == PARTIAL)


UNPACK = f"tail -c +{AFTER_XML + 1} IMAGE | xz -dc | mfshark check -"


@pytest.mark.parametrize(
    ("before", "told"),
    [
        (image(ImageFormat.XZ), f"format xz (at byte {AFTER_XML}); {UNPACK}"),
        (image(77), f"format 77 (at byte {AFTER_XML}); mfshark knows the formats raw and sparse"),
    ],
)
def test_an_image_to_be_decompressed_first(before: bytes, told: str, tmp_path: Path) -> None:
    ran = mfshark("check", written(tmp_path / "saved", before + b"whatever"))
    assert ran.status == 2
    assert f"is a libvirt save image of {told}\n" in ran.err


@pytest.mark.parametrize(
    "content",
    [
        image(),
        image()[:91],
        image()[:92],
        image(length=0xFFFFFFFF) + build.plain(),
        image(length=5) + build.plain(),
        bytes(HEAD) + build.plain(),
        bytes(100) + b"\1" + build.plain(),
        b"Lib" + build.plain(),
    ],
)
def test_what_holds_no_stream_where_it_should(content: bytes, tmp_path: Path) -> None:
    path = written(tmp_path / "saved", content)
    with pytest.raises(CaptureError, match="is not a saved migration"):
        saved_file.read(path)
    ran = mfshark("check", path)
    assert ran.status == 2
    assert "internal error" not in ran.err


def test_the_beginning_of_a_pipe_is_not_awaited() -> None:
    """Of a capture no more is looked at than tells that it is one."""
    source = open_source(b"\xd4\xc3\xb2\xa1" + bytes(1000))
    assert not is_saved(source)
    assert len(source._ahead) == BEGINNING
