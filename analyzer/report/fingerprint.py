"""What makes a finding the same one in two runs: for baselines and for code scanning.

Neither frames, times, addresses nor the text count, which differ from capture to capture of the
same fault; nor does what else was found.
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
    index are told apart by their order.
    """
    seen: dict[tuple[Any, ...], int] = {}
    made = []
    for finding in findings:
        where = tuple(finding[name] for name in WHERE)
        count = seen[where] = seen.get(where, 0) + 1
        text = "\0".join(map(repr, (capture, *where, count)))
        made.append(hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32])
    return made
