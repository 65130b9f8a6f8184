"""Options that several commands take."""

from __future__ import annotations

from analyzer.config.settings import in_section
from analyzer.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, _ActionsContainer
    from collections.abc import Callable, Iterable
    from typing import Any

    from analyzer.config.settings import Setting

__all__ = [
    "VERDICT_ONLY",
    "add_follow_options",
    "add_output_options",
    "add_settings",
    "add_shown_options",
    "add_wire_options",
    "reported",
]


VERDICT_ONLY = "only the verdict, no progress"
"""What ``--quiet`` does where there is a verdict."""


def add_wire_options(
    parser: ArgumentParser, quiet: str = "no progress and no notes on standard error"
) -> None:
    """How the capture is read; ``settings_of`` of ``analyzer.commands.common`` reads them.
    ``quiet`` is what ``--quiet`` does.
    """
    group = parser.add_argument_group(
        "wire format", "Found from the bytes; say only what you want to force."
    )
    add_settings(group, in_section("wire"))
    group.add_argument(
        "--config",
        metavar="FILE",
        help="settings of the project (default: mfshark.toml, or [tool.mfshark] in "
        "pyproject.toml, in this folder or above)",
    )
    group.add_argument("--no-config", action="store_true", help="take no settings from files")
    group.add_argument("-q", "--quiet", action="store_true", help=quiet)
    group.add_argument("--no-progress", action="store_true", help="no progress on standard error")


def add_settings(group: _ActionsContainer, settings: Iterable[Setting]) -> None:
    """The options of settings, without defaults: what is not given, configuration files may say."""
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
    """What parses the text of an option: errors name it, without a page about usage before."""

    def parsed(text: str) -> Any:
        try:
            return parse(text)
        except ValueError as error:
            raise UsageError(f"{option}: {error}") from None

    return parsed


def add_shown_options(parser: ArgumentParser) -> None:
    """How results are shown."""
    parser.add_argument(
        "--color", choices=("auto", "always", "never"), default="auto", help="colour the output"
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="leave nothing out")


def add_output_options(parser: ArgumentParser, formats: tuple[str, ...]) -> None:
    """Where results go, and as what; ``settle_format`` of ``analyzer.commands.result_file`` reads
    them.
    """
    parser.add_argument(
        "--format", choices=formats, help="default: as the ending of the output says, else text"
    )
    parser.add_argument("-o", "--output", metavar="FILE", help="write to a file")


def add_follow_options(parser: ArgumentParser) -> None:
    """Captures that are still being written; ``followed`` of ``analyzer.commands.watch`` reads
    them.
    """
    parser.add_argument(
        "--follow",
        action="store_true",
        help="the capture is being written: wait for more, until its migrations have ended, or "
        "Ctrl-C",
    )
    parser.add_argument(
        "--duration", type=float, metavar="SECONDS", help="with --follow: for so long at most"
    )
