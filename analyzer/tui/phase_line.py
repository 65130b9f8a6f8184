"""The phases of a migration as a band over a time axis."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analyzer.tui.area_chart import runs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.segment import Segment

    from analyzer.migration.phases import Phase
    from analyzer.tui.palette import Palette
    from analyzer.tui.time_axis import TimeWindow

__all__ = ["phase_at", "phase_line"]


def _name(phase: Phase) -> str:
    return f"{phase.name} {phase.number}" if phase.number else phase.name


def phase_at(phases: Sequence[Phase], moment: int) -> str:
    """The name of the phase at a time (ns since the epoch), the later one where two meet; empty if
    there is none.  Phases that are parts of others are left out.
    """
    found = [p for p in phases if not p.is_part and p.start <= moment <= p.end]
    return _name(found[-1]) if found else ""


def phase_line(
    phases: Sequence[Phase], window: TimeWindow, width: int, palette: Palette
) -> list[Segment]:
    """One line in which each phase begins with a tick and its name, shortened to the room there is.

    Phases that are parts of others are left out.
    """
    looks = (palette.ram, palette.sync)
    cells = [(" ", palette.plain)] * width
    for number, phase in enumerate(phase for phase in phases if not phase.is_part):
        if phase.end < window.start or phase.start >= window.end:
            continue
        first = max(0, window.column(phase.start, width))
        last = min(width, max(first + 1, window.column(phase.end, width)))
        style = palette.device if phase.name == "switchover" else looks[number % 2]
        for column in range(first, last):
            cells[column] = ("▔" if column > first else "╿", style)
        name = _name(phase)
        if len(name) > last - first - 1:
            name = name[: max(0, last - first - 2)]
        if len(name) >= 3:
            for at, char in enumerate(name, first + 1):
                cells[at] = (char, style)
    return runs(cells)
