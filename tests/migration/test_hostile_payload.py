"""Whatever the bytes of payloads are, looking at them ends well: verified, counted, put together
and taken out packet by packet.
"""

from __future__ import annotations

import tracemalloc
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analyzer.analysis import analyze
from analyzer.checks.selection import Selection
from analyzer.errors import CaptureError
from analyzer.migration.packet_pages import PageReader
from analyzer.migration.page_payloads import PagePayloads
from analyzer.migration.ram_image import RamImages
from analyzer.migration.replay import Replay
from analyzer.migration.rows import RAM_PACKET
from analyzer.migration.scan import Scan
from analyzer.migration.sendings import SentPages
from analyzer.migration.table import PacketTable
from analyzer.synth import build
from tests.migration.test_ram_image import Memory

if TYPE_CHECKING:
    from analyzer.migration.scan import Scan as Scanned

METHODS = ("none", "zlib", "zstd", "qpl", "uadk", "qatzip")
CAPTURES = [
    build(
        {
            "channels": 2,
            "compression": method,
            "device": [],
            "ram": {"blocks": {"ram": "96 KiB"}, "normal_pages": 20, "dirty_pages": 4},
        }
    )
    for method in METHODS
]
MEMORY = 48 << 20


def looked_at(data: bytes) -> None:
    """Look at the payload in every way."""
    sent, table = SentPages(), PacketTable()
    images = RamImages(lambda _migration, _name: Memory(limit=1 << 20))
    payloads = PagePayloads(images, images.records)
    scan = Scan(data, watchers=(sent, table, images), page_collector=payloads).run()
    table.finish(scan.migrations)
    for migration in scan.migrations:
        for block in sent.of(migration):
            assert sum(block.heat(block.end, 16)) >= (block.pages > 0)
    packets(scan, table)
    analyze(data, selection=Selection(deep=True))


def packets(scan: Scanned, table: PacketTable) -> None:
    """The pages of every packet."""
    replay = Replay(scan)
    reader = PageReader(table, lambda row: replay.packet(table, row))
    for row in range(len(table)):
        if table.column("kind")[row] != RAM_PACKET:
            continue
        migration = scan.migrations[table.column("migration")[row]]
        stream = table.column("stream")[row]
        channel = next(c for c in migration.channels if c.stream == stream)
        found = reader.pages(row, migration.framing, channel, lambda _share: True)
        assert found is not None
        for page in found.pages:
            assert page.content is None or len(page.content) == migration.framing.page_size


@settings(max_examples=60)
@given(st.data())
def test_mutated_payloads(data: st.DataObject) -> None:
    raw = bytearray(data.draw(st.sampled_from(CAPTURES)))
    for _ in range(data.draw(st.integers(1, 12))):
        at = data.draw(st.integers(24, len(raw) - 1))
        raw[at] = data.draw(st.integers(0, 255))
    try:
        looked_at(bytes(raw[: data.draw(st.integers(len(raw) // 2, len(raw)))]))
    except CaptureError:
        return


@pytest.mark.parametrize("number", range(len(METHODS)), ids=METHODS)
def test_memory_is_in_proportion(number: int) -> None:
    tracemalloc.start()
    looked_at(CAPTURES[number])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < MEMORY
