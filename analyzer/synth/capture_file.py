"""Writes frames as pcap or pcapng, in both byte orders and resolutions."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from analyzer.synth.framing import LINKTYPES
from analyzer.synth.scenario import ScenarioError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Protocol, TypeAlias

    from analyzer.synth.framing import Frame
    from analyzer.synth.pattern import Bytes
    from analyzer.synth.scenario import Capture

    Wrap: TypeAlias = Callable[[Frame], tuple[Bytes, ...]]

    class Writable(Protocol):
        """An output with a ``write`` method."""

        def write(self, data: bytes, /) -> object:
            """Take the bytes."""


__all__ = ["write"]

CHUNK: Final = 1 << 20
PADDING: Final = (b"", b"\0\0\0", b"\0\0", b"\0")
END_OF_TIME: Final = (1 << 32) * 1_000_000_000
"""Ns since the epoch: pcap has 32 bits of seconds."""


def write(frames: Iterable[Frame], capture: Capture, out: Writable) -> int:
    """Write a whole capture; returns its number of bytes.  With ``capture.keep`` the file is
    truncated after that many bytes, wherever that is.
    """
    out = Kept(out, capture.keep) if capture.keep else out
    head, wrap = pcap(capture) if capture.format == "pcap" else pcapng(capture)
    pieces: list[Bytes] = [head]
    waiting = total = 0
    for frame in frames:
        if frame.time >= END_OF_TIME:
            raise ScenarioError("time", "the time of a frame is too late for a capture file")
        if frame.size > capture.snaplen:
            frame.cut(capture.snaplen)
        pieces += wrap(frame)
        waiting += frame.size
        if waiting >= CHUNK:
            total += put(pieces, out)
            waiting = 0
    return total + put(pieces, out)


class Kept:
    """Passes on only the first ``left`` bytes."""

    def __init__(self, out: Writable, left: int) -> None:
        self._out = out
        self._left = left

    def write(self, data: bytes, /) -> object:
        """Take the bytes."""
        self._out.write(data[: self._left])
        self._left -= min(self._left, len(data))
        return None


def put(pieces: list[Bytes], out: Writable) -> int:
    """Write the pieces and clear the list; returns the number of bytes."""
    data = b"".join(pieces)
    pieces.clear()
    out.write(data)
    return len(data)


def pcap(capture: Capture) -> tuple[bytes, Wrap]:
    """The file header, and the function that makes a record from a frame."""
    order = "<" if capture.byte_order == "little" else ">"
    unit = 1 if capture.resolution == "ns" else 1000
    magic = 0xA1B23C4D if unit == 1 else 0xA1B2C3D4
    pack = struct.Struct(order + "IIII").pack

    def wrap(frame: Frame) -> tuple[Bytes, ...]:
        seconds, rest = divmod(frame.time, 1_000_000_000)
        return pack(seconds, rest // unit, frame.size, frame.wire), *frame.parts

    fields = magic, 2, 4, 0, 0, capture.snaplen, LINKTYPES[capture.link]
    return struct.pack(order + "IHHiIII", *fields), wrap


def pcapng(capture: Capture) -> tuple[bytes, Wrap]:
    """A section with one interface, and the function that makes an enhanced packet block from a
    frame.
    """
    order = "<" if capture.byte_order == "little" else ">"
    unit = 1 if capture.resolution == "ns" else 1000
    options = struct.pack(order + "HHB3xHH", 9, 1, 9, 0, 0) if unit == 1 else b""
    section = struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1)
    interface = struct.pack(order + "HHI", LINKTYPES[capture.link], 0, capture.snaplen)
    pack = struct.Struct(order + "IIIIIII").pack
    tail = struct.Struct(order + "I").pack

    def wrap(frame: Frame) -> tuple[Bytes, ...]:
        stamp = frame.time // unit
        padding = PADDING[frame.size & 3]
        total = 32 + frame.size + len(padding)
        head = pack(6, total, 0, stamp >> 32, stamp & 0xFFFFFFFF, frame.size, frame.wire)
        return head, *frame.parts, padding, tail(total)

    return block(order, 0x0A0D0D0A, section) + block(order, 1, interface + options), wrap


def block(order: str, kind: int, body: bytes) -> bytes:
    """A block with its two lengths; ``body`` is a multiple of 4 long."""
    total = struct.pack(order + "I", 12 + len(body))
    return struct.pack(order + "I", kind) + total + body + total
