"""The report as plain data: the contents of the JSON report, and the source of every other report.
Its format is that of ``analyzer/report/schema/report-1.json``.
"""

from __future__ import annotations

from analyzer.analysis import SavedAnalysis
from analyzer.migration.channel import id_text, known_number
from analyzer.migration.device import Device
from analyzer.migration.outcome import is_complete, outcome_of
from analyzer.report.parts import finding_report, iso_time
from analyzer.version import VERSION
from dissectors.multifd import text_of, uuid_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from analyzer.analysis import Analysis
    from analyzer.migration.assembly import Assembler
    from analyzer.migration.channel import Channel
    from analyzer.migration.migration import Migration
    from analyzer.report.parts import Json

__all__ = [
    "SCHEMA",
    "capture_report",
    "device_reports",
    "file_report",
    "migration_report",
    "report",
]

SCHEMA = "mfshark/report/1"
MISSING_LISTED = 10_000


def report(captures: list[Json]) -> Json:
    """The whole report of one run, from each file's part (:func:`file_report`), or its path and
    the ``error`` that stopped it.
    """
    told = [finding for capture in captures for finding in capture.get("findings", ())]
    findings = [finding for finding in told if not finding.get("known")]
    return {
        "schema": SCHEMA,
        "tool": {"name": "mfshark", "version": VERSION},
        "captures": captures,
        "summary": {
            severity: sum(1 + f["repeats"] for f in findings if f["severity"] == severity)
            for severity in ("error", "warning", "info")
        },
    }


def file_report(analysis: Analysis | SavedAnalysis) -> Json:
    """One file's part of the report: a capture's, or a saved migration's."""
    if isinstance(analysis, SavedAnalysis):
        from analyzer.report.saved_file import saved_report

        return saved_report(analysis)
    return capture_report(analysis)


def capture_report(analysis: Analysis) -> Json:
    """One capture's part of the report."""
    scan = analysis.scan
    notes = list(scan.file.notes)
    damage = scan.file.damage
    return {
        "path": analysis.path,
        "format": scan.reading.format,
        "frames": scan.file.frames,
        "bytes": scan.file.bytes,
        "truncated_frames": scan.engine.truncated,
        "first_time": iso_time(scan.engine.first_time),
        "last_time": iso_time(scan.engine.last_time),
        "ignored_frames": dict(sorted(scan.engine.ignored.items())),
        "notes": notes,
        "damage": str(damage) if damage is not None else None,
        "migrations": [migration_report(m, analysis.assembler) for m in analysis.migrations],
        "tls": _tls(analysis),
        "findings": [finding_report(finding) for finding in analysis.findings],
    }


def _tls(analysis: Analysis) -> list[Json]:
    if not analysis.scan.grouper.tls:
        return []
    from analyzer.report.encrypted import encrypted_report

    return encrypted_report(analysis.scan.grouper.tls)


def migration_report(migration: Migration, assembler: Assembler | None = None) -> Json:
    """One migration: channels, RAM, devices."""
    outcome = outcome_of(migration)
    dialect, era = migration.framing.dialect, migration.era
    facts = migration.main_facts
    return {
        "uuid": uuid_text(uuid) if (uuid := migration.uuid) is not None else None,
        "dialect": _dialect(migration) if dialect is None else dialect.name,
        "ram_era": era.name if era is not None else None,
        "page_size": migration.page_size or None,
        "machine": facts.machine if facts is not None else None,
        "source": migration.source,
        "destination": migration.destination,
        "outcome": outcome.name,
        "outcome_evidence": outcome.evidence,
        "channels": [channel_report(channel, migration) for channel in migration.channels],
        "ram": {
            "blocks": _blocks(migration),
            "sync_rounds": migration.sync_rounds,
            "resent_pages": migration.pages.resent,
            "resent_uncounted": migration.pages.untracked,
        },
        "devices": [report for _, report in device_reports(migration, assembler)],
        **_colo(migration),
    }


def _colo(migration: Migration) -> Json:
    """Checkpoints, of a pair that COLO keeps in sync."""
    if not migration.in_colo:
        return {}
    from analyzer.report.colo import colo_report

    return {"colo": colo_report(migration)}


def _blocks(migration: Migration) -> list[Json]:
    """Pages of every RAM block, over all channels; in main's order, if known."""
    facts = migration.main_facts
    counts = {name: [0, 0] for name in facts.ram.blocks} if facts is not None else {}
    for block in migration.pages.blocks.values():
        pair = counts.setdefault(block.name, [0, 0])
        pair[0] += block.normal
        pair[1] += block.zero
    for ram in migration.ram_streams:
        for name, listed in ram.blocks.items():
            pair = counts.setdefault(name, [0, 0])
            pair[0] += listed.normal_pages
            pair[1] += listed.zero_pages
    return [
        {"name": text_of(name), "normal_pages": normal, "zero_pages": zero}
        for name, (normal, zero) in counts.items()
    ]


def _dialect(migration: Migration) -> str:
    """The dialect; without device state only main can indicate that it is upstream's, otherwise it
    is unknown.
    """
    facts = migration.main_facts
    if facts is not None and facts.switchover_start is not None:
        return "upstream"
    era = migration.era
    return f"ram-{era.name}" if era is not None else "unknown"


def channel_report(channel: Channel, migration: Migration) -> Json:
    """One channel."""
    return {
        "kind": channel.kind,
        "id": channel.known_id,
        "tcp_stream": channel.stream,
        "client": channel.client,
        "server": channel.server,
        "compression": channel.compression,
        "bytes": channel.length,
        "packets": channel.packets,
        "ram_packets": channel.ram_packets,
        "sync_packets": channel.sync_packets,
        "device_state_packets": channel.device_packets,
        "normal_pages": channel.normal_pages,
        "zero_pages": channel.zero_pages,
        "holes": channel.flow.hole_count,
        "missing_bytes": channel.flow.missing,
        "skipped_bytes": migration.facts_of(channel).skipped,
        "first_frame": channel.flow.first.frame,
        "last_frame": channel.flow.last.frame,
    }


def device_reports(
    migration: Migration, assembler: Assembler | None
) -> list[tuple[Device | None, Json]]:
    """The devices of a migration by name; without a :class:`Device` if all state went over main."""
    reports: list[tuple[Device | None, Json]] = [
        (device, device_report(device, migration, assembler)) for device in migration.awaited
    ]
    for section in migration.on_main:
        report = device_report(Device(*section.key), migration, assembler)
        reports.append((None, {**report, "transfer": "main", "complete": section.complete}))
    return sorted(reports, key=lambda found: (found[1]["idstr"], found[1]["instance_id"]))


def device_report(device: Device, migration: Migration, assembler: Assembler | None) -> Json:
    """One device: its buffers by index."""
    key = device.key
    assembly = assembler.of(migration, key) if assembler is not None else None
    section = migration.vfio_sections.get(key)
    config = device.config
    queue = device.queue()
    indices = device.buffers.idx
    missing, duplicates = device.missing_ranges(), device.duplicates()
    return {
        "idstr": text_of(device.idstr),
        "instance_id": device.instance_id,
        "transfer": "multifd",
        "buffers": len(device.buffers),
        "bytes": device.bytes,
        "first_index": min(indices, default=None),
        "last_index": max(indices, default=None),
        "missing": [list(pair) for pair in missing[:MISSING_LISTED]],
        "missing_count": sum(last - first + 1 for first, last in missing),
        "duplicates": duplicates[:MISSING_LISTED],
        "duplicate_count": len(duplicates),
        "config_index": config.idx if config is not None else None,
        "complete": is_complete(device, migration),
        "out_of_order": device.out_of_order(),
        "channels": {id_text(k, "stream "): v for k, v in device.by_channel().items()},
        "digest": assembly.data_digest if assembly is not None else None,
        "config_digest": assembly.config_digest if assembly is not None else None,
        "main_bytes": section.main_bytes if section is not None else 0,
        "state_digest": assembly.state_digest if assembly is not None else None,
        "largest_distance": queue.distance,
        "queue_peak_buffers": queue.peak_buffers,
        "queue_peak_bytes": queue.peak_bytes,
        "longest_wait": queue.longest_wait / 1e9,
        "cut": [
            {
                "index": cut.idx,
                "channel": known_number(cut.channel),
                "arrived": cut.arrived,
                "announced": cut.size,
            }
            for cut in device.cut
        ],
    }
