"""The part of the verdict that a scrubbed capture shares with its original: without names."""

from __future__ import annotations

from analyzer.report.model import capture_report

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from analyzer.analysis import Analysis

__all__ = ["verdict"]

REPLACED = frozenset(
    {
        "path", "format", "bytes", "notes", "damage", "source", "destination", "client", "server",
        "uuid", "idstr", "device", "name", "sha256", "config_sha256", "message", "host",
        "vendor_id", "text",
    }
)  # fmt: skip
"""Keys of the report whose values are addresses, names, digests, or texts that contain them."""

DEVICES = "devices"
"""A list sorted by names, which have changed."""
EVIDENCE = "outcome_evidence"
"""A text that may name one of them."""


def verdict(analysis: Analysis) -> Any:
    """The report of a capture, without :data:`REPLACED`."""
    return _without(capture_report(analysis))


def _without(value: Any) -> Any:
    if isinstance(value, dict):
        kept = {key: _without(inner) for key, inner in value.items() if key not in REPLACED}
        if DEVICES in kept:
            kept[DEVICES].sort(key=repr)
        if EVIDENCE in kept:
            for device in value[DEVICES]:
                kept[EVIDENCE] = kept[EVIDENCE].replace(device["idstr"], "")
        return kept
    if isinstance(value, list):
        return [_without(inner) for inner in value]
    return value
