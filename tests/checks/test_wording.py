"""Phrases that many findings share: short, however much a capture holds."""

from __future__ import annotations

import pytest

from analyzer.checks.wording import duration, names, ranges
from analyzer.migration.scan import Scan
from tests.checks.craft import Craft, sync


@pytest.mark.parametrize(
    ("numbers", "told"),
    [
        ([7, 1, 0, 2, 2], "0-2, 7"),
        (range(5, 100_000), "5-99999"),
        (range(0, 40, 2), ", ".join(map(str, range(0, 40, 2)))),
        ([*range(0, 40, 2), 50, 51, 60], ", ".join(map(str, range(0, 40, 2))) + " and 3 more"),
    ],
    ids=range(4),
)
def test_numbers(numbers: list[int] | range, told: str) -> None:
    assert ranges(numbers) == told


def test_channels_without_a_number_are_not_all_named() -> None:
    craft = Craft()
    for port in range(46000, 46100):
        craft.connect(port, syn=False).send(sync(port) + sync(port + 1) + sync(port + 2))
    (migration,) = Scan(craft.pcap()).run().migrations
    told = names(migration.channels)
    assert told.startswith("multifd ? (stream 0), multifd ? (stream 1), ")
    assert told.endswith(" (stream 19) and 80 more")


def test_a_duration_has_the_unit_that_fits() -> None:
    told = [duration(ns) for ns in (0, 999, 49_951, 8_290_000, 1_151_000_000, 100_000_000_000)]
    assert told == ["0", "999 ns", "50.0 µs", "8.3 ms", "1.15 s", "1 min 40 s"]
