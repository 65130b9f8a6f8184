"""Plain data as JSON that every reader accepts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice

from analyzer.report.escape import unicode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["json_pieces", "json_text"]

SURROGATE = "\\ud"
"""How surrogates begin in the JSON that :func:`json.dumps` makes; most text has none."""
AT_A_TIME = 256
"""Entries of a list that are one piece: one each would take twice the time."""


def json_text(value: Any, indent: int | None = None) -> str:
    """JSON in ASCII.  Lone surrogates, which Python uses for file name bytes that are not UTF-8,
    are escaped as for terminals: they are not valid Unicode, and many readers reject them.
    """
    text = json.dumps(value, indent=indent)
    return json.dumps(_valid(value), indent=indent) if SURROGATE in text else text


def json_pieces(value: Any, levels: int, margin: str = "\n") -> Iterator[str]:
    """The same as :func:`json_text` with an indent of 1, in pieces, for long documents: their text
    takes many times the memory of what it says.  The outer ``levels`` of it are taken apart; lists
    below them come some entries at a time, and may be iterators.
    """
    begin, end = "{}" if isinstance(value, dict) else "[]"
    before = begin
    if levels and isinstance(value, (dict, list)):
        for entry in value.items() if isinstance(value, dict) else value:
            name, item = (f"{json_text(entry[0])}: ", entry[1]) if begin == "{" else ("", entry)
            yield f"{before}{margin} {name}"
            yield from json_pieces(item, levels - 1, margin + " ")
            before = ","
    elif isinstance(value, (list, Iterator)):
        entries = iter(value)
        while some := list(islice(entries, AT_A_TIME)):
            yield before + json_text(some, 1)[1:-2].replace("\n", margin)
            before = ","
    else:
        yield json_text(value, 1).replace("\n", margin)
        return
    yield begin + end if before == begin else margin + end


def _valid(value: Any) -> Any:
    if isinstance(value, str):
        return unicode(value)
    if isinstance(value, dict):
        return {_valid(key): _valid(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_valid(item) for item in value]
    return value
