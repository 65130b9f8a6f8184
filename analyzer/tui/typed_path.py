"""The current directory, and paths typed by the user, which may be invalid."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["here", "is_directory", "is_file", "is_there", "typed_path"]


def typed_path(text: str) -> Path:
    """The path for a typed text: NULs are removed, and ``~`` is expanded if there is a home
    directory.
    """
    return Path(os.path.expanduser(text.replace("\0", "")))  # Path.expanduser raises


def here() -> Path:
    """The current directory, or ``/`` if it was removed."""
    try:
        return Path.cwd()
    except FileNotFoundError:
        return Path("/")


def is_there(path: Path) -> bool:
    """Whether a path exists; false for an invalid one, for example one that is too long."""
    return os.path.lexists(path)


def is_directory(path: Path) -> bool:
    """Whether a path is a directory; false for an invalid one."""
    return os.path.isdir(path)


def is_file(path: Path) -> bool:
    """Whether a path is a regular file; false for an invalid one."""
    return os.path.isfile(path)
