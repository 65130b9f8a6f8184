"""The output of ``mfshark devices``: the devices of a capture."""

from __future__ import annotations

from analyzer.checks.wording import counted, duration
from analyzer.migration.channel import id_text, known_number, multifd_name
from analyzer.migration.outcome import is_complete
from analyzer.report.escape import terminal
from analyzer.report.model import device_reports
from analyzer.report.style import Style, size_text, table
from analyzer.report.wording import STATES
from dissectors.multifd import device_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, Protocol

    from analyzer.analysis import Analysis
    from analyzer.migration.device import Device
    from analyzer.migration.main_channel import VfioSection
    from analyzer.migration.migration import Migration
    from analyzer.migration.rows import Buffer

    class Choice(Protocol):
        """Which devices and buffers to show."""

        def has_device(self, migration: int, name: str) -> bool:
            """Whether to show a device (``idstr#instance``) of a migration."""

        def has_buffer(self, migration: int, buffer: Buffer) -> bool:
            """Whether to show a buffer."""


__all__ = ["devices_json", "devices_text"]

SCHEMA = "mfshark/devices/1"
BUFFERS_SHOWN = 12


def devices_json(analysis: Analysis, chosen: Choice | None = None) -> dict[str, Any]:
    """All devices, or those chosen, in the format of the report, with every buffer.

    Times are in seconds since the capture's first frame, as for packets.
    """
    begin = analysis.scan.engine.first_time
    migrations = []
    for migration in analysis.migrations:
        devices = []
        for device, entry in device_reports(migration, analysis.assembler):
            name = device_name(entry["idstr"], entry["instance_id"])
            if chosen is not None and not chosen.has_device(migration.number, name):
                continue
            buffers = _buffers_of(device, migration, chosen) if device is not None else []
            entry["arrivals"] = [_arrival(buffer, begin) for buffer in buffers]
            devices.append(entry)
        migrations.append(
            {
                "source": migration.source,
                "destination": migration.destination,
                "devices": devices,
            }
        )
    return {"schema": SCHEMA, "path": analysis.path, "migrations": migrations}


def _buffers_of(device: Device, migration: Migration, chosen: Choice | None) -> list[Buffer]:
    arrived = device.arrived()
    if chosen is None:
        return list(arrived)
    return [buffer for buffer in arrived if chosen.has_buffer(migration.number, buffer)]


def _arrival(buffer: Buffer, begin: int) -> dict[str, Any]:
    return {
        "index": buffer.idx,
        "channel": known_number(buffer.channel),
        "bytes": buffer.size,
        "missing_bytes": buffer.missing,
        "config": buffer.is_config,
        "first_frame": buffer.frame,
        "last_frame": buffer.end_frame,
        "start": (buffer.time - begin) / 1e9,
        "end": (buffer.end_time - begin) / 1e9,
    }


def devices_text(
    analysis: Analysis, style: Style, verbose: bool, chosen: Choice | None = None
) -> Iterator[str]:
    """A block of lines for each device, or each that is chosen."""
    begin = analysis.scan.engine.first_time
    first = True
    for migration in analysis.migrations:
        for key in sorted({*migration.devices, *migration.vfio_sections}):
            name = device_name(*key)
            if chosen is not None and not chosen.has_device(migration.number, name):
                continue
            if not first:
                yield ""
            first = False
            yield from _device(analysis, migration, key, style)
            if (device := migration.devices.get(key)) is not None:
                yield from _buffers(_buffers_of(device, migration, chosen), begin, style, verbose)
    if first and chosen is not None:
        yield "no device-state packet matches the filter"
    elif first:
        yield "no device state: neither on multifd channels nor in VFIO sections on main"


def _device(
    analysis: Analysis, migration: Migration, key: tuple[bytes, int], style: Style
) -> Iterator[str]:
    device = migration.devices.get(key)
    section = migration.vfio_sections.get(key)
    name = device_name(*key)
    many = f"  (migration {migration.number})" if len(analysis.migrations) > 1 else ""
    yield style.bold(terminal(name)) + many
    if device is not None:
        yield from _summary(device, migration, style)
    elif section is not None:
        yield f"  no buffer on multifd channels; {_announced(section)}"
    if section is not None and section.main_bytes:
        blocks = counted(section.data_blocks, "block")
        yield f"  on main    {size_text(section.main_bytes)} in {blocks}"
    assembly = analysis.assembler.of(migration, key) if analysis.assembler is not None else None
    if assembly is not None:
        yield f"  state      sha256 {assembly.state_digest or 'not known: bytes are missing'}"
        if device is not None:
            yield f"  buffers    sha256 {assembly.data_digest or 'not known: bytes are missing'}"
            yield f"  config     sha256 {assembly.config_digest or 'not known'}"


def _announced(section: VfioSection) -> str:
    ways = {
        "multifd": "main announced its state there",
        "main": "its state went through main",
        None: "main does not tell where its state went",
    }
    return ways[section.announced]


def _summary(device: Device, migration: Migration, style: Style) -> Iterator[str]:
    whole = is_complete(device, migration)
    word = {
        True: style.outcome("completed").replace("completed", STATES[True]),
        False: style.severity("error", STATES[False]),
        None: style.severity("warning", STATES[None]),
    }[whole]
    indices = device.buffers.idx
    span = f"index {min(indices)} to {max(indices)}" if indices else "no index seen"
    config = device.config
    config_text = f"config at {config.idx}" if config is not None else "no config buffer"
    count = len(device.buffers)
    yield f"  {word}   {counted(count, 'buffer')}, {size_text(device.bytes)}, {span}, {config_text}"
    missing = device.missing_ranges()
    if missing:
        text = ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in missing[:20])
        yield f"  missing    {text}" + (", ..." if len(missing) > 20 else "")
    for cut in device.cut:
        label = f"index {cut.idx}" if cut.idx is not None else "a buffer"
        arrived = f"{cut.arrived} of {cut.size} bytes arrived"
        yield f"  cut off    {label} on {multifd_name(cut.channel)}: {arrived}"
    if twice := device.duplicates():
        yield f"  duplicate  {', '.join(map(str, twice[:20]))}"
    queue = device.queue()
    yield (
        f"  order      {device.out_of_order()} after a higher index, largest distance "
        f"{queue.distance}, queue peak {counted(queue.peak_buffers, 'buffer')} / "
        f"{size_text(queue.peak_bytes)}"
    )
    if queue.waited_for is not None:
        yield f"  waited     {duration(queue.longest_wait)} for index {queue.waited_for}"
    if counts := device.by_channel():
        told = "  ".join(f"{multifd_name(number)}: {count}" for number, count in counts.items())
        yield f"  carried by {told}"


def _buffers(arrived: list[Buffer], begin: int, style: Style, verbose: bool) -> Iterator[str]:
    shown = arrived if verbose or len(arrived) <= BUFFERS_SHOWN else arrived[:BUFFERS_SHOWN]
    rows = [
        (
            str(position),
            f"{buffer.idx}{' config' if buffer.is_config else ''}",
            id_text(buffer.channel, "s"),
            str(buffer.size),
            f"{buffer.frame}-{buffer.end_frame}",
            f"{(buffer.time - begin) / 1e9:.6f}",
            f"{(buffer.end_time - begin) / 1e9:.6f}",
            str(buffer.missing or ""),
        )
        for position, buffer in enumerate(shown)
    ]
    head = ("arrival", "index", "channel", "bytes", "frames", "first byte s", "last byte s", "lost")
    yield from table(head, rows, style, left=3)
    if len(shown) < len(arrived):
        yield f"  ... {len(arrived) - len(shown)} more; --verbose shows all"
