"""Identifies a finding across runs, for baselines and code scanning.  Frames, times, addresses and
the text do not count, since they differ between captures of the same fault; nor do other findings.
"""

from __future__ import annotations

import hashlib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from analyzer.report.parts import Json

__all__ = ["fingerprints"]

WHERE = ("rule", "migration", "channel", "device", "index")


def fingerprints(findings: Iterable[Json], capture: str) -> list[str]:
    """One for each finding of a report's capture, in their order: 32 hexadecimal digits.

    ``capture`` names the capture.  Several findings of one rule at the same channel, device and
    index are distinguished by their order.
    """
    seen: dict[tuple[Any, ...], int] = {}
    made = []
    for finding in findings:
        where = tuple(finding[name] for name in WHERE)
        count = seen[where] = seen.get(where, 0) + 1
        text = "\0".join(map(repr, (capture, *where, count)))
        made.append(hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32])
    return made
