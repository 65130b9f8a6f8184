"""Numbers with units: sizes, always in powers of 1024, and times."""

from __future__ import annotations

import re
from fractions import Fraction

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["SIZES", "duration", "number"]

NUMBER = re.compile(
    r"([+-]?)(0[xX][0-9a-fA-F]+|0[bB][01]+|0[oO]?[0-7]+|\d+(?:\.\d+)?)([A-Za-z]*)", re.ASCII
)
SIZES = {
    unit + tail: 1 << 10 * power for power, unit in enumerate("kmgt", 1) for tail in ("", "b", "ib")
}
SIZES |= {"": 1, "b": 1}
"""By unit in lower case: ``k``, ``kb`` and ``kib`` are the same, as in QEMU's monitor."""
SECONDS = {"": 10**9, "s": 10**9, "ms": 10**6, "us": 1000, "ns": 1}
SECONDS |= {"min": 60 * 10**9, "m": 60 * 10**9, "h": 3600 * 10**9, "d": 86400 * 10**9}
DIGITS_MAX = 40


def number(text: str) -> int | None:
    """A whole number: decimal, 0x, 0o or 0 (octal), 0b; with K, M, G or T for powers of 1024."""
    found = NUMBER.fullmatch(text)
    return None if found is None else _scaled(found, SIZES, found[3].lower())


def duration(text: str) -> int | None:
    """Nanoseconds; a number without a unit is in seconds."""
    found = NUMBER.fullmatch(text)
    return None if found is None else _scaled(found, SECONDS, found[3])


def _scaled(found: re.Match[str], units: Mapping[str, int], unit: str) -> int | None:
    if len(found[0]) > DIGITS_MAX or unit not in units:
        return None
    sign, digits = found[1], found[2]
    if digits[1:2] in "xXbBoO" and len(digits) > 2:
        value = Fraction(int(digits, 0))
    elif digits[0] == "0" and digits.isdigit():
        if digits.strip("01234567"):
            return None
        value = Fraction(int(digits, 8))
    else:
        value = Fraction(digits)
    value *= units[unit]
    if value.denominator != 1:
        return None
    return -int(value) if sign == "-" else int(value)
