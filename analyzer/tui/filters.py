"""The display filter in force, the history of filters, and saved filters."""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analyzer.filter.completion import complete, word_start
from analyzer.filter.error import FilterError
from analyzer.filter.filter import Filter
from analyzer.filter.values import quoted
from analyzer.migration.table import KINDS
from analyzer.migration.table_fields import TABLE_FIELDS
from analyzer.report.escape import terminal
from analyzer.tui.matching import Matching
from analyzer.tui.pieces import pieces
from analyzer.tui.state import ALL
from analyzer.tui.typed_path import typed_path
from dissectors.multifd import DEVICE_STATE, INIT, RAM
from dissectors.registry import FIELDS
from dissectors.vfio import BUFFER

if TYPE_CHECKING:
    from analyzer.migration.table import PacketTable
    from dissectors.tree import Node

__all__ = ["Filters", "device_filter", "store_path"]

WORDS = {
    "zero": "kind == ram && multifd.normal_pages == 0",
    "config": "vfio.flags.config_state",
    "device": "kind == device-state",
    "ram": "kind == ram",
    "sync": "kind == sync",
}
"""Filters for the names of kinds in the packet list (in lower case)."""
WORD = re.compile(r"\W*(\w+)")
QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"?')
NUMBER = r"(\d+(?:\.\d+)?)"
EPOCH = re.compile(
    rf"(?<![\w.])time\s*(?:[=!<>]=?|\b(?:eq|ne|lt|le|gt|ge)\b|in\s*\{{)\s*{NUMBER}"
    rf"|{NUMBER}\s*(?:[=!<>]=?|\b(?:eq|ne|lt|le|gt|ge)\b)\s*time(?![\w.])"
)
"""Finds comparisons of ``time``, which counts from 1970, with a number."""
LOOKED_AT = 1000
"""Only this many characters of a filter are searched for that."""
LATER = 1e9
"""Seconds since 1970 (2001): no capture is older."""
KEPT = 100
"""The most filters kept in the history."""
KINDS_WANTED = ", ".join(KINDS[:-1])
BUDGET = 0.015
"""Seconds of filtering per call, so that keys are answered in between."""


def store_path() -> Path | None:
    """The file that keeps history and saved filters between sessions; ``None`` if its path would
    not be absolute, as for a user without a home directory.
    """
    base = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    path = typed_path(base)
    return path / "mfshark" / "filters.json" if path.is_absolute() else None


class Filters:
    """The filter of the packet list, its history, and saved filters.

    ``matching`` are the rows that match, ``None`` when all packets are shown; ``fault`` says why
    the filter could not be applied.  ``store`` is the file that keeps history and saved filters;
    with ``None`` nothing is kept.
    """

    def __init__(self, store: Path | None = None) -> None:
        self.history: list[str] = []
        self.saved: list[str] = []
        self.matching: Matching | None = None
        self.fault = ""
        self._store = store
        self._filter: Filter | None = None
        self._migration = ALL
        self._table: PacketTable | None = None
        self._load()

    # -- the filter in force ------------------------------------------------------------------

    def apply(self, table: PacketTable, text: str, migration: int) -> None:
        """Filter ``table`` by ``text`` and ``migration`` from now on; ``fault`` says if the text is
        no valid filter.
        """
        self._table = table
        self._migration = migration
        self.fault = ""
        try:
            self._filter = Filter(text) if text else None
        except FilterError as error:
            self._filter, self.fault = None, terminal(str(error))
        filtered = self._filter is not None or migration != ALL
        self.matching = Matching() if filtered else None
        self.advance()

    def shows(self, row: int) -> bool:
        """Whether a row of the table is shown."""
        return self.matching is None or row in self.matching

    @property
    def behind(self) -> bool:
        """Whether there are rows that have not been filtered yet."""
        matching, table = self.matching, self._table
        return matching is not None and table is not None and matching.seen < len(table)

    def advance(self) -> None:
        """Filter more rows, for a few milliseconds.  A filter that cannot be applied is dropped,
        and ``fault`` says why.
        """
        matching, table = self.matching, self._table
        if matching is None or table is None:
            return
        deadline = time.monotonic() + BUDGET
        for first, last in pieces(matching.seen, len(table)):
            try:
                mask = self._mask(table, first, last)
            except FilterError as error:  # for example a pattern that takes too long
                self.apply(table, "", self._migration)
                self.fault = terminal(str(error))
                return
            matching.add(mask)
            if time.monotonic() > deadline:
                return

    def _mask(self, table: PacketTable, first: int, last: int) -> Any:
        own = table.view("migration", first, last) == self._migration
        if self._filter is None:
            return own
        mask = self._filter.mask(table, first, last)
        return mask if self._migration == ALL else mask & own

    # -- while a filter is typed --------------------------------------------------------------

    def complain(self, text: str) -> tuple[int, str] | None:
        """What is wrong with a filter: column (from 0) and message; ``None`` if nothing is."""
        try:
            Filter(text)
        except FilterError as error:
            what = terminal(str(error).split(": ", 1)[-1])
            return error.column, what + _instead(text[error.column :], what)
        return None

    def hint(self, text: str) -> str:
        """Advice on a filter that is valid but probably not what was meant; usually empty."""
        for before, behind in EPOCH.findall(QUOTED.sub("", text[:LOOKED_AT])):
            if float(before or behind) < LATER:
                return "time counts from 1970; time.relative is in seconds since the first frame"
        return ""

    def complete(self, text: str, cursor: int) -> tuple[int, list[str]]:
        """Where the word at the cursor begins, and what it could become."""
        return word_start(text, cursor), complete(text, cursor, self._table)

    def explain(self, text: str, cursor: int) -> str:
        """The meaning of the field in front of the cursor; empty if there is none."""
        field = FIELDS.get(text[word_start(text, cursor) : cursor])
        return f"{field.name}: {field.description}" if field is not None else ""

    # -- filters from what is selected --------------------------------------------------------

    def of_field(self, table: PacketTable, row: int, node: Node) -> str | None:
        """A filter for packets with the same value in a field; ``None`` if filters lack it."""
        kind = table.row(row).kind
        name = f"{INIT.prefix if kind == 'init' else RAM.prefix}.{node.name}"
        if kind == "device-state" and node.offset >= DEVICE_STATE.size:
            name = f"{BUFFER.prefix}.{node.name}"
        if name not in FIELDS:
            return None
        value = TABLE_FIELDS[name].value(table, row)
        return None if value is None else f"{name} == {_literal(value, FIELDS[name].display)}"

    def of_channel(self, table: PacketTable, row: int) -> str | None:
        """A filter for packets of the same stream."""
        return f"tcp.stream == {table.column('stream')[row]}" if row < len(table) else None

    def of_device(self, table: PacketTable, row: int, several: bool) -> str | None:
        """A filter for packets of the same device; ``None`` if the packet belongs to none.

        ``several``: the packets of several migrations are shown.
        """
        number = table.column("device")[row] if row < len(table) else 0
        migration = table.column("migration")[row] if several else None
        return device_filter(table.device_text(number), migration) if number else None

    # -- history and saved filters ------------------------------------------------------------

    def remember(self, text: str) -> None:
        """Add a filter that was used to the history."""
        if text:
            if text in self.history:
                self.history.remove(text)
            self.history.append(text)
            del self.history[:-KEPT]
            self._write()

    def save(self, text: str) -> None:
        """Save a filter."""
        if text not in self.saved:
            self.saved.append(text)
            self._write()

    def forget(self, text: str) -> bool:
        """Remove a filter from saved filters and history; returns whether it was there."""
        known = [kept for kept in (self.saved, self.history) if text in kept]
        for kept in known:
            kept.remove(text)
        if known:
            self._write()
        return bool(known)

    def _load(self) -> None:
        if self._store is None:
            return
        try:
            kept = json.loads(self._store.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return
        for name, into in (("history", self.history), ("saved", self.saved)):
            texts = kept.get(name) if isinstance(kept, dict) else None
            if isinstance(texts, list):
                into += [_shown(text) for text in texts if isinstance(text, str)][:KEPT]

    def _write(self) -> None:
        """Write the store; if that fails, silently keep nothing any more."""
        if self._store is None:
            return
        kept = json.dumps({"history": self.history, "saved": self.saved}, indent=1)
        try:
            self._store.parent.mkdir(parents=True, exist_ok=True)
            self._store.write_text(kept + "\n", encoding="utf-8")
        except OSError:
            self._store = None


def device_filter(device: str, migration: int | None) -> str:
    """A filter for the packets of a device (``idstr#instance``) of one migration, or of any."""
    text = f"device == {quoted(device)}"
    return text if migration is None else f"migration == {migration} && {text}"


def _instead(word: str, complaint: str) -> str:
    """A suggestion, where a filter needs a kind and ``word`` begins with the list's name of one."""
    found = WORD.match(word)
    if found is None or KINDS_WANTED not in complaint:
        return ""
    name = found.group(1)
    return f"; {name} is {WORDS[name.lower()]}" if name.lower() in WORDS else ""


def _shown(text: str) -> str:
    """A stored filter without lone surrogates, which JSON allows but which cannot be encoded."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _literal(value: int | bool | str | bytes, display: str) -> str:
    if isinstance(value, bytes):
        return ":".join(f"{byte:02x}" for byte in value)
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:#x}" if display in ("hex", "flags") else str(value)
