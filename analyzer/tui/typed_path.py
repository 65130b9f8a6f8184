"""Where a user is, and paths that are typed: also what no file can be called."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["here", "is_directory", "is_file", "is_there", "typed_path"]


def typed_path(text: str) -> Path:
    """The path that was meant; ``~`` is a home directory, where there is one."""
    return Path(os.path.expanduser(text.replace("\0", "")))  # noqa: PTH111 - Path's raises


def here() -> Path:
    """The current directory, or the root if it was removed."""
    try:
        return Path.cwd()
    except FileNotFoundError:
        return Path("/")


def is_there(path: Path) -> bool:
    """Whether anything has that path; a path that cannot be (too long, say) is not there."""
    return os.path.lexists(path)


def is_directory(path: Path) -> bool:
    """Whether it is a directory, likewise."""
    return os.path.isdir(path)  # noqa: PTH112


def is_file(path: Path) -> bool:
    """Whether it is a file with contents, likewise."""
    return os.path.isfile(path)  # noqa: PTH113
