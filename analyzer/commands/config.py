"""``mfshark config``: the settings in force, and what configuration files may say."""

from __future__ import annotations

import json

from analyzer.commands.check_options import add_check_options, add_known_options
from analyzer.commands.common import CLEAN
from analyzer.commands.options import add_wire_options
from analyzer.report.escape import terminal
from analyzer.report.style import Style, table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from analyzer.config.configuration import Configuration

__all__ = ["add_arguments", "run"]


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the command's options."""
    parser.description = (
        "'show' prints every setting and where it was said: the command line (the options of "
        "check), a line of a configuration file, or nowhere. 'schema' prints the JSON schema of "
        "configuration files."
    )
    parser.add_argument("what", choices=("show", "schema"))
    parser.add_argument("capture", nargs="?", help="show what is in force for this capture")
    add_wire_options(parser)
    add_check_options(parser)
    add_known_options(parser)


def run(options: Namespace) -> int:
    """Run it.  Raises :class:`UsageError` for a configuration file that makes no sense."""
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
