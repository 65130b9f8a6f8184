"""COLO's checkpoints in reports."""

from __future__ import annotations

from statistics import median

from analyzer.checks.wording import counted, duration
from analyzer.migration.colo_handshake import handshakes_of
from analyzer.report.parts import iso_time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from analyzer.migration.colo_handshake import Handshake
    from analyzer.migration.migration import Migration
    from analyzer.report.parts import Json

__all__ = ["colo_report", "colo_sentence"]


def colo_sentence(migration: Migration) -> str:
    """How many checkpoints there were, and how long each one paused both guests."""
    facts = migration.main_facts
    count = facts.colo_count if facts is not None else 0
    pauses = [time for h in handshakes_of(migration) if (time := h.pause) is not None]
    text = counted(count, "COLO checkpoint")
    if pauses:
        middle, most = duration(round(median(pauses))), duration(max(pauses))
        text += f" (both guests paused {middle} at the median, {most} at most)"
    return text


def colo_report(migration: Migration) -> Json:
    """The same as plain data: ``colo`` of the JSON report."""
    facts, returned = migration.main_facts, migration.return_facts
    ready = returned.ready if returned is not None else None
    return {
        "ready_frame": ready.frame if ready is not None else None,
        "checkpoint_count": facts.colo_count if facts is not None else 0,
        "checkpoints": [_checkpoint(handshake) for handshake in handshakes_of(migration)],
    }


def _checkpoint(handshake: Handshake) -> Json:
    checkpoint, pause = handshake.checkpoint, handshake.pause
    begin = checkpoint.begin
    return {
        "frame": begin.frame if begin is not None else None,
        "time": iso_time(begin.time) if begin is not None else None,
        "device_state_bytes": checkpoint.size,
        "pause": None if pause is None else pause / 1e9,
        "loaded_frame": handshake.loaded.frame if handshake.loaded is not None else None,
    }
