"""Expands paths, which may be folders, to files."""

from __future__ import annotations

import os

from analyzer.capture.source import ENDINGS, is_called_capture
from analyzer.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["captures_in"]


def captures_in(paths: Iterable[str]) -> list[str]:
    """The given files, with each folder replaced by the captures below it, sorted by name, but
    for hidden files and folders; ``-`` is always standard input.  A folder that cannot be read
    stands for itself, and fails as a capture does.  Raises :class:`UsageError` for a folder without
    captures.
    """
    found: list[str] = []
    for path in paths:
        if path == "-" or not os.path.isdir(path):
            found.append(path)
            continue
        inside = sorted(_below(path))
        if not inside:
            endings = ", ".join(ENDINGS)
            raise UsageError(f"{path}: no captures in this folder; their names end in {endings}")
        found += inside
    return found


def _below(folder: str) -> list[str]:
    found: list[str] = []

    def unreadable(error: OSError) -> None:
        found.append(error.filename)

    for place, folders, names in os.walk(folder, onerror=unreadable):
        folders[:] = filter(_is_shown, folders)  # the others are not entered
        shown = filter(_is_shown, names)
        found += filter(is_called_capture, [os.path.join(place, name) for name in shown])
    return found


def _is_shown(name: str) -> bool:
    return not name.startswith(".")
