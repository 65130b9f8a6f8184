"""Which bytes of a stream are kept, and what replaces the rest."""

from __future__ import annotations

from array import array
from bisect import bisect_right

TYPE_CHECKING = False
if TYPE_CHECKING:
    from analyzer.scrub.secret import Filling

__all__ = ["Plan"]

ZERO_RUNS_MAX = 1 << 21
"""The maximum number of runs of zero pages kept for one stream; later zero pages are filled like
others.
"""

OTHER = bytes(byte ^ 0x80 for byte in range(256))


class Plan:
    """The plan of one direction: spans of stream offsets, in order.  Bytes outside all spans are
    replaced by filling (or by zeros, with ``blank``).  ``keep`` spans are kept, ``zero`` spans are
    zero, ``put`` overwrites kept bytes.  Memory: 16 bytes per span.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.blank = False
        self.differences: dict[int, int] = {}  # by frame: offset from which a second copy differs
        self._kept = array("q"), array("q")
        self._zero = array("q"), array("q")
        self._put = array("q"), array("Q")
        self._texts: list[bytes] = []
        self._index: dict[bytes, int] = {}
        self._late: list[tuple[int, int]] = []
        self._late_texts: list[tuple[int, bytes]] = []

    def keep(self, begin: int, end: int) -> None:
        """Keep bytes; calls must be in order of offsets."""
        if begin >= end:
            return
        starts, stops = self._kept
        if starts and stops[-1] == begin:
            stops[-1] = end
        else:
            starts.append(begin)
            stops.append(end)

    def keep_late(self, begin: int, end: int) -> None:
        """Keep bytes at any offset; :meth:`settle` sorts them in."""
        self._late.append((begin, end))

    def put_late(self, offset: int, text: bytes) -> None:
        """Put bytes at any offset; :meth:`settle` sorts them in."""
        self._late_texts.append((offset, text))

    def settle(self) -> None:
        """Finish the plan: no more spans will be added."""
        if self._late_texts:
            places, numbers = self._put
            texts = [(at, self._texts[n]) for at, n in zip(places, numbers, strict=True)]
            self._put = array("q"), array("Q")
            for at, text in sorted(texts + self._late_texts):
                self.put(at, text)
            self._late_texts = []
        if self._late:
            spans = sorted([*zip(*self._kept, strict=True), *self._late])
            self._kept = array("q"), array("q")
            for begin, end in spans:
                known = self._kept[1][-1] if self._kept[1] else begin
                self.keep(max(begin, known), end)
            self._late = []

    def keeps(self, offset: int) -> bool:
        """Whether the byte at ``offset`` is kept."""
        starts, stops = self._kept
        at = bisect_right(starts, offset) - 1
        return at >= 0 and offset < stops[at]

    def zero(self, begin: int, end: int) -> None:
        """Bytes that are zero and remain zero."""
        starts, stops = self._zero
        if starts and stops[-1] == begin:
            stops[-1] = end
        elif len(starts) < ZERO_RUNS_MAX:
            starts.append(begin)
            stops.append(end)

    def put(self, offset: int, text: bytes) -> None:
        """Put bytes at ``offset`` in place of the original ones."""
        number = self._index.get(text)
        if number is None:
            number = self._index[text] = len(self._texts)
            self._texts.append(text)
        self._put[0].append(offset)
        self._put[1].append(number)

    def drop(self) -> None:
        """Keep nothing of this stream."""
        self.blank = True
        for columns in (self._kept, self._put, self._zero):
            for column in columns:
                del column[:]
        self._late = []
        self._late_texts = []

    def replace(self, filling: Filling, offset: int, data: bytes, frame: int) -> bytearray:
        """The replacement for ``data`` at stream offset ``offset`` in ``frame``."""
        end = offset + len(data)
        out = bytearray(len(data)) if self.blank else filling.bytes(self.number, offset, len(data))
        for begin, stop in _inside(self._zero, offset, end):
            out[begin - offset : stop - offset] = bytes(stop - begin)
        for begin, stop in _inside(self._kept, offset, end):
            out[begin - offset : stop - offset] = data[begin - offset : stop - offset]
        self._overlay(out, offset, end)
        if frame in self.differences:
            # From there on this is not the first copy either, and nothing of it is kept.
            first = max(self.differences[frame], offset)
            out[first - offset :] = filling.bytes(self.number, first, end - first).translate(OTHER)
        return out

    def _overlay(self, out: bytearray, offset: int, end: int) -> None:
        places, numbers = self._put
        at = bisect_right(places, offset)
        while at and places[at - 1] + len(self._texts[numbers[at - 1]]) > offset:
            at -= 1
        while at < len(places) and places[at] < end:
            begin, text = places[at], self._texts[numbers[at]]
            first, last = max(begin, offset), min(begin + len(text), end)
            if first < last:
                out[first - offset : last - offset] = text[first - begin : last - begin]
            at += 1


def _inside(spans: tuple[array[int], array[int]], begin: int, end: int) -> list[tuple[int, int]]:
    starts, stops = spans
    at = max(bisect_right(starts, begin) - 1, 0)
    found = []
    while at < len(starts) and starts[at] < end:
        first, last = max(starts[at], begin), min(stops[at], end)
        if first < last:
            found.append((first, last))
        at += 1
    return found
