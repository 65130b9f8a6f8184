"""Return paths: every message, every fault, every hole."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analyzer.migration import looking, return_path_walker
from analyzer.migration.mark import Mark
from analyzer.migration.return_path import (
    MESSAGES_KEPT,
    NAMES,
    Message,
    MessageList,
    ReturnFacts,
)
from analyzer.migration.return_path_walker import walk_return_path
from analyzer.migration.scan import Scan
from analyzer.report.model import channel_report
from analyzer.tcp.requests import Place
from dissectors.return_path import BITMAP_END, HEADER, ReturnPathType
from tests.checks.craft import Tiny
from tests.migration.main_streams import feed, slugs, text, u32, u64

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.migration.main_streams import Piece


def message(kind: int, payload: bytes = b"") -> bytes:
    return HEADER.pack({"type": kind, "length": len(payload)}) + payload


def bitmap(content: bytes, end: int = BITMAP_END) -> bytes:
    head = message(ReturnPathType.RECV_BITMAP, text(b"pc.ram"))
    return head + u64(len(content)) + content + u64(end)


PONG = message(ReturnPathType.PONG, u32(1))
ACK = message(ReturnPathType.SWITCHOVER_ACK)
SHUT = message(ReturnPathType.SHUT, u32(0))
WHOLE = (
    PONG
    + ACK
    + bitmap(b"\xff\0" * 8)
    + message(ReturnPathType.RESUME_ACK, u32(1))
    + message(ReturnPathType.REQ_PAGES_ID, u64(0x3000) + u32(4096) + text(b"pc.ram"))
    + message(ReturnPathType.REQ_PAGES, u64(0x8000) + u32(8192))
    + SHUT
)


def walk(*pieces: Piece, midstream: bool = False) -> ReturnFacts:
    rp = ReturnFacts()
    feed(lambda reader: walk_return_path(reader, rp, midstream=midstream), pieces)
    there = sum(len(piece) for piece in pieces if isinstance(piece, bytes))
    assert rp.decoded + rp.skipped == there
    assert rp.missing == sum(piece for piece in pieces if isinstance(piece, int))
    return rp


def test_the_first_messages_behind_a_fault_are_searched_no_farther(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looked = 0
    found = looking.occurrences

    def counting(data: bytes, pattern: bytes) -> Iterator[int]:
        nonlocal looked
        for at in found(data, pattern):
            looked += 1
            yield at

    monkeypatch.setattr(return_path_walker, "occurrences", counting)
    bad = message(5, b"\1a") + message(1, u32(0))  # a bitmap whose size is that of a message
    rp = walk(bad * 100)
    assert rp.resync_count > 90
    assert looked < 20 * rp.resync_count


def test_every_message() -> None:
    rp = walk(WHOLE)
    assert not rp.anomalies
    assert rp.skipped == 0
    assert [m.name for m in rp.messages] == [
        "PONG", "SWITCHOVER_ACK", "RECV_BITMAP", "RESUME_ACK", "REQ_PAGES_ID", "REQ_PAGES", "SHUT"
    ]  # fmt: skip
    assert [value for value, _mark in rp.pongs] == [1]
    assert len(rp.acks) == 1
    assert rp.shut == 0
    assert rp.shut_mark is not None
    assert rp.shut_mark.offset == len(WHOLE) - len(SHUT)
    requests = [(m.block, m.start, m.size) for m in list(rp.messages)[4:6]]
    assert requests == [(b"pc.ram", 0x3000, 4096), (b"pc.ram", 0x8000, 8192)]
    assert (rp.messages[2].block, rp.messages[2].size) == (b"pc.ram", 16)
    assert sum(m.length for m in rp.messages) == len(WHOLE)


@pytest.mark.parametrize("at", range(1, len(WHOLE)))
def test_pieces_and_cuts(at: int) -> None:
    assert [m.name for m in walk(WHOLE[:at], WHOLE[at:]).messages] == [
        m.name for m in walk(WHOLE).messages
    ]
    cut = walk(WHOLE[:at])
    assert not cut.anomalies
    assert len(cut.messages) == sum(m.mark.offset + m.length <= at for m in walk(WHOLE).messages)


@pytest.mark.parametrize(
    ("stream", "slug"),
    [
        (message(9, u32(1)), "rp-unknown-type"),
        (HEADER.pack({"type": 0, "length": 2}), "rp-unknown-type"),
        (message(ReturnPathType.PONG, b"\0"), "rp-length"),
        (message(ReturnPathType.SHUT, bytes(8)), "rp-length"),
        (HEADER.pack({"type": 2, "length": 600}), "rp-length"),
        (message(ReturnPathType.REQ_PAGES_ID, u64(0) + u32(1) + b"\x09ram"), "rp-length"),
        (message(ReturnPathType.RESUME_ACK, u32(2)), "rp-resume-ack"),
        (bitmap(b"\0" * 8, 7), "rp-bitmap-mark"),
        (bitmap(b"\0" * 7), "rp-bitmap-mark"),
    ],
)
def test_a_faulty_message_is_told_and_the_path_read_on(stream: bytes, slug: str) -> None:
    rp = walk(PONG + stream + PONG + ACK + SHUT)
    assert slugs(rp.anomalies) == {slug}
    assert rp.shut == 0


@given(data=st.data())
@settings(max_examples=200)
def test_holes_are_no_faults(data: st.DataObject) -> None:
    first = data.draw(st.integers(0, len(WHOLE) - 1))
    size = data.draw(st.integers(1, len(WHOLE) - first))
    rp = walk(WHOLE[:first], size, WHOLE[first + size :])
    assert not rp.anomalies


@given(st.lists(st.binary(max_size=40) | st.integers(1, 50), max_size=12))
@settings(max_examples=200)
def test_every_byte_of_garbage_is_accounted_for(pieces: list[bytes | int]) -> None:
    walk(*pieces)
    walk(*pieces, midstream=True)
    walk(WHOLE, *pieces, WHOLE)


def test_a_path_without_its_beginning_has_no_fault() -> None:
    for at in range(1, 14):
        rp = walk((PONG * 3 + SHUT)[at:], midstream=True)
        assert not rp.anomalies
        assert rp.shut == 0


@given(
    st.lists(
        st.tuples(
            st.sampled_from(sorted(NAMES)),
            st.tuples(*[st.integers(0, (1 << 63) - 1)] * 4, st.integers(-(1 << 63), -1)),
            st.tuples(*[st.none() | st.integers(0, (1 << 64) - 1)] * 3),
            st.none() | st.binary(max_size=3),
        )
    )
)
def test_what_is_kept_of_messages_is_all_of_them(
    rows: list[tuple[int, tuple[int, ...], tuple[int | None, ...], bytes | None]],
) -> None:
    kept, messages = MessageList(), []
    for kind, (offset, length, frame, pos, time), values, block in rows:
        message = Message(kind, Mark(offset, Place(frame, time, pos)))
        message.length, message.block = length, block
        message.value, message.start, message.size = values
        messages.append(message)
        kept.add(message)
    assert len(kept) == len(messages)
    for got, put in zip(kept, messages, strict=True):
        for name in ("kind", "name", "length", "value", "block", "start", "size"):
            assert getattr(got, name) == getattr(put, name)
        assert repr((got, got.mark.place)) == repr((put, put.mark.place))


def test_messages_are_capped() -> None:
    rp = walk(ACK * (MESSAGES_KEPT + 3) + SHUT)
    assert len(rp.messages) == MESSAGES_KEPT
    assert rp.counts == {7: MESSAGES_KEPT + 3, 1: 1}
    assert rp.shut == 0


def test_a_long_search_finds_its_way() -> None:
    rp = walk(PONG + message(0) + bytes(20_000) + b"\0\1" * 3000 + PONG * 3 + SHUT)
    assert rp.shut == 0
    assert rp.resync_count >= 1


def test_a_report_counts_the_bytes_that_were_skipped() -> None:
    tiny = Tiny()
    tiny.returned[1:1] = [b"\xff\xff\x12\x34" * 5, PONG, PONG]
    (migration,) = Scan(tiny.pcap()).run().migrations
    rows = [channel_report(channel, migration) for channel in migration.channels]
    assert {row["kind"]: row["skipped_bytes"] for row in rows} == {
        "main": 0,
        "multifd": 0,
        "return-path": 20,
    }
