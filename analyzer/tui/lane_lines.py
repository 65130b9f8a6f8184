"""Lanes: what each channel carried over time, one character per bin."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.segment import Segment

from analyzer.tui.area_chart import runs, with_mark
from analyzer.tui.palette import DEFAULT

if TYPE_CHECKING:
    from rich.style import Style

    from analyzer.tui.binning import Bins
    from analyzer.tui.palette import Palette

__all__ = ["LANE_LEGEND", "lane_line", "legend_segments"]

IDLE, ZERO, RAM, BOTH, DEVICE, SYNC, HOLE, MAIN = range(8)
LANE_GLYPHS = "·░▒▚█│╳━"  # noqa: RUF001
THIN = str.maketrans(LANE_GLYPHS[IDLE] + LANE_GLYPHS[MAIN], "  ")
LANE_LEGEND = (
    (RAM, "RAM"),
    (ZERO, "zero"),
    (DEVICE, "device"),
    (BOTH, "both"),
    (SYNC, "SYNC"),
    (MAIN, "main"),
    (HOLE, "missing"),
    (IDLE, "idle"),
)


def lane_styles(palette: Palette) -> tuple[Style, ...]:
    """The style of every kind of content."""
    return (
        palette.axis,
        palette.zero,
        palette.ram,
        palette.config,
        palette.device,
        palette.sync,
        palette.error,
        palette.main,
    )


def contents(bins: Bins, lane: int) -> list[int]:
    """The kind of content of each bin of a lane."""
    found = []
    rows = (
        bins.lane_ram,
        bins.lane_zero,
        bins.lane_device,
        bins.lane_sync,
        bins.lane_missing,
        bins.lane_main,
    )
    columns = zip(*(row[lane].tolist() for row in rows), strict=True)
    for ram, zero, device, sync, hole, main in columns:
        if hole:
            found.append(HOLE)
        elif device:
            found.append(BOTH if ram or zero else DEVICE)
        elif sync and not ram:
            found.append(SYNC)
        elif ram or main:
            found.append(RAM if ram else MAIN)
        else:
            found.append(ZERO if zero else IDLE)
    return found


def lane_line(
    bins: Bins, lane: int, cursor: int = -1, palette: Palette = DEFAULT, *, first: bool = True
) -> list[Segment]:
    """One line of a lane; ``cursor`` is the bin to mark (-1: none).  If a lane has several lines,
    thin glyphs (idle, main) are drawn on the ``first`` only.
    """
    looks = lane_styles(palette)
    glyphs = LANE_GLYPHS if first else LANE_GLYPHS.translate(THIN)
    line = runs((glyphs[kind], looks[kind]) for kind in contents(bins, lane))
    return with_mark(line, cursor, palette.field)


def legend_segments(palette: Palette) -> list[Segment]:
    """What the characters mean."""
    looks = lane_styles(palette)
    return [Segment(f"{LANE_GLYPHS[kind]} {word}  ", looks[kind]) for kind, word in LANE_LEGEND]
