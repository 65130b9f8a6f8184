"""The benchmark's Lua dissector does the job that it is measured with: its counts are right."""

from __future__ import annotations

import shutil
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

import pytest

from benchmarks.throughput import SCRIPT
from tests.lua import tshark
from tests.shipped import capture, truth

if TYPE_CHECKING:
    from pathlib import Path

INITIAL, RAM, SYNC, DEVICE_STATE = "0", "1", "2", "3"


def kinds_by_channel(path: Path) -> dict[str, Counter[str]]:
    """Packets of every kind per channel id."""
    words = ["-Y", "multifd", "-T", "fields"]
    for field in ("tcp.stream", "multifd.id", "multifd.kind"):
        words += ["-e", field]
    ids = {}
    kinds: dict[str, Counter[str]] = defaultdict(Counter)
    for line in tshark(SCRIPT, path, *words):
        stream, channel, found = line.split("\t")
        if channel:
            ids[stream] = channel
        kinds[stream].update(found.split(","))
    return {ids[stream]: count for stream, count in kinds.items()}


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
@pytest.mark.parametrize(
    "name",
    ["10.0.13-vfio-3dev-4ch", "10.0.13-uuid-name-2ch", "10.0.13-vfio-many-small-buffers-4ch"],
)
def test_packets_of_each_kind_are_as_many_as_qemu_traced(name: str) -> None:
    known = truth(name)
    devices = known["trace_dst"].get("device_buffers_in_arrival_order_idx_channel", {})
    buffers = Counter(str(channel) for device in devices.values() for _, channel in device)
    expected = {
        channel: Counter(
            {
                INITIAL: 1,
                RAM: counts["packets"] - counts["with_sync_flag"],
                SYNC: counts["with_sync_flag"],
                DEVICE_STATE: buffers[channel],
            }
        )
        for channel, counts in known["trace_src"]["ram_packets_per_channel"].items()
    }
    assert kinds_by_channel(capture(name)) == expected
