"""What a rule is, and the registry of all rules.

A rule is one small function; its docstring is the text that ``mfshark rule ID`` prints.  The
decorators of this module say what a rule looks at; whatever it yields (or returns) becomes a
finding.
"""

from __future__ import annotations

from operator import attrgetter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeAlias

    from analyzer.migration.channel import Channel
    from analyzer.migration.mark import Mark

    Body: TypeAlias = Callable[..., Any]

__all__ = [
    "BY_SLUG",
    "ERROR",
    "INFO",
    "RULES",
    "SEVERITIES",
    "WARNING",
    "Rule",
    "Spot",
    "capture_rule",
    "channel_rule",
    "device_packet_rule",
    "device_rule",
    "flow_rule",
    "limit_rule",
    "main_rule",
    "metric_rule",
    "migration_rule",
    "packet_rule",
    "ram_rule",
    "rules_of",
    "walker_rule",
]

INFO, WARNING, ERROR = "info", "warning", "error"
SEVERITIES = (INFO, WARNING, ERROR)
"""Ascending."""

RULES: dict[str, Rule] = {}
"""All rules by id."""
BY_SLUG: dict[str, Rule] = {}
BY_SUBJECT: dict[str, list[Rule]] = {}


class Spot:
    """One violation of a rule: a message and its location; what does not apply is ``None``.

    ``frame`` is the frame to look at, ``offset`` the offset in the channel's stream; a ``mark``
    gives both.  ``severity`` overrides the rule's, where a dialect or an option changes it; for
    senders older than the RAM era ``noted_before`` the severity becomes ``info``.  (The era may
    only be known later in the capture.)  What is ``certain`` has no excuse.  ``more`` counts
    further places of the same kind that were not kept.
    """

    __slots__ = (
        "certain",
        "channel",
        "device",
        "frame",
        "index",
        "message",
        "more",
        "noted_before",
        "offset",
        "severity",
    )

    def __init__(
        self,
        message: str,
        *,
        frame: int | None = None,
        channel: Channel | None = None,
        offset: int | None = None,
        mark: Mark | None = None,
        device: str | None = None,
        index: int | None = None,
        severity: str | None = None,
        noted_before: str | None = None,
        certain: bool = False,
    ) -> None:
        if mark is not None:
            frame, offset = mark.frame or None, mark.offset  # a saved file has no frames
        self.message = message
        self.frame = frame
        self.channel = channel
        self.offset = offset
        self.device = device
        self.index = index
        self.severity = severity
        self.noted_before = noted_before
        self.certain = certain
        self.more = 0


HEADINGS = ("Receiver", "Usual cause")
"""The labels that paragraphs of an explanation can begin with."""
UNTOLD = "Not explained: python -OO and PYTHONOPTIMIZE=2 drop the texts of rules."


class Rule:
    """A verification rule.

    ``holes`` are letters, one for each defect of the capture that can excuse a finding: ``L`` the
    capture began late, ``E`` it ends early, ``G`` a hole at or before the place, ``A`` a hole
    anywhere in its stream (of what goes on to the stream's end), ``X`` a hole in another stream of
    the migration, ``C`` a multifd channel is not in the capture, ``M`` bytes of main before its
    description could not be decoded, ``B`` bytes before its first END, ``S`` the channels' SYNC
    counts differ, so that the round of a packet is uncertain.  ``forgiven`` says that a cancelled
    or failed migration excuses it.  ``subject`` is what ``test`` looks at:
    ``ram``, ``device-packet``, ``packet``, ``channel``, ``device``, ``main``, ``migration``,
    ``flow``, ``capture``, ``limit``, ``metric`` or ``walker`` (the walker itself reports it).
    """

    __slots__ = ("explanation", "forgiven", "holes", "id", "severity", "slug", "subject", "test")

    def __init__(
        self,
        id: str,  # noqa: A002 - what it is called everywhere
        slug: str,
        severity: str,
        subject: str,
        holes: str,
        forgiven: bool,
        test: Body,
    ) -> None:
        self.id = id
        self.slug = slug
        self.severity = severity
        self.subject = subject
        self.holes = frozenset(holes)
        self.forgiven = forgiven
        self.test = test
        self.explanation = test.__doc__ or UNTOLD

    def __repr__(self) -> str:
        return f"Rule({self.id}, {self.slug})"

    @property
    def paragraphs(self) -> list[tuple[str, str]]:
        """The paragraphs of the explanation as (label, text), each on one line: what is wrong, why
        it matters, then the labelled ones (see :data:`HEADINGS`; the label of the others is
        empty).  Messages, which have blanks, are in quotes; names are without markup.
        """
        found = []
        parts = self.explanation.strip().split("``")
        parts[1::2] = (f'"{text}"' if " " in text else text for text in parts[1::2])
        for part in "".join(parts).split("\n\n"):
            line = " ".join(part.split())
            head, _, rest = line.partition(": ")
            found.append((head, rest) if head in HEADINGS else ("", line))
        return found


def _registrar(subject: str) -> Callable[..., Callable[[Body], Body]]:
    def register(
        id: str,  # noqa: A002
        slug: str,
        severity: str,
        *,
        holes: str = "",
        forgiven: bool = False,
    ) -> Callable[[Body], Body]:
        def add(test: Body) -> Body:
            rule = Rule(id, slug, severity, subject, holes, forgiven, test)
            assert id not in RULES and slug not in BY_SLUG, id  # noqa: PT018
            RULES[id] = rule
            BY_SLUG[slug] = rule
            BY_SUBJECT.setdefault(subject, []).append(rule)
            return test

        return add

    return register


ram_rule = _registrar("ram")
"""``test(packet: RamPacket, channel, migration)`` gives a message, a Spot, or ``None``."""
device_packet_rule = _registrar("device-packet")
"""``test(packet: DevicePacket, channel, migration)``, likewise."""
packet_rule = _registrar("packet")
"""Likewise, for packets of both kinds."""
channel_rule = _registrar("channel")
"""``test(channel, migration)`` yields Spots when the capture has been read."""
device_rule = _registrar("device")
"""``test(device, migration)`` yields Spots."""
main_rule = _registrar("main")
"""``test(main_facts, channel)`` yields Spots; ``channel`` is ``None`` for a saved file."""
migration_rule = _registrar("migration")
"""``test(migration)`` yields Spots."""
flow_rule = _registrar("flow")
"""``test(flow, channel)`` yields Spots, for every direction that belongs to a migration."""
capture_rule = _registrar("capture")
"""``test(scan)`` yields Spots, each with its migration, or ``None``."""
limit_rule = _registrar("limit")
"""``test(migration, selection)`` yields Spots; for limits and facts that the user gives."""
metric_rule = _registrar("metric")
"""``test(migration, selection, scan)`` yields Spots; for measures over the whole capture."""
walker_rule = _registrar("walker")
"""Never called: the channel's walker reports it as an anomaly of the same slug."""


def rules_of(*subjects: str) -> list[Rule]:
    """All rules about the given subjects, by id."""
    found = [rule for subject in subjects for rule in BY_SUBJECT.get(subject, ())]
    return sorted(found, key=attrgetter("id"))
