"""Numbers that mostly grow by little: a byte each where they do, nine where they do not."""

from __future__ import annotations

from array import array

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["NumberList"]

FAR = 0
"""Stands for a number that is not 1 to 255 above the one before."""


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
