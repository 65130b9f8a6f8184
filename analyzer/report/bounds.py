"""Bounds on values, as a user writes them: ``">= 20"``, ``"10..20"``, ``"<= 300 ms"``, ``any``."""

from __future__ import annotations

import json
import operator
import re

from analyzer.filter.amounts import SIZES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["Bound", "quantity", "shown"]

BYTES = ("B", "K", "M", "G", "T", "KiB", "MiB", "GiB", "TiB")
UNITS = {
    "": 1.0, "ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "%": 0.01,
    **{unit: float(SIZES[unit.lower()]) for unit in BYTES},
}  # fmt: skip
MEASURES = {
    "seconds": ("ns", "us", "ms", "s", "min"),
    "bytes": BYTES,
    "share": ("%",),
    "count": (),
}
"""The units of a measure."""
NUMBER = r"(-?\d+(?:\.\d+)?)\s*([A-Za-z%]*)"
SIGNS = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "=": operator.eq,
    "!=": operator.ne,
}
COMPARED = re.compile(rf"(<=|>=|<|>|!=|=)\s*{NUMBER}")
RANGE = re.compile(rf"{NUMBER}\s*\.\.\s*{NUMBER}")
ANY = "any"


class Bound:
    """A condition on a value, made from a TOML value; ``text`` describes it.  Text that is not a
    bound, and any other type, stands for exactly that value.  Raises :class:`ValueError` for a
    bound with an unknown unit.
    """

    def __init__(self, wanted: Any) -> None:
        self.text = shown(wanted)
        self._wanted = wanted
        self._sign = ""
        self._low = self._high = 0.0
        if not isinstance(wanted, str):
            return
        text = wanted.strip()
        if text == ANY:
            self._sign = ANY
        elif found := COMPARED.fullmatch(text):
            self._sign = found[1]
            self._low = _number(found[2], found[3])
        elif found := RANGE.fullmatch(text):
            self._sign = ".."
            self._low, self._high = _number(found[1], found[2]), _number(found[3], found[4])
        if self._sign:
            self.text = text

    def holds(self, value: Any) -> bool:
        """Whether a value satisfies the bound; what is not a number satisfies no numeric bound."""
        if self._sign == ANY:
            return True
        if not self._sign:
            return type(value) is type(self._wanted) and bool(value == self._wanted)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        if self._sign == "..":
            return self._low <= value <= self._high
        return bool(SIGNS[self._sign](value, self._low))


def shown(value: Any) -> str:
    """A value in TOML notation; ``nothing`` for ``None``."""
    return "nothing" if value is None else json.dumps(value, ensure_ascii=False, default=str)


def quantity(text: str, measure: str) -> float:
    """A number with or without one of the units of a measure.  Raises :class:`ValueError`."""
    found = re.fullmatch(NUMBER, text.strip())
    if found is None:
        raise ValueError("that is not a number")
    if found[2] and found[2] not in MEASURES[measure]:
        units = ", ".join(MEASURES[measure]) or "none"
        raise ValueError(f"{found[2]!r} is not a unit of it; valid units are {units}")
    return _number(found[1], found[2])


def _number(digits: str, unit: str) -> float:
    if unit not in UNITS:
        raise ValueError(
            f"{unit!r} is not a unit; valid units are {', '.join(filter(None, UNITS))}"
        )
    return float(digits) * UNITS[unit]
