"""Which multifd channels of a migration are not in the capture, by what the others carry."""

from __future__ import annotations

from itertools import islice

TYPE_CHECKING = False
if TYPE_CHECKING:
    from analyzer.migration.migration import Migration

__all__ = ["absent_ids", "all_captured", "drops_zero_packets", "lacks_channels"]

DROPPED = ((9, 0), (9, 2))
"""The first and last machine type with which compressing senders drop packets of zero pages."""


def absent_ids(migration: Migration) -> list[int]:
    """The ids below the highest that no multifd channel has; empty where channels without a known
    id may have them.
    """
    channels = migration.multifd
    ids = {number for c in channels if (number := c.known_id) is not None}
    absent = [number for number in range(max(ids, default=-1)) if number not in ids]
    nameless = len(channels) - len(ids) + len(migration.strangers)
    return absent if len(absent) > nameless else []


def all_captured(migration: Migration) -> bool:
    """Whether the packet numbers prove that no multifd channel is missing from the capture."""
    unused = _unused_numbers(migration)
    return unused == 0 or (unused is not None and _first_round_whole(migration))


def lacks_channels(migration: Migration) -> bool:
    """Whether multifd channels are missing from the capture: an id is missing, or at least as many
    packet numbers as each channel needs for its SYNCs, the first ones among them.

    The number of its last SYNC may be above all those that are in the capture.
    """
    unused = _unused_numbers(migration)
    if unused is not None:
        enough = unused > 0 and 0 < migration.sync_rounds <= unused + 1
        return enough and not _first_round_whole(migration)
    return bool(absent_ids(migration))


def drops_zero_packets(migration: Migration) -> bool:
    """Whether the sender may be QEMU 9.0.0 to 9.1.2 or 9.2.0 with compression: a packet that has
    zero pages alone gets a number then, but is not sent (wire-format page, section 3.7).
    """
    facts = migration.main_facts
    machine = facts.machine_version if facts is not None else None
    if machine is not None and not DROPPED[0] <= machine <= DROPPED[1]:
        return False
    return any(channel.compression != "none" for channel in migration.multifd)


def _unused_numbers(migration: Migration) -> int | None:
    """How many packet numbers are unused; ``None`` where that is unknown.

    Since 9.0 all channels together use every number once.
    """
    channels = migration.multifd
    if migration.before_era("9.0") or migration.lacks_bytes or migration.began_late:
        return None
    if drops_zero_packets(migration):
        return None
    if any(channel.uncounted or channel.skipped or channel.cut_in for channel in channels):
        return None
    numbers = [channel.packet_nums for channel in channels]
    packets = sum(map(len, numbers))
    return max(one.highest for one in numbers) + 1 - packets if packets else None


def _first_round_whole(migration: Migration) -> bool:
    """Whether the first SYNC round used no number for a channel that is not in the capture.

    That round takes the numbers from 0, one for each channel, before any other packet: with one
    more channel than those captured, a number up to their count would be unused.
    """
    counted = [channel.packet_nums for channel in migration.multifd if channel.packet_nums]
    firsts = {number for numbers in counted for number in islice(numbers, 2)}
    return firsts.issuperset(range(len(counted) + 1))
