"""MF962: the dialect that was expected (MF961 is in tests/batch/test_expectations.py)."""

from __future__ import annotations

import gzip

import pytest

from analyzer.checks.selection import Selection
from analyzer.migration.framing import Settings
from tests.checks.case import Case, verify
from tests.checks.craft import Tiny, findings, fired
from tests.shipped import capture


def first_series() -> bytes:
    """A migration as of series v1."""
    return gzip.decompress(capture("derived-v1-vfio-3dev-4ch").read_bytes())


CASES = {
    "MF962": Case(
        Tiny().pcap, first_series, selection=Selection(expected_dialect="v1"), alone=True
    ),
    "MF964": Case(Tiny().pcap, first_series, settings=Settings(dialect="v1"), alone=True),
}


@pytest.mark.parametrize("rule", CASES)
def test_rule(rule: str) -> None:
    verify(rule, CASES[rule])


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (Settings(dialect="rfc0"), "the channels lack the RFC's header"),
        (Settings(era="9.0"), "RAM era 9.0, but packets as of 9.2"),
        (Settings(sync="legacy"), "sync legacy, but main has 3 MULTIFD_FLUSH records"),
    ],
)
def test_what_is_forced_against_the_bytes_is_told(settings: Settings, told: str) -> None:
    assert any(told in f.message for f in findings(Tiny().pcap(), settings) if f.rule.id == "MF964")


def test_what_is_forced_as_it_is_is_not() -> None:
    settings = Settings(dialect="upstream", era="9.2", sync="round", page_size=4096)
    assert fired(Tiny().pcap(), settings) == fired(Tiny().pcap())
