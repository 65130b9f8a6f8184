"""tshark finds nothing wrong with clean captures, in any format."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from analyzer.synth import build

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")

SMALL = {"blocks": {"pc.ram": 1 << 20}, "normal_pages": 20}
V6 = {"source": "fd00::1", "destination": "fd00::2"}
SCENARIOS: dict[str, dict[str, Any]] = {
    "pcap": {},
    "pcapng, big endian, ns, no return path": {
        "capture": {"format": "pcapng", "resolution": "ns", "byte_order": "big"},
        "return_path": False,
    },
    "cooked v1, segments without length": {
        "capture": {"link": "sll", "byte_order": "big", "resolution": "ns"},
        "network": {"mtu": 200_000, "ip_length": "zero"},
    },
    "cooked v2, IPv6 with extension headers": {
        "capture": {"link": "sll2"},
        "network": {**V6, "extension_headers": 2},
    },
    "loopback, IPv6, wrap": {"capture": {"link": "null"}, "network": {**V6, "isn": 0xFFFFFF00}},
    "raw, without time stamps": {"capture": {"link": "raw"}, "network": {"timestamps": False}},
    "two VLAN tags": {"network": {"vlans": [7, 8]}},
}


def tshark(path: Path, *arguments: str) -> list[str]:
    done = subprocess.run(
        ["tshark", "-r", str(path), *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=list(SCENARIOS))
def test_no_analysis_flags_and_right_checksums(scenario: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(build({"ram": SMALL, **scenario}))
    rows = tshark(
        path,
        *("-o", "tcp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE", "-T", "fields"),
        *("-e", "tcp.checksum.status", "-e", "ip.checksum.status", "-e", "tcp.analysis.flags"),
    )
    assert len(rows) > 50
    assert set(rows) <= {"1\t1\t", "1\t\t"}


def test_fragments_are_reassembled(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(build({"ram": SMALL, "fault": [{"kind": "ip-fragments"}]}))
    rows = tshark(
        path,
        *("-o", "tcp.check_checksum:TRUE", "-T", "fields"),
        *("-e", "ip.fragment.count", "-e", "tcp.checksum.status", "-Y", "ip.fragment.count"),
    )
    assert rows == ["3\t1"]
