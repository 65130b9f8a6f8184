"""tshark as the reader: tunnels and formats give the report of the capture inside."""

from __future__ import annotations

import struct
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from scapy.layers.inet import IP, fragment
from scapy.utils import PcapReader, PcapWriter

from analyzer.analysis import analyze
from analyzer.capture.segment import endpoints
from analyzer.errors import CaptureError, ToolUnavailable
from analyzer.migration.replay import Replay
from analyzer.migration.scan import Scan
from analyzer.migration.settings import Settings
from analyzer.migration.table import PacketTable
from analyzer.report.model import capture_report
from analyzer.synth import build
from tests import shipped
from tests.capture.files import pcap
from tests.commands.run import mfshark
from tests.lossy import frames_of
from tests.tcp.tshark import MISSING
from tests.tunnelled import NATIVE, TUNNELS, wrapped

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

needs_tshark = pytest.mark.skipif(MISSING, reason="tshark is not installed")

TSHARK = Settings(via="tshark")
SAME = ("frames", "first_time", "last_time", "migrations", "tls", "findings")
"""What the report of a capture has in common with that of what is inside its tunnel."""
ALIKE = (*SAME, "ignored_frames", "truncated_frames")
"""What both readers tell of a capture without tunnels."""


@needs_tshark
@pytest.mark.parametrize("more", [4, 8])
def test_pcap_with_longer_records(more: int, inner: Path, tmp_path: Path) -> None:
    """As Nokia and Red Hat once had it; Wireshark tells them apart by looking."""
    plain = inner.read_bytes()
    longer, at = bytearray(plain[:24]), 24
    while at < len(plain):
        (size,) = struct.unpack_from("<I", plain, at + 8)
        longer += plain[at : at + 16] + bytes(more) + plain[at + 16 : at + 16 + size]
        at += 16 + size
    path = tmp_path / "longer.pcap"
    path.write_bytes(longer)
    analysis = analyze(path)
    assert analysis.scan.reading.through == "its records are not those of plain pcap"
    assert capture_report(analysis)["migrations"] == capture_report(analyze(inner))["migrations"]


@needs_tshark
def test_longer_records_that_look_like_one_that_is_cut_off(tmp_path: Path) -> None:
    """Read as plain pcap the second one begins 4 bytes early: its microseconds are its length."""
    plain = build({"device": [], "ram": {"normal_pages": 1}})
    longer, at, micros = bytearray(plain[:24]), 24, (262_143).to_bytes(4, "little")
    assert len(plain) < 262_143
    while at < len(plain):
        (size,) = struct.unpack_from("<I", plain, at + 8)
        head = plain[at : at + 4] + micros + plain[at + 8 : at + 16]
        longer += head + bytes(4) + plain[at + 16 : at + 16 + size]
        at += 16 + size
    path = tmp_path / "longer.pcap"
    path.write_bytes(longer)
    assert len(analyze(path).scan.migrations) == 1


@pytest.fixture(scope="module")
def inner(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("inner") / "inner.pcap"
    path.write_bytes(
        build(
            {
                "network": {"mtu": 9000},
                "migration": [{"channels": 2, "return_path": True}],
                "device": [{"size": 300_000, "buffer_size": 100_000}],
            }
        )
    )
    return path


def told(
    path: Path | bytes, settings: Settings | None = None, names: Sequence[str] = SAME
) -> dict[str, Any]:
    report = capture_report(analyze(path, settings, digest=True))
    return {name: report[name] for name in names}


@pytest.mark.parametrize("name", NATIVE)
def test_a_usual_tunnel_gives_the_report_of_what_is_inside(
    inner: Path, tmp_path: Path, name: str
) -> None:
    path = wrapped(inner, tmp_path / f"{name}.pcap", NATIVE[name])
    expected = told(inner)
    assert expected["migrations"]
    assert told(path, Settings(via="native")) == expected


@needs_tshark
@pytest.mark.parametrize("name", [*sorted(TUNNELS.keys() - NATIVE), "vxlan-of-linux"])
def test_tshark_gives_the_report_of_what_is_inside(inner: Path, tmp_path: Path, name: str) -> None:
    path = wrapped(inner, tmp_path / f"{name}.pcap", TUNNELS[name])
    expected = told(inner)
    assert expected["migrations"]
    assert told(path, TSHARK if name in NATIVE else None) == expected


@needs_tshark
@pytest.mark.parametrize(
    "name",
    ["10.0.13-ipv6-2ch", "10.0.13-netem-reorder-dup-4ch", "10.0.13-vfio-snaplen256-2ch",
     "10.0.13-vfio-gaps-2ch", "10.0.13-any-sll2-2ch", "10.0.13-vlan-2ch"],
)  # fmt: skip
def test_both_readers_tell_the_same_of_real_captures(name: str) -> None:
    path = shipped.capture(name)
    reports = told(path, TSHARK, ALIKE), told(path, None, ALIKE)
    for report in reports:
        for finding in report["findings"]:
            # A hole's frame in front is only known to the batch where nobody looked at the bytes.
            del finding["message"]
    assert reports[0] == reports[1]


@needs_tshark
@pytest.mark.parametrize("size", [30, 60])
@pytest.mark.parametrize("name", ["10.0.13-ipv6-2ch", "10.0.13-vfio-gaps-2ch"])
def test_both_readers_tell_where_frames_were_cut(name: str, size: int) -> None:
    frames, link = frames_of(shipped.capture(name))
    data = pcap([(time, frame[:size], original) for time, frame, original in frames], link=link)
    read, native = told(data, TSHARK, ALIKE), told(data, None, ALIKE)
    assert read["ignored_frames"] == native["ignored_frames"]
    assert read["ignored_frames"]


@needs_tshark
@pytest.mark.parametrize("kind", ["snoop", "nettl", "netmon2", "k12text"])
def test_other_file_formats_are_read(inner: Path, tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"capture.{kind}"
    subprocess.run(["editcap", "-F", kind, str(inner), str(path)], check=True)
    scan = Scan(path).run()
    assert (scan.reading.format, len(scan.migrations)) == ("tshark", 1)
    assert scan.file.bytes == path.stat().st_size
    report, expected = told(path), told(inner)
    for name in ("frames", "findings"):
        assert report[name] == expected[name]


@needs_tshark
def test_fragments_of_a_tunnel_are_holes_that_tshark_can_fill(inner: Path, tmp_path: Path) -> None:
    path = tmp_path / "fragments.pcap"
    with PcapReader(str(inner)) as frames, PcapWriter(str(path), nano=True) as writer:
        for frame in frames:
            for piece in fragment(NATIVE["vxlan"](frame), 4000):  # type: ignore[no-untyped-call]
                piece.time = frame.time
                writer.write(piece)
    native, through = mfshark("check", path), mfshark("check", "--via", "tshark", path)
    assert "frames ignored: IP fragment" in native.out
    assert "--via tshark reassembles them" in native.out
    assert (native.status, "MF901 tcp-hole" in native.out) == (0, True)
    assert (through.status, "MF901 tcp-hole" in through.out) == (0, False)


@needs_tshark
def test_streams_in_tunnels_have_wiresharks_numbers(inner: Path, tmp_path: Path) -> None:
    """The same connections once more without a tunnel, from another address, frame by frame."""
    path = tmp_path / "both.pcap"
    with PcapReader(str(inner)) as frames, PcapWriter(str(path), nano=True) as writer:
        for number, frame in enumerate(frames):
            names = list(NATIVE)
            other = NATIVE[names[number % len(names)]](frame)
            frame[IP].src = "198.51.100.1" if frame[IP].sport > 30000 else "198.51.100.2"
            frame[IP].dst = "198.51.100.2" if frame[IP].sport > 30000 else "198.51.100.1"
            for one in (other, frame) if number % 2 else (frame, other):
                one.time = frame.time
                writer.write(one)
    scan = Scan(path).run()
    assert len(scan.migrations) == 2
    command = ["tshark", "-n", "-r", str(path), "-d", "udp.port==8472,vxlan", "-Y", "tcp"]
    command += ["-T", "fields", "-e", "tcp.stream", "-e", "tcp.srcport", "-e", "frame.number"]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    begins: dict[int, tuple[int, int]] = {}
    for line in ran.stdout.splitlines():
        stream, port, number = map(int, line.split("\t"))
        begins.setdefault(stream, (port, number))
    found = {
        one.number: (endpoints(one.forward.key)[2], one.began.frame)
        for one in scan.engine.connections
    }
    assert found == begins


@needs_tshark
@pytest.mark.parametrize("name", ["vxlan", "trill"])
def test_packets_in_a_tunnel_can_be_read_again(inner: Path, tmp_path: Path, name: str) -> None:
    path = wrapped(inner, tmp_path / f"{name}.pcap", TUNNELS[name])
    tables = PacketTable(), PacketTable()
    plain = Scan(inner, watchers=(tables[0],)).run()
    tunnelled = Scan(path, watchers=(tables[1],)).run()
    assert len(tables[0]) == len(tables[1]) > 20
    readers = Replay(plain), Replay(tunnelled)
    for row in reversed(range(len(tables[0]))):
        one, two = (r.packet(t, row) for r, t in zip(readers, tables, strict=True))
        assert (one.data, one.holes) == (two.data, two.holes)
    for reader in readers:
        reader.close()


def test_without_tshark_a_tunnel_is_noted(
    inner: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    scan = Scan(wrapped(inner, tmp_path / "trill.pcap", TUNNELS["trill"])).run()
    assert scan.migrations == []
    assert any("--via tshark" in note for note in scan.file.notes)


def test_without_tshark_asking_for_it_is_an_error(
    inner: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ToolUnavailable, match="apt install tshark"):
        Scan(inner, TSHARK)


def test_native_does_not_ask_tshark(inner: Path, tmp_path: Path) -> None:
    path = wrapped(inner, tmp_path / "trill.pcap", TUNNELS["trill"])
    assert Scan(path, Settings(via="native")).run().reading.through == ""


FILES = {
    "report.json": b'{"schema": "mfshark/report/1", "captures": []}',
    "picture.png": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(300),
    "junk": b"abcde",
}


@needs_tshark
@pytest.mark.parametrize("name", FILES)
def test_files_that_tshark_dissects_are_no_captures(name: str, tmp_path: Path) -> None:
    """It shows each as one frame, so it seemed to be a capture without a migration."""
    path = tmp_path / name
    path.write_bytes(FILES[name])
    with pytest.raises(CaptureError, match="is not a pcap or pcapng file"):
        Scan(path)
    for via in ("tshark", "pyshark"):
        with pytest.raises(
            CaptureError, match="not a capture that tshark knows: it has no packets"
        ):
            Scan(path, Settings(via=via))
    assert mfshark("check", path, "--allow-empty").status == 2


@needs_tshark
def test_what_is_no_capture_is_none_for_tshark_either(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_text("nothing of the kind\n" * 10)
    with pytest.raises(CaptureError, match="is not a pcap or pcapng file"):
        Scan(path)
    with pytest.raises(CaptureError, match="not a capture that tshark knows"):
        Scan(path, TSHARK)


@needs_tshark
def test_the_note_on_ip_fragments_says_how_to_read_them(tmp_path: Path) -> None:
    path = tmp_path / "fragments.pcap"
    path.write_bytes(build({"fault": [{"kind": "ip-fragments"}]}))
    native, through = mfshark("check", path), mfshark("check", "--via", "tshark", path)
    assert "note: 3 frames ignored: IP fragment; --via tshark reassembles them" in native.out
    assert "MF901 tcp-hole" in native.out
    assert "ignored" not in through.out
    assert "MF901 tcp-hole" not in through.out
