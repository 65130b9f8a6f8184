"""``mfshark rule``: list the rules, or explain one."""

from __future__ import annotations

import re
import shutil
import sys
import textwrap

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

WIDEST = 100
"""The maximum width of text, on any terminal."""
VARIABLE = re.compile(r"%\w+|\b(?:0x)?[0-9a-f]*\d[0-9a-f]*\b")
"""Numbers in QEMU's messages, and the conversions that print them."""


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the command's options."""
    parser.description = (
        "Explains a rule: what it verifies, why, how QEMU's receiver reacts, and the usual cause. "
        "Other text, such as an error message of the destination, lists the rules that mention it."
    )
    add_shown_options(parser)
    parser.add_argument(
        "rule",
        nargs="?",
        metavar="ID",
        help="MF506 or vfio-idx-gap; MF5 lists that family, 'hang' the rules with that text",
    )


def run(options: Namespace) -> int:
    """Run it.  Raises :class:`UsageError` for an unknown id."""
    load()
    style = style_of(options, sys.stdout)
    name = options.rule or ""
    found = RULES.get(name.upper()) or BY_SLUG.get(name.lower())
    several = [rule for rule in RULES.values() if names_rule(rule, (name,))] or _mentioning(name)
    if found is not None:
        _explain(found, style)
    elif several:
        _list(several, style)
    else:
        raise UsageError(no_such_rule(name))
    return CLEAN


def _mentioning(text: str) -> list[Rule]:
    """The rules whose explanation has the text, whatever numbers stand in it."""
    wanted = _comparable(text)
    if not any(map(str.isalpha, wanted)):
        return []
    pages = {rule: " ".join(text for _, text in rule.paragraphs) for rule in RULES.values()}
    return [rule for rule, page in pages.items() if wanted in _comparable(page)]


def _comparable(text: str) -> str:
    return VARIABLE.sub("", text.lower())


def _list(rules: list[Rule], style: Style) -> None:
    """List rules, one per line."""
    for rule in sorted(rules, key=lambda rule: (len(rule.id), rule.id)):
        severity = style.severity(rule.severity, f"{rule.severity:<7}")
        print(f"{rule.id}  {severity}  {rule.slug:<32} {rule.paragraphs[0][1]}")


def _explain(rule: Rule, style: Style) -> None:
    """Print the full explanation of a rule."""
    head = f"{rule.id} {rule.slug}"
    print(style.bold(head) + "  " + style.severity(rule.severity, rule.severity))
    parts = list(rule.paragraphs)
    if explained := excuses(rule):
        parts.append(("Downgraded to info if this explains it", f"{', '.join(explained)}."))
    width = min(shutil.get_terminal_size().columns, WIDEST)
    for heading, text in parts:
        print()
        begin = f"{heading}: " if heading else ""
        lines = textwrap.fill(begin + text, width, break_on_hyphens=False)
        if begin and lines.startswith(begin):
            lines = style.bold(begin) + lines[len(begin) :]
        print(lines)
