"""A rule's test case: a capture with just the fault, and a clean one.

Every family's test file has a table ``CASES`` from rule id to case; ``test_catalogue.py`` requires
an entry for every registered rule.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.checks.craft import Tiny, fired

if TYPE_CHECKING:
    from collections.abc import Callable

    from analyzer.checks.selection import Selection
    from analyzer.migration.settings import Settings

__all__ = ["Case", "edited", "example", "verify"]


class Case:
    """``faulty`` and ``clean`` make captures; on the first the rule fires with ``severity``
    (default: the rule's own), on the second it does not.  ``alone``: on the faulty one no other
    rule may be graver than info, as a fault should be reported only once.
    """

    def __init__(
        self,
        faulty: Callable[[], bytes],
        clean: Callable[[], bytes] | None = None,
        *,
        severity: str | None = None,
        settings: Settings | None = None,
        selection: Selection | None = None,
        alone: bool = False,
    ) -> None:
        self.faulty = faulty
        self.clean = clean or Tiny().pcap
        self.severity = severity
        self.settings = settings
        self.selection = selection
        self.alone = alone


def edited(edit: Callable[[Tiny], object], **options: bool) -> Callable[[], bytes]:
    """Makes a capture of the clean migration changed by ``edit``; the options are Tiny's."""

    def build() -> bytes:
        tiny = Tiny(**options)
        edit(tiny)
        return tiny.pcap()

    return build


def verify(rule: str, case: Case) -> None:
    """Assert that the rule fires with the right severity on the faulty capture only."""
    from analyzer.checks.rule import RULES

    found = fired(case.faulty(), case.settings, case.selection)
    assert found.get(rule) == (case.severity or RULES[rule].severity), found
    if case.alone:
        assert {r for r, severity in found.items() if severity != "info"} <= {rule}, found
    assert rule not in fired(case.clean(), case.settings, case.selection)


def example(kind: str) -> Callable[[], bytes]:
    """Makes the synthetic capture that is the generator's example of a fault."""

    def made() -> bytes:
        from analyzer.synth import build
        from analyzer.synth.faults import REGISTRY

        return build(REGISTRY[kind].example)

    return made
