"""Searches packets for text or bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from analyzer.errors import CaptureError
from analyzer.migration.replay import Replay
from analyzer.migration.rows import CONFIG_STATE, DEVICE_STATE, RAM_PACKET
from analyzer.migration.table import INIT_PACKET, KINDS, NO_NUMBER
from analyzer.tui.pieces import PIECE
from dissectors.multifd import text_of, uuid_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    import numpy.typing as npt

    from analyzer.tui.document import Document
    from analyzer.tui.matching import Matching

__all__ = ["HEX", "MODES", "find_bytes", "find_text", "pattern_of", "shorter"]

MODES = TEXT, HEX, _ = ("text", "hex bytes", "text in bytes")
DIGITS_MAX = 20
PATTERN_SHOWN = 30


def pattern_of(mode: str, text: str) -> bytes | None:
    r"""The bytes to look for, given as hexadecimal digits (with blanks, colons or 0x) or as the
    text that they are; ``None`` if malformed, and in the mode that looks for no bytes.

    >>> pattern_of(HEX, "11 22:33")
    b'\x11"3'
    """
    if mode != HEX:
        return None if mode == TEXT else text.encode()
    digits = text.lower().replace("0x", "").replace(":", "").replace(" ", "")
    try:
        return bytes.fromhex(digits) or None
    except ValueError:
        return None


def shorter(text: str) -> str:
    """A text cut to 30 characters, for messages."""
    return text if len(text) <= PATTERN_SHOWN else f"{text[: PATTERN_SHOWN - 1]}…"


def find_text(
    document: Document, shown: Matching | None, text: str, start: int, by: int
) -> int | None:
    """The row of the next packet after ``start`` (before it, if ``by`` is -1) whose name, kind (as
    filters or the list call it) or findings contain ``text``, or whose index or packet number it
    is; ``None`` if there is none.

    Wraps around, and looks only at ``shown`` rows (``None``: all).
    """
    wanted = text.casefold()
    table = document.table
    every = list(enumerate(list(table.names)))
    names = [number for number, name in every if wanted in text_of(name).casefold()]
    uuids = [number for number, name in every if any(name) and wanted in uuid_text(name)]
    kinds = [number for number, kind in enumerate(KINDS) if wanted in kind]
    noted = sorted(
        row
        for row, findings in document.by_row.items()
        if any(wanted in f"{f.rule.id} {f.rule.slug} {f.message}".casefold() for f in findings)
    )
    number = _number(text)

    def matches(first: int, last: int) -> npt.NDArray[np.bool_]:
        name, kind = table.view("name", first, last), table.view("kind", first, last)
        mask: npt.NDArray[Any] = np.isin(kind, kinds)
        mask |= np.where(kind == INIT_PACKET, np.isin(name, uuids), np.isin(name, names))
        if wanted in "zero":
            mask |= (kind == RAM_PACKET) & (table.view("normal_pages", first, last) == 0)
        if wanted in "config":
            config = (table.view("state_flags", first, last) & CONFIG_STATE) != 0
            mask |= (kind == DEVICE_STATE) & (table.view("idx", first, last) >= 0) & config
        for row in noted:
            if first <= row < last:
                mask[row - first] = True
        if number is not None:
            mask |= table.view("idx", first, last) == number
            mask |= table.view("packet_num", first, last) == np.uint64(number)
        return mask

    for first, last in _around(len(table), start, by):
        rows = np.flatnonzero(matches(first, last)) + first
        for row in rows.tolist() if by > 0 else reversed(rows.tolist()):
            if shown is None or row in shown:
                return int(row)
    return None


def _number(text: str) -> int | None:
    """The number that ``text`` is; ``None`` if it is none that a packet can have."""
    if not text.isascii() or not text.isdigit() or len(text) > DIGITS_MAX:
        return None
    number = int(text)
    return number if number < NO_NUMBER else None


def _around(count: int, start: int, by: int) -> Iterator[tuple[int, int]]:
    """All rows in pieces ``first .. last`` (exclusive), from the one next to ``start`` on, wrapping
    around.
    """
    ahead, behind = (start + 1, count), (0, min(count, start + 1))
    if by > 0:
        for begin, end in (ahead, behind):
            for first in range(begin, end, PIECE):
                yield first, min(end, first + PIECE)
    else:
        for begin, end in ((0, start), (max(0, start), count)):
            for last in range(end, begin, -PIECE):
                yield max(begin, last - PIECE), last


def find_bytes(
    document: Document,
    shown: Matching | None,
    pattern: bytes,
    start: int,
    by: int,
    go_on: Callable[[float], bool],
) -> tuple[int, int] | None:
    """The next packet that contains ``pattern``, as (row, offset in the packet); else ``None``.

    Searches as :func:`find_text` does.  Reads the packets again, so run it in a thread; ``go_on``
    is called with the share of them that is done and returns whether to go on.  Raises
    :class:`CaptureError` if the capture cannot be read.
    """
    if document.scan is None:
        return None
    replay = Replay(document.scan)
    count, looked = len(document.table), 0
    try:
        for first, last in _around(count, start, by):
            for row in range(first, last) if by > 0 else range(last - 1, first - 1, -1):
                if not go_on(looked / count):
                    return None
                looked += 1
                if shown is not None and row not in shown:
                    continue
                at = replay.packet(document.table, row).data.find(pattern)
                if at >= 0:
                    return row, at
    except OSError as error:
        raise CaptureError(f"cannot be read again: {error}", path=document.path) from error
    finally:
        replay.close()
    return None
