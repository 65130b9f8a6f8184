"""``mfshark live`` from its options to its report, with a dumpcap that only seems to be one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from analyzer.capture import live as capturing
from analyzer.capture.segment import Segment, decode
from analyzer.commands import watch
from analyzer.migration.scan import Scan
from analyzer.synth import build
from tests import shipped
from tests.altered import read
from tests.commands.run import mfshark
from tests.live.dumpcap import FakeDumpcap
from tests.migration.tls_captures import EMBEDDED, KEYS
from tests.tcp.tshark import MISSING

CAPTURE = build({"migration": [{"channels": 2}]})
TLS = shipped.capture(EMBEDDED).read_bytes()
needs_tshark = pytest.mark.skipif(MISSING, reason="tshark is not installed")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder) + os.pathsep + os.environ["PATH"])
    monkeypatch.setattr(watch, "SETTLING", 0.1)
    return folder


def test_until_the_migration_has_ended(folder: Path) -> None:
    FakeDumpcap(folder, CAPTURE)
    ran = mfshark("live", "-i", "lo", "--until-ended", "--each")
    assert ran.status == 0
    each, verdict, *_ = ran.out.splitlines()
    assert "migration 0 completed, 2 multifd channels, 1 device complete" in each
    assert verdict.startswith("OK  <lo>: migration completed, 2 multifd channels")
    assert ran.err == "mfshark: capturing on lo; Ctrl-C ends it\n"


def test_the_report_is_that_of_check(folder: Path, tmp_path: Path) -> None:
    FakeDumpcap(folder, CAPTURE)
    kept = tmp_path / "kept.pcap"
    ran = mfshark("live", "-i", "lo", "--until-ended", "-q", "-w", kept, "--format", "json")
    assert (ran.status, ran.err) == (0, "")
    assert ran.out == mfshark("check", kept, "--format", "json").out
    assert kept.read_bytes() == CAPTURE


@pytest.mark.parametrize("which", [-1, -2])
def test_each_waits_for_the_last_bytes_of_a_closed_connection(which: int, folder: Path) -> None:
    flow = Scan(CAPTURE).run().migrations[0].multifd[0].flow
    held = read(CAPTURE)
    found = (decode(bytearray(f.data), 0, len(f.data), f.original, held.link) for f in held.frames)
    carrying = [
        number
        for number, segment in enumerate(found)
        if isinstance(segment, Segment) and segment.key == flow.key and segment.length
    ]
    del held.frames[carrying[which]]
    FakeDumpcap(folder, held.pcap())
    ran = mfshark("live", "-i", "lo", "--until-ended", "--each")
    each, verdict, *_ = ran.out.splitlines()
    assert "1 warning, first MF901 tcp-hole on multifd 0" in each
    assert each.partition("completed")[2] == verdict.partition("completed")[2]


def test_each_leaves_json_alone(folder: Path) -> None:
    FakeDumpcap(folder, CAPTURE)
    ran = mfshark("live", "-i", "lo", "--until-ended", "--each", "--format", "json")
    assert len(json.loads(ran.out)["captures"][0]["migrations"]) == 1
    assert "migration 0 completed" in ran.err


def test_duration_ends_it_without_a_migration(folder: Path) -> None:
    FakeDumpcap(folder, CAPTURE[:24])
    ran = mfshark("live", "-i", "lo", "--duration", "0.2")
    assert ran.status == 2
    assert ran.out == "NOTHING  <lo>: no migration in 0 frames\n"
    assert "no migration found in 0 frames" in ran.err


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_and_the_report_comes(sent: signal.Signals, folder: Path) -> None:
    FakeDumpcap(folder, CAPTURE)
    command = [sys.executable, "-m", "analyzer", "live", "-i", "lo", "--each"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        first = process.stdout.readline()  # the verdict on the migration: it is being read
        process.send_signal(sent)
        rest = process.stdout.read()
    assert "migration 0 completed" in first
    assert rest.startswith("OK  <lo>: migration completed")
    assert process.returncode == 0


def test_a_reader_that_closes_early_ends_it_and_the_status_is_that_of_the_report(
    folder: Path,
) -> None:
    FakeDumpcap(folder, build({"fault": [{"kind": "vfio-idx-gap"}]}))
    command = [sys.executable, "-m", "analyzer", "live", "-i", "lo", "--each"]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, **pipes) as process:
        assert process.stdout is not None
        process.stdout.close()
        _, err = process.communicate()
    assert process.returncode == 1
    assert err == b"mfshark: capturing on lo; Ctrl-C ends it\n"


@needs_tshark
def test_keys_decrypt_at_the_end(folder: Path) -> None:
    FakeDumpcap(folder, TLS)
    words = ("--until-ended", "--each", "--keylog", KEYS)
    ran = mfshark("live", "-i", "lo", *words)
    assert ran.status == 0, ran.err
    each, verdict, *_ = ran.out.splitlines()
    assert each.endswith("migration 0 completed, 2 multifd channels")
    assert verdict.startswith("OK  <lo>: ")


@needs_tshark
def test_tshark_reads_a_file_rather_than_hold_up_dumpcap(folder: Path) -> None:
    dumpcap = FakeDumpcap(folder, CAPTURE)
    ran = mfshark("live", "-i", "lo", "--until-ended", "--via", "tshark")
    assert ran.out.startswith("OK  <lo>: migration completed, 2 multifd channels")
    file = Path(dumpcap.arguments[dumpcap.arguments.index("-w") + 1])
    assert file.name == "live.pcapng"
    assert not file.exists()


@needs_tshark
def test_a_key_log_that_nobody_wrote_does_not_cost_the_report(folder: Path) -> None:
    FakeDumpcap(folder, shipped.capture(EMBEDDED).read_bytes().replace(b"_TRAFFIC_", b"_TRAFFIX_"))
    ran = mfshark("live", "-i", "lo", "--until-ended", "--keylog", folder / "nothing.log")
    assert ran.status == 2
    assert ran.out.startswith("ENCRYPTED")
    assert "the key log cannot be opened" in ran.out


def test_keys_without_tshark_are_refused_before_the_capture(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    FakeDumpcap(folder, CAPTURE)
    monkeypatch.setenv("PATH", str(folder))
    ran = mfshark("live", "-i", "lo", "--keylog", KEYS)
    assert (ran.status, ran.out) == (2, "")
    assert "tshark is not installed; install it" in ran.err
    assert not (folder / "told.json").exists()


@pytest.mark.parametrize(
    "words", [("-o", "x.foo"), ("--expect", "nowhere.toml"), ("-o", "/x/y.json")]
)
def test_a_wrong_option_is_refused_before_a_capture_is_replaced(
    words: tuple[str, str], folder: Path, tmp_path: Path
) -> None:
    FakeDumpcap(folder, CAPTURE)
    kept = tmp_path / "kept.pcapng"
    kept.write_bytes(b"of yesterday")
    ran = mfshark("live", "-i", "lo", "--until-ended", "-w", kept, *words)
    assert (ran.status, ran.out) == (2, "")
    assert "capturing on" not in ran.err
    assert kept.read_bytes() == b"of yesterday"


@pytest.mark.parametrize("option", ["--config", "--keylog", "--expect", "--baseline"])
def test_what_is_read_is_not_captured_to(option: str, folder: Path, tmp_path: Path) -> None:
    FakeDumpcap(folder, CAPTURE)
    file = tmp_path / "file"
    file.write_bytes(b"deep = true\n")
    ran = mfshark("live", "-i", "lo", "--until-ended", option, file, "-w", file)
    assert (ran.status, ran.out) == (2, "")
    assert "is an input: results must not overwrite it" in ran.err
    assert file.read_bytes() == b"deep = true\n"


def test_without_dumpcap_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(capturing, "PLACES", ())
    ran = mfshark("live", "-i", "lo")
    assert (ran.status, ran.out) == (2, "")
    assert ran.err.startswith("mfshark: dumpcap is not installed; it comes with tshark: install it")
    assert "Traceback" not in ran.err


def test_interfaces_are_listed(folder: Path) -> None:
    FakeDumpcap(folder, interfaces="1. lo\t\tLoopback\t0\t127.0.0.1\tloopback\n2. eth0\t\t\t0\t\t")
    assert mfshark("live", "-D").out == "lo    Loopback 127.0.0.1\neth0\n"


def test_an_interface_may_have_any_name(folder: Path) -> None:
    FakeDumpcap(folder, interfaces="1. \udce9\x1b[2J\t\t\t0\t\tnetwork\n")
    assert mfshark("live", "-D").out == "\\udce9\\x1b[2J\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "mfshark live -D lists them"),
        (["-i", "lo", "-B", "0"], "--buffer-size takes"),
        (["-i", "lo", "--duration", "0"], "--duration takes"),
        (["-i", "lo", "--tui", "--each"], "--tui"),
        (["-i", "lo", "--trace", "qemu.log"], "--trace takes complete logs"),
        (["-i", "lo", "-w", "-"], "-w takes the name of a file"),
        (["-i", "lo", "-w", ""], "-w takes the name of a file"),
        (["-i", "lo", "-w", "/dev/null"], "/dev/null is not a regular file"),
        (["-i", "lo", "-w", "/no/folder/x"], "/no/folder/x cannot be written"),
    ],
)
def test_wrong_options_are_told(words: list[str], message: str) -> None:
    ran = mfshark("live", *words)
    assert (ran.status, ran.out) == (2, "")
    assert message in ran.err
