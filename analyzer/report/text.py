"""The text report: a verdict, then migrations, channels, devices and findings as tables.

A clean capture takes at most one screen.
"""

from __future__ import annotations

from analyzer.capture.segment import FRAGMENTED
from analyzer.checks.wording import counted, duration
from analyzer.migration.channel import id_text
from analyzer.migration.outcome import is_complete, outcome_of
from analyzer.report.escape import terminal
from analyzer.report.style import Style, pages_text, size_text, table
from analyzer.report.verdict import verdict
from analyzer.report.wording import STATES
from dissectors.multifd import text_of, uuid_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from analyzer.analysis import Analysis, SavedAnalysis
    from analyzer.checks.finding import Finding
    from analyzer.migration.assembly import Assembler
    from analyzer.migration.channel import Channel
    from analyzer.migration.device import Device
    from analyzer.migration.main_channel import VfioSection
    from analyzer.migration.migration import Migration

__all__ = ["facts_text", "findings_lines", "first_findings", "migration_title", "text_report"]

IGNORED = {
    FRAGMENTED: "; --via tshark reassembles them",
    "cut before TCP": "",
    "malformed IP": "",
    "malformed TCP": "",
}
"""Why frames are ignored that may have belonged to a migration, with advice."""
MANY = 8
"""As many migrations all have a part of the report; of more, as many of the worst."""
CHANNELS_SHOWN = 10
DEVICES_SHOWN = 16
FINDINGS_SHOWN = 20
PLACE = 10
"""The column below a finding in which its place stands."""
OF_A_RULE = 3
"""The number of findings of one rule that are shown, unless there is just one more."""
EACH_SHOWN = frozenset(("MF961",))
"""Rules whose findings are all shown, since each is a different deviation from the expectation."""


def text_report(analysis: Analysis, style: Style, *, verbose: bool = False) -> Iterator[str]:
    """The lines of the report.  ``verbose`` shows everything that is otherwise summarised."""
    yield verdict(analysis, style)
    told = analysis.migrations
    if len(told) > MANY and not verbose:
        from analyzer.report.many_migrations import Overview

        overview = Overview(analysis)
        yield ""
        yield from overview.lines(style, MANY)
        told = overview.worst[:MANY]
    for migration in told:
        yield ""
        yield from _migration(migration, style, verbose)
        if analysis.assembler is not None:
            yield from _digests(migration, analysis.assembler, style, verbose)
    if (grouper := analysis.scan.grouper).tls:
        from analyzer.report.encrypted import encrypted_text

        yield from encrypted_text(grouper, style, analysis.scan.engine.first_time, verbose)
    notes = _notes(analysis)
    if notes:
        yield ""
        for note in notes:
            yield style.dim("note: ") + terminal(note)
    yield from findings_lines(analysis, style, verbose)


def _migration(migration: Migration, style: Style, verbose: bool) -> Iterator[str]:
    yield migration_title(migration, style)
    if facts := facts_text(migration):
        yield "  " + terminal(facts)
    yield ""
    yield from _channels(migration, style, verbose)
    yield from _devices(migration, style, verbose)


def migration_title(migration: Migration, style: Style) -> str:
    """A migration's number, ends and outcome."""
    outcome = outcome_of(migration)
    return style.bold(f"Migration {migration.number}") + (
        f"  {migration.source} -> {migration.destination}  "
        f"{style.outcome(outcome.name)}: {terminal(outcome.evidence)}"
    )


def facts_text(migration: Migration) -> str:
    """What is known of a migration besides its end, in a line: machine, dialect, and so on; not
    escaped.
    """
    return ", ".join(_facts(migration))


def _facts(migration: Migration) -> Iterator[str]:
    facts, era, dialect = migration.main_facts, migration.era, migration.framing.dialect
    if facts is not None and facts.machine:
        yield f"machine {facts.machine}"
    if migration.resumes_postcopy:
        yield "recovers a paused postcopy"
    if facts is not None and facts.is_background_snapshot:
        yield "background snapshot"
    if dialect is not None:
        yield f"dialect {dialect.name} ({dialect.meaning})"
    if era is not None:
        yield f"RAM packets as of {era.meaning}"
    if migration.page_size:
        yield pages_text(migration.page_size)
    uuid = migration.uuid
    if uuid is not None and any(uuid):
        yield f"uuid {uuid_text(uuid)}"
    if migration.sync_rounds:
        yield counted(migration.sync_rounds, "SYNC round")
    if facts is not None and facts.colo_count:
        from analyzer.report.colo import colo_sentence

        yield colo_sentence(migration)
    if migration.pages.resent:
        more = "at least " if migration.pages.untracked else ""
        yield f"{more}{counted(migration.pages.resent, 'page', ',')} sent again"


CHANNEL_HEAD = (
    "channel", "stream", "client", "bytes", "packets", "ram", "sync", "device",
    "normal", "zero", "holes", "missing", "skipped",
)  # fmt: skip


def _channels(migration: Migration, style: Style, verbose: bool) -> Iterator[str]:
    channels = [c for c in migration.channels if c.kind != "multifd"] + migration.multifd
    shown = channels
    if len(channels) > CHANNELS_SHOWN + 2 and not verbose:
        shown = channels[: CHANNELS_SHOWN - 2]
    rows = [_channel_row(channel, migration) for channel in shown]
    if len(shown) < len(channels):
        rest = channels[len(shown) :]
        rows.append(_rest_row(rest))
    yield from table(CHANNEL_HEAD, rows, style, left=3)


def _channel_row(channel: Channel, migration: Migration) -> tuple[str, ...]:
    skipped = migration.facts_of(channel).skipped
    counts: tuple[int, ...] = ()
    if channel.kind == "multifd":
        counts = (
            channel.packets,
            channel.ram_packets,
            channel.sync_packets,
            channel.device_packets,
            channel.normal_pages,
            channel.zero_pages,
        )
    name = channel.name
    if channel.compression != "none":
        name += f" {channel.compression}"
    return (
        name,
        str(channel.stream),
        channel.client,
        size_text(channel.length),
        *([f"{count:,}" for count in counts] or [""] * 6),
        f"{channel.flow.hole_count:,}" if channel.flow.hole_count else "",
        size_text(channel.flow.missing) if channel.flow.missing else "",
        size_text(skipped) if skipped else "",
    )


def _rest_row(rest: list[Channel]) -> tuple[str, ...]:
    def total(name: str) -> str:
        return f"{sum(getattr(channel, name) for channel in rest):,}"

    return (
        f"{len(rest)} more", "", "", size_text(sum(channel.length for channel in rest)),
        total("packets"), total("ram_packets"), total("sync_packets"), total("device_packets"),
        total("normal_pages"), total("zero_pages"),
        f"{holes:,}" if (holes := sum(c.flow.hole_count for c in rest)) else "",
        size_text(missing) if (missing := sum(c.flow.missing for c in rest)) else "",
        size_text(skipped) if (skipped := sum(c.skipped for c in rest)) else "",
    )  # fmt: skip


DEVICE_HEAD = (
    "device", "state", "buffers", "bytes", "on main", "missing", "late", "queue peak",
    "longest wait", "channels",
)  # fmt: skip


def _devices(migration: Migration, style: Style, verbose: bool) -> Iterator[str]:
    devices, sections = sorted(migration.awaited, key=_key), sorted(migration.on_main, key=_key)
    total = len(devices) + len(sections)
    most = total if verbose else DEVICES_SHOWN
    rows = [_device_row(device, migration) for device in devices[:most]]
    rows += [_section_row(section) for section in sections[: most - len(rows)]]
    if len(rows) < total:
        rows.append((f"{total - len(rows)} more", *[""] * (len(DEVICE_HEAD) - 1)))
    if rows:
        yield ""
        yield from table(DEVICE_HEAD, rows, style, left=2)


def _key(device: Device | VfioSection) -> tuple[bytes, int]:
    return device.key


def _section_row(section: VfioSection) -> tuple[str, ...]:
    """A device whose state went only over main."""
    name = _device_name(section.idstr, section.instance_id)
    cells = (name, STATES[section.complete], "", "", size_text(section.main_bytes))
    return cells + ("",) * (len(DEVICE_HEAD) - len(cells))


def _device_row(device: Device, migration: Migration) -> tuple[str, ...]:
    section = migration.vfio_sections.get(device.key)
    queue = device.queue()
    whole = is_complete(device, migration)
    peak = f"{queue.peak_buffers:,} / {size_text(queue.peak_bytes)}" if queue.peak_buffers else "0"
    wait = duration(queue.longest_wait)
    return (
        _device_name(device.idstr, device.instance_id),
        STATES[whole],
        f"{len(device.buffers):,}",
        size_text(device.bytes),
        size_text(section.main_bytes) if section is not None else "",
        _lacking(device),
        f"{device.out_of_order():,}",
        peak,
        wait,
        " ".join(f"{id_text(k, 's')}:{v}" for k, v in list(device.by_channel().items())[:8]),
    )


DIGEST_HEAD = ("device", "sha256 of its state: main's data, then the buffers by index")


def _digests(
    migration: Migration, assembler: Assembler, style: Style, verbose: bool
) -> Iterator[str]:
    rows = []
    for key in sorted({*migration.devices, *migration.vfio_sections}):
        assembly = assembler.of(migration, key)
        digest = assembly.state_digest if assembly is not None else None
        rows.append((_device_name(*key), digest or "not known: bytes are missing"))
    if len(rows) > DEVICES_SHOWN and not verbose:
        rows[DEVICES_SHOWN:] = [(f"{len(rows) - DEVICES_SHOWN} more", "")]
    if rows:
        yield ""
        yield from table(DIGEST_HEAD, rows, style, left=2)


def _device_name(idstr: bytes, instance: int) -> str:
    return terminal(text_of(idstr) + (f"#{instance}" if instance else ""))


def _lacking(device: Device) -> str:
    if device.config is None and not device.packets:
        return "all"
    parts = [_ranges(device.missing_ranges()), "" if device.config is not None else "config"]
    return ",".join(filter(None, parts))


def _ranges(ranges: list[tuple[int, int]]) -> str:
    text = ",".join(f"{a}" if a == b else f"{a}-{b}" for a, b in ranges[:4])
    return text + (",..." if len(ranges) > 4 else "")


def _notes(analysis: Analysis) -> list[str]:
    scan = analysis.scan
    notes = list(scan.file.notes)
    if scan.file.damage is not None:
        notes.append(str(scan.file.damage))
    if scan.engine.truncated:
        notes.append(f"{counted(scan.engine.truncated, 'frame', ',')} cut by the capture's snaplen")
    notes.extend(
        f"{counted(count, 'frame', ',')} ignored: {reason}{advice}"
        for reason, advice in IGNORED.items()
        if (count := scan.engine.ignored.get(reason))
    )
    if tls := scan.grouper.tls:
        from analyzer.report.encrypted import others

        if rest := others(tls):
            servers = ", ".join(sorted({channel.server for channel in rest})[:3])
            told = counted(len(rest), "TLS connection")
            notes.append(f"{told} to {servers}: encrypted, not decoded")
    return notes


def findings_lines(
    analysis: Analysis | SavedAnalysis, style: Style, verbose: bool
) -> Iterator[str]:
    """The findings: errors and warnings one per line, the rest summarised unless ``verbose``."""
    findings = [f for f in analysis.findings if verbose or f.severity != "info"]
    infos = [] if verbose else [f for f in analysis.findings if f.severity == "info"]
    if findings:
        yield ""
        yield style.bold("Findings")
        if verbose:
            for finding in findings:
                yield from _finding(finding, style)
        else:
            yield from first_findings(findings, style)
    if infos:
        by_rule: dict[str, int] = {}
        for finding in infos:
            label = f"{finding.rule.id} {finding.rule.slug}"
            by_rule[label] = by_rule.get(label, 0) + 1 + finding.repeats
        yield ""
        listed = ", ".join(
            label + (f" x{count}" if count > 1 else "") for label, count in by_rule.items()
        )
        yield style.dim(f"info: {listed} (--verbose shows them)")


def first_findings(findings: list[Finding], style: Style) -> Iterator[str]:
    """Rule by rule, the most severe first, and the first places of each rule."""
    groups: dict[tuple[str, str], list[Finding]] = {}
    for finding in findings:
        groups.setdefault((finding.severity, finding.rule.id), []).append(finding)
    shown = 0
    for number, (severity, rule) in enumerate(groups):
        group = groups[severity, rule]
        if shown >= FINDINGS_SHOWN:
            rest = list(groups.values())[number:]
            count = sum(1 + f.repeats for members in rest for f in members)
            yield f"  ... {count} more of {counted(len(rest), 'other rule')}; --verbose shows all"
            return
        most = FINDINGS_SHOWN if rule in EACH_SHOWN else OF_A_RULE
        first = len(group) if len(group) <= most + 1 else most
        for finding in group[:first]:
            yield from _finding(finding, style)
        shown += first
        if more := sum(1 + finding.repeats for finding in group[first:]):
            label = style.severity(severity, f"{severity:<7} {rule}")
            yield f"  {label} ... {more} more; --verbose shows all"


def _finding(finding: Finding, style: Style) -> Iterator[str]:
    spot = finding.spot
    where = []
    if finding.migration is not None:
        where.append(f"migration {finding.migration.number}")
    if spot.channel is not None:
        where.append(spot.channel.name)
    if spot.device is not None:
        where.append(spot.device)
    if spot.frame:
        where.append(f"frame {spot.frame}")
    head = style.severity(finding.severity, f"{finding.severity:<7} {finding.rule.id}")
    text = f"  {head} {finding.rule.slug}: {terminal(finding.message)}"
    yield from style.folded(text, PLACE)
    if where:
        yield style.dim(" " * PLACE + terminal(", ".join(where)))
