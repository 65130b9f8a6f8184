"""Plots order of arrival against index: with glyphs if there are few buffers, else braille dots."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["EARLY", "LATE", "arrival_plot", "braille_plot"]

EARLY, LATE = "■", "▲"
"""A buffer with a higher index than all before it, and one that was overtaken."""

BITS = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]], dtype=np.uint8)
"""The bit of each dot of a braille character, by line and column."""


def braille_plot(values: Sequence[int], width: int, height: int) -> list[str]:
    """``values`` from left to right as dots in ``width`` x ``height`` characters.

    The first line is the highest; its upper edge is the highest value.
    """
    cells = np.zeros((height, width), dtype=np.uint8)
    points = np.asarray(values, dtype=np.int64)
    if len(points) and width and height:
        highest = max(1, int(points.max()))
        columns = np.arange(len(points)) * (2 * width - 1) // max(1, len(points) - 1)
        rows = points.astype(np.float64) * (4 * height - 1) // highest
        lines = 4 * height - 1 - np.clip(rows.astype(np.int64), 0, 4 * height - 1)
        np.bitwise_or.at(cells, (lines // 4, columns // 2), BITS[lines % 4, columns % 2])
    return ["".join(map(chr, line)) for line in (cells.astype(np.int64) + 0x2800).tolist()]


def arrival_plot(order: Sequence[int], width: int, height: int) -> list[str]:
    """Indexes in order of arrival, in ``width`` x ``height`` characters."""
    if 2 * len(order) > width or not height:
        return braille_plot(order, width, height)
    lines = [[" "] * width for _ in range(height)]
    highest = -1
    top = max((1, *order))
    for at, index in enumerate(order):
        column = at * (width - 1) // max(1, len(order) - 1)
        line = height - 1 - index * (height - 1) // top
        lines[line][column] = LATE if index < highest else EARLY
        highest = max(highest, index)
    return ["".join(line) for line in lines]
