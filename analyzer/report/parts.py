"""Parts that several reports share."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeAlias

    from analyzer.checks.finding import Finding

    Json: TypeAlias = dict[str, Any]

__all__ = ["finding_report", "iso_time"]


def finding_report(finding: Finding) -> Json:
    """One finding."""
    spot = finding.spot
    channel = spot.channel
    return {
        "rule": finding.rule.id,
        "name": finding.rule.slug,
        "severity": finding.severity,
        "message": finding.message,
        "migration": finding.migration.number if finding.migration is not None else None,
        "frame": spot.frame,
        "channel_kind": channel.kind if channel is not None else None,
        "channel": channel.known_id if channel is not None else None,
        "tcp_stream": channel.stream if channel is not None else None,
        "offset": spot.offset,
        "device": spot.device,
        "index": spot.index,
        "repeats": finding.repeats,
    }


def iso_time(ns: int) -> str | None:
    """ISO 8601 in UTC with nanoseconds; ``None`` if the time is out of range, or 0, as in captures
    whose frames carry no times.
    """
    if not ns:
        return None
    import time

    seconds, rest = divmod(ns, 1_000_000_000)
    try:
        moment = time.gmtime(seconds)
    except (OverflowError, ValueError, OSError):
        return None
    if moment.tm_year > 9999:
        return None
    return time.strftime("%Y-%m-%dT%H:%M:%S", moment) + f".{rest:09d}Z"
