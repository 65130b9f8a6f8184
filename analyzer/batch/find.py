"""Which files are meant by paths that may be folders."""

from __future__ import annotations

import os

from analyzer.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["captures_in"]

ENDINGS = tuple(
    ending + packed
    for ending in (".pcap", ".pcapng", ".cap", ".mig")
    for packed in ("", ".gz", ".zst")
)
"""What captures and saved migrations are called."""


def captures_in(paths: Iterable[str]) -> list[str]:
    """The files themselves, and in place of a folder the captures below it, by name.

    Raises :class:`UsageError` for a folder without any.
    """
    found: list[str] = []
    for path in paths:
        if not os.path.isdir(path):  # noqa: PTH112
            found.append(path)
            continue
        inside = sorted(_below(path))
        if not inside:
            raise UsageError(f"{path}: no captures in there; their names end in {ENDINGS[0]} ...")
        found += inside
    return found


def _below(folder: str) -> Iterator[str]:
    for place, _, names in os.walk(folder):
        for name in names:
            if name.lower().endswith(ENDINGS):
                yield os.path.join(place, name)  # noqa: PTH118
