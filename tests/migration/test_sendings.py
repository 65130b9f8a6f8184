"""How often pages were sent: counts by page, by round, where the heat is; bounds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analyzer.migration import sendings
from analyzer.migration.ram_facts import BLOCKS_MAX
from analyzer.migration.scan import Scan
from analyzer.migration.sendings import POSTCOPY, BlockSendings, Sendings, SentPages
from tests.checks.craft import PAGE, Tiny, ram
from tests.shipped import capture

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def counted(path: bytes | Path) -> tuple[SentPages, list[BlockSendings]]:
    sent = SentPages()
    scan = Scan(path, watchers=(sent,), page_collector=sent).run()
    return sent, [block for migration in scan.migrations for block in sent.of(migration)]


PACKETS = st.lists(
    st.tuples(
        st.integers(0, 40),
        st.one_of(
            st.tuples(st.integers(0, 90), st.integers(1, 30)).map(lambda t: range(t[0], sum(t))),
            st.lists(st.integers(0, 119), min_size=1, max_size=20),
        ),
        st.booleans(),
    ),
    max_size=30,
)


@given(packets=PACKETS)
@settings(max_examples=100)
def test_counts_are_those_of_counting_one_by_one(
    packets: list[tuple[int, Sequence[int], bool]],
) -> None:
    sent = Sendings()
    sent.reserve(120)
    came: dict[int, list[int]] = {}
    again = {round_number: 0 for round_number, _, _ in packets}
    for round_number, numbers, zero in packets:
        before = sum(number in came for number in dict.fromkeys(numbers))
        for number in numbers:
            came.setdefault(number, []).append(round_number)
        repeated = len(numbers) - len(set(numbers))
        assert sent.count(numbers, round_number, zero=zero) == before + repeated
    for rounds in came.values():
        for round_number in sorted(rounds)[1:]:
            again[round_number] += 1
    times = {number: len(rounds) for number, rounds in came.items()}
    assert {n: t for n, t in enumerate(sent.times) if t} == times
    assert {n: r.again for n, r in sent.rounds.items()} == again
    assert sum(n * count for n, count in sent.sent_times().items()) == sum(times.values())
    assert sent.pages == len(times)
    heat = sent.heat(120, 7)
    assert len(heat) == 7
    assert max(heat) == max(times.values(), default=0)


def test_a_tiny_migration() -> None:
    """Page 0 goes twice, page 4 is zero."""
    _, (block,) = counted(Tiny().pcap())
    assert (block.name, block.page_size, block.pages, block.end) == (b"pc.ram", PAGE, 6, 7)
    assert block.sent_times() == {1: 5, 2: 1}
    assert block.heat(block.end, 4) == [2, 1, 1, 1]
    assert sum(r.pages for r in block.rounds.values()) == 4
    assert sum(r.zero_pages for r in block.rounds.values()) == 3


def test_rounds_of_a_guest_that_writes() -> None:
    _, blocks = counted(capture("10.0.13-xbzrle-nomultifd"))
    memory = {block.name: block for block in blocks}[b"pc.ram"]
    assert memory.sent_times() == {1: 16128, 3: 256}
    assert memory.rounds[7].again == 256


def test_a_channel_that_is_a_round_ahead_does_not_make_the_first_round_a_repetition() -> None:
    _, blocks = counted(capture("10.0.13-veth-mtu1500-2ch"))
    memory = {block.name: block for block in blocks}[b"pc.ram"]
    assert {number: tally.again for number, tally in memory.rounds.items()} == {1: 0, 3: 256}


def test_pages_behind_the_switchover_are_a_round_of_their_own() -> None:
    _, blocks = counted(capture("11.1.3-postcopy-multifd-2ch"))
    rounds = [block.rounds[POSTCOPY] for block in blocks if POSTCOPY in block.rounds]
    assert sum(tally.pages for tally in rounds) > 0


@pytest.mark.parametrize("offset", [1 << 40, (1 << 62) * 3])
def test_impossible_offsets_take_no_memory(offset: int) -> None:
    migration = Tiny()
    migration.multifd[0][2] = ram([0, 1], [offset // PAGE, 5], num=2)
    sent, blocks = counted(migration.pcap())
    assert sent.untracked
    assert sum(len(block.times) for block in blocks) <= sendings.GROWTH


def test_all_blocks_together_have_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sendings, "TRACKED_MAX", sendings.GROWTH)
    migration = Tiny()
    migration.multifd[0][4] = ram([0], num=6, block=b"other")
    sent, (block, other) = counted(migration.pcap())
    assert sent.untracked
    assert (block.pages, other.pages) == (6, 0)


def test_pages_of_as_many_small_blocks_as_there_may_be_are_counted() -> None:
    (migration,) = Scan(Tiny().pcap()).run().migrations
    sent = SentPages()
    for number in range(BLOCKS_MAX):
        name = f"{number}.rom".encode()
        sent.count(migration, name, range(0, 64 * PAGE, PAGE), PAGE, 0, zero=False)
    assert {block.pages for block in sent.of(migration)} == {64}
    assert not sent.untracked


def test_blocks_without_end_have_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sendings, "BLOCKS_MAX", 1)
    migration = Tiny()
    migration.multifd[0][4] = ram([0], num=6, block=b"other")
    sent, blocks = counted(migration.pcap())
    assert sent.untracked
    assert len(blocks) == 1


def test_zero_pages_before_the_page_size_is_known() -> None:
    """They were numbered as if pages were of the common size."""
    sent = SentPages()
    (migration,) = Scan(Tiny().pcap()).run().migrations
    sent.count(migration, b"ram0", range(0, 6 * 8192, 8192), 4096, 0, zero=True)
    sent.count(migration, b"ram0", (5 * 8192, 6 * 8192), 8192, 0, zero=False)
    (block,) = sent.of(migration)
    assert (block.page_size, block.end, block.sent_times()) == (8192, 7, {1: 6, 2: 1})
    assert block.heat(7, 7) == [1, 1, 1, 1, 1, 2, 1]
