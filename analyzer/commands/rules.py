"""``mfshark rule``: list the rules, or explain one."""

from __future__ import annotations

import inspect
import sys

from analyzer.checks.families import load
from analyzer.checks.rule import BY_SLUG, RULES
from analyzer.checks.selection import names_rule, no_such_rule
from analyzer.commands.common import CLEAN, style_of
from analyzer.commands.options import add_shown_options
from analyzer.errors import UsageError
from analyzer.report.reference import excuses

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from analyzer.checks.rule import Rule
    from analyzer.report.style import Style

__all__ = ["add_arguments", "run"]


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the command's options."""
    parser.description = (
        "Says what a rule verifies, why, what QEMU's receiver does, and what usually causes it."
    )
    add_shown_options(parser)
    parser.add_argument(
        "rule", nargs="?", metavar="ID", help="MF506 or vfio-idx-gap; MF5 lists that family"
    )


def run(options: Namespace) -> int:
    """Run it.  Raises :class:`UsageError` for an id that is none."""
    load()
    style = style_of(options, sys.stdout)
    name = options.rule or ""
    found = RULES.get(name.upper()) or BY_SLUG.get(name)
    family = [rule for rule in RULES.values() if names_rule(rule, (name,))]
    if found is not None:
        _explain(found, style)
    elif family:
        _list(family, style)
    else:
        raise UsageError(no_such_rule(name))
    return CLEAN


def _list(rules: list[Rule], style: Style) -> None:
    """A line each."""
    for rule in sorted(rules, key=lambda rule: (len(rule.id), rule.id)):
        first = inspect.cleandoc(rule.explanation).splitlines()[0]
        severity = style.severity(rule.severity, f"{rule.severity:<7}")
        print(f"{rule.id}  {severity}  {rule.slug:<32} {first}")


def _explain(rule: Rule, style: Style) -> None:
    """All there is to say."""
    head = f"{rule.id} {rule.slug}"
    print(style.bold(head) + "  " + style.severity(rule.severity, rule.severity))
    print()
    print(inspect.cleandoc(rule.explanation))
    if explained := excuses(rule):
        print()
        print(f"Only noted, as info, when this explains it: {', '.join(explained)}.")
