"""Where a command writes its results."""

from __future__ import annotations

import sys
from contextlib import contextmanager

from analyzer.report.result_file import ResultFile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterator
    from typing import IO

__all__ = ["inputs_of", "output"]

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
"""What options call files that commands read."""


def inputs_of(options: Namespace) -> list[str]:
    """The files that a command was told to read."""
    given = (getattr(options, name, None) for name in INPUTS)
    return [path for one in given if one for path in ([one] if isinstance(one, str) else one)]


@contextmanager
def output(options: Namespace, *, live: bool = False) -> Iterator[IO[str]]:
    """Where results go: standard output, or the file that ``-o`` names; ``live`` if it is to be
    read while it grows.  Raises :class:`UsageError`.
    """
    if not options.output or options.output == "-":
        yield sys.stdout
        return
    with ResultFile(options.output, inputs_of(options), live=live).text() as stream:
        yield stream
