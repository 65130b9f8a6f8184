"""The TCP view: what it tells of one direction."""

from __future__ import annotations

from analyzer.migration.scan import Scan
from analyzer.tui.palette import DEFAULT
from analyzer.tui.stream_rows import StreamLine, stream_text
from tests.checks.craft import Craft, findings, init, sync


def test_a_hole_is_told_as_the_check_tells_it() -> None:
    """The stream ends soon after it, but the receiver has acknowledged its bytes."""
    made = Craft()
    channel = made.connect(46000)
    channel.send(init(0) + sync(0))
    channel.lose(bytes(400))
    channel.send(sync(1))
    channel.fin()
    (migration,) = Scan(made.pcap()).run().migrations
    (found,) = migration.multifd
    text = stream_text(StreamLine(found.flow, found, 0, back=False), 0, DEFAULT).plain
    assert text.endswith("lost by the capture\n")
    assert "acknowledged by the receiver" in findings(made.pcap())[0].message
