"""Options that several commands take."""

from __future__ import annotations

from analyzer.config.settings import in_section
from analyzer.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace, _ActionsContainer
    from collections.abc import Callable, Iterable
    from typing import Any

    from analyzer.config.settings import Setting

__all__ = [
    "REPORT_WHOLE",
    "VERDICT_ONLY",
    "add_follow_options",
    "add_output_options",
    "add_settings",
    "add_shown_options",
    "add_wire_options",
    "inputs_of",
    "reported",
]


VERDICT_ONLY = "print only the verdict, no progress"
"""Help of ``--quiet`` for commands that print a verdict."""
REPORT_WHOLE = "report every capture in full, with info findings and all rows of tables"
"""Help of ``--verbose`` for commands that print the report of ``check``."""
INPUTS = (
    "capture",
    "captures",
    "a",
    "b",
    "scenario",
    "keylog",
    "config",
    "expect",
    "baseline",
    "trace",
)
"""The options that hold files that commands read."""


def add_wire_options(
    parser: ArgumentParser, quiet: str = "no progress and no notes on standard error"
) -> None:
    """Options for how the capture is read; ``settings_of`` of ``analyzer.commands.common``
    evaluates them.  ``quiet`` is the help of ``--quiet``.
    """
    group = parser.add_argument_group(
        "wire format", "Detected from the captured bytes; give only what you want to force."
    )
    add_settings(group, in_section("wire"))
    group.add_argument(
        "--config",
        metavar="FILE",
        help="configuration file (default: mfshark.toml, or [tool.mfshark] in pyproject.toml, in "
        "this folder or the nearest one above)",
    )
    group.add_argument("--no-config", action="store_true", help="ignore configuration files")
    group.add_argument("-q", "--quiet", action="store_true", help=quiet)
    group.add_argument("--no-progress", action="store_true", help="no progress on standard error")


def add_settings(group: _ActionsContainer, settings: Iterable[Setting]) -> None:
    """Add the options of settings, without defaults, since configuration files may set what is not
    given.
    """
    for setting in settings:
        usual = f" (default: {setting.default})" if isinstance(setting.default, str) else ""
        words = dict(setting.kind.argument)
        meaning, newline, values = setting.meaning.partition("\n")
        if "type" in words:
            words["type"] = reported(setting.option, words["type"])
        group.add_argument(
            setting.option, help=meaning + usual + newline + values, default=None, **words
        )


def reported(option: str, parse: Callable[[str], Any]) -> Callable[[str], Any]:
    """Wrap the parser of an option's text so that its errors name the option, without the usage
    text.
    """

    def parsed(text: str) -> Any:
        try:
            return parse(text)
        except ValueError as error:
            raise UsageError(f"{option}: {error}") from None

    return parsed


def add_shown_options(parser: ArgumentParser, verbose: str = "") -> None:
    """Options for how results are shown; ``verbose`` is the help of ``--verbose``, for commands
    that show more with it.
    """
    parser.add_argument(
        "--color", choices=("auto", "always", "never"), default="auto", help="colour the output"
    )
    if verbose:
        parser.add_argument("-v", "--verbose", action="store_true", help=verbose)


def add_output_options(parser: ArgumentParser, formats: tuple[str, ...]) -> None:
    """Options for the destination and format of results; ``settle_format`` of
    ``analyzer.commands.result_file`` evaluates them.
    """
    parser.add_argument(
        "--format", choices=formats, help="default: by the suffix of the output file, else text"
    )
    parser.add_argument("-o", "--output", metavar="FILE", help="write to a file")


def add_follow_options(parser: ArgumentParser) -> None:
    """Options for captures that are still being written; ``followed`` of
    ``analyzer.commands.watch`` evaluates them.
    """
    parser.add_argument(
        "--follow",
        action="store_true",
        help="the capture is still being written: keep reading until its migrations have ended, or "
        "Ctrl-C",
    )
    parser.add_argument(
        "--duration", type=float, metavar="SECONDS", help="with --follow: stop after this time"
    )


def inputs_of(options: Namespace) -> list[str]:
    """The files that a command reads."""
    given = (getattr(options, name, None) for name in INPUTS)
    return [path for one in given if one for path in ([one] if isinstance(one, str) else one)]
