"""Revisions of the wire format, as data.

Wire-format page, sections 3.4, 5.7 and 10.
"""

from __future__ import annotations

from dissectors.multifd import MultifdFlag

__all__ = ["DIALECTS", "RAM_ERAS", "Dialect", "RamEra", "era_of"]


class Dialect:
    """How one revision of the series sends device state.

    ``device_flag`` is the packet flag that marks device state; ``host_order``: the VFIO header is
    in the sender's byte order; ``channel_header``: every connection begins with the RFC's header;
    ``switchover``: the source sends SWITCHOVER_START.  ``applied_up_to`` is the newest version that
    it was made for: its senders may have that version's RAM packets and the next one's machine
    type, which a tree gets first.  ``meaning`` describes the revision for display.
    """

    __slots__ = (
        "applied_up_to",
        "channel_header",
        "device_flag",
        "host_order",
        "meaning",
        "name",
        "switchover",
    )

    def __init__(
        self,
        name: str,
        device_flag: int,
        host_order: bool,
        meaning: str,
        *,
        channel_header: bool = False,
        switchover: bool = True,
        applied_up_to: tuple[int, int] = (99, 0),
    ) -> None:
        self.name = name
        self.device_flag = device_flag
        self.host_order = host_order
        self.channel_header = channel_header
        self.switchover = switchover
        self.applied_up_to = applied_up_to
        self.meaning = meaning


DIALECTS = {
    dialect.name: dialect
    for dialect in (
        Dialect(
            "rfc0",
            0x10,
            True,
            "RFC, April 2024",
            channel_header=True,
            switchover=False,
            applied_up_to=(9, 1),
        ),
        Dialect(
            "v1",
            0x10,
            True,
            "series v1 and v2, June and August 2024",
            switchover=False,
            applied_up_to=(9, 1),
        ),
        Dialect("v3", int(MultifdFlag.DEVICE_STATE), True, "series v3 to v6, Nov 2024 to Mar 2025"),
        Dialect("upstream", int(MultifdFlag.DEVICE_STATE), False, "QEMU 10.0 and later"),
        Dialect("10.1", int(MultifdFlag.DEVICE_STATE), False, "QEMU 10.1 and later"),
    )
}
"""By ``--dialect`` name, oldest first."""


class RamEra:
    """How senders of one span of versions fill a RAM packet (wire-format page 3.4).

    ``since`` is the first version of the span, (major, minor), by which eras are compared;
    ``meaning`` describes the span for display.
    """

    __slots__ = ("meaning", "name", "since")

    def __init__(self, name: str, since: tuple[int, int], meaning: str) -> None:
        self.name = name
        self.since = since
        self.meaning = meaning


RAM_ERAS = {
    era.name: era
    for era in (
        RamEra("7.2", (4, 0), "QEMU 4.0 to 8.1"),
        RamEra("8.2", (8, 2), "QEMU 8.2"),
        RamEra("9.0", (9, 0), "QEMU 9.0 and 9.1"),
        RamEra("9.2", (9, 2), "QEMU 9.2 and later"),
    )
}
"""By ``--ram-era`` name, oldest first."""
TOLD_SINCE = RAM_ERAS["8.2"].since


def era_of(version: tuple[int, int]) -> RamEra | None:
    """The era that ``version``, the lowest that the sender can have, falls into; ``None`` if that
    leaves every era possible.
    """
    eras = reversed(RAM_ERAS.values())
    return next((era for era in eras if TOLD_SINCE <= era.since <= version), None)
