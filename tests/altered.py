"""Alters captures: cuts payload into other segments, reorders or repeats frames, all of which leave
the migration the same; or drops frames.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from analyzer.capture.file import CaptureFile
from analyzer.capture.link import network
from analyzer.capture.segment import decode
from analyzer.capture.source import open_source

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path
    from random import Random

HEADERS = {4: 20, 6: 40}
FIN_PSH, SYN = 0x09, 0x02


class Frame(NamedTuple):
    """One frame: ns since the epoch, its bytes, and its length on the wire."""

    time: int
    data: bytes
    original: int


class Frames(NamedTuple):
    """A capture of one link type."""

    link: int
    frames: list[Frame]

    def pcap(self) -> bytes:
        """The capture as a pcap file."""
        parts = [struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 1 << 18, self.link)]
        for time, data, original in self.frames:
            parts += struct.pack("<4I", *divmod(time, 10**9), len(data), original), data
        return b"".join(parts)


def read(path: Path | bytes) -> Frames:
    """All frames of a capture file, whose interfaces should all have the same link type."""
    file = CaptureFile(open_source(path))
    found = []
    for batch in file.batches():
        for start, stop in zip(batch.starts, batch.stops, strict=True):
            first, second, _, original = batch.record(batch.buffer, start - 16)
            time = batch.interface.clock(first, second)
            found.append(Frame(time, bytes(batch.buffer[start:stop]), original))
    return Frames(file.interfaces[0].link_type, found)


def cut_anew(capture: Frames, size: int) -> Frames:
    """Cut the payload into segments of at most ``size`` bytes, as with a smaller MTU."""
    made: list[Frame] = []
    for frame in capture.frames:
        made += _pieces(frame, capture.link, size)
    return Frames(capture.link, made)


def _pieces(frame: Frame, link: int, size: int) -> Iterable[Frame]:
    data, whole = frame.data, len(frame.data) == frame.original
    segment = decode(bytearray(data), 0, len(data), frame.original, link)
    if isinstance(segment, str) or segment.length <= size or not whole:
        return [frame]
    found = network(bytearray(data), 0, len(data), link)
    assert not isinstance(found, str)
    version, at = found
    tcp, start = at + HEADERS[version], segment.start
    assert data[tcp : tcp + 4] == segment.key[-4:]
    made = []
    for first in range(0, segment.length, size):
        head = bytearray(data[:start])
        payload = data[start + first : start + min(first + size, segment.length)]
        struct.pack_into(">I", head, tcp + 4, segment.seq + first & 0xFFFFFFFF)
        if first + size < segment.length:
            head[tcp + 13] &= ~FIN_PSH
        if first:
            head[tcp + 13] &= ~SYN
        counted = at if version == 4 else at + HEADERS[6]
        struct.pack_into(
            ">H", head, at + (2 if version == 4 else 4), start - counted + len(payload)
        )
        made.append(Frame(frame.time, bytes(head) + payload, len(head) + len(payload)))
    return made


def out_of_order(capture: Frames, every: int, dice: Random) -> Frames:
    """Swap two nearby frames out of each ``every``; timestamps stay in order."""
    frames = list(capture.frames)
    for at in range(5, len(frames) - 5, every):
        other = at + dice.randint(1, 3)
        frames[at], frames[other] = frames[other], frames[at]
    times = sorted(frame.time for frame in frames)
    return Frames(
        capture.link,
        [frame._replace(time=time) for frame, time in zip(frames, times, strict=True)],
    )


def sent_twice(capture: Frames, every: int, dice: Random) -> Frames:
    """Repeat one frame out of each ``every`` a little later."""
    made: list[Frame] = []
    again: list[tuple[int, Frame]] = []
    for number, frame in enumerate(capture.frames):
        made.append(frame)
        if number % every == 3:
            again.append((number + dice.randint(1, 30), frame))
        while again and again[0][0] <= number:
            made.append(again.pop(0)[1]._replace(time=frame.time))
    return Frames(capture.link, made)


def with_losses(capture: Frames, share: float, dice: Random) -> Frames:
    """Drop a random ``share`` of the frames, as a capture does that misses some."""
    return Frames(capture.link, [f for f in capture.frames if dice.random() >= share])
