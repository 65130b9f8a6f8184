"""MF962 and MF963: the dialect that was expected, and what was required.

MF961 is in tests/batch/test_expectations.py.
"""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import pytest

from analyzer.checks.selection import Selection
from analyzer.errors import UsageError
from analyzer.migration.settings import Settings
from analyzer.testing import check
from tests.checks.case import Case, verify
from tests.checks.craft import Tiny, buffer, findings, fired
from tests.shipped import CAPTURES, capture

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SAVED = CAPTURES / "10.0.13-file-plain.mig.gz"


def first_series() -> bytes:
    """A migration as of series v1."""
    return capture("derived-v1-vfio-3dev-4ch").read_bytes()


def cancelled() -> bytes:
    return capture("10.0.13-cancelled-2ch").read_bytes()


def legacy() -> bytes:
    return capture("10.0.13-machine-q35-7.2-2ch").read_bytes()


def uadk() -> bytes:
    tiny = Tiny(device=False)
    for units in tiny.multifd:
        units[:] = [as_uadk(unit) if unit[8:12] == bytes(4) else unit for unit in units]
    return tiny.pcap()


def as_uadk(packet: bytes) -> bytes:
    return packet[:8] + b"\0\0\0\x10" + packet[12:]


CASES = {
    "MF962": Case(
        Tiny().pcap, first_series, selection=Selection(expected_dialect="v1"), alone=True
    ),
    "MF963": Case(
        cancelled, Tiny().pcap, selection=Selection(("MF5",), require="completed"), alone=True
    ),
    "MF964": Case(Tiny().pcap, first_series, settings=Settings(dialect="v1"), alone=True),
}


@pytest.mark.parametrize("rule", CASES)
def test_a_rule_fires_on_its_fault_and_is_silent_without(rule: str) -> None:
    verify(rule, CASES[rule])


@pytest.mark.parametrize(
    ("made", "settings", "told"),
    [
        (Tiny().pcap, Settings(dialect="rfc0"), "--dialect rfc0, but 3 packets of device"),
        (Tiny(device=False).pcap, Settings(dialect="rfc0"), "the channels lack the RFC's header"),
        (first_series, Settings(dialect="upstream"), "17 packets with the flag 0x10 are of dev"),
        (uadk, Settings(dialect="v1"), "--dialect v1, but 3 packets with the flag 0x10 carry"),
        (Tiny().pcap, Settings(era="9.0"), "--ram-era 9.0, but packets are of era 9.2"),
        (Tiny().pcap, Settings(page_size=65536), "--page-size 64k, but the description says 4096"),
        (Tiny().pcap, Settings(page_size=1024), "--page-size 1k, but the description says 4096"),
        (Tiny().pcap, Settings(byte_order="le"), "--byte-order le, but 2 VFIO headers can only be"),
        (Tiny().pcap, Settings(sync="legacy"), "--sync legacy, but main has MULTIFD_FLUSH records"),
        (
            legacy, Settings(sync="round"),
            "--sync round, but main has a SYNC round for each RAM section",
        ),
    ],
)  # fmt: skip
def test_what_is_forced_against_the_bytes_is_told_before_what_comes_of_it(
    made: Callable[[], bytes], settings: Settings, told: str
) -> None:
    first = findings(made(), settings)[:2]
    assert [f.rule.id for f in first if told in f.message] == ["MF964"]


def test_what_is_forced_as_it_is_is_not() -> None:
    settings = Settings(dialect="upstream", era="9.2", sync="round", page_size=4096)
    assert fired(Tiny().pcap(), settings) == fired(Tiny().pcap())


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("10.0.13-cancelled-2ch", "the migration was cancelled (the source closed main"),
        ("10.0.13-vfio-destination-killed-2ch", "the migration failed (the destination reset"),
        ("10.0.13-midstream-2ch", None),
        ("10.0.13-vfio-gaps-2ch", "cannot tell whether device state is complete: 0000:00:02.0"),
        ("10.0.13-vfio-3dev-4ch", None),
    ],
)
def test_what_did_not_complete_is_an_error(name: str, told: str | None) -> None:
    found = check(capture(name), require="completed").findings_of("MF963")
    assert [finding.severity for finding in found] == (["error"] if told else [])
    assert all(finding.message.startswith(told or "") for finding in found)
    assert not check(capture(name)).findings_of("MF963")


def test_not_every_one_of_thousands_of_devices_is_named() -> None:
    tiny = Tiny()
    tiny.multifd[0] += [buffer(0, idstr=f"{number}/vfio".encode()) for number in range(100)]
    found = findings(tiny.pcap(), selection=Selection(require="completed"))
    (told,) = (finding.message for finding in found if finding.rule.id == "MF963")
    assert told.startswith("device state is incomplete: 0/vfio#0, 1/vfio#0, ")
    assert told.endswith(", 19/vfio#0 and 80 more")


def test_a_saved_migration_must_come_to_its_end(tmp_path: Path) -> None:
    whole = gzip.decompress(SAVED.read_bytes())
    cut = tmp_path / "cut.mig"
    cut.write_bytes(whole[:500_000])
    assert check(cut, require="completed").findings_of("MF963")
    assert not check(SAVED, require="completed").findings_of("MF963")


def test_a_recovered_postcopy_counts_as_completed() -> None:
    """By the migration that recovered it."""
    name = "10.0.13-postcopy-recovered"
    assert not check(capture(name), require="completed").findings_of("MF963")


def test_only_what_exists_can_be_required() -> None:
    with pytest.raises(UsageError, match="nothing is called 'failed' that can be required"):
        check(capture("10.0.13-vlan-2ch"), require="failed")
