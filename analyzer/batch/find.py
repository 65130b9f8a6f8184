"""Which files are meant by paths that may be folders."""

from __future__ import annotations

import os

from analyzer.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["captures_in"]

PLAIN = (".pcap", ".pcapng", ".cap", ".mig")
ENDINGS = tuple(ending + packed for ending in PLAIN for packed in ("", ".gz", ".zst"))
"""What captures and saved migrations are called."""


def captures_in(paths: Iterable[str]) -> list[str]:
    """The files themselves, and in place of a folder the captures below it, by name.

    Raises :class:`UsageError` for a folder without any, or that cannot be read.
    """
    found: list[str] = []
    for path in paths:
        if not os.path.isdir(path):  # noqa: PTH112
            found.append(path)
            continue
        inside = sorted(_below(path))
        if not inside:
            endings = ", ".join(PLAIN)
            raise UsageError(f"{path}: no captures in there; their names end in {endings}")
        found += inside
    return found


def _below(folder: str) -> Iterator[str]:
    for place, _, names in os.walk(folder, onerror=_unreadable):
        for name in names:
            if name.lower().endswith(ENDINGS):
                yield os.path.join(place, name)  # noqa: PTH118


def _unreadable(error: OSError) -> None:
    raise UsageError(f"{error.filename} cannot be read: {error.strerror}")
