"""A smaller capture has every frame of the packets that it was made for, in whatever order they
came, and those of no others.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import pytest

from analyzer.migration.replay import Replay
from analyzer.migration.settings import Settings
from analyzer.synth import build
from analyzer.tui.document import Document
from analyzer.tui.exporting import write_frames

if TYPE_CHECKING:
    from pathlib import Path


PLAIN: dict[str, Any] = {"migration": [{"channels": 2}], "device": [{"size": 1 << 20}]}
DELAYED: dict[str, Any] = {"kind": "tcp-reorder", "channel": 0, "at": 1, "later": 8}
AGAIN: dict[str, Any] = {"kind": "tcp-retransmission", "channel": 1}


@pytest.mark.parametrize("faults", [[], [DELAYED], [AGAIN], [DELAYED, AGAIN]])
def test_every_packet_can_be_exported_whole(faults: list[dict[str, Any]], tmp_path: Path) -> None:
    path = tmp_path / "some.pcap"
    path.write_bytes(build({**PLAIN, "fault": faults}))
    document = Document(str(path), Settings())
    document.load(lambda: False)
    table = document.table
    assert len(table) > 10
    for row in range(len(table)):
        out = io.BytesIO()
        write_frames(document, [row], out)
        flow, offset, length, pos = (
            table.column(name)[row] for name in ("flow", "offset", "length", "pos")
        )
        stream = table.flows[flow]
        was = Replay(str(path)).stretch(stream, offset, length, pos)
        found = Replay(out.getvalue()).stretch(stream, offset, length, 0)
        assert not was.holes
        assert (found.data, found.holes) == (was.data, [])


def test_frames_of_other_packets_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "some.pcap"
    path.write_bytes(build({**PLAIN, "fault": [DELAYED]}))
    document = Document(str(path), Settings())
    document.load(lambda: False)
    lengths = document.table.column("length")
    row = max(range(len(document.table)), key=lambda at: lengths[at])
    out = io.BytesIO()
    assert write_frames(document, [row], out) <= lengths[row] // 1448 + 2


def test_spans_that_overlap_are_one(tmp_path: Path) -> None:
    path = tmp_path / "some.pcap"
    path.write_bytes(build(PLAIN))
    document = Document(str(path), Settings())
    document.load(lambda: False)
    rows = range(len(document.table))
    backwards, forwards = io.BytesIO(), io.BytesIO()
    assert write_frames(document, [*reversed(rows), *rows], backwards)
    write_frames(document, rows, forwards)
    assert backwards.getvalue() == forwards.getvalue()
