"""Text on a terminal: colours, aligned tables, readable sizes."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["Style", "size_text", "table"]

COLOURS = {"error": "1;31", "warning": "33", "info": "36"}
OUTCOMES = {"completed": "32", "cancelled": "33", "failed": "1;31", "incomplete": "33"}
UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


class Style:
    """Adds escape sequences, or none."""

    __slots__ = ("colour",)

    def __init__(self, colour: bool = False) -> None:
        self.colour = colour

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


def size_text(size: int) -> str:
    """Bytes, in at most seven characters and the unit: ``1.4 MiB``."""
    value = float(size)
    for unit in UNITS:
        if value < 1024 or unit == UNITS[-1]:
            break
        value /= 1024
    return f"{size} B" if unit == "B" else f"{value:.1f} {unit}"


def table(
    head: Sequence[str], rows: Sequence[Sequence[str]], style: Style, *, left: int = 1
) -> Iterator[str]:
    """Aligned columns, the first ``left`` of them left-aligned: they name the row.

    Columns are left out that are empty in every row, and those of numbers that are all 0.
    """
    if not rows:
        return
    used = [
        index
        for index in range(len(head))
        if any(row[index] not in ("", "0" if index >= left else "") for row in rows)
    ]
    used = used or list(range(min(len(head), 1)))
    widths = [max(len(row[i]) for row in (head, *rows)) for i in used]

    def line(cells: Sequence[str]) -> str:
        parts = [
            cells[i].ljust(width) if i < left else cells[i].rjust(width)
            for i, width in zip(used, widths, strict=True)
        ]
        return ("  " + "  ".join(parts)).rstrip()

    yield style.dim(line(head))
    for row in rows:
        yield line(row)
