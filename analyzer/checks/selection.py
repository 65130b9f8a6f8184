"""Which rules run, with what severity, and facts that rules cannot get from the capture."""

from __future__ import annotations

from analyzer.checks.rule import BY_SLUG, INFO, RULES, WARNING
from analyzer.errors import did_you_mean

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from analyzer.capture.trace_log import TraceRun
    from analyzer.checks.rule import Rule

__all__ = ["REQUIRED", "USUAL", "Selection", "names_rule", "no_such_rule"]


REQUIRED = "not-completed"
"""The rule that ``require`` switches on."""
NEEDED = {
    "MF415": "destination_transfer_off",
    "MF519": "max_queued_bytes",
    "MF520": "max_queued_buffers",
    "MF618": "destination_version",
    "MF8": "deep",
    "MF961": "expect",
    "MF962": "expected_dialect",
    "MF963": "require",
    "MF97": "traces",
}
"""Rules that only run on request, by prefix of their ids: the attribute of :class:`Selection` that
requests them.
"""

USUAL = {
    "fairness-ram": 0.5,
    "fairness-device": 0.5,
    "device-starved": 0.9,
    "downtime": 0.3,
    "switchover-gap": 0.1,
    "iterations": 30,
    "resent-pages": float("inf"),
    "channels-unused": 0,
    "checkpoint-pause": 0.1,
    "tcp-zero-window": 0.2,
}
"""Default thresholds of MF95x and MF909: shares from 0 to 1, seconds, and counts."""


class Selection:
    """Which rules run and how severe they are.

    ``select`` and ``ignore`` name rules by id, prefix of an id (``MF5``) or slug; ``severity``
    overrides by id.  Limits: ``max_queued_bytes`` and ``max_queued_buffers``;
    ``destination_transfer_off``: the destination takes no device state over multifd; ``channels``:
    how many multifd channels it has; ``destination_version``: the version of its QEMU, as ``(10,
    0)``.  ``limits`` are the thresholds that the user sets, by slug; the others are those of
    :data:`USUAL`.  ``expected_dialect`` is the name of the dialect that migrations must have
    (MF962); ``require`` is ``completed`` if every migration must have completed (MF963, which then
    runs whatever ``select`` says).  ``deep``: decompress and verify the payload of RAM packets
    (MF8).  ``traces``: QEMU's own trace logs, to be compared with the capture (MF97).  ``expect``:
    the findings will be compared with an expectation (MF961).
    """

    __slots__ = (
        "channels",
        "deep",
        "destination_transfer_off",
        "destination_version",
        "expect",
        "expected_dialect",
        "ignore",
        "limits",
        "max_queued_buffers",
        "max_queued_bytes",
        "require",
        "select",
        "severity",
        "traces",
    )

    def __init__(
        self,
        select: tuple[str, ...] = (),
        ignore: tuple[str, ...] = (),
        severity: dict[str, str] | None = None,
        max_queued_bytes: int | None = None,
        max_queued_buffers: int | None = None,
        destination_transfer_off: bool = False,
        channels: int | None = None,
        limits: dict[str, float] | None = None,
        destination_version: tuple[int, int] | None = None,
        deep: bool = False,
        traces: tuple[TraceRun, ...] = (),
        expected_dialect: str | None = None,
        require: str | None = None,
        expect: bool = False,
    ) -> None:
        self.select = select
        self.ignore = ignore
        self.severity = severity or {}
        self.max_queued_bytes = max_queued_bytes
        self.max_queued_buffers = max_queued_buffers
        self.destination_transfer_off = destination_transfer_off
        self.channels = channels
        self.limits = limits or {}
        self.destination_version = destination_version
        self.deep = deep
        self.traces = traces
        self.expected_dialect = expected_dialect
        self.require = require
        self.expect = expect

    def limit(self, name: str) -> float:
        """A threshold: the user's, else the usual one."""
        return self.limits.get(name, USUAL[name])

    def level(self, limit: str) -> str:
        """The severity of exceeding a limit: warning if the user set it, else info."""
        return WARNING if limit in self.limits else INFO

    def takes(self, rule: Rule) -> bool:
        """Whether a rule is selected."""
        if self.select and not names_rule(rule, self.select) and rule.slug != REQUIRED:
            return False
        if rule.slug == REQUIRED and self.require is None:
            return False
        return not names_rule(rule, self.ignore)

    def asks(self, rule: Rule) -> bool:
        """Whether a rule is selected and has the input it needs, so that no finding means that it
        passed.
        """
        return self.takes(rule) and not self.lacks(rule)

    def lacks(self, rule: Rule) -> list[str]:
        """The attributes without which a rule does not run and that are not given."""
        needed = (name for start, name in NEEDED.items() if rule.id.startswith(start))
        return [name for name in needed if not _is_given(getattr(self, name))]


def _is_given(value: object) -> bool:
    """Whether an attribute was set; a limit may be 0."""
    return bool(value) or type(value) is int


def names_rule(rule: Rule, names: Iterable[str]) -> bool:
    """Whether any of the names is the rule's slug, its id, or a prefix of its id, ignoring case."""
    return any(rule.slug == name.lower() or rule.id.startswith(name.upper()) for name in names)


def no_such_rule(name: str) -> str:
    """The message for an unknown rule, with the closest name.  The rules must be loaded."""
    hint = did_you_mean(name, (*RULES, *BY_SLUG), others="'mfshark rule' lists them")
    return f"no rule is called {name!r}{hint}"
