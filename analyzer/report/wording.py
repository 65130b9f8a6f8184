"""Sentences about findings and rules that several formats share."""

from __future__ import annotations

import os

from analyzer.migration.channel import multifd_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from analyzer.checks.rule import Rule
    from analyzer.report.parts import Json

__all__ = ["STATES", "channel_name", "explanation_parts", "hosted_path", "placed"]

STATES = {True: "complete", False: "INCOMPLETE", None: "cannot tell"}
"""Whether a device's state is complete, in a word."""


def placed(finding: Json) -> str:
    """A finding's message and where it is; not escaped."""
    where = []
    if finding["migration"] is not None:
        where.append(f"migration {finding['migration']}")
    if (kind := finding["channel_kind"]) is not None:
        where.append(channel_name(kind, finding["channel"], finding["tcp_stream"]))
    if finding["device"] is not None:
        where.append(finding["device"])
    if finding["frame"]:
        where.append(f"frame {finding['frame']}")
    return f"{finding['message']} ({', '.join(where)})" if where else str(finding["message"])


def channel_name(kind: str, number: int | None, stream: int) -> str:
    """The name of a channel, by its kind, its id if that is known, and its ``tcp.stream``."""
    if kind != "multifd":
        return kind
    return multifd_name(-1 - stream if number is None else number)


def hosted_path(path: str) -> str:
    """The path of a file for code hosts: relative to the working directory if it is below it."""
    path = os.path.normpath(path)
    if os.path.isabs(path):
        relative = os.path.relpath(path)
        return path if relative.startswith("..") else relative
    return path


def explanation_parts(rule: Rule) -> tuple[str, str]:
    """A rule's first sentence, and the other paragraphs of its explanation, without markup."""
    first, *rest = (f"{head}: {text}" if head else text for head, text in rule.paragraphs)
    return first, "\n\n".join(rest)
