"""tshark as a source: what is made of the lines that it prints, and what becomes of it."""

from __future__ import annotations

import os
import threading
import tracemalloc
from ipaddress import ip_address
from typing import TYPE_CHECKING

import pytest

from analyzer.capture.growing import follow
from analyzer.capture.raw import EMPTY, HEADER, record_of
from analyzer.capture.tshark import Conversion, addresses_of
from analyzer.errors import CaptureError
from analyzer.migration.scan import Scan
from analyzer.migration.settings import Settings
from analyzer.synth import build

if TYPE_CHECKING:
    from pathlib import Path

A, B, C, D = "10.0.0.1", "10.0.0.2", "10.77.0.1", "10.77.0.2"
X, Y = "fe80::1", "fe80::2"


def addresses(layers: str, *values: str) -> tuple[str, str] | None:
    sources = (",".join(value.split()).encode() for value in values)
    found = addresses_of(layers.encode().split(b":"), tuple(sources))  # type: ignore[arg-type]
    return found and (str(ip_address(found[0])), str(ip_address(found[1])))


@pytest.mark.parametrize(
    ("layers", "values", "expected"),
    [
        ("eth:ethertype:ip:tcp:data", (A, B, "", ""), (A, B)),
        ("eth:ethertype:ipv6:tcp", ("", "", X, Y), (X, Y)),
        ("eth:ethertype:ipv6:ipv6.hopopts:tcp", ("", "", X, Y), (X, Y)),
        ("eth:ip:udp:vxlan:eth:ip:tcp", (f"{A} {C}", f"{B} {D}", "", ""), (C, D)),
        ("eth:ethertype:ip:gre:ipv6:tcp", (A, B, X, Y), (X, Y)),
        ("eth:ethertype:ipv6:ip:tcp", (A, B, X, Y), (A, B)),
        # Behind the first TCP header is what its payload looks like.
        ("eth:ethertype:ip:tcp:gre:ip", (f"{A} {C}", f"{B} {D}", "", ""), (A, B)),
        # What Wireshark since 4.4 guesses behind MPLS is not among its layers.
        ("eth:ethertype:mpls:tcp", (A, B, "", ""), (A, B)),
        ("eth:ethertype:mpls:tcp:data", ("", "", X, Y), (X, Y)),
        ("eth:ethertype:ip:udp:mpls:tcp", (f"{A} {C}", f"{B} {D}", "", ""), (C, D)),
        ("eth:ethertype:ip:udp:mpls:tcp", (A, B, X, Y), (X, Y)),
        ("eth:ethertype:mpls:gre:ip:tcp", (f"{A} {C}", f"{B} {D}", "", ""), (C, D)),
        ("eth:ethertype:mpls:tcp:gre:ip", (f"{A} {C}", f"{B} {D}", "", ""), (A, B)),
        ("eth:ethertype:ip:ah:tcp", (A, B, "", ""), (A, B)),
        ("eth:ethertype:ip:udp", (A, B, "", ""), None),
        ("eth:ethertype:ip:icmp:ip:tcp", (f"{A} {C}", f"{B} {D}", "", ""), None),
        ("eth:ethertype:tcp", ("", "", "", ""), None),
        ("eth:ethertype:ip:tcp", ("", B, "", ""), None),
        ("eth:ethertype:ip:tcp", ("somewhere", B, "", ""), None),
    ],
)  # fmt: skip
def test_addresses_are_of_the_last_ip_header_before_tcp(
    layers: str, values: tuple[str, str, str, str], expected: tuple[str, str] | None
) -> None:
    assert addresses(layers, *values) == expected


def stand_in(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Something else that is called tshark."""
    tool = folder / "tshark"
    tool.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


def test_frames_that_are_passed_over_take_no_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = 1_000_000
    stand_in(tmp_path, f"printf '1\\t1.0\\n{many}\\t2.0\\n'", monkeypatch)
    run = Conversion(os.devnull, [], (), lambda _: None)
    tracemalloc.start()
    size = 0
    while part := run.read1(1 << 20):
        size += len(part)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    run.close()
    assert size == len(HEADER) + many * len(record_of(0, EMPTY))
    assert run.frame == many
    assert peak < 1 << 20


def test_a_tool_that_dies_ends_a_capture_that_is_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "growing.pcap"
    path.write_bytes(build({"migration": [{"channels": 2}]}))
    stand_in(tmp_path, "exec 3<&0; cat <&3 >/dev/null & sleep 0.3; kill -9 $! $$", monkeypatch)
    errors: list[CaptureError] = []

    def read() -> None:
        try:
            Scan(follow(str(path)), Settings(via="tshark")).run()
        except CaptureError as error:
            errors.append(error)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    reader.join(20)
    assert not reader.is_alive()
    assert "stopped" in str(errors[0])
