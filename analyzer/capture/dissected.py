"""A capture read through tshark: any file format, link type or tunnel that Wireshark knows.

Of each frame only the innermost TCP segment is kept; IP fragments are reassembled.  The segments
are written as a plain capture, in which streams and holes are found as usual.
"""

from __future__ import annotations

import os

from analyzer.capture.raw import OTHER, cut, frame_of
from analyzer.capture.source import Source
from analyzer.capture.tshark import Conversion, addresses_of
from analyzer.capture.tunnels import LINUX_VXLAN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from analyzer.capture.raw import Record

__all__ = ["open_dissected"]

FIELDS = (
    "frame.protocols", "ip.src", "ip.dst", "ipv6.src", "ipv6.dst", "tcp.srcport", "tcp.dstport",
    "tcp.seq_raw", "tcp.ack_raw", "tcp.flags", "tcp.window_size_value", "tcp.len", "tcp.payload",
    "frame.cap_len", "frame.len",
)  # fmt: skip
OPTIONS = (
    "ip.defragment:TRUE", "tcp.analyze_sequence_numbers:FALSE", "tcp.desegment_tcp_streams:FALSE",
    "tcp.relative_sequence_numbers:FALSE",
)  # fmt: skip
UP_TO_TCP = (b"ip", b"ipv6", b"tcp")


def open_dissected(
    path: str | os.PathLike[str] | bytes | Source, tool: str = "tshark"
) -> tuple[Source, Conversion]:
    """Opens the TCP segments as a capture to read.

    Gives the source, and the run of ``tool`` that produces it (see :class:`Conversion`).  Raises
    :class:`analyzer.errors.ToolUnavailable` where the tool is not installed.
    """
    # tshark must not dissect, and so consume, what TCP carries.
    arguments = ["-d", "tcp.port==0-65535,data", "-d", f"udp.port=={LINUX_VXLAN},vxlan"]
    for option in OPTIONS:
        arguments += "-o", option
    run = Conversion(path, arguments, FIELDS, _record, tool=tool)
    if isinstance(path, Source):
        source = Source(path.path, run)
        source.growing = True
        return source, run
    return Source("<memory>" if isinstance(path, bytes) else os.fspath(path), run), run


def _record(values: list[bytes]) -> Record | None:
    """The frame's TCP segment as a raw IP frame.

    Without one: a placeholder for an IP frame that is cut before its TCP header or has no TCP;
    ``None`` for a frame without IP, and for a TCP header whose values are implausible.
    """
    layers = values[0].split(b":")
    addresses = addresses_of(layers, (values[1], values[2], values[3], values[4]))
    segment = _segment(addresses, values[5:13]) if addresses is not None else None
    if segment is not None:
        return segment
    if b"ip" not in layers and b"ipv6" not in layers:
        return None
    captured, original = (int(value) if value.isdigit() else 0 for value in values[13:15])
    if captured < original and layers[-1] in UP_TO_TCP:
        return cut(original)
    return OTHER if addresses is None else None


def _segment(addresses: tuple[bytes, bytes], values: list[bytes]) -> Record | None:
    # The frame's first TCP header counts; a payload may look like another one.
    try:
        sport, dport, seq, ack, flags, window, length = (
            int(value.split(b",")[0], 0) for value in values[:7]
        )
        data = bytes.fromhex(values[7].split(b",")[0].replace(b":", b"").decode("ascii"))
    except ValueError:
        return None
    if max(sport, dport, window) >> 16 or max(seq, ack) >> 32 or len(data) > length:
        return None
    return frame_of(
        addresses, (sport, dport), seq, data, ack=ack, flags=flags, window=window, length=length
    )
