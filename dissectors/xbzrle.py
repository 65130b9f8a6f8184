"""XBZRLE page content: runs of changes against the page's previous content.

Wire-format page, section 6.6.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["ENCODED", "apply", "fault", "lengths"]

ENCODED = 1
"""The encoding byte in front of the length in every XBZRLE record."""
RUN_MAX = 2
"""Bytes of a run length at most."""


def _run(data: bytes, at: int) -> tuple[int, int]:
    """A run length of one or two LEB128 bytes, and the offset behind it (-1: malformed)."""
    first = data[at]
    if not first & 0x80:
        return first, at + 1
    if at + 1 >= len(data) or data[at + 1] & 0x80:
        return 0, -1
    return first & 0x7F | data[at + 1] << 7, at + 2


def apply(data: bytes, page: bytearray) -> None:
    """Apply the changes in ``data`` to ``page``, in place.  ``data`` must have no :func:`fault`."""
    at = begin = 0
    while at < len(data):
        same, at = _run(data, at)
        begin += same
        changed, at = _run(data, at)
        page[begin : begin + changed] = data[at : at + changed]
        at += changed
        begin += changed


def lengths(data: bytes) -> Iterator[tuple[int, int]]:
    """The spans (begin, end) of the run lengths, without the changes between them.  A malformed one
    is the last.
    """
    at = 0
    while at < len(data):
        begin, changed = at, 0
        for _ in range(2):  # of the bytes that stay, and of those that change
            first = at
            if first < len(data):
                changed, at = _run(data, first)
            if at < 0:
                yield begin, min(first + RUN_MAX, len(data))
                return
        yield begin, at
        at += changed


def fault(data: bytes, page_size: int) -> str:
    """What is wrong with an encoded page; empty if nothing is."""
    at = covered = 0
    while at < len(data):
        begin = at
        same, at = _run(data, at)
        if at < 0 or (begin and not same):
            return f"bad zero run at byte {begin}"
        covered += same
        if at >= len(data):
            return "a zero run ends the page"
        begin = at
        changed, at = _run(data, at)
        if at < 0 or not changed:
            return f"bad run at byte {begin}"
        at += changed
        covered += changed
        if at > len(data):
            return f"the run at byte {begin} is longer than the record"
        if covered > page_size:
            return f"runs cover {covered} bytes, more than a page"
    return ""
