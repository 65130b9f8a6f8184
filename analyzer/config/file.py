"""Configuration files: finding and reading them."""

from __future__ import annotations

import os

from analyzer.config.settings import ANY, SECTIONS, SETTINGS
from analyzer.errors import UsageError, did_you_mean, reason_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any, TypeAlias

    from analyzer.config.settings import Setting

    Json: TypeAlias = dict[str, Any]
    Path: TypeAlias = tuple[str | int, ...]
    """Keys and numbers that lead to a value."""

__all__ = ["ConfigFile", "Entry", "FileTable", "find"]

OWN = "mfshark.toml"
SHARED = "pyproject.toml"
TABLE = ("tool", "mfshark")
"""The table of the shared file that holds the settings."""
SIZE_MAX = 1 << 20
CLOSING = ("]", "}", '"""', "'''")
"""One of these ends a value of several lines."""
TRIES_MAX = 500
"""If more lines than this might end a value, line numbers are not reported for what follows."""
FILES = "files"
PATTERN = "pattern"


def find(folder: str) -> str | None:
    """The configuration file in force in a folder: there or in the nearest one above.  A symbolic
    link to nothing is one, which cannot be read: settings that were meant must not be left out.
    """
    while True:
        for name in (OWN, SHARED):
            path = os.path.join(folder, name)
            if os.path.isfile(path) and (name == OWN or _is_ours(path)):
                return path
            if name == OWN and os.path.islink(path) and not os.path.exists(path):
                return path
        above = os.path.dirname(folder)
        if above == folder:
            return None
        folder = above


def _is_ours(path: str) -> bool:
    """Whether a shared file has settings of mfshark; if not, it need not even be valid."""
    text = _text(path)
    return ".".join(TABLE) in text and _table(_parsed(text, path)) is not None


class Entry:
    """A setting in a file: the option's value, the text in the file, and the line."""

    __slots__ = ("key", "line", "setting", "shown", "value")

    def __init__(self, setting: Setting, key: str, value: Any, shown: Any, line: int) -> None:
        self.setting = setting
        self.key = key
        self.value = value
        self.shown = shown
        self.line = line


class FileTable:
    """A ``[[files]]`` table: patterns, and settings for the captures that match one of them."""

    __slots__ = ("entries", "patterns")

    def __init__(self, patterns: list[str], entries: list[Entry]) -> None:
        self.patterns = patterns
        self.entries = entries

    def matches(self, name: str) -> bool:
        """Whether the table applies to a capture; ``name`` is its path relative to the file's
        folder.  A pattern without a slash matches file names in any folder.
        """
        from fnmatch import fnmatchcase

        own = name.rpartition("/")[2]
        return any(fnmatchcase(name if "/" in one else own, one) for one in self.patterns)


class ConfigFile:
    """The contents of the configuration file ``path``.

    ``entries`` are the settings for all captures, ``files`` those for some.  Raises
    :class:`UsageError`, with the line, for an invalid file.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        text = _text(path)
        document = _parsed(text, path)
        shared = os.path.basename(path) == SHARED
        self._at: Path = TABLE if shared else ()
        self._lines = _lines(text)
        table = _table(document) if shared else document
        if table is None:
            raise UsageError(f"{path} has no table [{'.'.join(TABLE)}]")
        self._folder = os.path.dirname(path)
        files = table.pop(FILES, [])
        self.entries = list(self._entries(table, (), per_file=False))
        self.files = list(self._file_tables(files))

    def name_of(self, capture: str) -> str:
        """A capture's path relative to the folder of the file."""
        capture = os.path.abspath(capture)
        return os.path.relpath(capture, self._folder or ".").replace(os.sep, "/")

    # -- reading ----------------------------------------------------------------------------------

    def _entries(self, table: Any, at: Path, *, per_file: bool) -> Iterator[Entry]:
        """The entries of the top level or of a ``[[files]]`` table."""
        self._check_table(table, at)
        for name, value in table.items():
            if name in SECTIONS:
                self._check_table(value, (*at, name))
                for inner, entry in value.items():
                    yield self._entry(name, inner, entry, (*at, name, inner), per_file)
            else:
                yield self._entry("", name, value, (*at, name), per_file)

    def _entry(self, section: str, name: str, value: Any, at: Path, per_file: bool) -> Entry:
        key = f"{section}.{name}" if section else name
        setting = SETTINGS.get(f"{section}.{ANY}") or SETTINGS.get(key)
        if setting is None:
            raise self._error(at, f"nothing is called {key}{_hint(section, name, per_file)}")
        if per_file and not setting.per_file:
            raise self._error(at, f"{key} cannot differ from file to file")
        try:
            read = setting.kind.read_as(name, value, self._folder)
        except ValueError as error:
            raise self._error(at, f"{key}: {error}") from None
        return Entry(setting, key, read, value, self._line(at))

    def _file_tables(self, tables: Any) -> Iterator[FileTable]:
        if not isinstance(tables, list):
            raise self._error((FILES,), f"[[{FILES}]] tables are expected, not {tables!r}")
        for number, table in enumerate(tables):
            at = (FILES, number)
            self._check_table(table, at)
            patterns = table.pop(PATTERN, None)
            entries = list(self._entries(table, at, per_file=True))  # a misspelt pattern is told
            if isinstance(patterns, str):
                patterns = [patterns]
            if not _texts(patterns):
                raise self._error(
                    (*at, PATTERN),
                    f"{PATTERN} takes a file name pattern with * and ?, or a list of them",
                )
            yield FileTable(patterns, entries)

    def _check_table(self, value: Any, at: Path) -> None:
        if not isinstance(value, dict):
            raise self._error(at, f"{at[-1]} is a table, not {value!r}")

    def _line(self, at: Path) -> int:
        """The line of a key, or of the table that contains it."""
        at = (*self._at, *at)
        while at and at not in self._lines:
            at = at[:-1]
        return self._lines.get(at, 1)

    def _error(self, at: Path, text: str) -> UsageError:
        return UsageError(f"{self.path}:{self._line(at)}: {text}")


def _hint(section: str, name: str, per_file: bool) -> str:
    """The likely meaning of a misspelt name, including one in the wrong table."""
    for setting in SETTINGS.values():
        if setting.name == name:
            place = f"in [{setting.section}]" if setting.section else "above all tables"
            return f"; {name} belongs {place}"
    if section:
        return did_you_mean(name, (s.name for s in SETTINGS.values() if s.section == section))
    top = [key for key in SETTINGS if "." not in key]
    return did_you_mean(name, [*top, *filter(None, SECTIONS), PATTERN if per_file else FILES])


def _texts(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(one, str) for one in value)


# -- TOML ------------------------------------------------------------------------------------------


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8", newline="") as file:
            text = file.read(SIZE_MAX + 1)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {reason_of(error)}") from None
    if len(text) > SIZE_MAX:
        raise UsageError(
            f"{path} is not a configuration file: it is larger than {SIZE_MAX >> 20} MiB"
        )
    return text.replace("\r\n", "\n")


def _parsed(text: str, path: str) -> Json:
    import tomllib

    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path}: {error}") from None


def _table(document: Json) -> Json | None:
    """The table of mfshark in a shared file."""
    found: Any = document
    for name in TABLE:
        found = found.get(name) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else None


def _lines(text: str) -> dict[Path, int]:
    """The line, from 1, of every table and key of a valid document."""
    found: dict[Path, int] = {}
    table: Path = ()
    for line, statement in _statements(text):
        if statement.lstrip().startswith("["):
            table = _header(statement, found)
            found[table] = line
        else:
            for path in _leaves(_loaded(statement) or {}):
                for end in range(1, len(path) + 1):
                    found.setdefault((*table, *path[:end]), line)
    return found


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """Splits the document into headers and keys with values: the smallest groups of lines that are
    valid on their own.
    """
    lines = text.split("\n")
    begin = 0
    while begin < len(lines):
        end, tries = begin + 1, 1
        while _loaded("\n".join(lines[begin:end])) is None:
            end += 1
            while end < len(lines) and not any(mark in lines[end - 1] for mark in CLOSING):
                end += 1
            tries += 1
            if end > len(lines) or tries > TRIES_MAX:
                return
        statement = "\n".join(lines[begin:end])
        if _loaded(statement):
            yield begin + 1, statement
        begin = end


def _loaded(text: str) -> Json | None:
    import tomllib

    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError):
        return None


def _header(statement: str, found: Iterable[Path]) -> Path:
    """The path of a table, with the index of the last one if there are several."""
    path: Path = ()
    inside: Any = _loaded(statement)
    while inside:
        (name, inside), *_ = inside.items()
        path += (name,)
        opens = isinstance(inside, list)
        known = [at[len(path)] for at in found if at[: len(path)] == path and len(at) > len(path)]
        numbers = [number for number in known if isinstance(number, int)]
        if opens:
            path += (max(numbers, default=-1) + 1,)
            inside = inside[0]
        elif numbers:
            path += (max(numbers),)
    return path


def _leaves(table: Json) -> Iterator[Path]:
    for name, value in table.items():
        if isinstance(value, dict) and value:
            for rest in _leaves(value):
                yield (name, *rest)
        else:
            yield (name,)
