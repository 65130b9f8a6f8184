"""Migrations over TLS, decrypted: the same analysis as any other, with the frames of Wireshark."""

from __future__ import annotations

import gzip
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import zstandard
from hypothesis import assume, given
from hypothesis import strategies as st

from analyzer.checks.checker import Checker
from analyzer.errors import CaptureError, ToolUnavailable
from analyzer.migration.encrypted import recognise
from analyzer.migration.replay import Replay
from analyzer.migration.scan import Scan
from analyzer.migration.settings import Settings
from analyzer.migration.table import PacketTable
from analyzer.migration.tls_records import find_records
from dissectors.multifd import INIT, MAGIC_BYTES, RAM
from tests import shipped, truth
from tests.capture.files import pcap
from tests.commands.run import mfshark
from tests.lossy import complaints, frames_of
from tests.migration.tls_captures import EMBEDDED, KEYS, NO_KEYS, stripped
from tests.tcp.tshark import MISSING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


needs_tshark = pytest.mark.skipif(MISSING, reason="tshark is not installed")


def read(path: Any, **options: Any) -> tuple[Scan, PacketTable]:
    table = PacketTable()
    scan = Scan(path, watchers=(table,), **options).run()
    table.finish(scan.migrations)
    return scan, table


@pytest.fixture
def without_secrets(tmp_path: Path) -> Path:
    return stripped(tmp_path / "plain.pcapng")


@needs_tshark
def test_embedded_secrets_are_used_unasked() -> None:
    report = truth.report_of(shipped.capture(EMBEDDED))
    assert list(truth.differences(EMBEDDED, report, shipped.truth(EMBEDDED))) == []
    assert report["tls"] == []


@needs_tshark
def test_embedded_secrets_are_used_where_tshark_reads_all() -> None:
    scan, table = read(shipped.capture(EMBEDDED), settings=Settings(via="tshark"))
    assert (len(scan.migrations), len(table)) == (1, 109)


@needs_tshark
def test_a_key_log_does_the_same_as_embedded_secrets(without_secrets: Path) -> None:
    embedded, rows = read(shipped.capture(EMBEDDED))
    logged, same = read(without_secrets, settings=Settings(keylog=str(KEYS)))
    assert len(rows) == len(same) > 100
    for name in ("kind", "channel", "stream", "frame", "end_frame", "time", "offset", "length"):
        assert list(rows.column(name)) == list(same.column(name)), name
    assert embedded.migrations[0].main_facts is not None
    assert logged.grouper.tls == []


@needs_tshark
def test_the_variable_names_a_key_log(
    without_secrets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSLKEYLOGFILE", str(KEYS))
    scan, table = read(without_secrets)
    assert len(scan.migrations) == 1
    assert len(table) > 100


@needs_tshark
def test_frames_and_streams_are_those_of_tshark() -> None:
    path = shipped.capture(EMBEDDED)
    listed = subprocess.run(
        ["tshark", "-n", "-r", str(path), "-Y", "data", "-T", "fields",
         "-e", "frame.number", "-e", "tcp.stream"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    frames = dict(line.split() for line in listed.stdout.splitlines())
    _, table = read(path)
    for row in (table.row(number) for number in range(len(table))):
        assert frames[str(row.frame)] == str(row.stream)
        assert frames[str(row.end_frame)] == str(row.stream)


@needs_tshark
def test_what_read_bytes_before_all_was_decrypted_reads_the_plaintext_afterwards() -> None:
    table = PacketTable()
    scan = Scan(shipped.capture(EMBEDDED), watchers=(table,))
    steps = scan.steps()
    while not len(table):
        next(steps)
    replay = Replay(scan)
    assert replay.packet(table, 0).holes == [(0, INIT.size)]
    for _ in steps:
        pass
    excerpt = replay.packet(table, 0)
    assert (excerpt.data[: len(MAGIC_BYTES)], excerpt.holes) == (MAGIC_BYTES, [])
    replay.close()


@needs_tshark
def test_packets_can_be_read_again() -> None:
    scan, table = read(shipped.capture(EMBEDDED))
    replay = Replay(scan)
    for number in reversed(range(len(table))):
        row, excerpt = table.row(number), replay.packet(table, number)
        assert (len(excerpt.data), excerpt.holes) == (row.length, [])
        if row.kind == "init":
            assert INIT.values(excerpt.data)["id"] == row.channel
        else:
            assert RAM.values(excerpt.data)["packet_num"] == (row.packet_num or 0)
    replay.close()


@needs_tshark
def test_a_lost_frame_ends_what_can_be_decrypted(without_secrets: Path, tmp_path: Path) -> None:
    path = tmp_path / "hole.pcapng"
    _, table = read(without_secrets, settings=Settings(keylog=str(KEYS)))
    lost = table.row(len(table) // 2).frame
    subprocess.run(["editcap", str(without_secrets), str(path), str(lost)], check=True)
    checker = Checker()
    scan = Scan(path, watchers=(checker,), settings=Settings(keylog=str(KEYS))).run()
    assert len(scan.migrations) == 1
    holes = [c for c in scan.migrations[0].channels if c.flow.missing]
    assert len(holes) == 1
    assert any("cannot be decrypted from frame" in note for note in scan.file.notes)
    findings = checker.findings(scan)
    assert "tcp-hole" in [finding.rule.slug for finding in findings]
    assert [f.rule.slug for f in findings if f.severity == "error"] == []


@needs_tshark
def test_a_channel_whose_handshake_is_lost_is_one_of_the_migration(
    without_secrets: Path, tmp_path: Path
) -> None:
    """It is there, though nothing of it can be read: no channel is missing."""
    path = tmp_path / "lost.pcapng"
    scan, _ = read(without_secrets, settings=Settings(keylog=str(KEYS)))
    lost = scan.migrations[0].multifd[-1]
    begin = lost.flow.first.frame
    subprocess.run(["editcap", str(without_secrets), str(path), str(begin)], check=True)
    checker = Checker()
    scan = Scan(path, watchers=(checker,), settings=Settings(keylog=str(KEYS))).run()
    (migration,) = scan.migrations
    assert [channel.stream for channel in migration.strangers] == [lost.stream]
    assert not recognise(scan.grouper.tls)
    assert not [f.rule.id for f in checker.findings(scan) if f.severity != "info"]


@needs_tshark
@pytest.mark.parametrize("whole", [55, 150, 250, 320])
def test_frames_cut_from_some_place_on_are_no_errors(
    without_secrets: Path, tmp_path: Path, whole: int
) -> None:
    """Nothing of a record that is not whole can be decrypted, so streams end anywhere."""
    frames, link = frames_of(without_secrets)
    cut = [f if n <= whole else (f[0], f[1][:400], f[2]) for n, f in enumerate(frames, 1)]
    path = tmp_path / "cut.pcap"
    path.write_bytes(pcap(cut, link=link))
    told = complaints(path, Settings(keylog=str(KEYS)))
    assert not told


@needs_tshark
def test_standard_input_is_kept_for_the_second_reading(without_secrets: Path) -> None:
    command = [sys.executable, "-m", "analyzer", "check", "-", "--keylog", str(KEYS)]
    with without_secrets.open("rb") as stdin:
        ran = subprocess.run(command, stdin=stdin, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.startswith("OK  <stdin>: migration completed, 2 multifd channels")


@needs_tshark
@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstandard.compress])
@pytest.mark.parametrize("piped", [False, True])
def test_embedded_secrets_are_used_however_the_file_comes(
    pack: Callable[[bytes], bytes], piped: bool, tmp_path: Path
) -> None:
    path = tmp_path / "capture"
    path.write_bytes(pack(shipped.capture(EMBEDDED).read_bytes()))
    command = [sys.executable, "-m", "analyzer", "packets", "-" if piped else str(path)]
    with path.open("rb") as stdin:
        ran = subprocess.run(command, stdin=stdin, capture_output=True, text=True, check=True)
    assert ran.stderr == ""
    assert len(ran.stdout.splitlines()) >= 109


@needs_tshark
def test_the_wrong_keys_leave_it_encrypted_and_a_note_says_why() -> None:
    path = shipped.capture(NO_KEYS)
    scan = Scan(path, settings=Settings(keylog=str(KEYS))).run()
    assert scan.migrations == []
    assert len(scan.grouper.tls) == 3
    assert scan.file.notes == [
        "TLS in streams 0, 1, 2: the secrets at hand are those of other sessions"
    ]


@needs_tshark
@pytest.mark.parametrize("last", [27, 54], ids=["ClientHello", "Finished"])
def test_a_connection_without_data_is_not_one_that_tshark_could_not_decrypt(
    last: int, tmp_path: Path
) -> None:
    """As a postcopy preempt channel without urgent pages, or one that the destination refused."""
    path = tmp_path / "idle.pcapng"
    command = ["tshark", "-n", "-r", str(shipped.capture(EMBEDDED)), "-w", str(path),
               "-Y", f"tcp.stream == 1 and frame.number <= {last}"]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True)
    scan = Scan(path, settings=Settings(keylog=str(KEYS))).run()
    assert [channel.stream for channel in scan.grouper.tls] == [0]
    assert scan.file.notes == ["TLS in stream 0: tshark found no more in it than a handshake"]


@needs_tshark
@pytest.mark.parametrize("keys", ["wrong", "empty"])
@pytest.mark.parametrize("command", ["check", "devices"])
def test_who_gave_a_key_log_is_told_what_is_wrong_with_it(
    command: str, keys: str, tmp_path: Path
) -> None:
    """Not to run QEMU with SSLKEYLOGFILE, which is what they did."""
    empty = tmp_path / "empty.log"
    empty.touch()
    log, reason = {
        "wrong": (KEYS, "the secrets at hand are those of other sessions"),
        "empty": (empty, "the key log holds no secrets of TLS sessions"),
    }[keys]
    ran = mfshark(command, shipped.capture(NO_KEYS), "--keylog", log)
    assert ran.status == 2
    assert "SSLKEYLOGFILE" not in ran.out + ran.err
    assert reason in ran.err.splitlines()[-1]
    if command == "check":
        assert reason in ran.out.splitlines()[0]


@needs_tshark
@pytest.mark.parametrize("text", ["", "CLIENT_RANDOM\n", "# a comment of words\n"])
def test_a_key_log_without_secrets_is_told(text: str, tmp_path: Path) -> None:
    path = tmp_path / "keys.log"
    path.write_text(text or "\n")
    scan = Scan(shipped.capture(NO_KEYS), settings=Settings(keylog=str(path))).run()
    assert ["holds no secrets" in note for note in scan.file.notes] == [True]


@pytest.fixture
def late(without_secrets: Path, tmp_path: Path) -> Path:
    """The capture, begun when all its connections were open and encrypted."""
    path = tmp_path / "late.pcapng"
    subprocess.run(["editcap", str(without_secrets), str(path), "1-70"], check=True)
    return path


@needs_tshark
def test_a_late_capture_is_told_to_be_one_of_tls(late: Path) -> None:
    checker = Checker()
    scan = Scan(late, watchers=(checker,), settings=Settings(keylog=str(KEYS))).run()
    assert [channel.server for channel in scan.grouper.tls] == ["127.0.0.1:20076"] * 3
    assert [finding.rule.id for finding in checker.findings(scan)] == []
    (found,) = recognise(scan.grouper.tls)
    assert [found.name(channel) for channel in found.channels] == ["channel ?"] * 3
    assert any("lacks the handshake" in note for note in scan.file.notes)


@needs_tshark
def test_without_the_clients_hello_the_server_is_still_the_server(
    without_secrets: Path, tmp_path: Path
) -> None:
    path = tmp_path / "hole.pcapng"
    hellos = subprocess.run(
        ["tshark", "-n", "-r", str(without_secrets), "-Y", "tls.handshake.type == 1",
         "-T", "fields", "-e", "frame.number"],
        capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    assert len(hellos) == 3
    subprocess.run(["editcap", str(without_secrets), str(path), *hellos], check=True)
    scan = Scan(path).run()
    assert [channel.server for channel in scan.grouper.tls] == ["127.0.0.1:20076"] * 3


@given(st.binary(max_size=200), st.lists(st.integers(0, 300), min_size=3, max_size=5))
def test_records_are_found_behind_whatever_comes_first(before: bytes, sizes: list[int]) -> None:
    records = b"".join(b"\x17\x03\x03" + size.to_bytes(2, "big") + bytes(size) for size in sizes)
    assume(b"\x17" not in before)
    assert find_records(before + records) == len(before)
    assert find_records(before + records[:5] + b"x" + records[5:8]) is None


def test_a_key_log_that_is_not_there_is_an_error() -> None:
    with pytest.raises(CaptureError, match="key log cannot be opened"):
        Scan(shipped.capture(NO_KEYS), settings=Settings(keylog="/nowhere/keys.log")).run()


def test_a_key_log_need_not_be_there_without_tls() -> None:
    ran = mfshark("check", shipped.capture("10.0.13-ipv6-2ch"), "--keylog", "/nowhere/keys.log")
    assert (ran.status, ran.err) == (0, "")


def test_without_tshark_an_asked_for_key_log_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ToolUnavailable, match="apt install tshark"):
        Scan(shipped.capture(NO_KEYS), settings=Settings(keylog=str(KEYS))).run()


def test_without_tshark_embedded_secrets_are_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    scan = Scan(shipped.capture(EMBEDDED)).run()
    assert len(scan.grouper.tls) == 3
    assert any("apt install tshark" in note for note in scan.file.notes)
