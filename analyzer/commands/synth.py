"""``mfshark synth``: make a capture from a scenario."""

from __future__ import annotations

from analyzer.commands.common import CLEAN
from analyzer.errors import UsageError

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
    parser.add_argument("-o", "--output", metavar="CAPTURE", required=True)
    parser.add_argument(
        "--set", action="append", metavar="KEY=VALUE", dest="overrides", help="override a key"
    )


def run(options: Namespace) -> int:
    """Run it.  Raises :class:`UsageError` for a scenario that makes no sense."""
    from analyzer.synth import ScenarioError, load, override
    from analyzer.synth import synth as generate

    try:
        scenario = override(load(options.scenario), options.overrides or ())
        generate(scenario, options.output)
    except ScenarioError as error:
        raise UsageError(str(error)) from error
    except OSError as error:
        raise UsageError(f"{error.filename}: {error.strerror}") from error
    return CLEAN
