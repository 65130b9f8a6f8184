"""MF961: what the user expected of the capture."""

from __future__ import annotations

from analyzer.checks.finding import Finding
from analyzer.checks.rule import ERROR, RULES, Spot, walker_rule

__all__ = ["unmet"]


@walker_rule("MF961", "expectation-unmet", ERROR)
def expectation_unmet() -> None:
    """The capture is not what was expected of it.

    An expectation (``check --expect``) says what must hold; the message says what does not, what
    was expected, and what was found.

    Receiver: not affected; nothing is wrong but what the expectation says.

    Usual cause: a regression, a test that went another way, or an expectation that is too narrow.
    """


def unmet(difference: str) -> Finding:
    """The finding for a sentence that says what is not as expected."""
    return Finding(RULES["MF961"], Spot(difference), None, ERROR, "")
