"""Regular expressions in filters, with bounded running time.  They are only matched against the few
distinct names of a capture, which are short; but names may be hostile, and Python's matcher
backtracks.  Its worst case is bounded by checking the pattern.
"""

from __future__ import annotations

import re
import warnings
from time import monotonic

from analyzer.filter.error import FilterError

__all__ = ["Pattern"]

LENGTH_MAX = 256
EFFORT_MAX = 24
"""The allowed doublings of the worst-case time, in addition to those from the name's length."""
REPETITION, CHOICE = 8, 2
"""Doublings caused by a repetition of variable length, and by an optional part or an
alternative.
"""
SECONDS_MAX = 2.0
ENDLESS = 1 << 16
TOKEN = re.compile(
    r"(?P<atom>\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|[^()|*+?{\\\[])"
    r"|(?P<open>\((?:\?(?:P<\w+>|P=\w+|#[^)]*|[a-zL-]*:|[a-zL]+(?=\))|<?[=!]|>|\([^)]*\)))?)"
    r"|(?P<close>\))"
    r"|(?P<bar>\|)"
    r"|(?P<repeat>(?:[*+?]|\{\d*,?\d*\})[?+]?)"
    r"|(?P<other>.)",
    re.DOTALL,
)


class Pattern:
    """A compiled pattern; case does not matter, as in Wireshark.

    Raises :class:`FilterError` (at ``column``) for an invalid pattern, or one that could take too
    long on some name.
    """

    def __init__(self, text: str, column: int) -> None:
        self._column = column
        if len(text) > LENGTH_MAX:
            raise self._error(f"the pattern is longer than {LENGTH_MAX} characters")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self._search = re.compile(text, re.IGNORECASE | re.DOTALL).search
        except (re.error, OverflowError, RecursionError) as error:
            raise self._error(f"not a regular expression: {error}") from None
        self._check(text)
        self._spent = 0.0

    def _error(self, reason: str) -> FilterError:
        return FilterError(self._column, "", "", reason=reason)

    def _check(self, text: str) -> None:
        """Reject a pattern that could take too long."""
        loose = [False]  # of every open group: is there more than one way to match it?
        inner = False  # of the group just closed
        effort = 0
        for token in TOKEN.finditer(text):
            kind = token.lastgroup
            if kind == "open":
                if re.match(r"\(\?[a-wL]*x", token[0]):
                    raise self._error("verbose patterns are not supported")
                loose.append(False)
            elif kind == "close" and len(loose) > 1:
                inner = loose.pop()
                loose[-1] = loose[-1] or inner
                continue
            elif kind == "bar" and len(loose) > 1:
                loose[-1] = True
                effort += CHOICE
            elif kind == "repeat":
                low, high = _bounds(token[0])
                if inner and high > 1:
                    raise self._error(
                        "a repeated group must not hold alternatives or repetitions: "
                        "some names could take forever"
                    )
                if low != high:
                    loose[-1] = True
                    effort += REPETITION if high > 1 else CHOICE
            inner = False
        if effort > EFFORT_MAX:
            raise self._error("too many repetitions or alternatives: at most three of '*' or '+'")

    def matches(self, text: str) -> bool:
        """Whether the pattern is found in ``text``."""
        if self._spent > SECONDS_MAX:
            raise self._error("the pattern takes too long")
        began = monotonic()
        found = self._search(text[:LENGTH_MAX]) is not None
        self._spent += monotonic() - began
        return found


def _bounds(repeat: str) -> tuple[int, int]:
    if repeat[0] != "{":
        return {"*": (0, ENDLESS), "+": (1, ENDLESS), "?": (0, 1)}[repeat[0]]
    low, comma, high = repeat[1 : repeat.index("}")].partition(",")
    least = int(low or 0)
    return least, int(high or ENDLESS) if comma else least
