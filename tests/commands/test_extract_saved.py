"""extract of saved migrations: plain ones, mapped-ram, and pages compressed one by one."""

from __future__ import annotations

import hashlib
import json
import random
import tracemalloc
import zlib
from typing import TYPE_CHECKING, Any

import pytest

from dissectors.main_stream import RamFlag
from tests.commands.run import mfshark
from tests.migration import main_streams as build
from tests.migration.main_streams import EOS, PAGE, RAM_ID
from tests.migration.mapped_files import mapped_file
from tests.shipped import CAPTURES

if TYPE_CHECKING:
    from pathlib import Path

FIRMWARE = "cc55ed67d27a9f47"
"""What the sha256 of pc.bios begins with, the same in every one of these machines."""


def extracted(path: Path, *words: object) -> tuple[int, str, dict[str, dict[str, Any]]]:
    """Exit status, complaints, and the manifest's entries."""
    out = path.parent / "out"
    ran = mfshark("extract", path, *words, "-o", out)
    listed = out / "manifest.json"
    files = json.loads(listed.read_text("utf-8"))["files"] if listed.exists() else []
    return ran.status, ran.err, {entry["file"]: entry for entry in files}


def written(folder: Path, stream: bytes) -> Path:
    path = folder / "saved.mig"
    path.write_bytes(stream)
    return path


@pytest.mark.parametrize(
    "name",
    ["10.0.13-file-plain", "10.0.13-file-mapped-ram", "10.0.13-file-mapped-ram-multifd-2ch"],
)
def test_memory_is_the_same_however_it_was_saved(name: str, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(CAPTURES / f"{name}.mig.gz")
    words = ("--ram", "pc.bios", "--ram", "pc.ram")
    status, err, files = extracted(tmp_path / "link", *words)
    assert (status, err) == (0, "")
    assert files["m0-pc.bios.ram"]["sha256"].startswith(FIRMWARE)
    memory = files["m0-pc.ram.ram"]
    assert (memory["bytes"], memory["pages_sent"], memory["pages_lost"]) == (64 << 20, 16384, 0)
    assert [r["pages"] for r in memory["rounds"]] == [272]


def test_pages_stand_where_the_bitmap_says(tmp_path: Path) -> None:
    pages = {0: b"a", 1: b"b", 7: b"c", 8: b"d", 63: b"e", 99: b"f"}
    path = written(tmp_path, mapped_file(pages))
    assert extracted(path, "--ram", "pc.ram")[:2] == (0, "")
    data = (tmp_path / "out" / "m0-pc.ram.ram").read_bytes()
    assert data == b"".join(pages.get(number, b"\0") * PAGE for number in range(100))


def test_a_window_of_a_mapped_region(tmp_path: Path) -> None:
    path = written(tmp_path, mapped_file(dict.fromkeys(range(16, 40), b"x")))
    words = ("--ram", "pc.ram", "--offset", 15 * PAGE + 9, "--length", 2 * PAGE)
    assert extracted(path, *words)[:2] == (0, "")
    data = (tmp_path / "out" / "m0-pc.ram.ram").read_bytes()
    assert data == bytes(PAGE - 9) + b"x" * (PAGE + 9)


def test_a_region_that_is_cut_off_is_no_success(tmp_path: Path) -> None:
    path = written(tmp_path, mapped_file({0: b"a", 9: b"b"})[: (1 << 20) + 5 * PAGE])
    status, err, files = extracted(path, "--ram", "pc.ram")
    assert status == 2
    assert "never sent" in err
    assert files["m0-pc.ram.ram"]["pages_sent"] < 100


def compressed(address: int, content: bytes, name: bytes | None = None) -> bytes:
    packed = zlib.compress(content)
    return build.record(address, RamFlag.COMPRESS_PAGE, name, build.u32(len(packed)) + packed)


def test_pages_that_were_compressed_one_by_one(tmp_path: Path) -> None:
    random.seed(8)
    contents = [random.randbytes(PAGE), b"t" * PAGE, bytes(PAGE)]
    records = compressed(0, contents[0], b"pc.ram")
    records += compressed(PAGE, contents[1]) + compressed(2 * PAGE, contents[2])
    again = compressed(0, b"n" * PAGE, b"pc.ram")
    stream = build.OPENING + build.RAM_START + build.part(RAM_ID, records + EOS)
    stream += build.part(RAM_ID, again + EOS) + build.end(RAM_ID, EOS) + build.CLOSING
    _, err, files = extracted(written(tmp_path, stream), "--ram", "pc.ram")
    assert "13 pages never sent" in err
    entry = files["m0-pc.ram.ram"]
    assert (entry["pages_sent"], entry["pages_lost"], entry["sent_times"]) == (
        3, 0, {"1": 2, "2": 1},
    )  # fmt: skip
    data = (tmp_path / "out" / "m0-pc.ram.ram").read_bytes()
    assert data.rstrip(b"\0") == b"n" * PAGE + contents[1]


@pytest.mark.parametrize(
    "packed", [b"zlib!", zlib.compress(bytes(PAGE + 1)), zlib.compress(b"short"), b""]
)
def test_a_compressed_page_that_is_damaged_is_lost(packed: bytes, tmp_path: Path) -> None:
    bad = build.record(0, RamFlag.COMPRESS_PAGE, b"pc.ram", build.u32(len(packed)) + packed)
    stream = build.OPENING + build.RAM_START + build.part(RAM_ID, bad + EOS)
    path = written(tmp_path, stream + build.end(RAM_ID, EOS) + build.CLOSING)
    status, err, files = extracted(path, "--ram", "pc.ram")
    assert status == 2
    assert "1 page could not be decoded" in err
    assert files["m0-pc.ram.ram"]["pages_lost"] == 1


def test_device_state_that_went_over_main(tmp_path: Path) -> None:
    status, err, files = extracted(written(tmp_path, build.with_vfio()))
    assert status == 2
    assert "02.0/vfio#0 is not complete" in err
    assert "03.0" not in err
    entry = files["m0-0000_00_03.0_vfio#0.state"]
    assert entry["sha256"] == hashlib.sha256(b"latestate").hexdigest()
    assert (tmp_path / "out" / entry["file"]).read_bytes() == b"latestate"
    assert "first_frame" not in entry


def test_a_saved_migration_has_no_channels_to_choose(tmp_path: Path) -> None:
    path = written(tmp_path, build.plain())
    status, err, _ = extracted(path, "--stream", "main")
    assert status == 2
    assert "main's stream itself" in err


@pytest.mark.parametrize("cut", range(200, 1 << 21, 150_001))
def test_damaged_files_are_no_traceback(cut: int, tmp_path: Path) -> None:
    stream = bytearray(mapped_file(dict.fromkeys(range(0, 100, 3), b"z")))
    for at in range(cut % 97, 400, 97):
        stream[at] ^= 0xFF
    status, err, _ = extracted(written(tmp_path, bytes(stream[:cut])), "--ram", "pc.ram")
    assert status in (0, 2)
    assert "Traceback" not in err


@pytest.mark.parametrize("size", [1 << 40, 1 << 62])
def test_sizes_without_measure_take_no_memory(size: int, tmp_path: Path) -> None:
    """A region of a size that no file has, its pages of usual size or not."""
    listed = build.mem_size({b"pc.ram": size})
    capability = build.u32(1) + build.text(b"mapped-ram")
    opening = build.header() + build.configuration(
        b"pc-q35-10.0", build.subsection(b"configuration/capabilities", capability)
    )
    before = opening + build.start(RAM_ID, b"ram", listed)[:-5]
    head = before + build.mapped_ram_header(len(before) + 28, 1 << 60)
    for page_size in (PAGE, size >> 4):
        stream = head.replace(build.u64(PAGE), build.u64(page_size), 1) + b"\xff" * (1 << 16)
        path = written(tmp_path, stream)
        tracemalloc.start()
        status, err, _ = extracted(path, "--ram", "pc.ram", "--force")
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert status == 2
        assert "pc.ram" in err
        assert peak < 64 << 20


def test_a_byte_order_that_nothing_tells(tmp_path: Path) -> None:
    path = written(tmp_path, mapped_file({0: b"a"}, 128, machine=b"pseries-10.0"))
    status, err, files = extracted(path, "--ram", "pc.ram")
    assert (status, files["m0-pc.ram.ram"]["pages_sent"]) == (2, 128)
    assert "the byte order of the bitmap is unknown, little endian was assumed" in err
