"""``mfshark rule``: list the rules, or explain one."""

from __future__ import annotations

import inspect
import sys

from analyzer.checks.families import load
from analyzer.checks.rule import BY_SLUG, RULES
from analyzer.commands.common import CLEAN, style_of
from analyzer.commands.options import add_shown_options
from analyzer.errors import UsageError
from analyzer.report.reference import excuses

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

__all__ = ["add_arguments", "run"]


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the command's options."""
    parser.description = (
        "Says what a rule verifies, why, what QEMU's receiver does, and what usually causes it."
    )
    add_shown_options(parser)
    parser.add_argument("rule", nargs="?", metavar="ID", help="MF506 or vfio-idx-gap")


def run(options: Namespace) -> int:
    """Run it.  Raises :class:`UsageError` for an id that is none."""
    load()
    style = style_of(options, sys.stdout)
    if options.rule is None:
        for entry in sorted(RULES.values(), key=lambda r: (len(r.id), r.id)):
            first = inspect.cleandoc(entry.explanation).splitlines()[0]
            severity = style.severity(entry.severity, f"{entry.severity:<7}")
            print(f"{entry.id}  {severity}  {entry.slug:<32} {first}")
        return CLEAN
    found = RULES.get(options.rule.upper()) or BY_SLUG.get(options.rule)
    if found is None:
        import difflib

        near = difflib.get_close_matches(options.rule, [*RULES, *BY_SLUG], 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise UsageError(f"no rule is called {options.rule!r}{hint}")
    head = f"{found.id} {found.slug}"
    print(style.bold(head) + "  " + style.severity(found.severity, found.severity))
    print()
    print(inspect.cleandoc(found.explanation))
    if explained := excuses(found):
        print()
        print(f"Only noted, as info, when this explains it: {', '.join(explained)}.")
    return CLEAN
