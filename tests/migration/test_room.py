"""What lists of a capture hold is bounded over all its migrations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from analyzer.migration import pages, room
from analyzer.migration.scan import Scan
from dissectors.main_stream import Command
from tests.checks.craft import PAGE, Craft, init, ram, sync
from tests.migration import main_streams as build
from tests.migration.main_streams import EOS, FLUSH, OPENING, RAM_START

if TYPE_CHECKING:
    from collections.abc import Sized


def test_lists_share_their_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every list gets some rows all the same."""
    monkeypatch.setattr(room, "ROWS_KEPT", 40)
    monkeypatch.setattr(room, "ASSURED", 5)
    capture = Craft()
    pings = build.command(Command.PING, build.u32(1)) * 30
    for number in range(4):
        one = capture.connect(46000, client=f"10.0.1.{number}")
        one.send(OPENING + RAM_START + build.part(build.RAM_ID, FLUSH * 30 + EOS) + pings)
        one.send((b"\0\2\0\4" + build.u32(1)) * 30, "server")
    rows = 0
    for migration in Scan(capture.pcap()).run().migrations:
        main, returned = migration.main_facts, migration.return_facts
        assert main is not None
        assert returned is not None
        lists: list[Sized] = [main.records, main.ram.flushes, main.ram.iterations]
        lists += [returned.messages, returned.pongs]
        assert min(map(len, lists)) >= 5
        assert main.records_dropped + len(main.records) == 34
        assert main.ram.flush_count == 30
        assert returned.counts == {2: 30}
        rows += sum(max(len(kept) - 5, 0) for kept in lists)
    assert rows == 40


def test_the_newest_migrations_have_the_marks_of_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "TRACKED_MAX", 3 << 12)
    capture = Craft()
    opened = [capture.connect(46000, client=f"10.0.1.{number}") for number in range(6)]
    for one in opened:
        one.send(init(0) + ram([1, 4096], num=0) + sync(1) + ram([1], num=2))
    opened[0].send(ram([1], num=3))
    found = [migration.pages for migration in Scan(capture.pcap()).run().migrations]
    assert [sum(len(b.marks) for b in one.blocks.values()) for one in found] == [0] * 5 + [4 * PAGE]
    assert [one.resent for one in found] == [1] * 6
    assert [one.untracked for one in found] == [True] + [False] * 5
