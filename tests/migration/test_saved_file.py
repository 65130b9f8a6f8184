"""Saved migration files, real ones and made ones."""

from __future__ import annotations

import gzip
import hashlib
import json
from typing import TYPE_CHECKING

import pytest

from analyzer.errors import CaptureError
from analyzer.migration import saved_file, vmdescription
from analyzer.migration.assembly import Assembler
from tests.migration import main_streams as build
from tests.migration.mapped_files import mapped_file
from tests.shipped import CAPTURES

if TYPE_CHECKING:
    from pathlib import Path

    from analyzer.migration.saved_file import SavedFile

NAMES = sorted(path.name.removesuffix(".mig.gz") for path in CAPTURES.glob("*.mig.gz"))


def real(name: str) -> Path:
    return CAPTURES / f"{name}.mig.gz"


@pytest.mark.parametrize("name", NAMES)
def test_real_files(name: str) -> None:
    saved = saved_file.read(real(name))
    main = saved.main
    truth = json.loads((CAPTURES / f"{name}.truth.json").read_text(encoding="utf-8"))
    ram = truth["query_migrate_source"]["ram"]
    assert not main.anomalies
    assert (main.decoded, main.skipped, main.missing) == (saved.size, 0, 0)
    assert (main.ram.normal_pages, main.ram.zero_pages) == (ram["normal"], ram["duplicate"])
    assert main.ram.page_size == ram["page-size"]
    assert sum(block.used_length for block in main.ram.blocks.values()) == ram["total"]
    assert not vmdescription.verify(main)
    decoded = vmdescription.decode(main)
    assert len(decoded) == 29
    assert all(device.complete for device in decoded)
    assert (main.capabilities == ["mapped-ram"]) is ("mapped-ram" in name)


@pytest.mark.parametrize("name", NAMES)
def test_unpacked_files_are_read_where_records_lie(name: str, tmp_path: Path) -> None:
    path = tmp_path / "saved"
    path.write_bytes(gzip.decompress(real(name).read_bytes()))
    packed, plain = saved_file.read(real(name)), saved_file.read(path)
    assert build.summary(plain.main) == build.summary(packed.main)
    assert plain.size == packed.size == path.stat().st_size


def test_a_hole_in_a_sparse_file(tmp_path: Path) -> None:
    path = tmp_path / "saved"
    path.write_bytes(mapped_file({3: b"x"}))
    assert saved_file.read(path).main.ram.normal_pages == 1


def same(left: SavedFile, right: SavedFile) -> bool:
    return build.summary(left.main) == build.summary(right.main)


def test_bytes_are_as_good_as_a_file(tmp_path: Path) -> None:
    stream = build.plain()
    path = tmp_path / "saved"
    path.write_bytes(stream)
    assert same(saved_file.read(path), saved_file.read(stream))


def test_cut_files(tmp_path: Path) -> None:
    stream = mapped_file({3: b"x"})
    path = tmp_path / "saved"
    for size in (100, 200, 1 << 20, (1 << 20) + 5000, len(stream) - 100):
        path.write_bytes(stream[:size])
        saved = saved_file.read(path)
        assert saved.main.truncated is not None
        assert saved.size == size
        assert saved.main.decoded == size


def test_device_data_of_a_file() -> None:
    assembler = Assembler()
    saved_file.read(build.with_vfio(), device_collector=assembler)
    over_multifd, over_main = assembler.assemblies.values()
    assert over_main.state_digest == hashlib.sha256(b"latestate").hexdigest()
    assert (over_multifd.main_bytes, over_multifd.state_digest) == (45, None)


@pytest.mark.parametrize("content", [b"", b"QEV", b"\x0a\x0d\x0d\x0a" * 9, bytes(100)])
def test_other_files_are_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "other"
    path.write_bytes(content)
    with pytest.raises(CaptureError, match="is not a saved migration"):
        saved_file.read(path)


def test_damaged_compression_ends_the_reading() -> None:
    packed = gzip.compress(build.plain() * 3)
    saved = saved_file.read(packed[: len(packed) // 2])
    assert saved.damage is not None
    assert saved.main.ended


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(CaptureError):
        saved_file.read(tmp_path / "absent")
