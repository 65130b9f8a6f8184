"""The first line of every report: what happened, in one sentence."""

from __future__ import annotations

from analyzer.checks.wording import counted
from analyzer.migration.outcome import is_complete, outcome_of
from analyzer.report.escape import terminal
from analyzer.report.style import size_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from analyzer.analysis import Analysis, SavedAnalysis
    from analyzer.checks.finding import Finding
    from analyzer.migration.device import Device
    from analyzer.migration.main_channel import VfioSection
    from analyzer.migration.migration import Migration
    from analyzer.migration.scan import Scan
    from analyzer.report.style import Style

__all__ = ["complaint_of", "led", "migration_verdict", "no_migration", "verdict", "verdict_text"]

GRAVEST_FIRST = ("failed", "incomplete", "cancelled", "unknown")
EACH_MAX = 8
"""With more migrations, those that completed are only counted, and as many others are told."""


def verdict(analysis: Analysis, style: Style) -> str:
    """The verdict in colour, beginning with ERROR, FAILED or WARNING, else with OK or the
    outcome.
    """
    return led(*verdict_text(analysis), analysis.path, style)


def led(word: str, text: str, path: str, style: Style) -> str:
    """A sentence about a file, after its leading word."""
    severity = {"ERROR": "error", "FAILED": "error", "OK": ""}.get(word, "warning")
    return f"{style.severity(severity, style.bold(word))}  {terminal(path)}: {text}"


def verdict_text(analysis: Analysis) -> tuple[str, str]:
    """The leading word and the sentence; the sentence is safe on terminals."""
    migrations = analysis.migrations
    if not migrations:
        return _nothing(analysis)
    return _text(migrations, analysis, len(migrations) > 1)


def migration_verdict(
    scan: Scan, findings: list[Finding], migration: Migration, style: Style
) -> str:
    """The verdict on one migration of a capture that may still grow, with the findings about it."""
    from analyzer.analysis import Analysis

    ends = f"{migration.source} -> {migration.destination}"
    return led(*_text([migration], Analysis(scan, findings), True), ends, style)


def _text(migrations: list[Migration], analysis: Analysis, numbered: bool) -> tuple[str, str]:
    word, complaint = complaint_of(analysis)
    final = [migration for migration in migrations if migration.recovered_by is None]
    outcomes = {outcome_of(migration).name for migration in final}
    if word == "OK" or (word == "WARNING" and "failed" in outcomes):
        word = next((name for name in GRAVEST_FIRST if name in outcomes), word).upper()
    return word, "; ".join([*_sentences(migrations, numbered), *complaint])


def _sentences(migrations: list[Migration], numbered: bool) -> list[str]:
    if len(migrations) <= EACH_MAX:
        return [_sentence(migration, numbered) for migration in migrations]
    others = [m for m in migrations if outcome_of(m).name != "completed"]
    told = [f"{len(migrations)} migrations, {len(migrations) - len(others)} completed"]
    told += [_sentence(migration, numbered) for migration in others[:EACH_MAX]]
    if len(others) > EACH_MAX:
        told.append(f"{len(others) - EACH_MAX} more did not complete")
    return told


def complaint_of(analysis: Analysis | SavedAnalysis) -> tuple[str, list[str]]:
    """The leading word, and the complaint, if any."""
    errors, warnings = analysis.count("error"), analysis.count("warning")
    if not errors and not warnings:
        return "OK", []
    counts = [counted(n, name) for n, name in ((errors, "error"), (warnings, "warning")) if n]
    worst = analysis.findings[0]
    text = (
        f"{' and '.join(counts)}, first {worst.rule.id} {worst.rule.slug}{_where(worst)}: "
        f"{terminal(worst.message)}"
    )
    return "ERROR" if errors else "WARNING", [text]


def _where(finding: Finding) -> str:
    """The device or channel of a finding, if its message does not make sense without it."""
    spot = finding.spot
    if spot.device is not None:
        return f" of {terminal(spot.device)}"
    return f" on {spot.channel.name}" if spot.channel is not None else ""


def _nothing(analysis: Analysis) -> tuple[str, str]:
    scan = analysis.scan
    text = f"no migration in {_frames(scan)}"
    if tls := scan.grouper.tls:
        from analyzer.report.encrypted import encrypted_sentence

        if sentence := encrypted_sentence(scan.grouper):
            return "ENCRYPTED", terminal(sentence)
        servers = ", ".join(sorted({channel.server for channel in tls})[:3])
        text += f"; {counted(len(tls), 'TLS connection')} to {servers}"
        if not any(channel.flow.peer.carries for channel in tls):
            text += ", without any answer, as from a destination with no tls-creds or another key"
    return "NOTHING", text


def _sentence(migration: Migration, numbered: bool) -> str:
    outcome = outcome_of(migration)
    name = f"migration {migration.number}" if numbered else "migration"
    parts = [f"{name} {outcome.name if migration.recovered_by is None else 'paused'}"]
    if outcome.name != "completed":
        parts[0] += f" ({terminal(outcome.evidence)})"
    if count := len(migration.multifd):
        parts.append(counted(count, "multifd channel"))
    if devices := migration.awaited:
        parts.append(_devices(migration, devices))
    if sections := migration.on_main:
        parts.append(_on_main(sections, more=bool(devices)))
    facts = migration.main_facts
    if facts is not None and facts.colo_count:
        parts.append(counted(facts.colo_count, "COLO checkpoint"))
    return ", ".join(parts)


def _devices(migration: Migration, devices: list[Device]) -> str:
    states = [is_complete(device, migration) for device in devices]
    buffers = sum(len(device.buffers) for device in devices)
    size = size_text(sum(device.bytes for device in devices))
    told = counted(len(devices), "device")
    if all(states):
        return f"{told} complete ({counted(buffers, 'buffer')}, {size})"
    if False in states:
        broken = [d for d, state in zip(devices, states, strict=True) if state is False]
        return f"device state INCOMPLETE: {terminal(broken[0].name)} ({len(broken)} of {told})"
    return f"{told}, completeness cannot be told"


def _on_main(sections: list[VfioSection], *, more: bool) -> str:
    size = size_text(sum(section.main_bytes for section in sections))
    told = f"{len(sections)} more" if more else counted(len(sections), "device")
    if all(section.complete for section in sections):
        return f"{told} complete over main ({size})"
    return f"{told}, completeness cannot be told ({size} on main)"


def no_migration(analysis: Analysis) -> str:
    """The message for a capture without a migration, which may also be hidden by damage."""
    name = terminal(analysis.path)
    if (grouper := analysis.scan.grouper).tls:
        from analyzer.report.encrypted import advice, encrypted_sentence

        if sentence := encrypted_sentence(grouper):
            more = f"; {text}" if (text := advice(grouper)) else ""
            return f"{name}: no migration could be read: {terminal(sentence)}{more}"
    return f"{name}: no migration found in {_frames(analysis.scan)}"


def _frames(scan: Scan) -> str:
    """How many frames a capture without a migration has, and whether they are complete."""
    text, engine = counted(scan.file.frames, "frame"), scan.engine
    if engine.truncated:
        text += f", {engine.truncated} of them cut to {engine.cut_to} bytes"
    return text
