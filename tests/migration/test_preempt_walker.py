"""The postcopy preempt channel: RAM records without sections."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analyzer.migration.preempt_walker import PreemptFacts, walk_preempt
from tests.migration.main_streams import EOS, PAGE, Piece, feed, page, u64, zero

PAGES = page(0, b"pc.ram") + page(9 * PAGE, b"pc.ram") + zero(PAGE, b"vga.vram")


def walk(*pieces: Piece) -> PreemptFacts:
    preempt = PreemptFacts()
    feed(lambda reader: walk_preempt(reader, preempt), pieces)
    there = sum(len(piece) for piece in pieces if isinstance(piece, bytes))
    assert preempt.decoded + preempt.skipped == there
    assert preempt.missing == sum(piece for piece in pieces if isinstance(piece, int))
    return preempt


def test_pages_up_to_the_end() -> None:
    preempt = walk(PAGES)
    assert not preempt.anomalies
    assert (preempt.ram.normal_pages, preempt.ram.zero_pages) == (2, 1)
    assert [block.name for block in preempt.ram.blocks.values()] == [b"pc.ram", b"vga.vram"]
    assert not preempt.ram.section_ends
    assert len(preempt.ram.iterations) == 1


def test_old_senders_end_with_eos() -> None:
    preempt = walk(PAGES + EOS)
    assert preempt.ram.section_ends
    assert preempt.skipped == 0
    assert walk(PAGES + EOS + b"more").skipped == 4


def test_an_empty_channel() -> None:
    assert walk().decoded == 0


@pytest.mark.parametrize("at", [3, 8, 9, 14, 15, 100, 4110, 4112, len(PAGES) - 1])
def test_a_channel_cut_inside_a_record_is_truncated(at: int) -> None:
    assert [found.slug for found in walk(PAGES[:at]).anomalies] == ["main-truncated"]


def test_what_cannot_be_understood_is_skipped() -> None:
    preempt = walk(PAGES + u64(0x401) + PAGES)
    assert preempt.anomalies.counts == {"ram-flags-unknown": 1}
    assert preempt.skipped == len(PAGES) + 8


@given(st.lists(st.binary(max_size=60) | st.integers(1, 50) | st.just(PAGES), max_size=8))
@settings(max_examples=100)
def test_every_byte_of_garbage_is_accounted_for(pieces: list[bytes | int]) -> None:
    walk(*pieces)
