"""The script of a migration is a sequence of :class:`Unit`: what is opened, written and closed.

Faults are functions from units to units, so a unit keeps its packet as a scapy object whose fields
can still be changed, and describes itself so that faults can find it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dissectors.scapy_layers import VFIODeviceStatePacket, VFIODeviceStatePacketHost

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scapy.packet import Packet

    from analyzer.synth.pattern import Bytes

__all__ = ["MAIN", "Unit", "encode", "vfio_header"]

MAIN = "main"


class Unit:
    """One step on one connection.

    ``channel`` names the connection (``main``, ``multifd 0`` ...), ``side`` who acts on it:
    ``client`` or ``server``.  ``kind`` says what it is: ``open``, ``fin`` and ``rst`` are steps of
    TCP, every other kind writes ``packet`` (if there is one) and then ``parts``.  ``device`` and
    ``index`` name a buffer, ``round`` the sync round.  ``wait`` is the time in ns that passes
    first.
    """

    __slots__ = (
        "channel",
        "device",
        "index",
        "kind",
        "packet",
        "parts",
        "round",
        "side",
        "wait",
    )

    def __init__(
        self,
        channel: str,
        kind: str,
        packet: Packet | None = None,
        parts: tuple[Bytes, ...] = (),
        *,
        side: str = "client",
        device: int | None = None,
        index: int | None = None,
        round: int = 0,  # noqa: A002 - QEMU's word
        wait: int = 0,
    ) -> None:
        self.channel = channel
        self.kind = kind
        self.packet = packet
        self.parts = parts
        self.side = side
        self.device = device
        self.index = index
        self.round = round
        self.wait = wait

    def copy(self) -> Unit:
        """A copy whose packet can be changed independently."""
        packet = None if self.packet is None else self.packet.copy()
        return Unit(
            self.channel,
            self.kind,
            packet,
            self.parts,
            side=self.side,
            device=self.device,
            index=self.index,
            round=self.round,
            wait=self.wait,
        )

    def __repr__(self) -> str:
        return f"Unit({self.channel!r}, {self.kind!r}, device={self.device}, index={self.index})"


def encode(unit: Unit) -> Iterator[Bytes]:
    """The bytes that the unit writes, in pieces."""
    if unit.packet is not None:
        yield bytes(unit.packet)
    yield from unit.parts


def vfio_header(unit: Unit) -> Packet:
    """The VFIO header of a device-state unit, in whichever byte order it is."""
    assert unit.packet is not None
    host = VFIODeviceStatePacketHost
    header: Packet = unit.packet[host if host in unit.packet else VFIODeviceStatePacket]
    return header
