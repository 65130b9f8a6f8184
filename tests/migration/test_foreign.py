"""tshark as the reader: tunnels and formats give the report of the capture inside."""

from __future__ import annotations

import struct
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from scapy.contrib.erspan import ERSPAN_II
from scapy.contrib.geneve import GENEVE
from scapy.contrib.mpls import MPLS
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import GRE, Ether
from scapy.layers.ppp import PPP, PPPoE
from scapy.layers.vxlan import VXLAN
from scapy.packet import Packet, Raw
from scapy.utils import PcapReader, PcapWriter

from analyzer.analysis import analyze
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

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

needs_tshark = pytest.mark.skipif(MISSING, reason="tshark is not installed")

TSHARK = Settings(via="tshark")
OUTER = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
HOSTS = IP(src="192.0.2.1", dst="192.0.2.2")
AUTHENTICATION = Raw(b"\4\4" + bytes(22))
"""IPsec's header before an IP packet."""


def tagged(ethertype: int, content: bytes) -> Packet:
    """A frame with a payload of this type."""
    return Ether(src=OUTER.src, dst=OUTER.dst, type=ethertype) / Raw(content)


TUNNELS: dict[str, Callable[[Packet], Packet]] = {
    "vxlan": lambda f: OUTER / HOSTS / UDP(sport=50000, dport=4789) / VXLAN(vni=7, flags=8) / f,
    "vxlan-of-linux": lambda f: (
        OUTER / HOSTS / UDP(sport=50000, dport=8472) / VXLAN(vni=7, flags=8) / f
    ),
    "geneve": lambda f: (
        OUTER / HOSTS / UDP(sport=50000, dport=6081) / GENEVE(vni=7, proto=0x6558) / f
    ),
    "gre": lambda f: OUTER / HOSTS / GRE(proto=0x0800) / f.payload,
    "gre-in-ipv6": lambda f: (
        OUTER / IPv6(src="2001:db8::1", dst="2001:db8::2", nh=47) / GRE(proto=0x0800) / f.payload
    ),
    "erspan": lambda f: OUTER / HOSTS / GRE(proto=0x88BE, seqnum_present=1) / ERSPAN_II() / f,
    "ip-in-ip": lambda f: OUTER / HOSTS / f.payload,
    "authentication-header": lambda f: (
        OUTER / IP(src="192.0.2.1", dst="192.0.2.2", proto=51) / AUTHENTICATION / f.payload
    ),
    "macsec": lambda f: tagged(0x88E5, b"\x20" + bytes(13) + bytes(f)[12:] + bytes(16)),
    "trill": lambda f: tagged(0x22F3, bytes.fromhex("000100010002") + bytes(f)),
    "vn-tag": lambda f: tagged(0x8926, bytes.fromhex("00010002") + bytes(f)[12:]),
    "cisco-metadata": lambda f: tagged(0x8909, bytes.fromhex("010100010002") + bytes(f)[12:]),
    "mpls": lambda f: OUTER / MPLS(label=100, s=1, ttl=64) / f.payload,
    "pppoe": lambda f: OUTER / PPPoE(sessionid=1) / PPP(proto=0x0021) / f.payload,
}
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


def wrapped(inner: Path, out: Path, wrap: Callable[[Packet], Packet]) -> Path:
    with PcapReader(str(inner)) as frames, PcapWriter(str(out), nano=True) as writer:
        for frame in frames:
            outside = wrap(frame)
            outside.time = frame.time
            writer.write(outside)
    return out


def told(
    path: Path | bytes, settings: Settings | None = None, names: Sequence[str] = SAME
) -> dict[str, Any]:
    report = capture_report(analyze(path, settings, digest=True))
    return {name: report[name] for name in names}


@needs_tshark
@pytest.mark.parametrize("name", TUNNELS)
def test_a_tunnel_gives_the_report_of_what_is_inside(
    inner: Path, tmp_path: Path, name: str
) -> None:
    path = wrapped(inner, tmp_path / f"{name}.pcap", TUNNELS[name])
    expected = told(inner)
    assert expected["migrations"]
    assert told(path) == expected


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
def test_packets_in_a_tunnel_can_be_read_again(inner: Path, tmp_path: Path) -> None:
    path = wrapped(inner, tmp_path / "vxlan.pcap", TUNNELS["vxlan"])
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
    scan = Scan(wrapped(inner, tmp_path / "gre.pcap", TUNNELS["gre"])).run()
    assert scan.migrations == []
    assert any("--via tshark" in note for note in scan.file.notes)


def test_without_tshark_asking_for_it_is_an_error(
    inner: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ToolUnavailable, match="apt install tshark"):
        Scan(inner, TSHARK)


def test_native_does_not_ask_tshark(inner: Path, tmp_path: Path) -> None:
    path = wrapped(inner, tmp_path / "gre.pcap", TUNNELS["gre"])
    assert Scan(path, Settings(via="native")).run().reading.through == ""


FILES = {
    "report.json": b'{"schema": "mfshark/report/1", "captures": []}',
    "picture.png": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(300),
    "program": b"\x7fELF\x02\x01\x01" + bytes(300),
    "page.xml": b'<?xml version="1.0"?><a/>',
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
