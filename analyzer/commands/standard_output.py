"""Standard output, which its reader may close early."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["drop_output", "print_pieces"]


def print_pieces(pieces: Iterable[str]) -> None:
    """Write to standard output.  A reader that closes it early, as ``head`` does, misses what
    follows; the exit status stays that of the whole.
    """
    try:
        sys.stdout.writelines(pieces)
        sys.stdout.flush()
    except BrokenPipeError:
        drop_output()


def drop_output() -> None:
    """Keep Python from complaining about standard output that can no longer be written."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
