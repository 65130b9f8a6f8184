"""MF228 to MF231: packet_num, one counter over all channels (wire-format page, section 3.5)."""

from __future__ import annotations

import re

from analyzer.checks.rule import ERROR, INFO, WARNING, Spot, migration_rule, ram_rule
from analyzer.checks.wording import counted, listed, ranges
from analyzer.migration.absent_channels import (
    absent_ids,
    all_captured,
    drops_zero_packets,
    lacks_channels,
)
from analyzer.migration.early_ends import ended_early

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from analyzer.migration.channel import Channel
    from analyzer.migration.migration import Migration
    from analyzer.migration.rows import RamPacket

SPREAD = 4
"""Numbers may be this many times sparser than the packets before they count as outliers."""
OUTLIERS_MAX = 10_000
EXAMPLES = 5


class Numbers:
    """All packet numbers of a migration: which occur twice, and which are missing.

    ``twice`` are (number, channel of the first, channel of the second), ``gaps`` are (first, last)
    above the lowest; both hold only the first few, ``twice_count`` and ``missing`` count all.
    Numbers far above the rest are outliers; only the first ten thousand of them are examined.
    """

    __slots__ = ("gaps", "lowest", "missing", "twice", "twice_count")

    def __init__(self, channels: list[Channel]) -> None:
        self.twice: list[tuple[int, Channel, Channel]] = []
        self.twice_count = 0
        self.gaps: list[tuple[int, int]] = []
        self.missing = 0
        lists = [channel.packet_nums for channel in channels]
        self.lowest = min(numbers.lowest for numbers in lists)
        highest = max(numbers.highest for numbers in lists)
        total = sum(len(numbers) for numbers in lists)
        span = min(highest - self.lowest + 1, SPREAD * total + (1 << 16))
        marks = bytearray(span)
        outliers = self._mark(channels, marks)
        self._find_gaps(marks, sorted(outliers))

    def _mark(self, channels: list[Channel], marks: bytearray) -> dict[int, int]:
        """Mark each number with its channel; returns the outliers."""
        lowest, span = self.lowest, len(marks)
        outliers: dict[int, int] = {}
        for order, channel in enumerate(channels):
            mark = order % 255 + 1
            for number in channel.packet_nums:
                at = number - lowest
                if at < span:
                    if marks[at]:
                        self._again(number, channels[marks[at] - 1], channel)
                    marks[at] = mark
                elif number in outliers:
                    self._again(number, channels[outliers[number]], channel)
                elif len(outliers) < OUTLIERS_MAX:
                    outliers[number] = order
        return outliers

    def _again(self, number: int, first: Channel, second: Channel) -> None:
        self.twice_count += 1
        if len(self.twice) < EXAMPLES:
            self.twice.append((number, first, second))

    def _find_gaps(self, marks: bytearray, outliers: list[int]) -> None:
        for gap in re.finditer(rb"\0+", marks):
            if gap.end() < len(marks):
                self._gap(self.lowest + gap.start(), self.lowest + gap.end() - 1)
        if outliers:
            last = self.lowest + len(marks.rstrip(b"\0")) - 1
            for number in outliers:
                if number > last + 1:
                    self._gap(last + 1, number - 1)
                last = number

    def _gap(self, first: int, last: int) -> None:
        self.missing += last - first + 1
        if len(self.gaps) < EXAMPLES:
            self.gaps.append((first, last))


def _numbers(migration: Migration) -> Numbers | None:
    channels = [channel for channel in migration.multifd if len(channel.packet_nums)]
    return Numbers(channels) if channels else None


@migration_rule("MF228", "packet-num-duplicate", ERROR, holes="GX")
def packet_num_duplicate(migration: Migration) -> Iterator[Spot]:
    """A packet_num occurs twice in one migration.

    Since 9.0 every RAM and SYNC packet has a unique number, so a repeated one means that a packet
    was sent twice or is corrupt.  Senders up to 8.2 repeat numbers.

    Receiver: silent; main traces the maximum.

    Usual cause: a sender up to 8.2 (reported as info); otherwise packets duplicated in between, or
    two migrations mistaken for one.
    """
    numbers = _numbers(migration)
    if numbers is None or not numbers.twice:
        return
    examples = [
        f"{number} ({first.name} and {second.name})" for number, first, second in numbers.twice
    ]
    text = f"packet_num {listed(examples, numbers.twice_count)} occurs twice"
    found = (migration.repeated[n] for n, _, _ in numbers.twice if n in migration.repeated)
    channel, mark = next(found, (numbers.twice[0][2], None))
    yield Spot(text, channel=channel, mark=mark, noted_before="9.0")


@migration_rule("MF229", "packet-num-gap", WARNING, holes="GXLE", forgiven=True)
def packet_num_gap(migration: Migration) -> Iterator[Spot]:
    """Packet numbers are missing.

    Since 9.0 the numbers of all channels together have no gaps.  A missing number is a packet that
    is not in the capture, although no hole is known.  Senders up to 8.2 leave gaps.  With
    compression QEMU 9.0.0 to 9.1.2 and 9.2.0 count packets of zero pages alone, but do not send
    them.

    Receiver: silent.  A page that such a packet should have cleared keeps its old content.

    Usual cause: a channel that the capture filter left out; one of those versions with compression;
    a sender that counts device-state packets too; a sender up to 8.2 (reported as info).
    """
    numbers = _numbers(migration)
    if numbers is None or not numbers.missing:
        return
    gaps = [str(first) if first == last else f"{first}-{last}" for first, last in numbers.gaps]
    listed = sum(last - first + 1 for first, last in numbers.gaps)
    states = sum(channel.device_packets for channel in migration.multifd)
    more = " and others" if numbers.missing > listed else ""
    text = f"{counted(numbers.missing, 'packet number')} missing: {', '.join(gaps)}{more}"
    if numbers.missing == states:
        text += "; there are as many device-state packets, which have none"
    reason = "; others occur twice" if numbers.twice else _unread(migration)
    if not reason and lacks_channels(migration):
        text += "; a channel seems to be missing from the capture"
    elif not reason and drops_zero_packets(migration):
        text += "; QEMU 9.0.0 to 9.1.2 and 9.2.0 do not send packets of zero pages alone"
    yield Spot(text + reason, severity=INFO if reason else None, noted_before="9.0")


def _unread(migration: Migration) -> str:
    """Where undecoded packets may be, other than in a hole."""
    if migration.lacks_bytes:
        return ""
    if (absent := absent_ids(migration)) and not all_captured(migration):
        verb = "is" if len(absent) == 1 else "are"
        return f"; multifd {ranges(absent)} {verb} not in the capture"
    for channel in migration.multifd:
        if channel.skipped:
            return f"; {counted(channel.skipped, 'byte')} of {channel.name} could not be decoded"
        if channel.cut_in is not None:
            return f"; {channel.name} ends inside a packet"
    for channel, *_ in ended_early(migration):
        return f"; {channel.name} was closed early"
    if migration.strangers:
        return f"; stream {migration.strangers[0].stream} to the same port could not be decoded"
    return ""


@ram_rule("MF230", "packet-num-not-increasing", ERROR)
def packet_num_not_increasing(
    packet: RamPacket, channel: Channel, migration: Migration
) -> Spot | None:
    """packet_num does not increase from one packet of a channel to the next.

    Since 9.0 a channel's thread takes the number when it fills the packet, so the numbers increase
    within a channel.  If they do not, packets of the channel were repeated or reordered.

    Receiver: silent.

    Usual cause: a sender up to 8.2 (reported as info); otherwise something in between that
    rearranges the stream.
    """
    before = channel.packet_nums.before
    if packet.packet_num > before:
        return None
    text = f"packet_num {packet.packet_num} follows {before}"
    return Spot(text, noted_before="9.0")


@migration_rule("MF231", "packet-num-start", INFO, holes="LXG")
def packet_num_start(migration: Migration) -> Iterator[Spot]:
    """The lowest packet_num is not 0.

    The counter begins at 0 with every migration, so the first packets are not in the capture.

    Receiver: silent.

    Usual cause: the capture began during the migration, or lacks a channel.
    """
    lowest = min(
        (channel.packet_nums.lowest for channel in migration.multifd if len(channel.packet_nums)),
        default=0,
    )
    if lowest:
        yield Spot(f"the lowest packet_num is {lowest}")
