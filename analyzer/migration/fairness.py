"""How evenly the channels were used (wire-format page, section 11)."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from analyzer.migration.channel import Channel

__all__ = ["Runs", "jain", "ram_channels", "runs_of", "state_channels"]


def jain(shares: Sequence[int]) -> float | None:
    """Jain's fairness index: 1 when all shares are equal, 1/n when one of n has everything;
    ``None`` without shares.
    """
    squares = sum(share * share for share in shares)
    return sum(shares) ** 2 / (len(shares) * squares) if squares else None


def ram_channels(multifd: Iterable[Channel]) -> list[Channel]:
    """The channels that RAM could be spread over: not those for device state only."""
    return [channel for channel in multifd if channel.synchronises]


def state_channels(multifd: Iterable[Channel]) -> list[Channel]:
    """The channels that device state could be spread over: a channel for device state only that
    carried none is one too many.
    """
    return [channel for channel in multifd if channel.synchronises or channel.device_bytes]


class Runs:
    """How often consecutive packets used the same channel.

    ``packets`` is their number, ``runs`` the number of runs on one channel; the ``longest`` run has
    so many packets on channel ``longest_on``.
    """

    __slots__ = ("longest", "longest_on", "packets", "runs")

    def __init__(self) -> None:
        self.packets = 0
        self.runs = 0
        self.longest = 0
        self.longest_on: int | None = None

    @property
    def again(self) -> float | None:
        """Share of the packets, without the first, that use the same channel as the one before;
        ``None`` with fewer than two.
        """
        if self.packets < 2:
            return None
        return (self.packets - self.runs) / (self.packets - 1)


def runs_of(channels: Iterable[int]) -> Runs:
    """The runs of a sequence of channel ids."""
    found = Runs()
    before: int | None = None
    length = 0
    for channel in channels:
        found.packets += 1
        length = length + 1 if channel == before else 1
        found.runs += length == 1
        if length > found.longest:
            found.longest, found.longest_on = length, channel
        before = channel
    return found
