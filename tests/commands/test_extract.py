"""extract --ram and --stream: the bytes, the manifest, and nothing anywhere else."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.checks.craft import BLOCK, PAGE, Tiny, buffer, ram
from tests.commands.run import mfshark
from tests.shipped import capture

ROM = "fa4323"
"""What the sha256 of the ROM begins with that every one of these machines has."""


def manifest(folder: Path) -> dict[str, dict[str, Any]]:
    loaded = json.loads((folder / "manifest.json").read_text("utf-8"))
    return {entry["file"]: entry for entry in loaded["files"]}


def tiny(folder: Path, migration: Tiny) -> Path:
    path = folder / "tiny.pcap"
    path.write_bytes(migration.pcap())
    return path


@pytest.mark.parametrize(
    "name",
    [
        "10.0.13-veth-mtu1500-2ch",
        "11.1.3-veth-mtu1500-zstd-3ch",
        "7.2-zlib-2ch",
        "10.0.13-machine-q35-7.2-2ch",
        "10.0.13-xbzrle-nomultifd",
        "11.1.3-postcopy-multifd-2ch",
    ],
)
def test_memory_is_the_same_however_it_was_sent(name: str, tmp_path: Path) -> None:
    words = ("--ram", "pc.rom", "--ram", "pc.ram", "-o", tmp_path)
    ran = mfshark("extract", capture(name), *words)
    assert (ran.status, ran.err) == (0, "")
    files = manifest(tmp_path)
    rom, memory = files["m1-pc.rom.ram"], files["m1-pc.ram.ram"]
    assert rom["sha256"].startswith(ROM)
    for entry in (rom, memory):
        data = (tmp_path / entry["file"]).read_bytes()
        assert hashlib.sha256(data).hexdigest() == entry["sha256"]
        assert len(data) == entry["bytes"]
        assert (entry["pages_never_sent"], entry["pages_lost"]) == (0, 0)
        sent = sum(int(times) * count for times, count in entry["sent_times"].items())
        assert sent == sum(r["pages"] + r["zero_pages"] for r in entry["rounds"])
    taken = os.stat(tmp_path / "m1-pc.ram.ram").st_blocks * 512  # noqa: PTH116
    assert taken < memory["bytes"] * 2 // 3, "zero pages take room"


def test_a_part_of_a_block(tmp_path: Path) -> None:
    name = capture("10.0.13-veth-mtu1500-2ch")
    mfshark("extract", name, "--ram", "pc.rom", "-o", tmp_path / "whole")
    words = ("--offset", "0x1f0f0", "--length", "8k", "-o", tmp_path / "part")
    ran = mfshark("extract", name, "--ram", "pc.rom", *words)
    whole = (tmp_path / "whole" / "m1-pc.rom.ram").read_bytes()
    assert ran.status == 0
    assert (tmp_path / "part" / "m1-pc.rom.ram").read_bytes() == whole[0x1F0F0:][:8192]


def test_a_block_larger_than_allowed_is_no_success(tmp_path: Path) -> None:
    words = ("--ram", "pc.ram", "--max-size", "1M", "-o", tmp_path)
    ran = mfshark("extract", capture("10.0.13-veth-mtu1500-2ch"), *words)
    assert ran.status == 2
    assert "--max-size" in ran.err
    assert (tmp_path / "m1-pc.ram.ram").stat().st_size <= 1 << 20
    assert mfshark("extract", capture("10.0.13-veth-mtu1500-2ch"), *words, "--length", "64k",
                   "--force").status == 0  # fmt: skip


def test_device_state_larger_than_allowed_is_refused(tmp_path: Path) -> None:
    words = ("--max-size", "1M", "-o", tmp_path)
    ran = mfshark("extract", capture("10.0.13-vfio-3dev-4ch"), *words)
    assert ran.status == 2
    assert "--max-size" in ran.err
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 1 << 20


def test_a_lost_page_is_told(tmp_path: Path) -> None:
    name = capture("10.0.13-vfio-gaps-2ch")
    ran = mfshark("extract", name, "--ram", "pc.ram", "-o", tmp_path)
    assert ran.status == 2
    assert "could not be decoded" in ran.err
    assert manifest(tmp_path)["m1-pc.ram.ram"]["pages_lost"] > 0


def test_raw_streams_are_the_bytes_that_were_sent(tmp_path: Path) -> None:
    migration = Tiny()
    words = ("--stream", "main", "--stream", "multifd 1", "--stream", "return-path")
    ran = mfshark("extract", tiny(tmp_path, migration), *words, "-o", tmp_path / "out")
    assert (ran.status, ran.err) == (0, "")
    sent = {
        "m1-main.stream": migration.main,
        "m1-multifd-1.stream": migration.multifd[1],
        "m1-return-path.stream": migration.returned,
    }
    for name, units in sent.items():
        assert (tmp_path / "out" / name).read_bytes() == b"".join(units)
        assert manifest(tmp_path / "out")[name]["holes"] == []


def test_a_hole_in_a_stream_is_a_hole_in_the_file(tmp_path: Path) -> None:
    ran = mfshark("extract", capture("10.0.13-gap-single-frame-2ch"), "--stream", "0",
                  "--stream", "1", "-o", tmp_path)  # fmt: skip
    assert ran.status == 2
    entries = manifest(tmp_path).values()
    assert sum(len(entry["holes"]) for entry in entries) == 1
    for entry in entries:
        data = (tmp_path / entry["file"]).read_bytes()
        assert len(data) == entry["bytes"]
        for first, end in entry["holes"]:
            assert not any(data[first:end])


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--ram", "nope"), "pc.ram"),
        (("--stream", "7"), "there are 0, 1, main"),
        (("--offset", "4096"), "are about --ram"),
        (("--ram", "pc.ram", "--offset", "far"), "0x1000"),
        (("--ram", "pc.ram", "--length", "-1"), "0x1000"),
        (("--max-size", "16X"), "0x1000"),
    ],
)
def test_wrong_words_are_explained(words: tuple[str, ...], reason: str, tmp_path: Path) -> None:
    ran = mfshark("extract", tiny(tmp_path, Tiny()), *words, "-o", tmp_path / "out")
    assert ran.status == 2
    assert reason in ran.err


def test_streams_of_a_pipe_are_refused_before_it_is_read(tmp_path: Path) -> None:
    ran = mfshark("extract", "-", "--stream", "main", "-o", tmp_path)
    assert ran.status == 2
    assert "save it to a file" in ran.err


# -- nothing outside the folder ------------------------------------------------------------------


HOSTILE = (b"../../outside", b"/etc/outside", b"..", b".hidden", b"a\nb", b"\xff\xfe", b"pc.ram")


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_block_names_stay_inside(name: bytes, tmp_path: Path) -> None:
    migration = Tiny()
    migration.multifd[0][2] = ram([0, 1], [4, 5], num=2, block=name)
    text = name.decode("utf-8", "backslashreplace")
    out = tmp_path / "deep" / "out"
    path = tiny(tmp_path, migration)
    before = sorted(path.parent.iterdir())
    ran = mfshark("extract", path, "--ram", text, "-o", out)
    assert "\n" not in ran.err.strip() or name != b"a\nb"
    made = [p for p in out.iterdir() if p.name != "manifest.json"]
    assert len(made) == 1
    assert not made[0].name.startswith(".")
    assert made[0].stat().st_size >= 2 * PAGE
    assert sorted(p for p in path.parent.iterdir() if p.name != "deep") == before


def test_names_that_look_alike_once_made_safe_are_kept_apart(tmp_path: Path) -> None:
    migration = Tiny()
    migration.multifd[0][2] = ram([0, 1], [4, 5], num=2, block=b"a/b")
    migration.multifd[0][4] = ram([0], num=6, block=b"a:b")
    words = ("--ram", "a/b", "--ram", "a:b", "-o", tmp_path / "out")
    mfshark("extract", tiny(tmp_path, migration), *words)
    assert len(list((tmp_path / "out").glob("*.ram"))) == 2


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("name", ["m1-pc.ram.ram", "m1-main.stream", "manifest.json"])
def test_a_symbolic_link_is_never_followed(name: str, force: bool, tmp_path: Path) -> None:
    outside, out = tmp_path / "outside", tmp_path / "out"
    out.mkdir()
    outside.write_text("untouched", "utf-8")
    (out / name).symlink_to(outside)
    words = ("--ram", BLOCK.decode(), "--stream", "main", "-o", out)
    ran = mfshark("extract", tiny(tmp_path, Tiny()), *words, *(["--force"] if force else []))
    assert outside.read_text("utf-8") == "untouched"
    assert (ran.status == 2 and "--force" in ran.err) == (not force)
    assert (out / name).is_symlink() == (not force)


def test_a_folder_that_cannot_be_made_is_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", "utf-8")
    ran = mfshark("extract", tiny(tmp_path, Tiny()), "-o", tmp_path / "file")
    assert ran.status == 2
    assert "cannot be written" in ran.err
    (tmp_path / "out" / "m1-main.stream").mkdir(parents=True)
    words = ("--stream", "main", "--force", "-o", tmp_path / "out")
    assert mfshark("extract", tiny(tmp_path, Tiny()), *words).status == 2


def test_hostile_device_names_stay_inside(tmp_path: Path) -> None:
    migration = Tiny()
    migration.multifd[1] += [buffer(0, idstr=b"../../../evil")]
    mfshark("extract", tiny(tmp_path, migration), "-o", tmp_path / "out", "--buffers")
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert "m1-.._.._.._evil#0.state" in names
    assert {path.name for path in tmp_path.iterdir()} == {"tiny.pcap", "out"}
