"""Captures in tests: ``check(path)`` returns typed plain objects to assert on.  Their attributes
have the names and meanings of the fields of the JSON report; sizes are in bytes, times in seconds.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field, fields
from typing import TypeVar

from analyzer.analysis import chosen
from analyzer.batch.job import Job, run_job
from analyzer.checks.rule import RULES, SEVERITIES
from analyzer.checks.selection import names_rule
from analyzer.errors import CaptureError
from analyzer.report.escape import terminal
from analyzer.report.result import LINES, REPORT
from dissectors.multifd import device_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from analyzer.report.parts import Json

__all__ = ["Capture", "Channel", "Device", "Finding", "Migration", "Verdict", "check"]

Entry = TypeVar("Entry")
FINDINGS_SHOWN = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """A rule that fired; ``repeats`` counts further places of the same kind."""

    rule: str
    name: str
    severity: str
    message: str
    migration: int | None
    frame: int | None
    channel: int | None
    tcp_stream: int | None
    offset: int | None
    device: str | None
    index: int | None
    repeats: int

    def __str__(self) -> str:
        frame = f" (frame {self.frame})" if self.frame else ""
        return f"{self.severity} {self.rule} {self.name}: {terminal(self.message)}{frame}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Channel:
    """A channel; ``id`` is ``None`` except for multifd channels with a known id."""

    kind: str
    id: int | None
    tcp_stream: int
    client: str
    server: str
    compression: str
    bytes: int
    packets: int
    ram_packets: int
    sync_packets: int
    device_state_packets: int
    normal_pages: int
    zero_pages: int
    holes: int
    missing_bytes: int
    skipped_bytes: int
    first_frame: int
    last_frame: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Device:
    """A device and its state; ``complete`` is ``None`` if the capture cannot tell.  The digests are
    ``None`` unless requested, or if bytes are missing.
    """

    idstr: str
    instance_id: int
    buffers: int
    bytes: int
    first_index: int | None
    last_index: int | None
    missing: list[list[int]]
    duplicates: list[int]
    config_index: int | None
    complete: bool | None
    out_of_order: int
    channels: dict[str, int]
    digest: str | None
    config_digest: str | None
    main_bytes: int
    state_digest: str | None
    largest_distance: int = 0
    queue_peak_buffers: int = 0
    queue_peak_bytes: int = 0
    longest_wait: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Migration:
    """A migration; ``ram`` has its blocks, SYNC rounds and resent pages as in the report, ``colo``
    the checkpoints of a COLO pair (``None`` for others).
    """

    uuid: str | None
    dialect: str
    ram_era: str | None
    page_size: int | None
    machine: str | None
    source: str
    destination: str
    outcome: str
    outcome_evidence: str
    channels: list[Channel]
    ram: Json
    devices: list[Device]
    colo: Json | None = None

    @property
    def multifd(self) -> list[Channel]:
        """The multifd channels, by id."""
        found = [channel for channel in self.channels if channel.kind == "multifd"]
        return sorted(found, key=lambda c: (c.id is None, c.id or 0, c.tcp_stream))

    def device(self, name: str) -> Device:
        """A device by ``idstr`` or ``idstr#instance``.  Raises :class:`LookupError`."""
        for device in self.devices:
            if name in (device.idstr, device_name(device.idstr, device.instance_id)):
                return device
        there = ", ".join(terminal(device.idstr) for device in self.devices) or "none"
        raise LookupError(f"no device is called {name!r}; there are: {there}")


class Verdict(str):
    """The leading word of a report (``OK``, ``ERROR``, ``CANCELLED``, ...), with its ``capture``,
    so that a failed comparison can say why.
    """

    __slots__ = ("capture",)
    capture: Capture


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Capture:
    """The result of a check: ``verdict`` is the report's first word, ``sentence`` what follows.

    ``text`` is the whole text report, ``report`` the capture's part of the JSON report; ``damage``
    says where reading ended early.  ``migrations`` are in order of appearance.
    """

    path: str
    verdict: Verdict = field(compare=False)
    sentence: str
    text: str
    report: Json
    damage: str | None
    migrations: list[Migration]
    findings: list[Finding]

    @property
    def migration(self) -> Migration:
        """The only migration.  Raises :class:`LookupError` if there are none or several."""
        if len(self.migrations) != 1:
            raise LookupError(f"{self.path} holds {len(self.migrations)} migrations, not one")
        return self.migrations[0]

    @property
    def outcome(self) -> str:
        """The outcome of the only migration: ``completed``, ``cancelled``, ..."""
        return self.migration.outcome

    @property
    def channels(self) -> list[Channel]:
        """The channels of all migrations."""
        return [channel for migration in self.migrations for channel in migration.channels]

    @property
    def devices(self) -> list[Device]:
        """The devices of all migrations."""
        return [device for migration in self.migrations for device in migration.devices]

    def device(self, name: str) -> Device:
        """A device of the only migration.  Raises :class:`LookupError`."""
        return self.migration.device(name)

    def findings_of(self, *rules: str, at_least: str = "info") -> list[Finding]:
        """The findings of at least the given severity, of rules by id, prefix of an id, or slug (of
        all rules if none is given).
        """
        grave = SEVERITIES[SEVERITIES.index(at_least) :]
        return [
            finding
            for finding in self.findings
            if finding.severity in grave and (not rules or names_rule(RULES[finding.rule], rules))
        ]

    def findings_by_rule(self) -> dict[str, list[Finding]]:
        """The findings by id of their rule, in the report's order."""
        found: dict[str, list[Finding]] = {}
        for finding in self.findings:
            found.setdefault(finding.rule, []).append(finding)
        return found

    def assert_clean(self, fail_on: str = "error") -> None:
        """Raise :class:`AssertionError` with verdict and findings if ``mfshark check`` with
        ``--fail-on`` would not return status 0.
        """
        __tracebackhide__ = True
        reasons = [str(finding) for finding in self.findings_of(at_least=fail_on)]
        if self.damage is not None:
            reasons.insert(0, terminal(self.damage))
        if not self.migrations and "saved_migration" not in self.report:
            reasons.insert(0, "there is no migration in it")
        if reasons:
            raise AssertionError("\n".join([str(self), *_shown(reasons)]))

    def explanation(self) -> list[str]:
        """Lines that say what is wrong: the verdict, then errors and warnings."""
        return [str(self), *_shown([str(f) for f in self.findings_of(at_least="warning")])]

    def __repr__(self) -> str:
        return f"<Capture {terminal(self.path)}: {self.verdict}>"

    def __str__(self) -> str:
        return f"{self.verdict}  {terminal(self.path)}: {self.sentence}"


def _shown(lines: list[str]) -> list[str]:
    shown = [f"  {line}" for line in lines[:FINDINGS_SHOWN]]
    if len(shown) < len(lines):
        shown.append(f"  ... {len(lines) - len(shown)} more")
    return shown


def check(
    path: str | os.PathLike[str],
    *,
    digest: bool = False,
    deep: bool = False,
    dialect: str = "auto",
    keylog: str | os.PathLike[str] | None = None,
    select: str | Iterable[str] = (),
    ignore: str | Iterable[str] = (),
    trace: str | os.PathLike[str] | Iterable[str | os.PathLike[str]] = (),
    require: str | None = None,
) -> Capture:
    """Check a capture or a saved migration; the options are those of :func:`analyzer.open`.

    Raises :class:`analyzer.errors.CaptureError` if nothing can be read, and
    :class:`analyzer.errors.UsageError` for an unknown dialect or rule and for a trace log without
    traces.
    """
    settings, selection = chosen(
        dialect=dialect,
        keylog=None if keylog is None else os.fspath(keylog),
        select=select,
        ignore=ignore,
        deep=deep,
        trace=trace,
        require=require,
    )
    job = Job(os.fspath(path), settings, selection, digest=digest, wants=(LINES, REPORT))
    result = run_job(job)
    assert result.report is not None
    if "error" in result.report:
        raise CaptureError(result.sentence)
    report = result.report
    verdict = Verdict(result.word)
    verdict.capture = Capture(
        path=result.path,
        verdict=verdict,
        sentence=result.sentence,
        text="\n".join(result.lines or ()) + "\n",
        report=report,
        damage=report["damage"],
        migrations=[_migration(entry) for entry in report["migrations"]],
        findings=[_made(Finding, entry) for entry in report["findings"]],
    )
    return verdict.capture


def _migration(entry: Json) -> Migration:
    channels = [_made(Channel, one) for one in entry["channels"]]
    devices = [_made(Device, one) for one in entry["devices"]]
    return _made(Migration, {**entry, "channels": channels, "devices": devices})


def _made(kind: type[Entry], entry: Json) -> Entry:
    """An entry of the report as an object; the report may have more fields than the object."""
    names = {one.name for one in fields(kind)}  # type: ignore[arg-type]
    return kind(**{name: value for name, value in entry.items() if name in names})
