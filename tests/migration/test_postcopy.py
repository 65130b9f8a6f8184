"""Postcopy: the preempt channel beside main, and a recovery after the connections were lost."""

from __future__ import annotations

from itertools import pairwise

import pytest

from analyzer.analysis import Analysis, analyze
from analyzer.checks.selection import Selection
from analyzer.migration import preempt_walker
from analyzer.migration.outcome import outcome_of
from analyzer.migration.preempt_walker import QUIET
from analyzer.report.verdict import verdict_text
from dissectors.main_stream import Command
from dissectors.return_path import BITMAP_END, ReturnPathType
from tests.checks.craft import SHUT, Craft
from tests.migration import main_streams as build
from tests.migration.main_streams import EOS, PAGE, RAM_ID, page, text, u32, u64
from tests.shipped import capture

NAME = text(b"pc.ram")
OPENING = build.OPENING + build.command(Command.POSTCOPY_ADVISE, u64(PAGE) + u64(PAGE))
RECV_BITMAP = build.command(Command.RECV_BITMAP, NAME)
RESUME = build.command(Command.POSTCOPY_RESUME)


def message(kind: ReturnPathType, payload: bytes) -> bytes:
    """One of the return path."""
    return int(kind).to_bytes(2, "big") + len(payload).to_bytes(2, "big") + payload


BITMAP = message(ReturnPathType.RECV_BITMAP, NAME) + u64(8) + bytes(8) + u64(BITMAP_END)
ANSWERS = BITMAP + message(ReturnPathType.RESUME_ACK, u32(1)) + SHUT


def recovered(
    first: bytes,
    *,
    syn: bool = True,
    into: Craft | None = None,
    urgent: bytes = b"",
    server: str = "10.0.0.2",
    server_port: int = 4444,
) -> Craft:
    """The connections of a recovery whose main begins with some commands."""
    made = into or Craft()
    main = made.connect(47000, syn=syn, server=server, server_port=server_port)
    main.send(first)
    if urgent:
        made.connect(47001).send(urgent)
    main.send(ANSWERS[: len(BITMAP)], "server")
    main.send(build.part(RAM_ID, page(0, b"pc.ram") + EOS) + build.end(RAM_ID, EOS) + b"\0")
    main.send(ANSWERS[len(BITMAP) :], "server")
    main.fin("server")
    main.fin()
    return made


def interrupted(side: str = "client") -> Craft:
    """A postcopy whose connection one side resets before its pages are out."""
    made = Craft()
    main = made.connect(46000)
    main.send(build.postcopy()[:-40])
    main.reset(side)
    return made


@pytest.mark.parametrize(
    "first",
    [
        RECV_BITMAP + RESUME,
        build.command(Command.OPEN_RETURN_PATH) + RECV_BITMAP + RESUME,
        RESUME + RESUME,
    ],
)
@pytest.mark.parametrize("alone", [True, False])
def test_a_recovery_is_an_attempt_of_its_own(first: bytes, alone: bool) -> None:
    analysis = analyze(recovered(first, into=None if alone else interrupted()).pcap())
    outcomes = [outcome_of(migration) for migration in analysis.migrations]
    assert outcomes[-1].evidence == "the destination reported success"
    if not alone:
        assert outcomes[0].name == "incomplete"
        assert outcomes[0].evidence.endswith("main in postcopy, which migration 1 recovered")
        word, told = verdict_text(analysis)
        assert word == "OK"
        assert told.startswith("migration 0 paused (the source reset main in postcopy, which ")
    last = analysis.migrations[-1]
    assert last.return_path is not None
    assert last.main_facts is not None
    assert (last.main_facts.ram.normal_pages, last.main_facts.skipped) == (1, 0)
    assert {finding.severity for finding in analysis.findings} <= {"info"}


@pytest.mark.parametrize("side", ["client", "server"])
def test_a_paused_postcopy_is_not_over(side: str) -> None:
    """Whoever closes main, source and destination both wait for the recovery."""
    analysis = analyze(interrupted(side).pcap())
    (migration,) = analysis.migrations
    outcome = outcome_of(migration)
    assert outcome.name == "incomplete"
    who = "source" if side == "client" else "destination"
    paused = f"the {who} reset main in postcopy, which stays paused until it is recovered"
    assert outcome.evidence == paused
    assert verdict_text(analysis)[0] == "INCOMPLETE"


def test_a_recovery_comes_to_any_port() -> None:
    """``migrate-recover`` may name another one."""
    made = recovered(RECV_BITMAP + RESUME, into=interrupted(), server_port=4445)
    first, second = analyze(made.pcap()).migrations
    assert first.recovered_by is second


def test_another_host_recovers_nothing() -> None:
    made = recovered(RECV_BITMAP + RESUME, into=interrupted(), server="10.0.0.9")
    first, _ = analyze(made.pcap()).migrations
    assert first.recovered_by is None


def test_the_latest_attempt_is_the_one_that_goes_on() -> None:
    """After a recovery that was interrupted too, the next one recovers that."""
    made = interrupted()
    again = made.connect(46500)
    again.send(RECV_BITMAP + RESUME + build.part(RAM_ID, page(0, b"pc.ram"))[:-40])
    again.reset()
    analysis = analyze(recovered(RECV_BITMAP + RESUME, into=made).pcap())
    first, second, third = analysis.migrations
    assert (first.recovered_by, second.recovered_by) == (second, third)
    assert verdict_text(analysis)[0] == "OK"


def test_a_recovery_has_a_preempt_channel_too() -> None:
    urgent = page(3 * PAGE, b"pc.ram")
    made = recovered(RECV_BITMAP + RESUME, into=interrupted(), urgent=urgent)
    facts = analyze(made.pcap()).migrations[-1].preempt_facts
    assert facts is not None
    assert facts.ram.normal_pages == 1


@pytest.mark.parametrize(
    "head", [b"\x08\0\x01\0\0\x55\0\0", b"\x08\0\x0a\0\x07\x09pc", b"\x09\0\x0a\0\x07\x06pc"]
)
def test_what_only_resembles_a_recovery(head: bytes) -> None:
    made = Craft()
    made.connect(47000).send(head + bytes(100))
    assert not analyze(made.pcap()).migrations


@pytest.mark.parametrize(
    "asked",
    [
        message(ReturnPathType.REQ_PAGES_ID, u64(PAGE) + u32(PAGE) + NAME),
        message(ReturnPathType.REQ_PAGES, u64(PAGE) + u32(PAGE)),
        BITMAP,
    ],
)
def test_a_return_path_that_began_before_the_capture(asked: bytes) -> None:
    made = Craft()
    main = made.connect(46000, syn=False)
    main.send(page(PAGE, b"pc.ram") + EOS + build.footer(RAM_ID) + build.end(RAM_ID, EOS) + b"\0")
    main.send(asked, "server")
    main.send(SHUT, "server")
    (migration,) = analyze(made.pcap()).migrations
    assert outcome_of(migration).evidence == "the destination reported success"


def test_when_pages_came_on_the_preempt_channel(monkeypatch: pytest.MonkeyPatch) -> None:
    path = capture("8.2.2-preempt-recovered")
    for kept in (preempt_walker.BURSTS_KEPT, 1):
        monkeypatch.setattr(preempt_walker, "BURSTS_KEPT", kept)
        migration = analyze(path).migrations[-1]
        channel, facts = migration.preempt, migration.preempt_facts
        assert channel is not None
        assert facts is not None
        bursts = facts.bursts
        assert 1 <= len(bursts) <= kept
        assert sum(burst.bytes for burst in bursts) == channel.length
        assert bursts[0].start >= channel.flow.first.time
        assert bursts[-1].end == channel.flow.last.time
        for one, other in pairwise(bursts):
            assert one.end + QUIET < other.end


def test_a_pause_divides_what_the_preempt_channel_carried() -> None:
    made = interrupted()
    main, late = made.connect(47000), made.connect(47001)
    main.send(RECV_BITMAP + RESUME)
    for address in range(3):
        late.send(page(address * PAGE, b"pc.ram" if not address else None))
        made.time += QUIET * (address + 1) // 2
    late.fin()
    facts = analyze(made.pcap()).migrations[-1].preempt_facts
    assert facts is not None
    sizes = [len(page(0, b"pc.ram")) + len(page(PAGE)), len(page(PAGE))]
    assert [burst.bytes for burst in facts.bursts] == sizes


# -- the preempt channel ---------------------------------------------------------------------------


def urgent(data: bytes, advised: int = PAGE, selection: Selection | None = None) -> Analysis:
    """A migration in postcopy without multifd, with these bytes on its preempt channel."""
    made = Craft()
    main = made.connect(46000)
    advise = build.command(Command.POSTCOPY_ADVISE, u64(PAGE) + u64(advised))
    main.send(build.OPENING + advise + build.RAM_START)
    preempt = made.connect(46001)
    preempt.send(data)
    main.send(build.end(RAM_ID, EOS) + build.CLOSING)
    preempt.fin()
    main.fin()
    return analyze(made.pcap(), selection=selection)


@pytest.mark.parametrize(
    ("data", "rule"),
    [
        (page(0, b"pc.ram") + b"\x55" * 100, "MF619"),
        (page(0, b"other.ram"), "MF621"),
        (page(999 * PAGE, b"pc.ram"), "MF623"),
        (page(0, b"pc.ram")[:-1], "MF604"),
    ],
)
def test_faults_of_the_preempt_channel_are_told(data: bytes, rule: str) -> None:
    clean = {finding.rule.id for finding in urgent(page(0, b"pc.ram")).findings}
    found = [finding for finding in urgent(data).findings if finding.rule.id not in clean]
    assert [finding.rule.id for finding in found] == [rule]
    assert found[0].spot.channel is not None
    assert found[0].spot.channel.kind == "postcopy"


@pytest.mark.parametrize("size", [4096, 8192, 16384])
def test_the_preempt_channel_has_the_page_size_of_main(size: int) -> None:
    analysis = urgent(page(0, b"pc.ram", size), size)
    facts = analysis.migrations[0].preempt_facts
    assert facts is not None
    assert (facts.ram.normal_pages, facts.skipped, list(facts.anomalies)) == (1, 0, [])
