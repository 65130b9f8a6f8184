"""A small packet table with every kind of packet in it."""

from __future__ import annotations

from functools import cache

from analyzer.migration.scan import Scan
from analyzer.migration.table import PacketTable
from analyzer.synth import build

SCENARIO = {
    "channels": 3,
    "device": [
        {"size": 300_000, "buffer_size": 50_000},
        {"idstr": "0000:00:03.0/vfio", "instance_id": 2, "size": 100_000, "buffer_size": 60_000},
    ],
    "fault": [{"kind": "tcp-hole", "channel": 1, "at": 40}],
}


@cache
def table() -> PacketTable:
    """Three channels, two devices, a hole; not to be changed."""
    found = PacketTable()
    scan = Scan(build(SCENARIO), watchers=(found,)).run()
    found.finish(scan.migrations, scan.engine.first_time)
    return found
