"""Text on a terminal: colours, aligned tables, readable sizes."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["Style", "column_widths", "pages_text", "size_text", "table"]

COLOURS = {"error": "1;31", "warning": "33", "info": "36"}
OUTCOMES = {"completed": "32", "cancelled": "33", "failed": "1;31", "incomplete": "33"}
BETWEEN = 2
"""Blanks in front of every column."""
UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


class Style:
    """Adds escape sequences, or none; tables fit ``width`` cells."""

    __slots__ = ("colour", "width")

    def __init__(self, colour: bool = False, width: int = sys.maxsize) -> None:
        self.colour = colour
        self.width = width

    def _wrap(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self.colour and code else text

    def bold(self, text: str) -> str:
        """A heading."""
        return self._wrap("1", text)

    def dim(self, text: str) -> str:
        """Less important text."""
        return self._wrap("2", text)

    def severity(self, severity: str, text: str) -> str:
        """In the colour of a severity."""
        return self._wrap(COLOURS.get(severity, ""), text)

    def outcome(self, name: str) -> str:
        """An outcome in its colour."""
        return self._wrap(OUTCOMES.get(name, ""), name)

    def folded(self, line: str, indent: int | None = None) -> Iterator[str]:
        """A line broken at blanks where it is wider than the style allows.  The lines behind the
        first begin with ``indent`` blanks, by default two more than the line itself.
        """
        if len(line) <= self.width:
            yield line
            return
        if indent is None:
            indent = len(line) - len(line.lstrip()) + BETWEEN
        words: list[str] = []
        taken = 0  # cells, with a blank behind each word
        for word in line.split(" "):
            cells = _cells(word)
            if word and taken + cells > self.width and any(words):
                yield " ".join(words).rstrip()
                words, taken = [" " * (indent - 1)], indent
            words.append(word)
            taken += cells + 1
        yield " ".join(words).rstrip()


def _cells(word: str) -> int:
    """The cells that a word takes, without its escape sequences."""
    first, *others = word.split("\x1b[")
    return len(first) + sum(len(other.partition("m")[2]) for other in others)


def size_text(size: int) -> str:
    """Bytes, in at most seven characters and the unit: ``1.4 MiB``."""
    value = float(size)
    for unit in UNITS:
        if value < 1024 or unit == UNITS[-1]:
            break
        value /= 1024
    return f"{size} B" if unit == "B" else f"{value:.1f} {unit}"


def pages_text(size: int) -> str:
    """Pages of ``size`` bytes: ``4 KiB pages``."""
    return f"{size >> 10} KiB pages" if size >= 1024 else f"{size}-byte pages"


def table(
    head: Sequence[str], rows: Sequence[Sequence[str]], style: Style, *, left: int = 1
) -> Iterator[str]:
    """Aligned columns, the first ``left`` of them left-aligned: they name the row.

    Columns are left out that are empty in every row, and those of numbers that are all 0.  A table
    that is wider than the style allows goes on below itself, with its first column repeated.
    """
    if not rows:
        return
    widths = column_widths(head, rows, left)

    def line(cells: Sequence[str], columns: Sequence[int]) -> str:
        return "".join(
            " " * BETWEEN + cells[at].ljust(widths[at] - BETWEEN)
            if at < left
            else cells[at].rjust(widths[at])
            for at in columns
        ).rstrip()

    for columns in _parts(widths, style.width):
        yield style.dim(line(head, columns))
        for row in rows:
            yield line(row, columns)


def column_widths(
    head: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1
) -> dict[int, int]:
    """The width of each column that :func:`table` shows, with the blanks in front of it."""
    used = [
        at
        for at in range(len(head))
        if any(row[at] not in ("", "0" if at >= left else "") for row in rows)
    ]
    return {
        at: max(len(row[at]) for row in (head, *rows)) + BETWEEN
        for at in used or range(min(len(head), 1))
    }


def _parts(widths: dict[int, int], limit: int) -> list[list[int]]:
    """The columns split into parts of at most ``limit`` cells; each begins with the first column,
    and has one more, whatever its width.
    """
    first, *others = widths
    parts, taken = [[first]], widths[first]
    for at in others:
        if taken + widths[at] > limit and len(parts[-1]) > 1:
            parts.append([first])
            taken = widths[first]
        parts[-1].append(at)
        taken += widths[at]
    return parts
