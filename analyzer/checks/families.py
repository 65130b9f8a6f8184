"""Loads every family of rules into the registry."""

from __future__ import annotations

__all__ = ["load"]


def load() -> None:
    """Import the modules that declare rules; a second call does nothing."""
    import analyzer.checks.channel_ends
    import analyzer.checks.channels
    import analyzer.checks.device_packets
    import analyzer.checks.expected
    import analyzer.checks.main_commands
    import analyzer.checks.main_description
    import analyzer.checks.main_ram
    import analyzer.checks.main_sections
    import analyzer.checks.main_stream
    import analyzer.checks.main_vfio
    import analyzer.checks.metrics
    import analyzer.checks.packet_headers
    import analyzer.checks.packet_numbers
    import analyzer.checks.payload
    import analyzer.checks.ram_packets
    import analyzer.checks.ram_pages
    import analyzer.checks.return_path
    import analyzer.checks.streams
    import analyzer.checks.sync
    import analyzer.checks.traces
    import analyzer.checks.vfio_buffers
    import analyzer.checks.vfio_order  # noqa: F401
