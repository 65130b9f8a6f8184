"""Runs: frames back to back in the file that have one size and, apart from numbers that count or
check, the same headers from the IP header of their TCP segment on.

Network adapters and their drivers cut large pieces into full frames, so that most frames of a large
capture follow one like them.  A regular expression that repeats the first frame's headers by back
references finds where a run ends, in the time that one or two frames take otherwise.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from functools import lru_cache

from analyzer.capture.frames import RECORD
from analyzer.capture.shape import shape_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from analyzer.capture.frames import Batch
    from analyzer.capture.shape import Shape

    Search = Callable[[bytearray, int, int], re.Match[bytes] | None]

__all__ = ["Runs"]

RUN_MAX = 64
"""Frames; a piece of 64 KiB becomes 45 frames of 1514 bytes."""
TIME, LENGTHS = 8, 8
"""Bytes of a record: the time stamp, then both lengths."""
FRAMES_MIN = 64
"""A batch of fewer frames does not tell what the next one will be like."""
NEAR = 6
"""How far samples look ahead."""
PAYS = 6
"""Frames that a search must add on average: with fewer, looking at each is faster."""
PAUSE = 32
"""Batches without a search after one in which it did not pay."""


class Runs:
    """The runs in one batch after another of a capture file, whose records have ``head`` bytes in
    front of the time stamp.

    ``frames`` tells how many frames the run has whose first one begins at an index of the buffer.
    They begin ``stride`` bytes apart, and have the headers of ``shape``; ``stride`` is 0 where no
    search is worth while.
    """

    def __init__(self, head: int) -> None:
        self.frames: dict[int, int] = {}
        self.stride = 0
        self.shape: Shape | None = None
        self._begins: list[int] = []
        self._more = [0]  # frames that are not the first ones of their runs, before each run
        self._head = head
        self._search: Search | None = None
        self._tried = 0
        self._pause = 0

    def search(self, buffer: bytearray, pos: int, end: int) -> int:
        """Search for a run whose first record is at ``pos`` and has ``stride`` bytes; gives where
        the record after it, or after that one, begins.
        """
        assert self._search is not None
        self._tried += 1
        found = self._search(buffer, pos, end)
        if found is None:
            return pos + self.stride
        # Until Python 3.11.4 the end may lie inside the first frame that does not match.
        count = (found.end() - pos) // self.stride
        start = pos + self._head + RECORD
        self.frames[start] = count
        self._begins.append(start)
        self._more.append(self._more[-1] + count - 1)
        return pos + count * self.stride

    @property
    def more(self) -> int:
        """How many frames are not the first ones of their runs."""
        return self._more[-1]

    def more_before(self, start: int) -> int:
        """How many of the frames that begin before ``start`` are not the first ones of their
        runs.
        """
        before = bisect_left(self._begins, start) - 1
        if before < 0:
            return 0
        inside = (start - 1 - self._begins[before]) // self.stride
        return min(self._more[before] + inside, self._more[before + 1])

    def expand(self, firsts: list[int], heads: list[int]) -> list[int]:
        """An index of every frame, from ``firsts``, that of each one that begins at ``heads``: the
        other frames of a run follow in steps of ``stride``.
        """
        if not self.frames:
            return firsts
        expanded: list[int] = []
        for first, head in zip(firsts, heads, strict=True):
            count = self.frames.get(head, 1)
            expanded += range(first, first + count * self.stride, self.stride or 1)
        return expanded

    def learn(self, batch: Batch) -> None:
        """Decide what to search for in the next batch, which most likely resembles this one."""
        if self.more < PAYS * self._tried:
            self._pause = PAUSE
        if self._pause:
            self._pause -= 1
            self.stride = 0
        elif 2 * self.more < batch.count:
            self._choose(batch)
        self.frames, self._begins, self._more, self._tried = {}, [], [0], 0

    def _choose(self, batch: Batch) -> None:
        """Search for the frames that two of three samples are like, if these lie in long runs."""
        self.stride = 0
        starts, buffer = batch.starts, batch.buffer
        if len(starts) < FRAMES_MIN:
            return
        samples = [
            starts[i : i + NEAR + 1] for i in (len(starts) * part // 4 for part in (1, 2, 3))
        ]
        even = [near for near in samples if near[NEAR] - near[0] == NEAR * (near[1] - near[0])]
        if len(even) < 2:
            return
        start, second = even[0][:2]
        shape = shape_of(buffer, start, second, batch.interface.link_type)
        if shape is None:
            return
        keys = [{shape.unpack(buffer, start)[2] for start in near} for near in even]
        if all(len(of_sample) == 1 for of_sample in keys):
            self._search = _search(self._head, shape, second - start)
            self.shape = shape
            self.stride = second - start if self._search is not None else 0


@lru_cache(RUN_MAX)
def _search(head: int, shape: Shape, stride: int) -> Search | None:
    """Searches for two or more frames alike, given where the first one's record begins; ``None``
    if records of ``stride`` bytes are too short for it.
    """
    same = [head, LENGTHS, *shape.alike[::2]]
    varied = [TIME, shape.front, *shape.alike[1::2]]
    rest = stride - sum(same) - sum(varied)
    if rest < 0:
        return None
    # Possessive, as there is nothing to go back for.
    between = [b".{%d}+" % size for size in (*varied, rest)]
    first = b"".join(b"(.{%d})" % size + gap for size, gap in zip(same, between, strict=True))
    again = b"".join(b"\\%d" % number + gap for number, gap in enumerate(between, 1))
    return re.compile(b"(?s)%s(?:%s){1,%d}+" % (first, again, RUN_MAX - 1)).match
