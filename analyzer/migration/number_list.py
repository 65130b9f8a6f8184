"""A compact list of mostly increasing numbers, one byte each for small steps and nine otherwise;
and a set of numbers, one bit each.
"""

from __future__ import annotations

from array import array

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["NumberList", "NumberSet"]

FAR = 0
"""Step that stands for a number which is not 1 to 255 above the one before."""
SET_LIMIT = 1 << 24
"""Numbers from this one on are not kept in a set, which so takes 2 MiB at most."""
FIRST, SPREAD = 1 << 16, 64
"""Numbers below FIRST are always kept; every number that is added raises that limit by SPREAD."""


class NumberList:
    """A list of unsigned 64-bit numbers, which can be appended to and iterated over.

    ``last`` is the newest number and ``before`` the one before it; ``lowest`` and ``highest`` are
    the least and greatest of all; -1 where there is none.
    """

    __slots__ = ("_far", "_steps", "before", "highest", "last", "lowest")

    def __init__(self) -> None:
        self._steps = bytearray()
        self._far = array("Q")  # in order, the numbers whose step is FAR
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
        """Add a number."""
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
    """A set of numbers, one bit each.  A number far above the count of those added is not kept: the
    memory stays in proportion to the input.
    """

    __slots__ = ("_bits", "_limit")

    def __init__(self) -> None:
        self._bits = bytearray()
        self._limit = FIRST

    def add(self, number: int) -> bool:
        """Add a number; gives whether it was in the set already."""
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
