"""A comparison as text: with units, changes in per cent, and related differences on one line."""

from __future__ import annotations

import json
from itertools import groupby

from analyzer.checks.wording import duration
from analyzer.report.escape import terminal
from analyzer.report.style import size_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from analyzer.report.diff import Content, Difference, Side
    from analyzer.report.style import Style

__all__ = ["diff_text"]

LABEL, SHOWN = 60, 40
"""The maximum width of a name, and of a value."""
SIZES = ("bytes", "page_size", "used_length")
TIMES = ("duration", "longest_wait", "wire_downtime")
COUNTS = ("packets", "pages")
"""Suffixes of the names of fields that are sizes, times in seconds, and numbers shown with a
percentage.
"""
LARGEST_FLOAT = 1e15
RANGES = ("missing",)


def diff_text(
    a: Side,
    b: Side,
    differences: Sequence[Difference],
    contents: Sequence[Content],
    notes: Sequence[str],
    style: Style,
) -> Iterator[str]:
    """The lines; strings are made safe for terminals."""
    count = len(differences) + len(contents)
    word = style.bold("SAME") if not count else style.severity("warning", "DIFFERENT")
    yield f"{word}  {terminal(a.path)} and {terminal(b.path)}" + (
        f": {count} differences" if count > 1 else ": 1 difference" if count else ""
    )
    for (migration, section), group in groupby(differences, lambda d: (d.migration, d.section)):
        yield ""
        if section == "migrations":
            yield from (_one_sided_migration(difference, style) for difference in group)
            continue
        yield style.bold(_heading(migration, section))
        yield from _aligned(list(_lines(list(group))))
    if contents:
        yield ""
        yield style.bold("Contents")
        for content in contents:
            yield from _content(content)
    if notes:
        yield ""
        for note in notes:
            yield style.dim(f"note: {terminal(note)}")


def _heading(migration: int | None, section: str) -> str:
    return section.capitalize() if migration is None else f"Migration {migration}: {section}"


def _one_sided_migration(difference: Difference, style: Style) -> str:
    assert difference.migration is not None
    return style.bold(f"Migration {difference.migration}") + f": {_side(difference)}"


def _aligned(pairs: list[tuple[str, str]]) -> Iterator[str]:
    width = min(LABEL, max(len(label) for label, _ in pairs))
    return (f"  {label.ljust(width)}  {text}" for label, text in pairs)


def _lines(differences: list[Difference]) -> Iterator[tuple[str, str]]:
    """The items that differ, and how; items of one kind that only one side has share a line."""
    for (field, kind, _), group in groupby(differences, _together):
        listed = list(group)
        if field is None and len(listed) > 1:
            first, last = (d.thing.removeprefix(kind).strip() for d in (listed[0], listed[-1]))
            yield terminal(f"{kind} {first} to {last}"), _side(listed[0])
            continue
        for difference in listed:
            name = (difference.field or "").replace("_", " ")
            yield terminal(f"{difference.thing} {name}".strip()), _values(difference)


def _together(difference: Difference) -> tuple[str | None, str, str]:
    """A key that is equal for items that may share a line, such as ``iteration 2`` and ``iteration
    3``.
    """
    kind, _, number = difference.thing.rpartition(" ")
    if difference.field is not None or not number.isdecimal():
        kind = difference.thing
    return difference.field, kind, _side(difference) if difference.field is None else ""


def _side(difference: Difference) -> str:
    return f"only in {'A' if difference.a else 'B'}"


def _values(difference: Difference) -> str:
    field, a, b = difference.field, difference.a, difference.b
    if field is None:
        return _side(difference)
    if _are_texts(a) and _are_texts(b):
        return _lists(a, b)
    if not (_is_number(a) and _is_number(b)):
        return f"{_shown(field, a)} -> {_shown(field, b)}"
    one, other = _measured(field, a), _measured(field, b)
    if one == other:
        unit = " B" if field.endswith(SIZES) else " s" if field.endswith(TIMES) else ""
        one, other = f"{a}{unit}", f"{b}{unit}"
    change = _change(a, b) if field.endswith((*SIZES, *TIMES, *COUNTS)) else ""
    return f"{one} -> {other}{change}"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(v, str) for v in value)


def _lists(a: list[str], b: list[str]) -> str:
    """Which names only one side has."""
    ours, theirs = set(a), set(b)
    sides = ("A", [x for x in a if x not in theirs]), ("B", [x for x in b if x not in ours])
    parts = [f"only in {side}: {', '.join(only)}" for side, only in sides if only]
    return terminal("; ".join(parts) or "in a different order")


def _measured(field: str, value: float) -> str:
    if 0 <= value < LARGEST_FLOAT:
        if field.endswith(SIZES) and isinstance(value, int):
            return size_text(value)
        if field.endswith(TIMES):
            return duration(round(value * 1e9))
    return str(value)


def _change(a: float, b: float) -> str:
    if not 0 < a < LARGEST_FLOAT or not 0 <= b < LARGEST_FLOAT:
        return ""
    change = b / a - 1
    fine = abs(change) < 0.1 or change < -0.99
    text = f"{change:+.1%}" if fine else f"{change:+.0%}"
    return "" if text in ("+0.0%", "-0.0%") or (b and text == "-100.0%") else f" ({text})"


def _shown(field: str, value: Any) -> str:
    if value is None:
        return "cannot tell" if field == "complete" else "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = terminal(_measured(field, value) if _is_number(value) else _plain(field, value))
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."


def _plain(field: str, value: Any) -> str:
    """A text, a list or a table in short form."""
    if isinstance(value, dict):
        numbered = sorted(value.items(), key=lambda pair: (len(pair[0]), pair[0]))
        return " ".join(f"{key}:{_json(count)}" for key, count in numbered) or "none"
    if isinstance(value, list):
        return ", ".join(_range(v) if field in RANGES else _json(v) for v in value) or "none"
    return str(value)


def _range(value: Any) -> str:
    """``3`` or ``5-7``, of an index and the last one."""
    if not isinstance(value, list) or len(value) != 2:
        return _json(value)
    first, last = map(_json, value)
    return first if first == last else f"{first}-{last}"


def _json(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _content(content: Content) -> Iterator[str]:
    place = {"main": "on main", "config": "config state"}.get(
        content.part, f"index {content.index}"
    )
    name = f"migration {content.migration} {terminal(content.device)}"
    if content.byte is None:
        yield f"  {name}: {place} is the first difference"
        return
    yield f"  {name}: {place}, byte {content.byte} is the first difference"
    yield f"    A  {content.a.hex(' ') if content.a else 'ends there'}"
    yield f"    B  {content.b.hex(' ') if content.b else 'ends there'}"
