"""The registry of faults: what a scenario's ``[[fault]]`` tables may name.

A fault of stage ``units`` changes the script (what the sender writes), one of stage ``segments``
what the capture shows of it.  Each has the ids of the rules that should detect it, and an example
scenario in which they do.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from analyzer.synth.scenario import TYPES, ScenarioError, one_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from random import Random

    from analyzer.synth.scenario import FaultSpec, Migration
    from analyzer.synth.script import Script
    from analyzer.synth.units import Unit
    from analyzer.synth.wire import Segment

    Units = Iterator[Unit]
    Segments = Iterator[Segment]
    UnitFault = Callable[[Units, "Context", "Values"], Units]
    SegmentFault = Callable[[Segments, "Context", "Values"], Segments]

__all__ = [
    "Context",
    "Fault",
    "FaultKind",
    "Values",
    "kinds",
    "resolve",
    "segment_fault",
    "unit_fault",
]


class Context:
    """What a fault can use: the ``migration``, its ``script`` and a random generator."""

    __slots__ = ("migration", "rng", "script")

    def __init__(self, migration: Migration, script: Script, rng: Random) -> None:
        self.migration = migration
        self.script = script
        self.rng = rng

    def another(self, channel: str) -> str:
        """The first multifd channel but this one; raises :class:`ScenarioError` without one."""
        for name in self.script.shared:
            if name != channel:
                return name
        raise ScenarioError("channels", "the fault needs another channel")


class Values:
    """The keys of one fault as attributes, and how often it was applied."""

    def __init__(self, values: dict[str, Any]) -> None:
        self.__dict__.update(values)
        self.hits = 0

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)


class FaultKind:
    """A fault that a scenario can ask for by ``kind``.

    ``keys`` are its other keys with their defaults, ``example`` a scenario that shows it.
    """

    __slots__ = ("apply", "example", "keys", "kind", "meaning", "rules", "stage")

    def __init__(
        self,
        kind: str,
        rules: str,
        meaning: str,
        stage: str,
        apply: Any,
        keys: dict[str, Any],
        example: dict[str, Any],
    ) -> None:
        self.kind = kind
        self.rules = tuple(rules.split())
        self.meaning = meaning
        self.stage = stage
        self.apply = apply
        self.keys = keys
        self.example = {**example, "fault": [*example.get("fault", []), {"kind": kind}]}

    def __repr__(self) -> str:
        return f"FaultKind({self.kind!r})"


CHOICES = {
    "side": ("client", "server"),
    "where": ("header", "after-header", "fixed", "offsets", "payload"),
    "payload": ("pages", "field"),
}
REGISTRY: dict[str, FaultKind] = {}


def register(stage: str, apply: Any, rules: str, example: Any, keys: dict[str, Any]) -> None:
    """Add a fault function to the registry; its name is the kind, its docstring the meaning."""
    kind = apply.__name__.replace("_", "-")
    assert kind not in REGISTRY, kind
    told = apply.__doc__ or ""  # python -OO drops it
    meaning = " ".join(told.split()).rstrip(".").replace("``", "`")
    REGISTRY[kind] = FaultKind(kind, rules, meaning, stage, apply, keys, example or {})


def unit_fault(
    rules: str, example: dict[str, Any] | None = None, **keys: Any
) -> Callable[[UnitFault], UnitFault]:
    """Register a fault of the script."""

    def decorate(apply: UnitFault) -> UnitFault:
        register("units", apply, rules, example, keys)
        return apply

    return decorate


def segment_fault(
    rules: str, example: dict[str, Any] | None = None, **keys: Any
) -> Callable[[SegmentFault], SegmentFault]:
    """Register a fault of TCP or of the capture."""

    def decorate(apply: SegmentFault) -> SegmentFault:
        register("segments", apply, rules, example, keys)
        return apply

    return decorate


def kinds() -> tuple[FaultKind, ...]:
    """All kinds, by name."""
    return tuple(REGISTRY[name] for name in sorted(REGISTRY))


class Fault:
    """A fault of one scenario: the kind, and the values of its keys."""

    __slots__ = ("_key", "kind", "values")

    def __init__(self, kind: FaultKind, values: Values, key: str) -> None:
        self.kind = kind
        self.values = values
        self._key = key

    def applied(self, items: Iterator[Any], context: Context) -> Iterator[Any]:
        """The units or segments with the fault in them.

        Raises :class:`ScenarioError` at the end if there was nothing to apply it to.
        """
        yield from self.kind.apply(items, context, self.values)
        if not self.values.hits:
            raise ScenarioError(self._key, f"{self.kind.kind} found nothing to apply to")


def resolve(spec: FaultSpec, key: str) -> Fault:
    """Look a fault up and check its keys; raises :class:`ScenarioError`."""
    kind = REGISTRY.get(spec.kind)
    if kind is None:
        nearest = get_close_matches(spec.kind, REGISTRY, 1, 0.0)[0]
        raise ScenarioError(f"{key}.kind", f"{spec.kind!r} is not a fault", nearest)
    values = dict(kind.keys)
    for name, value in spec.values.items():
        if name not in kind.keys:
            close = get_close_matches(name, kind.keys, 1, 0.0)
            raise ScenarioError(
                f"{key}.{name}", f"{kind.kind} has no such key", close[0] if close else None
            )
        values[name] = checked(value, kind.keys[name], f"{key}.{name}")
    made = Values(values)
    check_names(made, key)
    return Fault(kind, made, key)


def checked(value: Any, default: Any, key: str) -> Any:
    """``value``, if it has the default's type, converted if needed."""
    if type(default) is float and type(value) is int:
        return float(value)
    if type(default) is str and type(value) is int:
        return str(value)  # the number of a channel
    if type(value) is not type(default):
        raise ScenarioError(key, f"{value!r} is not {TYPES[type(default)]}")
    return value


def check_names(values: Values, key: str) -> None:
    """Raise :class:`ScenarioError` for an impossible name."""
    channel = getattr(values, "channel", 0)
    if isinstance(channel, str) and not channel.isdecimal():
        one_of(f"{key}.channel", channel, ("main", "return-path", "all"))
    for name, choices in CHOICES.items():
        one_of(f"{key}.{name}", getattr(values, name, choices[0]), choices)
