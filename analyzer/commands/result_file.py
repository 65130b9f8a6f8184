"""Where a command writes its results."""

from __future__ import annotations

import sys
from contextlib import contextmanager

from analyzer.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterator
    from typing import IO

__all__ = ["output"]


@contextmanager
def output(options: Namespace) -> Iterator[IO[str]]:
    """Where results go: standard output, or the file that ``-o`` names."""
    if not options.output or options.output == "-":
        yield sys.stdout
        return
    try:
        with open(options.output, "w", encoding="utf-8", newline="\n") as stream:  # noqa: PTH123
            yield stream
    except OSError as error:
        raise UsageError(f"{options.output} cannot be written: {error.strerror}") from error
