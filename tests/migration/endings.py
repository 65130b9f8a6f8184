"""Migrations that end in a certain way, and how they are judged."""

from __future__ import annotations

import struct

from analyzer.analysis import analyze
from analyzer.migration.outcome import Outcome, outcome_of
from tests.checks.craft import Craft, Frame, Tiny

OPEN = 46000
"""The first client's port: main's."""
FIN = 0x11


def outcome(pcap: bytes) -> Outcome:
    """How the only migration of a capture ended."""
    (migration,) = analyze(pcap).migrations
    return outcome_of(migration)


def given_up(*, main: int = 4) -> Tiny:
    """A source that closes everything before main's EOF byte."""
    tiny = Tiny(return_path=False, device=False)
    del tiny.main[main:]
    tiny.close = [(name, "fin client") for name in ("main", 0, 1)]
    return tiny


def answered_late(tiny: Tiny, answer: bytes, behind: int = 0) -> bytes:
    """The migration with the destination's answer at the end, ``behind`` other frames after it."""
    made = tiny.craft()
    told = next(frame for frame in made.frames if frame.data.endswith(answer))
    made.frames.remove(told)
    made.frames.insert(len(made.frames) - behind, told)
    told.time = max(frame.time for frame in made.frames)
    return made.pcap()


def of(made: Craft, port: int) -> list[Frame]:
    """The frames with data from a client's port."""
    sent = struct.pack(">H", port)
    return [frame for frame in made.frames if frame.data[34:36] == sent and len(frame.data) > 54]


def fin_of(made: Craft, port: int) -> Frame:
    """The FIN of a connection's client."""
    sent = struct.pack(">H", port)
    return next(f for f in made.frames if f.data[34:36] == sent and f.data[47] == FIN)


def closed_early(tiny: Tiny, before: bytes) -> Craft:
    """With the source's FIN of multifd 1 in front of the frame that ends with ``before``."""
    made = tiny.craft()
    fin = fin_of(made, OPEN + 2)
    made.frames.remove(fin)
    at = next(n for n, frame in enumerate(made.frames) if frame.data.endswith(before))
    made.frames.insert(at, fin)
    return made
