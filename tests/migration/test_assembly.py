"""Device state put together is what the source had, whatever way and order it came in."""

from __future__ import annotations

import hashlib
import struct
from typing import Any

import pytest

from analyzer.analysis import analyze
from analyzer.migration import assembly, migration
from analyzer.migration.assembly import Assembler
from analyzer.migration.spool import PIECE, Spool
from analyzer.synth import build
from tests.checks.craft import Craft, Tiny, buffer

SCENARIO: dict[str, Any] = {
    "channels": 3,
    "network": {"mtu": 1500},
    "device": [
        {"idstr": "0000:00:02.0/vfio", "size": 200_000, "buffer_size": 9000, "precopy": 500},
        {"idstr": "0000:00:03.0/vfio", "size": 30_000, "buffer_size": 1000, "precopy": 0},
        {"idstr": "0000:00:04.0/vfio", "size": 50_000, "transfer": False},
    ],
}


def digests(data: bytes) -> dict[str, str | None]:
    assembler = analyze(data, digest=True).assembler
    assert assembler is not None
    return {a.name: a.state_digest for a in assembler.assemblies.values()}


def test_order_and_cuts_do_not_change_the_state() -> None:
    plain = digests(build(SCENARIO | {"interleave": "segment"}))
    assert len(plain) == 3
    assert None not in plain.values()
    for change in ({"policy": "random"}, {"network": {"mtu": 9000}}, {"channels": 1}):
        assert digests(build(SCENARIO | change)) == plain
    disordered = build(SCENARIO | {"fault": [{"kind": "vfio-reordered"}]})
    assert digests(disordered) == plain


def test_what_waits_goes_to_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of it waits here: main says late that it has no more of the device."""
    device = {"idstr": "0000:00:02.0/vfio", "size": 2_000_000, "buffer_size": 100_000}
    data = build(SCENARIO | {"device": [device]})
    plain = digests(data)
    used = []

    class Watched(Spool):
        @property
        def full(self) -> bool:
            used.append(self.used)
            return super().full

    monkeypatch.setattr(assembly, "Spool", Watched)
    assert digests(data) == plain
    assert max(used) > 1_500_000
    used.clear()
    monkeypatch.setattr(assembly, "IN_MEMORY", 5000)
    assert digests(data) == plain
    assert max(used) < 5000 + 3 * 2 * PIECE


def test_a_hole_in_a_buffer_is_told_and_takes_no_room() -> None:
    tiny = Tiny()
    hole = 1_200_000_000
    cut = bytearray(buffer(1))
    struct.pack_into(">I", cut, 272, len(cut) - 276 + hole + 3)
    capture = Craft()
    streams = [capture.connect(port) for port in tiny.ports[:3]]
    for stream, units in zip(streams, [tiny.main, *tiny.multifd], strict=True):
        for unit in units if stream is not streams[2] else units[:-1]:
            stream.send(unit)
    streams[2].send(bytes(cut))
    streams[2].client.sent += hole
    streams[2].ack("server")
    streams[2].send(b"end")
    pieces: list[tuple[str, int | None, bytes | None, int]] = []
    assembler = Assembler(sink_of=lambda _migration, _name: lambda *piece: pieces.append(piece))
    analyze(capture.pcap(), assembler=assembler)
    assert [piece for piece in pieces if piece[1] == 1] == [
        (what, 1, *piece)
        for what in ("buffer", "state")
        for piece in ((bytes(cut[288:]), len(cut) - 288), (None, hole), (b"end", 3))
    ]
    (found,) = assembler.assemblies.values()
    assert found.state_digest is None


def test_the_sink_gets_the_bytes_of_the_digest() -> None:
    states: dict[str, bytes] = {}
    buffers: dict[tuple[str, int | None], bytes] = {}

    def sink_of(_migration: Any, name: str) -> Any:
        def sink(what: str, idx: int | None, data: bytes | None, _size: int) -> None:
            assert data is not None
            if what == "state":
                states[name] = states.get(name, b"") + data
            elif what == "buffer":
                buffers[name, idx] = buffers.get((name, idx), b"") + data

        return sink

    assembler = Assembler(sink_of=sink_of)
    analyze(build(SCENARIO), assembler=assembler)
    for one in assembler.assemblies.values():
        assert hashlib.sha256(states[one.name]).hexdigest() == one.state_digest
    name = "0000:00:03.0/vfio#0"
    joined = b"".join(buffers[key] for key in sorted(k for k in buffers if k[0] == name))
    assert joined == states[name]


def test_without_a_buffer_there_is_no_digest() -> None:
    data = build(SCENARIO | {"fault": [{"kind": "vfio-idx-gap", "index": 2}]})
    found = digests(data)
    assert found["0000:00:04.0/vfio#0"] is not None
    assert list(found.values()).count(None) == 1


def test_devices_beyond_all_reason_are_not_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migration, "DEVICES_MAX", 3)
    tiny = Tiny()
    tiny.multifd[0] += [buffer(0, idstr=b"dev%d" % number) for number in range(20)]
    analysis = analyze(tiny.pcap(), digest=True)
    found = analysis.migrations[0].devices
    assert [device.name for device in found.values()][-1] == "(others)#0"
    assert len(found) == 4
    assert sum(len(device.buffers) for device in found.values()) == 3 + 20
    assert analysis.assembler is not None
    assert len(analysis.assembler.assemblies) == 4
    assert {f.spot.device for f in analysis.findings if f.rule.id == "MF405"} == {
        "dev0#0", "dev1#0", "(others)#0"
    }  # fmt: skip
