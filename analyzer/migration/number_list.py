"""Numbers that mostly grow by little: a byte each where they do, nine where they do not; and a set
of numbers, a bit each.
"""

from __future__ import annotations

from array import array

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["NumberList", "NumberSet"]

FAR = 0
"""Stands for a number that is not 1 to 255 above the one before."""
SET_LIMIT = 1 << 24
"""No set holds larger numbers: it takes 2 MiB."""
FIRST, SPREAD = 1 << 16, 64
"""How far up numbers may lie before any was added, and how much further with each."""


class NumberList:
    """A list of unsigned 64-bit numbers: grows at its end, and is read from its beginning.

    ``last`` is the newest and ``before`` the one before it, -1 each while there is none;
    ``lowest`` and ``highest`` the least and the greatest of all.
    """

    __slots__ = ("_far", "_steps", "before", "highest", "last", "lowest")

    def __init__(self) -> None:
        self._steps = bytearray()
        self._far = array("Q")  # in order, those whose step is FAR
        self.last = -1
        self.before = -1
        self.lowest = -1
        self.highest = -1

    def __len__(self) -> int:
        return len(self._steps)

    def __iter__(self) -> Iterator[int]:
        far = iter(self._far)
        number = 0
        for step in self._steps:
            number = number + step if step else next(far)
            yield number

    def append(self, number: int) -> None:
        """One more."""
        step = number - self.last
        if 0 < step < 256 and self._steps:
            self._steps.append(step)
        else:
            self._steps.append(FAR)
            self._far.append(number)
            if not 0 <= self.lowest <= number:
                self.lowest = number
        if number > self.highest:
            self.highest = number
        self.before, self.last = self.last, number


class NumberSet:
    """Which small numbers occurred, a bit each; a number far above all others is not kept, so that
    its memory stays in proportion to the input.
    """

    __slots__ = ("_bits", "_limit")

    def __init__(self) -> None:
        self._bits = bytearray()
        self._limit = FIRST

    def add(self, number: int) -> bool:
        """One more; gives whether it was there already."""
        at, bit = number >> 3, 1 << (number & 7)
        bits = self._bits
        self._limit += SPREAD
        if at >= len(bits):
            if number >= min(self._limit, SET_LIMIT):
                return False
            bits.extend(bytes(max(at + 1 - len(bits), 64)))
        there = bits[at] & bit
        bits[at] |= bit
        return there > 0
