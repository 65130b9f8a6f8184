"""Plain data as JSON that every reader accepts."""

from __future__ import annotations

import json

from analyzer.report.escape import unicode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["json_text"]

SURROGATE = "\\ud"
"""How surrogates begin in the JSON that :func:`json.dumps` makes; most text has none."""


def json_text(value: Any, indent: int | None = None) -> str:
    """JSON in ASCII.  Lone surrogates, which Python uses for file name bytes that are not UTF-8,
    are escaped as for terminals: they are not valid Unicode, and many readers reject them.
    """
    text = json.dumps(value, indent=indent)
    return json.dumps(_valid(value), indent=indent) if SURROGATE in text else text


def _valid(value: Any) -> Any:
    if isinstance(value, str):
        return unicode(value)
    if isinstance(value, dict):
        return {_valid(key): _valid(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_valid(item) for item in value]
    return value
