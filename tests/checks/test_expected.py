"""MF962: the dialect that was expected (MF961 is in tests/batch/test_expectations.py)."""

from __future__ import annotations

import gzip

import pytest

from analyzer.checks.selection import Selection
from tests.checks.case import Case, verify
from tests.checks.craft import Tiny
from tests.shipped import capture


def first_series() -> bytes:
    """A migration as of series v1."""
    return gzip.decompress(capture("derived-v1-vfio-3dev-4ch").read_bytes())


CASES = {
    "MF962": Case(Tiny().pcap, first_series, selection=Selection(expected_dialect="v1"), alone=True)
}


@pytest.mark.parametrize("rule", CASES)
def test_rule(rule: str) -> None:
    verify(rule, CASES[rule])
