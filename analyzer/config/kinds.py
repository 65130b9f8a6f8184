"""The types of settings: their notation in TOML and on the command line, and their JSON schema.  A
kind converts a value of a configuration file, or the text of an option, to the value of the option.
Both raise :class:`ValueError` that says what is expected.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod

from analyzer.checks.families import load
from analyzer.checks.rule import RULES, SEVERITIES
from analyzer.checks.selection import names_rule, no_such_rule
from analyzer.errors import did_you_mean

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, TypeAlias

    Json: TypeAlias = dict[str, Any]

__all__ = [
    "Choice",
    "Count",
    "FilePath",
    "Flag",
    "Kind",
    "Levels",
    "Ports",
    "Quantity",
    "Rules",
    "Version",
]

BOUNDLESS = 10**18
"""Larger than any amount that makes sense."""


class Kind(ABC):
    """``words`` describe the valid values in the documentation.  ``joined``: values from several
    places accumulate instead of replacing each other.
    """

    words = ""
    joined = False

    @property
    @abstractmethod
    def argument(self) -> Json:
        """Keywords of ``add_argument``."""

    @abstractmethod
    def read(self, value: Any, folder: str) -> Any:
        """A value of TOML; paths are seen from ``folder``."""

    def read_as(self, name: str, value: Any, folder: str) -> Any:  # noqa: ARG002 - where it is free
        """Convert a TOML value of the setting ``name``."""
        return self.read(value, folder)

    @abstractmethod
    def schema(self) -> Json:
        """The JSON schema of its values."""

    def _refuse(self, value: Any) -> Any:
        raise ValueError(f"takes {_plain(self.words)}, not {value!r}")


class Parsed(Kind):
    """A kind that can be written as text, like options."""

    def __init__(self, metavar: str | None = None) -> None:
        self._metavar = metavar

    @property
    def argument(self) -> Json:
        """Keywords of ``add_argument``."""
        return {"type": self.parse, "metavar": self._metavar}

    def read(self, value: Any, folder: str) -> Any:  # noqa: ARG002 - of files
        """A value of TOML; paths are seen from ``folder``."""
        return self.parse(value) if isinstance(value, str) else self._refuse(value)

    @abstractmethod
    def parse(self, text: str) -> Any:
        """The text of an option."""


class Choice(Parsed):
    """One of several words."""

    def __init__(self, *names: str) -> None:
        super().__init__()
        self._names = names
        self.words = " or ".join(f"`{name}`" for name in names)

    @property
    def argument(self) -> Json:
        """Keywords of ``add_argument``."""
        return {"choices": self._names}

    def parse(self, text: str) -> str:
        """The text of an option."""
        if text not in self._names:
            raise ValueError(f"cannot be {text!r}{did_you_mean(text, self._names)}")
        return text

    def schema(self) -> Json:
        """The JSON schema of its values."""
        return {"enum": list(self._names)}


class Flag(Kind):
    """Yes or no."""

    words = "`true` or `false`"

    @property
    def argument(self) -> Json:
        """Keywords of ``add_argument``."""
        return {"action": "store_true"}

    def read(self, value: Any, folder: str) -> bool:  # noqa: ARG002
        """A value of TOML."""
        return value if isinstance(value, bool) else self._refuse(value)

    def schema(self) -> Json:
        """The JSON schema of its values."""
        return {"type": "boolean"}


class Count(Parsed):
    """A whole number above 0."""

    words = "a whole number above 0"

    def read(self, value: Any, folder: str) -> int:  # noqa: ARG002
        """A value of TOML."""
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            self._refuse(value)
        return int(value)

    def parse(self, text: str) -> int:
        """The text of an option."""
        return self.read(int(text) if text.isdecimal() else text, "")

    def schema(self) -> Json:
        """The JSON schema of its values."""
        return {"type": "integer", "minimum": 1}


class Quantity(Parsed):
    """A number, or text with a number and a unit."""

    def __init__(self, measure: str, *, whole: bool = False) -> None:
        super().__init__("N")
        self._measure = measure
        self._whole = whole
        self._highest = 1 if measure == "share" else BOUNDLESS
        self.words = {
            "seconds": 'seconds, or a time as `"300 ms"`',
            "bytes": 'bytes, or a size as `"64 MiB"` or `"64M"`, powers of 1024',
            "share": 'a share from 0 to 1, or as `"50 %"`',
            "count": "a number",
        }[measure]

    def read(self, value: Any, folder: str) -> float:  # noqa: ARG002
        """A value of TOML."""
        if isinstance(value, str):
            return self.parse(value)
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not 0 <= value <= self._highest:
            self._refuse(value)
        return int(value) if self._whole else float(value)

    def parse(self, text: str) -> float:
        """The text of an option."""
        from analyzer.report.bounds import quantity

        try:
            value = quantity(text, self._measure)
        except ValueError as error:
            raise ValueError(f"takes {_plain(self.words)}, not {text!r}: {error}") from None
        return self.read(value, "")

    def schema(self) -> Json:
        """The JSON schema of its values."""
        schema: Json = {"type": ["number", "string"], "minimum": 0}
        return schema if self._highest == BOUNDLESS else {**schema, "maximum": self._highest}


class FilePath(Parsed):
    """The path of a file."""

    words = "the path of a file, relative to the configuration file's folder"

    def __init__(self) -> None:
        super().__init__("FILE")

    def read(self, value: Any, folder: str) -> str:
        """A value of TOML."""
        return os.path.join(folder, super().read(value, folder))

    def parse(self, text: str) -> str:
        """The text of an option."""
        return text

    def schema(self) -> Json:
        """The JSON schema of its values."""
        return {"type": "string"}


class Version(Parsed):
    """A version of QEMU, as major and minor number."""

    words = 'a version as `"10.0"`'

    def __init__(self) -> None:
        super().__init__("X.Y")

    def parse(self, text: str) -> tuple[int, int]:
        """The text of an option."""
        major, _, minor = text.partition(".")
        if not (major.isdecimal() and minor.isdecimal() and text.isascii() and len(text) < 10):
            self._refuse(text)
        return int(major), int(minor)

    def schema(self) -> Json:
        """The JSON schema of its values."""
        return {"type": "string", "pattern": r"^[0-9]+\.[0-9]+$"}


class Listed(Parsed):
    """A list; an option gives one or several items, and may be repeated."""

    def __init__(self, metavar: str, *, joined: bool = True) -> None:
        super().__init__(metavar)
        self.joined = joined

    @property
    def argument(self) -> Json:
        """Keywords of ``add_argument``."""
        return {**super().argument, "action": "extend"}

    def read(self, value: Any, folder: str) -> list[Any]:  # noqa: ARG002
        """A value of TOML."""
        if not isinstance(value, list):
            self._refuse(value)
        return [self.item(item) for item in value]

    @abstractmethod
    def item(self, value: Any) -> Any:
        """One item of TOML."""


class Rules(Listed):
    """Names of rules."""

    words = "a list of rules: ids, how ids begin (`MF5`), or slugs"

    def item(self, value: Any) -> str:
        """One item of TOML."""
        if not isinstance(value, str):
            self._refuse(value)
        rules_named(value)
        return str(value)

    def parse(self, text: str) -> list[str]:
        """The text of an option: names with commas between."""
        return [self.item(name) for name in text.split(",") if name]

    def schema(self) -> Json:
        """The JSON schema of its values."""
        return {"type": "array", "items": {"type": "string"}}


class Ports(Listed):
    """TCP ports of multifd channels."""

    words = "a list of TCP ports"

    def item(self, value: Any) -> int:
        """One item of TOML."""
        if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 65536:
            self._refuse(value)
        return int(value)

    def parse(self, text: str) -> list[int]:
        """The text of an option."""
        port, _, protocol = text.partition("=")
        if protocol != "multifd" or not port.isdecimal() or not 0 < int(port[:6]) < 65536:
            raise ValueError(f"takes {self._metavar}, not {text!r}")
        return [int(port)]

    def schema(self) -> Json:
        """The JSON schema of its values."""
        port = {"type": "integer", "minimum": 1, "maximum": 65535}
        return {"type": "array", "items": port}


class Levels(Parsed):
    """Severities of rules, by name: pairs of a rule's id and its severity."""

    words = "for each rule (id, how ids begin, or slug) `error`, `warning` or `info`"
    joined = True

    def __init__(self) -> None:
        super().__init__("RULE=LEVEL")

    @property
    def argument(self) -> Json:
        """Keywords of ``add_argument``."""
        return {**super().argument, "action": "extend"}

    def read_as(self, name: str, value: Any, folder: str) -> list[tuple[str, str]]:  # noqa: ARG002
        """A value of TOML, of the rule ``name``."""
        if value not in SEVERITIES:
            raise ValueError(f"takes {', '.join(SEVERITIES)}, not {value!r}")
        return [(rule, value) for rule in rules_named(name)]

    def parse(self, text: str) -> list[tuple[str, str]]:
        """The text of an option."""
        name, _, level = text.partition("=")
        if level not in SEVERITIES:
            raise ValueError(f"takes RULE={'|'.join(SEVERITIES)}, not {text!r}")
        return self.read_as(name, level, "")

    def schema(self) -> Json:
        """The JSON schema of its values."""
        return {"enum": list(SEVERITIES)}


def rules_named(name: str) -> Sequence[str]:
    """The ids of the rules that a name means.  Raises :class:`ValueError` if there are none."""
    load()
    found = [rule.id for rule in RULES.values() if names_rule(rule, (name,))] if name else []
    if not found:
        raise ValueError(no_such_rule(name))
    return found


def _plain(words: str) -> str:
    """Without the marks of the documentation's code."""
    return words.replace("`", "")
