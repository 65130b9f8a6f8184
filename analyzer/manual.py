"""The manual page, generated from the parsers of the command line.

``python -m analyzer.manual docs`` writes ``mfshark.1`` into a folder; the wheel installs it.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from analyzer.cli import COMMANDS, build_parser
from analyzer.commands.help_text import usage_of, written

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["PAGE", "manual"]

PAGE = "mfshark.1"

EXIT_STATUS = (
    ("0", "Nothing at or above the severity chosen; with diff, no difference."),
    ("1", "Findings, or a difference."),
    ("2", "The input could not be analysed, held no migration, or the command was wrong."),
)
EXAMPLES = (
    ("Verify a capture", "mfshark check migration.pcap.gz --digest sha256"),
    ("Fail a test job where state was lost", "mfshark check run.pcapng --fail-on warning -o r.xml"),
    ("The buffers of one device", "mfshark packets run.pcapng -Y 'device contains \"03.0\"'"),
    ("Where the downtime went", "mfshark stats run.pcapng"),
    ("Look at it in the terminal", "mfshark run.pcapng"),
)


def manual() -> str:
    """The page as man source; the same with every Python version."""
    return "\n".join(_page()) + "\n"


def _page() -> Iterator[str]:
    parser = build_parser()
    yield ".\\\" Made by analyzer/manual.py from the command line's parsers"
    yield '.TH MFSHARK 1 "" mfshark "User Commands"'
    yield from (".SH NAME", _text(f"mfshark - {parser.description}").rstrip("."))
    yield from (".SH SYNOPSIS", ".B mfshark", ".I COMMAND", "[options] ...", ".br")
    yield from (".B mfshark", ".I CAPTURE", ".SH DESCRIPTION")
    yield _text(
        "Reads captures of live migrations, decodes the multifd and main channels, puts the state "
        "of VFIO devices back together, and verifies some two hundred rules. A capture instead "
        "of a command opens the terminal interface on it."
    )
    yield ".SH COMMANDS"
    for name, (_, text) in COMMANDS.items():
        yield from _command(_child(parser, name), text)
    yield ".SH EXIT STATUS"
    for status, meaning in EXIT_STATUS:
        yield from (".TP", f".B {status}", _text(meaning))
    yield ".SH EXAMPLES"
    for meaning, command in EXAMPLES:
        yield from (".TP", _text(meaning), f".B {_text(command)}")
    yield from (".SH SEE ALSO", ".BR tshark (1),", ".BR tcpdump (8),", ".BR qemu (1)")


def _child(parser: argparse.ArgumentParser, name: str) -> argparse.ArgumentParser:
    found: argparse.ArgumentParser = _children(parser)[name]
    return found


def _children(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    return {
        name: child
        for action in parser._actions
        if isinstance(action, argparse._SubParsersAction)
        for name, child in action.choices.items()
    }


def _command(parser: argparse.ArgumentParser, text: str) -> Iterator[str]:
    """A section on one command, then on its subcommands."""
    children = _children(parser)
    usage = usage_of(parser.prog, parser._actions)
    yield from (f'.SS "{_text(parser.prog)}"', f".B {_text(usage)}", ".PP")
    yield _text(parser.description or f"{text[:1].upper()}{text[1:]}.")
    for group in parser._action_groups:
        actions = [action for action in group._group_actions if action in _shown(parser)]
        if actions and group.description:
            yield from (".PP", _text(f"{group.title}: {group.description}"))
        for action in actions:
            yield from (".TP", f".B {_text(written(action))}")
            if action.help:
                told = action.help.replace("\n", "; ")
                yield _text(told % {**vars(action), "prog": parser.prog})
    for paragraph in (parser.epilog or "").split("\n\n"):
        before = ".PP"
        for line in paragraph.split("\n  "):  # what is indented stays a line of its own
            if line:
                yield from (before, _text(line))
                before = ".br"
    for name, child in children.items():
        yield from _command(child, name)


def _shown(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """The actions to list: nothing hidden, not --help, no subcommands."""
    return [
        action
        for action in parser._actions
        if action.help != argparse.SUPPRESS
        and not isinstance(action, argparse._HelpAction | argparse._SubParsersAction)
    ]


def _text(text: str) -> str:
    """Text on a line of its own, escaped so that it contains no requests or escapes."""
    escaped = " ".join(text.split()).replace("\\", "\\e").replace("-", "\\-")
    escaped = escaped.replace('"', "\\(dq")
    return f"\\&{escaped}" if escaped.startswith((".", "'")) else escaped


if __name__ == "__main__":
    (Path(sys.argv[1]) / PAGE).write_text(manual(), encoding="utf-8")
