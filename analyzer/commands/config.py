"""``mfshark config``: the settings in force, and the schema of configuration files."""

from __future__ import annotations

import json

from analyzer.commands.check_options import add_check_options, add_known_options
from analyzer.commands.common import CLEAN
from analyzer.commands.options import VERDICT_ONLY, add_wire_options
from analyzer.report.escape import terminal
from analyzer.report.style import Style, table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from analyzer.config.configuration import Configuration

__all__ = ["add_arguments", "run"]


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the command's options."""
    parser.description = "Shows the settings in force, and the schema of configuration files."
    commands = parser.add_subparsers(dest="what", metavar="WHAT", required=True)
    text = "print every setting in force and its origin: a file, an option, or the default"
    show = commands.add_parser("show", help=text)
    show.description = f"{text[0].upper()}{text[1:]}. Takes the options of 'check'."
    show.add_argument(
        "capture", nargs="?", metavar="CAPTURE", help="show what is in force for this capture"
    )
    add_wire_options(show, VERDICT_ONLY)
    add_check_options(show)
    add_known_options(show)
    text = "print the JSON schema of configuration files"
    commands.add_parser("schema", help=text).description = f"{text[0].upper()}{text[1:]}."


def run(options: Namespace) -> int:
    """Run it.  Raises :class:`UsageError` for an invalid configuration file."""
    if options.what == "schema":
        from analyzer.config.reference import schema_text

        print(schema_text(), end="")
    else:
        _show(options.configuration, options.capture)
    return CLEAN


def _show(configuration: Configuration, capture: str | None) -> None:
    file = configuration.file
    print(f"configuration file: {terminal(file.path) if file is not None else 'none'}")
    print()
    rows = [
        (key, terminal(_shown(value.value)), terminal(value.origin))
        for key, value in configuration.values(capture).items()
    ]
    for line in table(("setting", "value", "from"), rows, Style(), left=3):
        print(line)


def _shown(value: object) -> str:
    return "-" if value is None else json.dumps(value, ensure_ascii=False)
