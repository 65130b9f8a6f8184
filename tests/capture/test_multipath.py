"""Multipath TCP: a migration over several subflows gives the report of the same over plain TCP."""

from __future__ import annotations

import io
import struct
from random import Random
from typing import Any

import pytest

from analyzer.analysis import analyze
from analyzer.capture import multipath
from analyzer.capture.multipath import open_rejoined
from analyzer.migration.replay import Replay, frame_places
from analyzer.migration.scan import Scan
from analyzer.migration.settings import Settings
from analyzer.migration.table import PacketTable
from analyzer.report.model import capture_report
from analyzer.synth import build
from analyzer.tui.document import Document
from analyzer.tui.exporting import write_frames
from tests import shipped
from tests.altered import Frames
from tests.capture.files import Section
from tests.capture.spread import Way, spread

PLAIN = build(
    {
        "migration": [{"channels": 3, "return_path": True}],
        "ram": {"blocks": {"pc.ram": 4 << 20}},
        "device": [
            {"size": 300_000, "buffer_size": 40_000},
            {"idstr": "0000:00:03.0/vfio", "size": 100_000},
        ],
        "network": {"mtu": 9000},
    }
)
WAYS = {
    "one path": Way(paths=1, again=0),
    "one path, bytes again": Way(paths=1, again=0.3),
    "two paths": Way(),
    "four paths, short numbers": Way(paths=4, again=0.3, long=False),
    "version 0": Way(version=0),
    "a destination that knows plain TCP only": Way(paths=1, again=0, agreed=False),
    "plain TCP after a while": Way(paths=1, until=5),
}


def told(capture: bytes, settings: Settings | None = None) -> dict[str, Any]:
    """What does not depend on how bytes travelled."""
    report = capture_report(analyze(capture, settings, digest=True))
    return {
        "migrations": [
            {
                "outcome": migration["outcome"],
                "channels": [
                    {name: channel[name] for name in ("kind", "id", "client", "bytes", "holes")}
                    for channel in migration["channels"]
                ],
                "devices": [
                    {
                        name: device[name]
                        for name in ("idstr", "buffers", "bytes", "digest", "complete")
                    }
                    for device in migration["devices"]
                ],
                "ram": migration["ram"],
            }
            for migration in report["migrations"]
        ],
        "findings": {f["rule"] for f in report["findings"] if not f["rule"].startswith("MF9")},
    }


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_as_over_plain_tcp(way: Way) -> None:
    expected = told(PLAIN)
    assert expected["migrations"][0]["devices"]
    assert told(spread(PLAIN, 7, way).pcap()) == expected


def test_asked_for() -> None:
    """As where a capture can be read only once."""
    capture = spread(PLAIN, 8).pcap()
    assert told(capture, Settings(via="mptcp")) == told(capture)
    assert told(PLAIN, Settings(via="mptcp")) == told(PLAIN)
    assert told(capture, Settings(via="native")) != told(capture)


def test_what_is_read_again_is_the_same() -> None:
    tables = PacketTable(), PacketTable()
    scans = [
        Scan(capture, watchers=(table,)).run()
        for capture, table in zip((PLAIN, spread(PLAIN, 9).pcap()), tables, strict=True)
    ]
    assert len(tables[0]) == len(tables[1]) > 20
    rows = [{table.column("packet_num")[row]: row for row in range(len(table))} for table in tables]
    readers = [Replay(scan) for scan in scans]
    for number, row in rows[0].items():
        again = [
            reader.packet(table, at).data
            for reader, table, at in zip(readers, tables, (row, rows[1][number]), strict=True)
        ]
        assert again[0] == again[1]


def test_subflows_end_and_frames_are_where_they_were() -> None:
    path = shipped.capture("7.2-mptcp-2ch")
    scan, native = Scan(path).run(), Scan(path, Settings(via="native")).run()
    assert scan.reading.format == native.reading.format == "pcapng"
    assert len(scan.engine.connections) == len(native.engine.connections) == 6
    assert all(connection.closed for connection in scan.engine.connections)
    assert frame_places(scan, {1, 50}) == frame_places(native, {1, 50}) != {}


def test_packets_are_exported_with_all_their_bytes() -> None:
    document = Document(str(shipped.capture("7.2-mptcp-2ch")), Settings())
    document.load(lambda: False)
    out = io.BytesIO()
    write_frames(document, range(len(document.table)), out)
    table = PacketTable()
    Scan(out.getvalue(), watchers=(table,)).run()
    for name in ("kind", "packet_num", "length"):
        assert sorted(table.column(name)) == sorted(document.table.column(name))


@pytest.mark.parametrize("seed", range(6))
def test_lost_frames_are_no_errors(seed: int) -> None:
    """Single ones, of any subflow, its beginning among them."""
    frames, random = spread(PLAIN, seed, Way(paths=3)).frames, Random(seed)
    for _ in range(5):
        lost = random.sample(range(len(frames)), 3)
        kept = Frames(1, [frame for at, frame in enumerate(frames) if at not in lost])
        report = capture_report(analyze(kept.pcap()))
        assert report["migrations"]
        assert not [f for f in report["findings"] if f["severity"] == "error"], lost


@pytest.mark.parametrize("paths", [1, 2])
def test_a_capture_that_began_late(paths: int) -> None:
    frames = spread(PLAIN, 3, Way(paths=paths)).frames
    report = capture_report(analyze(Frames(1, frames[len(frames) // 3 :]).pcap()))
    assert report["migrations"]
    assert not [f for f in report["findings"] if f["severity"] == "error"]


def test_times_before_1970_and_frames_said_to_be_shorter_than_they_are() -> None:
    section = Section()
    section.interface(options=section.option(14, struct.pack("<q", -10)))
    for number, frame in enumerate(spread(PLAIN, 3).frames):
        section.enhanced(number, frame.data, number % 3 and frame.original)
    report = capture_report(analyze(bytes(section)))
    assert report["damage"] is None
    assert report["migrations"]


def test_hostile_options() -> None:
    """Any bytes in place of the options, and of everything else in the headers."""
    frames, random = spread(PLAIN, 5, Way(paths=3)).frames, Random(5)
    for _ in range(10):
        changed = [bytearray(frame.data) for frame in frames]
        for _ in range(40):
            data = random.choice(changed)
            data[random.randrange(14, min(len(data), 110))] = random.randrange(256)
        made = [
            frame._replace(data=bytes(data)) for frame, data in zip(frames, changed, strict=True)
        ]
        for via in ("mptcp", "auto"):
            Scan(Frames(1, made).pcap(), Settings(via=via)).run()


def test_a_connection_whose_first_subflow_is_forgotten_learns_no_token() -> None:
    """Nothing would forget it again."""
    _, rejoined = open_rejoined(Frames(1, []).pcap())
    first, second = (bytes(8) + port.to_bytes(2, "big") + b"\x11\x5c" for port in (40000, 40001))
    connection = multipath._Connection(first)
    for key in (first, second):
        rejoined._enter(key, connection, 0, first=key is first)
        rejoined._subflows[key].begin(1000)
    subflows = rejoined._subflows[first], rejoined._subflows[second]
    rejoined._learn(subflows[0], b"\x01\x81" + bytes(8))
    assert len(rejoined._tokens) == 1
    rejoined._forget(first)
    connection.streams[0].shift = None
    rejoined._learn(subflows[1], b"\x01\x81" + bytes(range(8)))
    rejoined._forget(second)
    assert not rejoined._tokens
