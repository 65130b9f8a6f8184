"""The first line of a report on many migrations."""

from __future__ import annotations

import pytest

from analyzer.analysis import analyze
from analyzer.report.verdict import verdict_text
from analyzer.synth import build
from tests.altered import Frame, Frames, read

NETWORKS = (28, 32)
"""Where the third bytes of both IPv4 addresses are in an Ethernet frame."""


def repeated(whole: int, cut: int) -> bytes:
    """A capture with so many whole migrations of as many pairs of hosts, and others without end."""
    one = read(build({"migration": [{"channels": 2}]}))
    held: list[Frame] = []
    for number in range(whole + cut):
        frames = one.frames if number < whole else one.frames[: len(one.frames) * 3 // 4]
        for time, data, original in frames:
            moved = bytearray(data)
            for at in NETWORKS:
                moved[at] = number
            held.append(Frame(time, bytes(moved), original))
    return Frames(one.link, held).pcap()


@pytest.mark.parametrize(
    ("whole", "cut", "word", "sentences", "last"),
    [
        (8, 0, "OK", 8, "migration 7 completed"),
        (9, 0, "OK", 1, "9 migrations, 9 completed"),
        (7, 2, "INCOMPLETE", 3, "migration 8 incomplete (the capture ends"),
        (0, 9, "INCOMPLETE", 10, "1 more did not complete"),
    ],
)
def test_many_migrations_are_counted(
    whole: int, cut: int, word: str, sentences: int, last: str
) -> None:
    first, text = verdict_text(analyze(repeated(whole, cut)))
    assert first == word
    told = text.split("; ")
    assert len(told) == sentences
    assert told[-1].startswith(last)
    if whole + cut > 8:
        assert told[0] == f"{whole + cut} migrations, {whole} completed"
