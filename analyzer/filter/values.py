"""Parses the values in a filter: numbers, times, text, bytes."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from analyzer.filter.amounts import duration, number
from analyzer.filter.grammar import WORDS
from dissectors.registry import FIELDS

__all__ = [
    "boolean",
    "duration",
    "hexadecimal",
    "moment",
    "number",
    "quoted",
    "unquoted",
]

ESCAPE = re.compile(
    r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{1,3})|(.))", re.DOTALL
)
PLAIN = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}
WORD = re.compile(r"(?:[\w:/#+-]|\.(?!\.))+", re.ASCII)
UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
BYTES = re.compile(r"(?:0[xX])?[0-9a-fA-F]{2}(?:[:.-]?[0-9a-fA-F]{2})*")
MOMENT = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d(?::\d\d)?)(\.\d{1,9})?)?(Z|[+-]\d\d:?\d\d)?",
    re.ASCII,
)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def moment(text: str) -> int | None:
    """A point in time, ns since the epoch, from ISO 8601 (UTC by default) or seconds."""
    found = MOMENT.fullmatch(text)
    if found is None:
        return duration(text) if text.replace(".", "", 1).isdigit() else None
    day, clock, fraction, zone = found.groups()
    zone = "+00:00" if zone in (None, "Z") else zone
    try:
        when = datetime.fromisoformat(f"{day}T{clock or '00:00'}{zone}").astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    seconds = (when - EPOCH) // timedelta(seconds=1)
    return seconds * 10**9 + int((fraction or ".")[1:].ljust(9, "0"))


def boolean(text: str) -> bool | None:
    """``true``, ``false``, 1 or 0."""
    return {"1": True, "true": True, "0": False, "false": False}.get(text.lower())


def hexadecimal(text: str) -> bytes | None:
    """Bytes: a uuid, or pairs of digits, also with ``:``, ``-`` or ``.`` between them."""
    if UUID.fullmatch(text) or BYTES.fullmatch(text):
        return bytes.fromhex(re.sub(r"^0[xX]|[:.-]", "", text))
    return None


def quoted(text: str) -> str:
    """The token that stands for a text."""
    if WORD.fullmatch(text) and text not in WORDS.values() and text not in FIELDS:
        return text
    return '"' + "".join(map(_escaped, text)) + '"'


def _escaped(char: str) -> str:
    if char in '\\"':
        return "\\" + char
    return char if char.isprintable() else f"\\U{ord(char):08x}"


def unquoted(text: str) -> str:
    """The text of a string token, quotes and escapes resolved; other tokens stay as they are."""
    if text.startswith("r"):
        return text[2:-1] if text[1:2] == '"' and len(text) > 2 else text
    if text[:1] not in ("'", '"'):
        return text
    return ESCAPE.sub(_resolved, text[1:-1])


def _resolved(found: re.Match[str]) -> str:
    byte, short, long, octal, char = found.groups()
    if char is not None:
        return PLAIN.get(char, char)
    code = int(octal, 8) if octal else int(byte or short or long, 16)
    return chr(code) if code < 0x110000 else "\ufffd"
