"""One row per channel: what it carried, and its share."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from analyzer.migration.fairness import jain, ram_channels, state_channels
from analyzer.report.style import size_text
from analyzer.tui.columns import Column
from analyzer.tui.quantities import count
from analyzer.tui.stream_rows import end_word

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.style import Style

    from analyzer.migration.channel import Channel
    from analyzer.migration.main_channel import MainFacts
    from analyzer.tui.columns import Cell
    from analyzer.tui.palette import Palette

__all__ = ["ChannelRows", "carried", "fairness_text"]

BAR = 10
ENDING_MAX = 40
"""The most cells that the longest ending takes from other columns."""


class ChannelRows:
    """The channels of the migrations that are shown, as (number of the migration, channel)."""

    def __init__(
        self,
        channels: Sequence[tuple[int, Channel]],
        several: bool = False,
        mains: Mapping[int, MainFacts] | None = None,
    ) -> None:
        """``several`` adds a column with the migration's number; ``mains`` are the facts from the
        main channels, by that number.
        """
        self.channels = channels
        facts = mains or {}
        self._endings = [ending(channel, facts.get(number)) for number, channel in channels]
        self._several = several
        self._totals: Counter[int] = Counter()
        for number, channel in channels:
            self._totals[number] += carried(channel)
        migration = (Column("Mig", 3, right=True),) if several else ()
        state = any(channel.device_packets for _, channel in channels)
        lost = any(channel.flow.missing for _, channel in channels)
        ended = max(map(len, self._endings), default=0)
        self.columns: Sequence[Column] = (
            *migration,
            Column("Channel", 11, grow=1, most=20, key="channel"),
            Column("Stream", 6, right=True, optional=7),
            Column("Packets", 8, right=True),
            Column("RAM", 7, right=True, optional=6),
            Column("SYNC", 5, right=True, optional=5),
            Column("Device", 6, right=True, optional=6, filled=state),
            Column("RAM bytes", 9, right=True),
            Column("Device bytes", 12, right=True, filled=state),
            Column("All bytes", 9, right=True, optional=3),
            Column("Share", 5, right=True, optional=4, key="share"),
            Column("", BAR, optional=8),
            Column("Missing", 9, right=True, optional=1, filled=lost),
            Column("How it ended", min(max(12, ended), ENDING_MAX), grow=2, optional=2),
        )

    def __len__(self) -> int:
        return len(self.channels)

    def row(self, position: int, palette: Palette) -> tuple[Sequence[Cell], Style]:
        """One channel; its share is of what all channels of its migration carried."""
        number, channel = self.channels[position]
        multifd = channel.kind == "multifd"
        share = carried(channel) / (self._totals[number] or 1)
        cells: list[Cell] = [
            *([str(number)] if self._several else []),
            (channel.name, palette.main if channel.kind == "main" else palette.plain),
            str(channel.stream),
            str(channel.packets) if multifd else "",
            str(channel.ram_packets) if multifd else "",
            str(channel.sync_packets) if multifd else "",
            str(channel.device_packets) if multifd else "",
            (size_text(channel.ram_bytes) if multifd else "", palette.ram),
            (size_text(channel.device_bytes) if multifd else "", palette.device),
            size_text(channel.length),
            (f"{share:4.0%}", palette.ram) if multifd else "",
            ("█" * round(share * BAR), palette.ram) if multifd else "",
            (size_text(channel.flow.missing) if channel.flow.missing else "", palette.error),
            self._endings[position],
        ]
        return cells, palette.plain


def carried(channel: Channel) -> int:
    """Bytes of RAM and device state on a channel."""
    return channel.ram_bytes + channel.device_bytes


def ending(channel: Channel, main: MainFacts | None = None) -> str:
    """How a channel's stream ended, as on Streams, and inside what, if it is not a proper end."""
    return end_word(channel.flow) + _place(channel, main)


def _place(channel: Channel, main: MainFacts | None) -> str:
    if channel.cut_in is not None:
        far = f" at {size_text(channel.cut_bytes)}" if channel.cut_bytes else ""
        return f" in {channel.cut_in}{far}"
    if channel.kind != "main" or main is None or not main.ended or channel.incomplete_end:
        return ""
    if main.truncated is not None:
        return " in a record"
    return "" if main.eof is not None or main.interrupted else " before EOF"


def fairness_text(channels: Sequence[tuple[int, Channel]]) -> str:
    """Jain's index of RAM and device state over the multifd channels of each migration, and a note
    if the bytes include those of cut-off packets.
    """
    by_migration: dict[int, list[Channel]] = {}
    for number, channel in channels:
        if channel.kind == "multifd":
            by_migration.setdefault(number, []).append(channel)
    found = {number: _fairness(multifd) for number, multifd in by_migration.items()}
    told = [
        f"{number}: {text}" if len(by_migration) > 1 else text
        for number, text in found.items()
        if text
    ]
    parts = [f"fairness (Jain) {'; '.join(told)}"] if told else []
    cut = sum(channel.cut_bytes > 0 for _, channel in channels)
    if cut:
        # The rows count whole packets only, so bytes without a packet need an explanation.
        parts.append(f"bytes include {count(cut, 'cut-off packet')}")
    return "; ".join(parts)


def _fairness(multifd: list[Channel]) -> str:
    ram = jain([channel.ram_bytes for channel in ram_channels(multifd)])
    device = jain([channel.device_bytes for channel in state_channels(multifd)])
    return ", ".join(
        f"{word} {value:.2f}"
        for word, value in (("RAM", ram), ("device state", device))
        if value is not None
    )
