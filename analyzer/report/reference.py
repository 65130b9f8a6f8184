"""The reference pages of the documentation, generated from the rules and the field tables.

``python -m analyzer.report.reference docs`` writes ``rules.md`` and ``fields.md`` into a folder.
"""

from __future__ import annotations

import inspect
import sys
from pathlib import Path

from analyzer.checks.families import load
from analyzer.checks.rule import RULES
from dissectors.registry import FIELDS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from analyzer.checks.rule import Rule

__all__ = ["EXCUSES", "PAGES", "excuses", "fields_page", "rules_page"]

EXCUSES = {
    "L": "a capture that began late",
    "E": "a capture that ends early",
    "G": "a hole in the stream",
    "A": "a hole in the stream",
    "X": "a hole in another stream of the migration",
    "C": "a multifd channel that is not in the capture",
    "M": "bytes of main that could not be decoded",
    "B": "bytes of main before its first END that could not be decoded",
    "S": "channels whose SYNCs do not match",
}
"""What the letters of a rule's ``holes`` mean."""

FAMILIES = {
    "MF1": "Channels and initial packets",
    "MF2": "Multifd headers and RAM packets",
    "MF3": "Synchronisation",
    "MF4": "Device-state packets",
    "MF5": "VFIO buffers",
    "MF6": "The main stream",
    "MF7": "The return path",
    "MF8": "Payload, with check --deep",
    "MF90": "TCP and the capture",
    "MF91": "TCP and the capture",
    "MF95": "Measures with thresholds",
    "MF96": "Expectations",
    "MF97": "QEMU's own trace",
}


def excuses(rule: Rule) -> list[str]:
    """The excuses that downgrade a finding of the rule to info, as text."""
    found = [EXCUSES[letter] for letter in "LEGAXCMBS" if letter in rule.holes]
    return [*found, "a migration that was cancelled or failed"] if rule.forgiven else found


def _family(rule: Rule) -> str:
    return next(FAMILIES[key] for key in (rule.id[:4], rule.id[:3]) if key in FAMILIES)


def rules_page() -> str:
    """Every rule: what ``mfshark rule ID`` says, by family."""
    load()
    return "\n".join(_rule_lines()) + "\n"


def _rule_lines() -> Iterator[str]:
    yield "# Rules"
    yield ""
    yield "Generated from the rules; `mfshark rule ID` prints the same. Severities are"
    yield "defaults: `check --severity RULE=LEVEL` changes them. A finding that a hole in the"
    yield "capture could explain is downgraded to `info`."
    family = ""
    for rule in sorted(RULES.values(), key=lambda r: r.id):
        if _family(rule) != family:
            family = _family(rule)
            yield ""
            yield f"## {family}"
        yield ""
        yield f"### {rule.id} {rule.slug}"
        yield ""
        yield f"*{rule.severity}*"
        yield ""
        yield inspect.cleandoc(rule.explanation)
        if found := excuses(rule):
            yield ""
            yield f"Downgraded to info if this explains it: {', '.join(found)}."


def fields_page() -> str:
    """Every field of display filters and ``packets -e``."""
    lines = [
        "# Fields",
        "",
        "What display filters, `packets -e` and the detail tree call things; made from the field",
        "tables. `mfshark packets -G` prints the same. Sections are those of",
        "[the wire format](wire-format.md).",
        "",
        "| field | type | meaning | section |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| `{field.name}` | {field.type} | {field.description} | {field.reference} |"
        for field in FIELDS.values()
    ]
    return "\n".join(lines) + "\n"


PAGES = {"rules.md": rules_page, "fields.md": fields_page}


def main(folder: str) -> None:
    """Write the pages."""
    for name, page in PAGES.items():
        (Path(folder) / name).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
