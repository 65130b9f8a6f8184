"""The layout of help and usage texts."""

from __future__ import annotations

import argparse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, NoReturn

__all__ = ["Parser", "RawHelpFormatter", "usage_of", "written"]


class HelpFormatter(argparse.HelpFormatter):
    """Formats help as wide as the terminal.  The width is only determined when help is printed:
    parsers format every option when it is declared, and the import that determines the width is
    slow.

    The usage line omits optional options, which are listed below it with their meanings.
    """

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=80)

    def format_help(self) -> str:
        """See the base class."""
        from shutil import get_terminal_size

        self._width = get_terminal_size().columns - 2
        return super().format_help()

    def _split_lines(self, text: str, width: int) -> list[str]:
        """See the base class; line breaks of a help text are kept."""
        lines: list[str] = []
        for line in text.splitlines():
            lines += super()._split_lines(line, width)
        return lines

    def add_usage(
        self,
        usage: str | None,
        actions: Iterable[argparse.Action],
        groups: Iterable[argparse._MutuallyExclusiveGroup],
        prefix: str | None = None,
    ) -> None:
        """See the base class."""
        if usage is None:
            usage = usage_of("%(prog)s", actions)
        super().add_usage(usage, actions, groups, prefix)


class RawHelpFormatter(HelpFormatter):
    """Also keeps the line breaks and margins of descriptions."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        """See the base class."""
        from textwrap import fill

        lines = []
        for line in text.splitlines():
            margin = indent + " " * (len(line) - len(line.lstrip()))
            lines.append(fill(line.strip(), width, initial_indent=margin, subsequent_indent=margin))
        return "\n".join(lines)


class Parser(argparse.ArgumentParser):
    """A parser with such help; its subparsers are of the same class."""

    def __init__(self, **words: Any) -> None:
        super().__init__(**{"formatter_class": HelpFormatter, **words})

    def parse_known_args(self, *words: Any, **named: Any) -> tuple[Any, list[str]]:
        """See the base class; reports unknown arguments here, since the program's parser would
        print a less helpful usage.
        """
        found, rest = super().parse_known_args(*words, **named)
        if rest and not self._took(found, rest):
            self.error(f"unrecognized arguments: {' '.join(rest)}{self._meant(rest[0])}")
        return found, []

    def _took(self, found: argparse.Namespace, rest: list[str]) -> bool:
        """Whether the remaining words are further values of a repeatable positional argument: the
        base class only takes adjacent ones, and in ``check A --deep B`` an option separates them.
        """
        many = [
            a for a in self._actions if not a.option_strings and a.nargs == argparse.ONE_OR_MORE
        ]
        at = rest.index("--") if "--" in rest else len(rest)
        if not many or any(word.startswith("-") and word != "-" for word in rest[:at]):
            return False
        taken = getattr(found, many[0].dest)
        setattr(found, many[0].dest, [*taken, *rest[:at], *rest[at + 1 :]])
        return True

    def _meant(self, word: str) -> str:
        from difflib import get_close_matches

        near = get_close_matches(word.partition("=")[0], self._option_string_actions, 1, 0.75)
        return f"; did you mean {near[0]}?" if near else ""

    def error(self, message: str) -> NoReturn:
        """See the base class; escapes the message, since shell patterns may expand to hostile file
        names.
        """
        from analyzer.report.escape import terminal

        super().error(terminal(message))


def usage_of(prog: str, actions: Iterable[argparse.Action]) -> str:
    """``prog [options] -o DIR CAPTURE``: the required arguments, with a mention of options."""
    actions = list(actions)
    needed = [a for a in actions if a.required and a.option_strings]
    places = [a for a in actions if not a.option_strings]
    more = ["[options]"] if len(needed) + len(places) < len(actions) else []
    options = [f"{a.option_strings[0]} {_value(a)}" for a in needed]
    return " ".join([prog, *more, *options, *map(written, places)])


def written(action: argparse.Action) -> str:
    """``-o, --output FILE``, or the notation of a positional argument."""
    value = _value(action)
    if not action.option_strings:
        return {
            "?": f"[{value}]",
            "*": f"[{value} ...]",
            "+": f"{value} ...",
            argparse.PARSER: f"{value} ...",
        }.get(str(action.nargs), value)
    names = ", ".join(action.option_strings)
    if action.nargs == 0:
        return names
    return f"{names} [{value}]" if action.nargs == "?" else f"{names} {value}"


def _value(action: argparse.Action) -> str:
    if isinstance(action.metavar, tuple):
        return " ".join(action.metavar)
    if action.metavar:
        return action.metavar
    if action.choices:
        return "|".join(str(choice) for choice in action.choices)
    return action.dest.upper() if action.option_strings else action.dest
