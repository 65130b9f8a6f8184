"""The phases of a migration, as far as its main channel tells them.

Wire-format page, section 8.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.segment import Segment

if TYPE_CHECKING:
    from analyzer.migration.migration import Migration
    from analyzer.tui.palette import Palette
    from analyzer.tui.time_axis import TimeWindow

__all__ = ["Phase", "phase_line", "phases_of"]


class Phase:
    """From ``start`` to ``end``, ns since the epoch."""

    __slots__ = ("end", "name", "start")

    def __init__(self, name: str, start: int, end: int) -> None:
        self.name = name
        self.start = start
        self.end = end


def phases_of(migration: Migration) -> list[Phase]:
    """Setup, iterations, switchover (until the state's last byte), in order of time."""
    facts, main = migration.main_facts, migration.main
    if facts is None or main is None or not main.flow.carries:
        return []
    begin = main.flow.first.time
    last = max(channel.flow.last.time for channel in list(migration.channels))
    phases = []
    switchover = facts.switchover_start or facts.first_section_end or facts.packaged
    stop = switchover.time if switchover is not None else last
    at = begin
    for number, iteration in enumerate(list(facts.iterations)):
        end = iteration.end.time if iteration.end is not None else stop
        end = min(end, stop)
        name = "setup" if number == 0 and iteration.reason == "flush" else f"iteration {number}"
        if end > at:
            phases.append(Phase(name, at, end))
            at = end
    if at < stop:
        phases.append(Phase("iteration" if phases else "setup", at, stop))
    if switchover is not None:
        phases.append(Phase("switchover", stop, max(stop + 1, last)))
    return phases


def phase_line(
    phases: list[Phase], window: TimeWindow, width: int, palette: Palette
) -> list[Segment]:
    """The phases as a band, each with its name as far as there is room."""
    looks = (palette.ram, palette.sync)
    cells = [(" ", palette.plain)] * width
    for number, phase in enumerate(phases):
        first = max(0, window.column(phase.start, width))
        last = min(width, max(first + 1, window.column(phase.end, width)))
        style = palette.device if phase.name == "switchover" else looks[number % 2]
        for column in range(first, last):
            cells[column] = ("▔" if column > first else "╿", style)
        name = phase.name[: max(0, last - first - 2)]
        if len(name) >= min(3, len(phase.name)):
            for at, char in enumerate(name, first + 1):
                cells[at] = (char, style)
    return [Segment(char, style) for char, style in cells]
