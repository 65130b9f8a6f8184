"""The checker itself: repeats are counted, not listed a million times."""

from __future__ import annotations

import pytest

from analyzer.checks import tally
from analyzer.checks.checker import Checker
from analyzer.migration.scan import Scan
from tests import shipped
from tests.checks.craft import Tiny, buffer, findings, init, ram


def test_repeats_of_one_rule_at_one_place_are_counted() -> None:
    tiny = Tiny()
    for num in range(200):
        tiny.multifd[0].insert(2, b"\x11\x22\x33\x44\0\0\0\2" + ram(normal=[0], num=num + 500)[8:])
    checker = Checker()
    scan = Scan(tiny.pcap(), watchers=(checker,)).run()
    found = [f for f in checker.findings(scan) if f.rule.id == "MF202"]
    assert len(found) == tally.LISTED
    assert sum(1 + f.repeats for f in found) == 200
    assert "more like it" in found[-1].message


def test_findings_about_very_many_devices_are_counted_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However many devices the packets name: a finding takes more memory than a packet."""
    monkeypatch.setattr(tally, "LISTED_IN_ALL", 10)
    tiny = Tiny()
    for number in range(60):
        idstr = b"0000:00:%02x.0/vfio" % (number % 20)
        wrong = buffer(number, idstr=idstr, header={"version": 7, "flags": 128})
        tiny.multifd[number % 2].append(wrong)
    found = findings(tiny.pcap())
    for rule in ("MF502", "MF512"):
        own = [finding for finding in found if finding.rule.id == rule]
        assert len(own) <= 8  # 5 with room, one a channel without, and the last one's repeats
        assert {f.spot.channel.id for f in own if f.spot.channel is not None} == {0, 1}
        assert sum(1 + finding.repeats for finding in own) == 60
    assert len(found) < 60


def test_of_the_findings_in_one_frame_the_first_in_the_stream_comes_first() -> None:
    tiny = Tiny()
    packets = ram(zero=[0], num=500, pages_alloc=500) + ram(zero=[1], num=501, flags=6)
    tiny.multifd[0].insert(3, packets)
    first, second = (f for f in findings(tiny.pcap()) if f.rule.id in ("MF204", "MF209"))
    assert first.spot.frame == second.spot.frame
    assert (first.rule.id, second.rule.id) == ("MF209", "MF204")


def test_the_findings_about_one_migration_are_those_of_all() -> None:
    checker = Checker()
    scan = Scan(shipped.capture("10.0.13-cancel-then-retry-2ch"), watchers=(checker,)).run()
    everything = [(f.migration, f.rule.id, f.severity, f.message) for f in checker.findings(scan)]
    assert len(scan.migrations) == 2
    for migration in scan.migrations:
        own = checker.findings(scan, migration)
        told = [(f.migration, f.rule.id, f.severity, f.message) for f in own]
        wanted = [row for row in everything if row[0] is migration]
        assert wanted
        assert told == wanted


def test_findings_can_be_asked_for_again() -> None:
    """What the end of the capture shows is not counted twice."""
    tiny = Tiny()
    tiny.multifd[0][0] = init(0, unused2=b"\1" * 32)
    tiny.multifd[1].append(buffer(1))
    checker = Checker()
    scan = Scan(tiny.pcap(), watchers=(checker,)).run()
    first, again = checker.findings(scan), checker.findings(scan)
    assert {"MF109", "MF505"} <= {finding.rule.id for finding in first}
    assert [(f.rule.id, f.message, f.repeats) for f in first] == [
        (f.rule.id, f.message, f.repeats) for f in again
    ]


def test_a_finding_names_the_channel_or_the_device_it_is_about() -> None:
    tiny = Tiny()
    tiny.answers = {1: [b"not due"]}
    tiny.multifd[1].append(buffer(1))
    found = {finding.rule.id: finding.spot for finding in findings(tiny.pcap())}
    channel = found["MF113"].channel
    assert channel is not None
    assert channel.name == "multifd 1"
    assert found["MF505"].device == "0000:00:02.0/vfio#0"
