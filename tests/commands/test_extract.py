"""extract --ram and --stream: the bytes, the manifest, and nothing anywhere else."""

from __future__ import annotations

import hashlib
import json
import os
import re
import resource
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzer.commands.extract import size_of
from analyzer.errors import UsageError
from analyzer.extraction.folder import Folder, _digest
from analyzer.report.bounds import Bound, quantity
from analyzer.synth import build
from tests.checks.craft import BLOCK, PAGE, Tiny, buffer, config, ram
from tests.commands.run import mfshark
from tests.migration.main_streams import page
from tests.migration.test_postcopy import RECV_BITMAP, RESUME, interrupted, recovered
from tests.shipped import CAPTURES, capture, truth

if TYPE_CHECKING:
    from collections.abc import Iterable

SMALL_SEGMENTS = "10.0.13-vfio-truncated-no-returnpath-2ch"  # so that writes are buffered
ROM = "fa4323"
"""What the sha256 of the ROM begins with that every one of these machines has."""


def manifest(folder: Path) -> dict[str, dict[str, Any]]:
    loaded = json.loads((folder / "manifest.json").read_text("utf-8"))
    return {entry["file"]: entry for entry in loaded["files"]}


def tiny(folder: Path, migration: Tiny) -> Path:
    path = folder / "tiny.pcap"
    path.write_bytes(migration.pcap())
    return path


def test_what_the_capture_lacks_of_a_buffer_is_zero(tmp_path: Path) -> None:
    name = capture("10.0.13-vfio-gaps-2ch")
    ran = mfshark("extract", name, "--buffers", "-o", tmp_path)
    assert "0000:00:03.0/vfio#0 is not complete" in ran.err
    cut = (tmp_path / "m0-0000_00_03.0_vfio#0.000000.buffer").read_bytes()
    assert len(cut) == 929_732
    assert b"\0" * 2896 in cut
    assert (tmp_path / "m0-0000_00_03.0_vfio#0.state").read_bytes()[48:].startswith(cut)


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
    rom, memory = files["m0-pc.rom.ram"], files["m0-pc.ram.ram"]
    assert rom["sha256"].startswith(ROM)
    for entry in (rom, memory):
        data = (tmp_path / entry["file"]).read_bytes()
        assert hashlib.sha256(data).hexdigest() == entry["sha256"]
        assert len(data) == entry["bytes"]
        assert (entry["pages_never_sent"], entry["pages_lost"]) == (0, 0)
        sent = sum(int(times) * count for times, count in entry["sent_times"].items())
        assert sent == sum(r["pages"] + r["zero_pages"] for r in entry["rounds"])
    taken = os.stat(tmp_path / "m0-pc.ram.ram").st_blocks * 512  # noqa: PTH116
    assert taken < memory["bytes"] * 2 // 3, "zero pages take room"


def test_a_part_of_a_block(tmp_path: Path) -> None:
    name = capture("10.0.13-veth-mtu1500-2ch")
    mfshark("extract", name, "--ram", "pc.rom", "-o", tmp_path / "whole")
    words = ("--offset", "0x1f0f0", "--length", "8k", "-o", tmp_path / "part")
    ran = mfshark("extract", name, "--ram", "pc.rom", *words)
    whole = (tmp_path / "whole" / "m0-pc.rom.ram").read_bytes()
    assert ran.status == 0
    assert (tmp_path / "part" / "m0-pc.rom.ram").read_bytes() == whole[0x1F0F0:][:8192]


def test_an_offset_behind_the_block_is_told(tmp_path: Path) -> None:
    name = capture("10.0.13-veth-mtu1500-2ch")
    for offset, status in (("0x1ffff", 0), ("0x20000", 2), ("1T", 2)):
        words = ("--ram", "pc.rom", "--offset", offset, "-o", tmp_path, "--force")
        ran = mfshark("extract", name, *words)
        assert (ran.status, "m0-pc.rom.ram: the block ends before --offset" in ran.err) == (
            status, status == 2,
        )  # fmt: skip


def test_a_block_larger_than_allowed_is_no_success(tmp_path: Path) -> None:
    words = ("--ram", "pc.ram", "--max-size", "1M", "-o", tmp_path)
    ran = mfshark("extract", capture("10.0.13-veth-mtu1500-2ch"), *words)
    assert ran.status == 2
    assert "--max-size" in ran.err
    assert (tmp_path / "m0-pc.ram.ram").stat().st_size <= 1 << 20
    assert mfshark("extract", capture("10.0.13-veth-mtu1500-2ch"), *words, "--length", "64k",
                   "--force").status == 0  # fmt: skip


def test_device_state_larger_than_allowed_is_refused(tmp_path: Path) -> None:
    words = ("--max-size", "1M", "-o", tmp_path)
    ran = mfshark("extract", capture("10.0.13-vfio-3dev-4ch"), *words)
    assert ran.status == 2
    assert "--max-size" in ran.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("stop", [KeyboardInterrupt, OSError(28, "No space left on device")])
@pytest.mark.parametrize("force", [False, True])
def test_what_is_interrupted_leaves_nothing_half_written(
    stop: type[BaseException] | BaseException,
    force: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "out"
    name = "m0-0000_00_02.0_vfio#0.state"
    words = ["extract", capture("10.0.13-vfio-3dev-4ch"), "-o", out]
    if force:
        out.mkdir()
        (out / name).write_text("of the run before", "utf-8")
        (out / "manifest.json").write_text("of the run before", "utf-8")
        words.append("--force")
    append, count = Folder.append, iter(range(100))

    def interrupted(folder: Folder, *some: Any, **facts: Any) -> None:
        if next(count) == 5:
            assert list(out.glob(".mfshark-*.part"))
            raise stop
        append(folder, *some, **facts)

    monkeypatch.setattr(Folder, "append", interrupted)
    assert mfshark(*words).status == (130 if stop is KeyboardInterrupt else 2)
    if not force:
        assert not out.exists()
    else:
        assert {path.name for path in out.iterdir()} == {name, "manifest.json"}
        assert {path.read_text("utf-8") for path in out.iterdir()} == {"of the run before"}
    monkeypatch.undo()
    assert mfshark(*words).status == 0
    assert set(manifest(out)) == {path.name for path in out.iterdir()} - {"manifest.json"}


@pytest.mark.parametrize("words", [(), ("--ram", "pc.ram"), ("--stream", "0")], ids=str)
def test_a_full_disk_leaves_nothing_behind(
    words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # Python would leave a part of it
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40, before[1]))
    try:
        ran = mfshark("extract", capture(SMALL_SEGMENTS), *words, "-o", tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert ran.status == 2
    assert "cannot be written: File too large" in ran.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("words", [(), ("--ram", "pc.ram"), ("--stream", "0")], ids=str)
def test_a_full_disk_is_told_once(words: tuple[str, ...], tmp_path: Path) -> None:
    """Not again, from Python 3.13 on with a traceback, for a file that was left open."""
    script = (
        "import resource, sys\n"
        "from analyzer.cli import script\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (40, 40))\n"
        "sys.exit(script())\n"
    )
    python = [sys.executable, "-B", "-W", "default::ResourceWarning", "-c", script]
    source = str(capture(SMALL_SEGMENTS))
    ran = subprocess.run(
        [*python, "extract", source, *words, "-o", str(tmp_path / "out")],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(CAPTURES.parent)},
    )
    assert ran.returncode == 2
    assert ran.stderr == f"mfshark: {tmp_path / 'out'} cannot be written: File too large\n"


def test_a_capture_without_device_state_leaves_no_folder(tmp_path: Path) -> None:
    ran = mfshark("extract", capture("10.0.13-ipv6-2ch"), "-o", tmp_path / "out")
    assert ran.status == 2
    assert "no device state was sent" in ran.err
    assert not (tmp_path / "out").exists()


def test_a_lost_page_is_told(tmp_path: Path) -> None:
    name = capture("10.0.13-vfio-gaps-2ch")
    ran = mfshark("extract", name, "--ram", "pc.ram", "-o", tmp_path)
    assert ran.status == 2
    assert "could not be decoded" in ran.err
    assert manifest(tmp_path)["m0-pc.ram.ram"]["pages_lost"] > 0


@pytest.mark.parametrize("target", ["", "-"])
def test_no_name_is_not_the_working_directory(
    target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = mfshark("extract", capture("10.0.13-vfio-3dev-4ch"), "-o", target)
    told = "mfshark: extract writes files, not to standard output: -o names a folder\n"
    assert (ran.status, ran.err) == (2, told)
    assert list(tmp_path.iterdir()) == []


def test_pages_that_the_snaplen_cut_off_were_sent_all_the_same(tmp_path: Path) -> None:
    ran = mfshark("extract", capture("10.0.13-snaplen128-2ch"), "--ram", "pc.ram", "-o", tmp_path)
    assert ran.status == 2
    assert "no page of a RAM block called 'pc.ram' was found; the capture has none" in ran.err


@pytest.mark.parametrize("words", [("--ram", "pc.ram"), ("--stream", "main")])
def test_buffers_are_written_whatever_else_is(words: tuple[str, ...], tmp_path: Path) -> None:
    mfshark("extract", tiny(tmp_path, Tiny()), "--buffers", *words, "-o", tmp_path / "out")
    assert list((tmp_path / "out").glob("*.buffer"))


def test_raw_streams_are_the_bytes_that_were_sent(tmp_path: Path) -> None:
    migration = Tiny()
    # What is named twice, in whatever words, is written once.
    names = "main", "multifd 1", "return-path", "main", "1"
    words = [word for name in names for word in ("--stream", name)]
    ran = mfshark("extract", tiny(tmp_path, migration), *words, "-o", tmp_path / "out")
    assert (ran.status, ran.err) == (0, "")
    assert len(ran.out.splitlines()) == 3
    sent = {
        "m0-main.stream": migration.main,
        "m0-multifd-1.stream": migration.multifd[1],
        "m0-return-path.stream": migration.returned,
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
        (("--offset", "4096"), "need --ram"),
        (("--ram", "pc.ram", "--offset", "far"), "0x1000"),
        (("--ram", "pc.ram", "--length", "-1"), "0x1000"),
        (("--max-size", "16X"), "0x1000"),
    ],
)
def test_wrong_words_are_explained(words: tuple[str, ...], reason: str, tmp_path: Path) -> None:
    ran = mfshark("extract", tiny(tmp_path, Tiny()), *words, "-o", tmp_path / "out")
    assert ran.status == 2
    assert reason in ran.err
    assert not (tmp_path / "out").exists()


def test_streams_of_a_pipe_are_refused_before_it_is_read(tmp_path: Path) -> None:
    ran = mfshark("extract", "-", "--stream", "main", "-o", tmp_path)
    assert ran.status == 2
    assert "save it to a file" in ran.err


# -- the manifest of devices ----------------------------------------------------------------------


def test_the_manifest_says_where_device_state_was_seen(tmp_path: Path) -> None:
    name = "10.0.13-vfio-precopy-2ch"
    assert mfshark("extract", capture(name), "--buffers", "-o", tmp_path).status == 0
    loaded = json.loads((tmp_path / "manifest.json").read_text("utf-8"))
    (device,) = loaded["devices"]
    files = manifest(tmp_path)
    stem = "m0-0000_00_02.0_vfio#0"
    state, config = files[f"{stem}.state"], files[f"{stem}.config"]
    buffers = [files[f"{stem}.{index:06d}.buffer"] for index in range(device["buffers"] - 1)]
    assert state["sha256"] == device["state_digest"] == truth_digest(name)
    assert config["sha256"] == device["config_digest"]
    assert state["bytes"] == device["main_bytes"] + device["data_bytes"]
    assert device["data_bytes"] == sum(entry["bytes"] for entry in buffers)
    for entry in (state, config, *buffers):
        data = (tmp_path / entry["file"]).read_bytes()
        assert (entry["bytes"], entry["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())
        assert entry["first_frame"] <= entry["last_frame"]
        assert entry["first_time"] <= entry["last_time"]
        assert entry["device"] == device["name"]
        assert entry["migration"] == 0
    for entry in buffers:
        assert state["first_frame"] < entry["first_frame"]
        assert entry["last_frame"] <= state["last_frame"] < config["first_frame"]
        assert entry["channel"] in (0, 1)
    listed = json.loads(mfshark("packets", capture(name), "-Y", "vfio.idx == 0",
                                "--format", "jsonl").out)  # fmt: skip
    assert buffers[0]["first_frame"] == listed["frame"]


def test_the_channel_of_a_buffer_is_told_only_where_its_number_is_known(tmp_path: Path) -> None:
    """As ``devices`` tells it: a capture that began late has no initial packets."""
    path = tmp_path / "late.pcap"
    path.write_bytes(build({"fault": [{"kind": "tcp-midstream", "channel": "0", "at": 12}]}))
    mfshark("extract", path, "--buffers", "-o", tmp_path)
    told = [entry["channel"] for entry in manifest(tmp_path).values() if "index" in entry]
    assert told
    assert set(told) == {None}


def truth_digest(name: str) -> str:
    """What the source's kernel gave out."""
    digest: str = truth(name)["devices"][0]["kernel_saved"]["sha256"]
    return digest


# -- nothing outside the folder ------------------------------------------------------------------


HOSTILE = (
    b"../../outside", b"/etc/outside", b"..", b".hidden", b"a\nb", b"\xff\xfe", b"pc.ram", b"CON",
    b"C:\\outside", b"~root", b"$(touch outside)", b"-o", b"n" * 255, "\u202epng".encode(),
)  # fmt: skip


RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)
"""File names that Windows takes for devices."""


def everything(folder: Path) -> set[str]:
    """All files and folders below one."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def harmless(names: Iterable[str]) -> bool:
    """Whether names can be made on any system, and name nothing elsewhere."""
    return all(
        re.fullmatch(r"[\w.#-]{1,200}", name, re.ASCII)
        and not name.startswith((".", "-"))
        and not name.endswith(".")
        and not RESERVED.match(name)
        for name in names
    )


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_block_names_stay_inside(name: bytes, tmp_path: Path) -> None:
    migration = Tiny()
    migration.multifd[0][2] = ram([0, 1], [4, 5], num=2, block=name)
    text = name.decode("utf-8", "backslashreplace")
    out = tmp_path / "deep" / "out"
    path = tiny(tmp_path, migration)
    ran = mfshark("extract", path, f"--ram={text}", "-o", out)
    assert "\n" not in ran.err.strip()
    made = [p for p in out.iterdir() if p.name != "manifest.json"]
    assert len(made) == 1
    assert made[0].stat().st_size >= 2 * PAGE
    names = {made[0].name, "manifest.json"}
    assert harmless(names)
    inside = {f"deep/out/{name}" for name in names}
    assert everything(tmp_path) == {"tiny.pcap", "deep", "deep/out", *inside}


@pytest.mark.parametrize("name", [name[:200] for name in HOSTILE])
def test_hostile_device_names_stay_inside(name: bytes, tmp_path: Path) -> None:
    migration = Tiny()
    migration.multifd[1] += [buffer(0, idstr=name), buffer(1, idstr=name, config=True)]
    mfshark("extract", tiny(tmp_path, migration), "-o", tmp_path / "out", "--buffers")
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert len([name for name in names if name.endswith(".state")]) == 2
    assert harmless(names)
    inside = {f"out/{name}" for name in names}
    assert everything(tmp_path) == {"tiny.pcap", "out", *inside}


def test_a_name_ends_at_its_first_nul(tmp_path: Path) -> None:
    migration = Tiny()
    migration.multifd[0][2] = ram([0, 1], [4, 5], num=2, block=b"a\0/../../b")
    mfshark("extract", tiny(tmp_path, migration), "--ram", "a", "-o", tmp_path / "out")
    assert (tmp_path / "out" / "m0-a.ram").exists()


@pytest.mark.parametrize(
    ("one", "other"), [(b"a/b", b"a:b"), (b"ram", b"RAM"), (b"n" * 150 + b"1", b"n" * 150 + b"2")]
)
def test_names_that_look_alike_once_made_safe_are_kept_apart(
    one: bytes, other: bytes, tmp_path: Path
) -> None:
    migration = Tiny()
    migration.multifd[0][2] = ram([0, 1], [4, 5], num=2, block=one)
    migration.multifd[0][4] = ram([0], num=6, block=other)
    words = ("--ram", one.decode(), "--ram", other.decode(), "-o", tmp_path / "out")
    mfshark("extract", tiny(tmp_path, migration), *words)
    names = {path.name.lower() for path in (tmp_path / "out").glob("*.ram")}
    assert len(names) == 2


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("name", ["m0-pc.ram.ram", "m0-main.stream", "manifest.json"])
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


@pytest.mark.parametrize(
    "name", ["m0-0000_00_02.0_vfio#0.state", "m0-0000_00_02.0_vfio#0.config", "manifest.json"]
)
def test_nothing_is_overwritten_unless_asked(name: str, tmp_path: Path) -> None:
    migration = Tiny()
    path, out = tiny(tmp_path, migration), tmp_path / "out"
    out.mkdir()
    (out / name).write_text("mine", "utf-8")
    ran = mfshark("extract", path, "-o", out)
    assert ran.status == 2
    assert "--force" in ran.err
    assert (out / name).read_text("utf-8") == "mine"
    assert mfshark("extract", path, "-o", out, "--force").status == 0
    assert (out / name).read_bytes() != b"mine"


def test_a_folder_that_cannot_be_made_is_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", "utf-8")
    ran = mfshark("extract", tiny(tmp_path, Tiny()), "-o", tmp_path / "file")
    assert ran.status == 2
    assert "cannot be written" in ran.err
    (tmp_path / "out" / "m0-main.stream").mkdir(parents=True)
    words = ("--stream", "main", "--force", "-o", tmp_path / "out")
    assert mfshark("extract", tiny(tmp_path, Tiny()), *words).status == 2


@given(
    st.lists(st.tuples(st.integers(0, 3 << 20), st.binary(min_size=1, max_size=100)), max_size=5),
    st.integers(0, 4 << 20),
)
def test_digests_of_files_with_holes(
    tmp_path_factory: pytest.TempPathFactory, written: list[tuple[int, bytes]], size: int
) -> None:
    path = tmp_path_factory.mktemp("sparse") / "file"
    with path.open("wb") as stream:
        for offset, data in written:
            stream.seek(offset)
            stream.write(data)
        stream.truncate(size)
    assert _digest(path) == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_recovered_postcopy_is_one_memory(tmp_path: Path) -> None:
    """Also where the recovery's pages come on the preempt channel, before main goes on."""
    path, folder = tmp_path / "recovered.pcap", tmp_path / "out"
    urgent = page(3 * PAGE, b"pc.ram")
    made = recovered(RECV_BITMAP + RESUME, into=interrupted(), urgent=urgent)
    path.write_bytes(made.pcap())
    ran = mfshark("extract", path, "--ram", "pc.ram", "-o", folder)
    ((name, entry),) = manifest(folder).items()
    assert (name, entry["migration"], entry["recovered_in"]) == ("m0-pc.ram.ram", 0, [1])
    assert entry["pages_sent"] == 3
    assert (folder / name).read_bytes()[3 * PAGE : 4 * PAGE] == bytes([3]) * PAGE
    assert ran.err == f"mfshark: {name}: 13 pages never sent\n"


def test_the_memory_of_a_recovered_postcopy(tmp_path: Path) -> None:
    """Against the digest of what the source had, of a migration with preempt channels."""
    name, folder = "8.2.2-preempt-recovered", tmp_path / "out"
    memory = truth(name)["memory"]
    part = ("--offset", memory["offset"], "--length", memory["length"])
    ran = mfshark("extract", capture(name), "--ram", memory["block"], *part, "-o", folder)
    ((_, entry),) = manifest(folder).items()
    assert (ran.status, ran.err) == (0, "")
    assert (entry["sha256"], entry["recovered_in"]) == (memory["sha256"], [1])


def test_a_recovery_alone_is_what_came_after_the_pause(tmp_path: Path) -> None:
    path, folder = tmp_path / "recovered.pcap", tmp_path / "out"
    path.write_bytes(recovered(RECV_BITMAP + RESUME).pcap())
    ran = mfshark("extract", path, "--ram", "pc.ram", "-o", folder)
    ((name, entry),) = manifest(folder).items()
    assert (entry["recovered_in"], entry["pages_sent"]) == ([], 1)
    assert f"{name}: a paused postcopy continues here, earlier pages are not in" in ran.err
    assert "the capture lacks bytes" not in ran.err


def test_a_device_without_its_instance_is_all_of_them(tmp_path: Path) -> None:
    migration = Tiny()
    for instance in (0, 2):
        idstr = b"twin/vfio"
        migration.multifd[0] += [
            buffer(0, instance=instance, idstr=idstr),
            config(1, instance=instance, idstr=idstr),
        ]
    path = tiny(tmp_path, migration)
    for name, wanted in (("twin/vfio", {0, 2}), ("twin/vfio#2", {2})):
        folder = tmp_path / str(len(wanted))
        mfshark("extract", path, "--device", name, "-o", folder)
        devices = {entry["device"] for entry in manifest(folder).values()}
        assert devices == {f"twin/vfio#{instance}" for instance in wanted}


def test_an_empty_config_state_is_one_buffer(tmp_path: Path) -> None:
    migration = Tiny()
    migration.multifd[0] += [
        buffer(0, idstr=b"x/vfio"),
        buffer(1, b"", idstr=b"x/vfio", config=True),
    ]
    folder = tmp_path / "out"
    mfshark("extract", tiny(tmp_path, migration), "--device", "x/vfio", "-o", folder)
    (device,) = json.loads((folder / "manifest.json").read_text("utf-8"))["devices"]
    assert device["buffers"] == 2


def test_ctrl_c_right_after_a_file_was_created_leaves_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(path: Path, _mode: str) -> None:
        path.touch()
        raise KeyboardInterrupt

    folder = Folder(tmp_path / "out", force=False, max_size=0)
    monkeypatch.setattr(Path, "open", interrupted)
    with pytest.raises(KeyboardInterrupt):
        folder.add("state")
    folder.withdraw()
    assert not folder.root.exists()


def test_a_temporary_file_of_another_run_is_left_alone(tmp_path: Path) -> None:
    other = tmp_path / f".mfshark-{os.getpid()}-0.part"
    other.write_bytes(b"other")
    folder = Folder(tmp_path, force=False, max_size=0)
    folder.add("state").close()
    folder.withdraw()
    assert list(tmp_path.iterdir()) == [other]


def test_stems_of_names_that_look_alike_differ(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "out", force=False, max_size=0)
    names = ("a/b", "a_b-2", "a:b", "A/B", "a_b-1", "a|b")
    stems = [folder.stem(name) for name in names]
    assert len({stem.lower() for stem in stems}) == len(names)


@pytest.mark.parametrize(
    ("text", "value"),
    [("4096", 4096), ("0x1000", 4096), ("4K", 4096), ("4kib", 4096), ("1.5k", 1536)],
)
def test_a_size_may_be_hexadecimal_or_have_a_unit(text: str, value: int) -> None:
    assert size_of(text, "--length") == value


@pytest.mark.parametrize("text", ["010", "-1", "x", "1.2", ""])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(
        UsageError, match="--length takes a number of bytes, as in 4096, 0x1000 or 4G"
    ):
        size_of(text, "--length")


def test_sizes_are_powers_of_1024_everywhere() -> None:
    """As in QEMU's monitor, in filters, in settings and in bounds of expectations."""
    assert quantity("1M", "bytes") == quantity("1 MiB", "bytes") == size_of("1M", "") == 1 << 20
    assert Bound("<= 2K").holds(2048)
