"""One row a channel: what it carried, and its share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analyzer.report.style import size_text
from analyzer.tui.columns import Column
from analyzer.tui.lane_lines import jain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.style import Style

    from analyzer.migration.channel import Channel
    from analyzer.tui.columns import Cell
    from analyzer.tui.palette import Palette

__all__ = ["ChannelRows", "fairness_text"]

BAR = 10


class ChannelRows:
    """The channels of the migrations that are shown."""

    columns: Sequence[Column] = (
        Column("Channel", 11, grow=1, most=20),
        Column("Stream", 6, right=True, optional=5),
        Column("Packets", 8, right=True),
        Column("RAM", 7, right=True, optional=3),
        Column("SYNC", 5, right=True),
        Column("Device", 6, right=True, optional=2),
        Column("RAM bytes", 10, right=True),
        Column("Device bytes", 12, right=True),
        Column("Share", 15, optional=4),
        Column("Missing", 9, right=True, optional=6),
        Column("How it ended", 20, grow=2, optional=7),
    )

    def __init__(self, channels: list[Channel]) -> None:
        self.channels = channels
        self._total = sum(c.ram_bytes + c.device_bytes for c in channels) or 1

    def __len__(self) -> int:
        return len(self.channels)

    def row(self, position: int, palette: Palette) -> tuple[Sequence[Cell], Style]:
        """One channel."""
        channel = self.channels[position]
        multifd = channel.kind == "multifd"
        share = (channel.ram_bytes + channel.device_bytes) / self._total
        bar = "█" * round(share * BAR)
        cells: list[Cell] = [
            (channel.name, palette.main if channel.kind == "main" else palette.plain),
            str(channel.stream),
            str(channel.packets) if multifd else "",
            str(channel.ram_packets) if multifd else "",
            str(channel.sync_packets) if multifd else "",
            str(channel.device_packets) if multifd else "",
            (size_text(channel.ram_bytes) if multifd else size_text(channel.length), palette.ram),
            (size_text(channel.device_bytes) if multifd else "", palette.device),
            (f"{share:4.0%} {bar}", palette.ram) if multifd else "",
            (size_text(channel.flow.missing) if channel.flow.missing else "", palette.error),
            ending(channel),
        ]
        return cells, palette.plain


def ending(channel: Channel) -> str:
    """How a channel's stream ended, in a few words."""
    flow = channel.flow
    if channel.cut_in is not None:
        return f"inside {channel.cut_in}"
    if flow.reset is not None or flow.peer.reset is not None:
        return "reset"
    return "closed" if flow.closed else "still open"


def fairness_text(channels: list[Channel]) -> str:
    """Jain's index for RAM and device state over the multifd channels."""
    multifd = [channel for channel in channels if channel.kind == "multifd"]
    ram = jain([float(channel.ram_bytes) for channel in multifd])
    device = jain([float(channel.device_bytes) for channel in multifd])
    parts = [
        f"{word} {value:.3f}"
        for word, value in (("RAM", ram), ("device state", device))
        if value is not None
    ]
    return f"fairness (Jain) {', '.join(parts)}" if parts else ""
