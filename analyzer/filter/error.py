"""What is wrong with a filter, and where."""

from __future__ import annotations

from analyzer.errors import UsageError

__all__ = ["FilterError"]


class FilterError(UsageError):
    """An invalid filter.  ``column`` is the position in the text (0-based), ``found`` the text
    there (empty at the end), ``expected`` what would be valid; ``nearest`` is the field that was
    probably meant.
    """

    def __init__(
        self, column: int, found: str, expected: str, nearest: str | None = None, reason: str = ""
    ) -> None:
        self.column = column
        self.found = found
        self.expected = expected
        self.nearest = nearest
        self.reason = reason
        super().__init__(str(self))

    def __str__(self) -> str:
        what = self.reason or (f"found {self.found!r}" if self.found else "the filter ends here")
        text = f"filter, column {self.column + 1}: {what}"
        if self.expected:
            text += f", expected {self.expected}"
        return f"{text}; did you mean {self.nearest}?" if self.nearest else text
