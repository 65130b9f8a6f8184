"""MF96x: what the user expected of the capture."""

from __future__ import annotations

from analyzer.checks.finding import Finding
from analyzer.checks.rule import ERROR, RULES, Spot, limit_rule, walker_rule

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from analyzer.checks.selection import Selection
    from analyzer.migration.migration import Migration

__all__ = ["unmet"]


@walker_rule("MF961", "expectation-unmet", ERROR)
def expectation_unmet() -> None:
    """The capture is not what was expected of it.

    An expectation (``check --expect``) says what must hold; the message says what does not, what
    was expected, and what was found.

    Receiver: not affected; nothing is wrong but what the expectation says.

    Usual cause: a regression, a test that went another way, or an expectation that is too narrow.
    """


@limit_rule("MF962", "dialect-unexpected", ERROR)
def dialect_unexpected(migration: Migration, selection: Selection) -> Iterator[Spot]:
    """Device state came in another dialect than was expected.

    Judged with ``--expected-dialect``, or the setting of that name, where the capture tells the
    dialect.

    Receiver: not affected, if it speaks that dialect.

    Usual cause: another version of QEMU, or another revision of the patch series, than meant.
    """
    dialect, expected = migration.framing.dialect, selection.expected_dialect
    if expected is not None and dialect is not None and dialect.name != expected:
        yield Spot(f"expected {expected}, found {dialect.name} ({dialect.meaning})")


def unmet(difference: str) -> Finding:
    """The finding for a sentence that says what is not as expected."""
    return Finding(RULES["MF961"], Spot(difference), None, ERROR, "")
