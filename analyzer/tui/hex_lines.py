"""Bytes as lines of hexadecimal and ASCII, with a field and a byte marked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analyzer.tui.area_chart import runs

if TYPE_CHECKING:
    from rich.segment import Segment

    from analyzer.tui.palette import Palette

__all__ = ["PRINTABLE", "bytes_per_line", "hex_line"]

PRINTABLE = "".join(chr(code) if 32 <= code < 127 else "·" for code in range(256))


def bytes_per_line(width: int) -> int:
    """How many bytes fit on a line of ``width`` cells: 32, 16, 8, or at least 4."""
    for number in (32, 16, 8):
        if width >= _width(number):
            return number
    return 4


def _width(number: int) -> int:
    return 8 + 2 + 3 * number + number // 8 + 1 + number


def hex_line(
    data: bytes,
    offset: int,
    per_line: int,
    field: tuple[int, int],
    cursor: int,
    palette: Palette,
    missing: tuple[tuple[int, int], ...] = (),
) -> list[Segment]:
    """The line that begins at ``offset``.

    ``field`` is (offset, size) of the bytes to mark, ``cursor`` the offset of the byte to mark
    strongly (-1: none), ``missing`` the ranges (first, last) that the capture lacks.
    """
    piece = data[offset : offset + per_line]
    left, right = [(f"{offset:08x}  ", palette.axis)], []
    begin, end = field[0], field[0] + field[1]
    for at, value in enumerate(piece, offset):
        inside = begin <= at < end
        gone = any(first <= at <= last for first, last in missing)
        style = palette.error if gone else palette.plain if value else palette.zero
        if at == cursor:
            style = palette.byte
        elif inside:
            style = style + palette.field
        joined = style if inside and at + 1 < end and at != cursor else palette.plain
        left.append(("--" if gone else f"{value:02x}", style))
        left.append(("  " if (at - offset) % 8 == 7 else " ", joined))
        right.append(("?" if gone else PRINTABLE[value], style))
    lacking = per_line - len(piece)
    groups = per_line // 8 - len(piece) // 8
    left.append((" " * (3 * lacking + groups + 1), palette.plain))
    return runs(left) + runs(right)
