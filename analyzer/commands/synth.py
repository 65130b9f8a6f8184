"""``mfshark synth``: make a capture from a scenario."""

from __future__ import annotations

from analyzer.commands.common import CLEAN
from analyzer.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace

__all__ = ["synth"]


def synth(options: Namespace) -> int:
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
