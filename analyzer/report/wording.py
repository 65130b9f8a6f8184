"""Sentences about findings and rules that several formats share."""

from __future__ import annotations

import textwrap

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from analyzer.checks.rule import Rule

    Json = dict[str, Any]

__all__ = ["explanation_parts", "placed"]


def placed(finding: Json) -> str:
    """A finding's message and where it is; not escaped."""
    where = []
    if finding["migration"] is not None:
        where.append(f"migration {finding['migration'] + 1}")
    if finding["channel"] is not None:
        where.append(f"multifd {finding['channel']}")
    elif finding["tcp_stream"] is not None:
        where.append(f"tcp.stream {finding['tcp_stream']}")
    if finding["device"] is not None:
        where.append(finding["device"])
    if finding["frame"]:
        where.append(f"frame {finding['frame']}")
    return f"{finding['message']} ({', '.join(where)})" if where else str(finding["message"])


def explanation_parts(rule: Rule) -> tuple[str, str]:
    """A rule's first sentence, and the rest of its explanation, without markup."""
    first, _, rest = rule.explanation.replace("``", "").strip().partition("\n")
    return first, textwrap.dedent(rest).strip()
