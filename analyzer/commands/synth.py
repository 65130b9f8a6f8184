"""``mfshark synth``: make a capture from a scenario."""

from __future__ import annotations

import sys

from analyzer.commands.common import CLEAN
from analyzer.commands.options import inputs_of
from analyzer.commands.result_file import packed
from analyzer.errors import UsageError
from analyzer.report.escape import terminal
from analyzer.report.result_file import ResultFile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

__all__ = ["add_arguments", "run"]


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the command's options."""
    parser.description = (
        "Builds a capture, clean or with chosen faults, from a TOML scenario; the same "
        "scenario gives the same bytes. docs/synth.md describes the keys."
    )
    parser.add_argument("scenario", metavar="SCENARIO", help="TOML file")
    parser.add_argument(
        "-o",
        "--output",
        metavar="CAPTURE",
        required=True,
        help="file to write, compressed if its name ends in .gz or .zst; - for stdout",
    )
    parser.add_argument(
        "--set",
        action="append",
        metavar="KEY=VALUE",
        dest="overrides",
        help="override a key of the scenario",
    )


def run(options: Namespace) -> int:
    """Run it.  Raises :class:`UsageError` for an invalid scenario."""
    from analyzer.synth import ScenarioError, load, override
    from analyzer.synth import synth as generate

    try:
        values = load(options.scenario)
    except ScenarioError as error:
        raise UsageError(str(error)) from error
    except OSError as error:
        raise UsageError(
            f"{terminal(options.scenario)} cannot be read: {error.strerror}"
        ) from error
    try:
        scenario = override(values, options.overrides or ())
        if options.output == "-":
            generate(scenario, sys.stdout.buffer)
        else:
            target = ResultFile(options.output, inputs_of(options))
            with target.binary() as file, packed(file, options.output) as stream:
                generate(scenario, stream)
    except ScenarioError as error:
        raise UsageError(f"{terminal(options.scenario)}: {error}") from error
    return CLEAN
