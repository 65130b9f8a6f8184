"""The values in force: from options, the configuration file, and defaults.  A configuration file
holds options in written form.  The more specific one wins: the command line, then the ``[[files]]``
tables that a capture matches, the last of them first, then the rest of the file.  Ignored rules,
severities, limits and ports accumulate.
"""

from __future__ import annotations

import os
from argparse import Namespace

from analyzer.config.file import ConfigFile, find
from analyzer.config.settings import ANY, LIMIT, SETTINGS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from analyzer.config.file import Entry
    from analyzer.config.settings import Setting

__all__ = ["Configuration", "Value", "configured"]

DEFAULT, OPTION = "default", "option"


def configured(given: Namespace) -> Namespace:
    """The options of a command with all settings filled in, for its capture if it has one.

    ``configuration`` is added to them.  Raises :class:`analyzer.errors.UsageError`.
    """
    configuration = Configuration(given)
    capture = getattr(given, "capture", None)
    return configuration.options(capture if isinstance(capture, str) else None)


class Value:
    """A value in force, and where it was set."""

    __slots__ = ("origin", "setting", "value")

    def __init__(self, setting: Setting, value: Any, origin: str) -> None:
        self.setting = setting
        self.value = value
        self.origin = origin


class Configuration:
    """The options that were ``given``, and the contents of the configuration file.  ``file`` is
    ``None`` if there is none.  Raises :class:`analyzer.errors.UsageError`.
    """

    def __init__(self, given: Namespace) -> None:
        self._given = given
        self.file = _file(given)
        self._made: dict[tuple[int, ...], Namespace] = {}

    def options(self, capture: str | None = None) -> Namespace:
        """All options for a capture; captures that match the same tables share one object."""
        tables = self._tables(capture)
        if tables not in self._made:
            options = Namespace(**vars(self._given), configuration=self)
            for setting in SETTINGS.values():
                if hasattr(options, setting.dest):
                    setattr(options, setting.dest, self._default(setting))
            for entry in self._entries(tables):
                _put(options, entry.setting, entry.setting.held(entry.value))
            for setting in {s.dest: s for s in SETTINGS.values()}.values():
                if (value := getattr(self._given, setting.dest, None)) is not None:
                    _put(options, setting, value)
            self._made[tables] = options
        return self._made[tables]

    def values(self, capture: str | None = None) -> dict[str, Value]:
        """Every setting for a capture by its key, in the order of the table."""
        found: dict[str, list[Value]] = {}
        for entry in self._entries(self._tables(capture)):
            assert self.file is not None
            origin = f"{self.file.path}:{entry.line}"
            found.setdefault(entry.key, []).append(Value(entry.setting, entry.shown, origin))
        for key, value in self._on_command_line():
            found.setdefault(key, []).append(value)
        shown = {}
        for setting in SETTINGS.values():
            if setting.name != ANY:
                default = Value(setting, setting.default, DEFAULT)
                shown[setting.key] = _last(found.pop(setting.key, [default]))
        return {**shown, **{key: _last(values) for key, values in found.items()}}

    def _tables(self, capture: str | None) -> tuple[int, ...]:
        """Which ``[[files]]`` tables a capture matches."""
        if capture is None or self.file is None or not self.file.files:
            return ()
        name = self.file.name_of(capture)
        return tuple(n for n, table in enumerate(self.file.files) if table.matches(name))

    def _entries(self, tables: tuple[int, ...]) -> Iterator[Entry]:
        if self.file is not None:
            yield from self.file.entries
            for number in tables:
                yield from self.file.files[number].entries

    def _on_command_line(self) -> Iterator[tuple[str, Value]]:
        for setting in SETTINGS.values():
            value = getattr(self._given, setting.dest, None)
            if value is None:
                continue
            if setting.name == ANY:
                for name, inner in value:
                    yield f"{setting.section}.{name}", Value(setting, inner, OPTION)
            elif setting.option == LIMIT:
                for name, inner in value:
                    if name == setting.name:
                        yield setting.key, Value(setting, inner, OPTION)
            else:
                yield setting.key, Value(setting, value, OPTION)

    @staticmethod
    def _default(setting: Setting) -> Any:
        """The default of a setting.  Limits have none here: exceeding a limit that the user sets is
        a warning, exceeding a default limit is not.
        """
        return None if setting.option == LIMIT else setting.default


def _put(options: Namespace, setting: Setting, value: Any) -> None:
    """Set an option, or add to it, if the command has it."""
    if not hasattr(options, setting.dest):
        return
    if setting.joined:
        value = [*(getattr(options, setting.dest) or ()), *value]
    setattr(options, setting.dest, value)


def _last(values: list[Value]) -> Value:
    """The value in force; for lists that accumulate, all of them."""
    last = values[-1]
    if not isinstance(last.value, list) or not last.setting.joined:
        return last
    whole = [item for value in values for item in value.value]
    return Value(last.setting, whole, ", ".join(dict.fromkeys(v.origin for v in values)))


def _file(given: Namespace) -> ConfigFile | None:
    if given.no_config:
        return None
    if given.config is not None:
        return ConfigFile(given.config)
    try:
        path = find(os.getcwd())
    except FileNotFoundError:  # the directory was removed
        return None
    return None if path is None else ConfigFile(os.path.relpath(path))
