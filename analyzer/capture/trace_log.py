"""QEMU's trace logs: its own record of the packets that it sent or received.

Reads lines of the ``log`` trace backend in all their forms (thread and time in front, time only, or
neither), plain or compressed.  Other lines are ignored; those that cannot be parsed are counted.
"""

from __future__ import annotations

import re

from analyzer.capture.source import open_source
from analyzer.errors import CaptureError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from analyzer.capture.source import Source

__all__ = ["TraceRun", "TracedPacket", "read_traces"]

CHUNK = 1 << 20
LINE_MAX = 4096
KEPT = 2_000_000
"""Most packets and buffers kept, over all logs."""

LINE = re.compile(
    r"(?:\d+@(?P<seconds>\d{1,12})\.(?P<fraction>\d{1,9}):"
    r"|(?P<day>\d{4}-\d\d-\d\d)T(?P<clock>\d\d:\d\d:\d\d)(?:\.(?P<part>\d{1,9}))?Z?\s+)?"
    r"(?P<event>[a-z][a-z_0-9]*)(?:\s+(?P<rest>.*))?",
    re.ASCII,
)
PACKET = re.compile(
    r"channel (\d{1,5}) packet(?:_num| number) (\d{1,20}).*"
    r" flags 0x([0-9a-f]{1,8}) next packet size (\d{1,10})",
    re.ASCII,
)
CHANNEL = re.compile(r"\d{1,5}", re.ASCII)
BUFFER = re.compile(r"(.*\S)\s+idx (\d{1,10})", re.ASCII)
STARTS = {"multifd_send_thread_start": "source", "multifd_recv_thread_start": "destination"}
PACKETS = {
    "multifd_send_fill": "source",
    "multifd_send": "source",
    "multifd_recv_unfill": "destination",
    "multifd_recv": "destination",
}
INCOMING = "vfio_load_state_device_buffer_incoming"
LOADED = "vfio_load_state_device_buffer_load_end"
LOADING = "vfio_load"
"""Prefix of the names of events that the destination traces while loading device state."""


class TracedPacket:
    """A RAM or SYNC packet as QEMU traced it; ``time`` in ns since the epoch, 0 if unknown."""

    __slots__ = ("flags", "packet_num", "size", "time")

    def __init__(self, packet_num: int, flags: int, size: int, time: int) -> None:
        self.packet_num = packet_num
        self.flags = flags
        self.size = size
        self.time = time


class TraceRun:
    """What one side traced of one migration: packets by channel, buffer indexes by device.

    ``path`` is the log's, ``side`` is ``source`` or ``destination``, ``started`` the channels whose
    threads started.  ``buffers`` are those that arrived, ``loaded`` those given to the device.
    Devices have the names that QEMU's events give them, which are not their idstrs.  ``loads`` says
    that events of loading devices were enabled.  ``ignored`` counts the lines of the log that could
    not be parsed; only the log's first run has the count.
    """

    __slots__ = ("buffers", "ignored", "loaded", "loads", "packets", "path", "side", "started")

    def __init__(self, path: str, side: str) -> None:
        self.path = path
        self.side = side
        self.started: set[int] = set()
        self.packets: dict[int, list[TracedPacket]] = {}
        self.buffers: dict[str, list[int]] = {}
        self.loaded: dict[str, set[int]] = {}
        self.loads = False
        self.ignored = 0


def read_traces(paths: Iterable[str]) -> tuple[TraceRun, ...]:
    """The migrations in trace logs, in order.

    Raises :class:`CaptureError` for a file that cannot be opened, :class:`UsageError` for one
    without traced packets, or where there are more than ``KEPT``.
    """
    runs: list[TraceRun] = []
    kept = 0
    for path in paths:
        reading = _Reading(path)
        for line in _lines(path):
            reading.take(line)
            if kept + reading.kept > KEPT:
                raise UsageError(
                    f"{path}: more than {KEPT:,} traced packets; cut the log down to the "
                    "migration that was captured"
                )
        kept += reading.kept
        found = reading.ended()
        if not found:
            raise UsageError(
                f"{path}: it has no trace of a multifd packet; run QEMU with -trace 'multifd_*' "
                "and -trace 'vfio_*'"
            )
        runs += found
    return tuple(runs)


class _Reading:
    """A log while it is read; ``kept`` counts the packets and buffers taken from it."""

    def __init__(self, path: str) -> None:
        self.kept = 0
        self._path = path
        self._runs: list[TraceRun] = []
        self._open: dict[str, TraceRun] = {}
        self._ignored = 0

    def take(self, line: str) -> None:
        """One line."""
        found = LINE.fullmatch(line.rstrip("\r"))
        if found is None:
            self._ignored += bool(line.strip())
            return
        event, rest = found["event"], found["rest"] or ""
        if event.startswith(LOADING):
            self._run("destination").loads = True
        if event in STARTS and (channel := CHANNEL.fullmatch(rest)):
            self._run(STARTS[event], int(channel[0]))
        elif event in PACKETS and (packet := PACKET.fullmatch(rest)):
            traced = TracedPacket(int(packet[2]), int(packet[3], 16), int(packet[4]), _time(found))
            self._run(PACKETS[event]).packets.setdefault(int(packet[1]), []).append(traced)
            self.kept += 1
        elif event == INCOMING and (buffer := BUFFER.fullmatch(rest)):
            self._run("destination").buffers.setdefault(buffer[1], []).append(int(buffer[2]))
            self.kept += 1
        elif event == LOADED and (buffer := BUFFER.fullmatch(rest)):
            self._run("destination").loaded.setdefault(buffer[1], set()).add(int(buffer[2]))
            self.kept += 1
        elif event in PACKETS or event in (INCOMING, LOADED):
            self._ignored += 1

    def _run(self, side: str, channel: int | None = None) -> TraceRun:
        """The side's current run; a channel that starts a second time begins a new one, unless
        nothing was kept of this one: then it begins anew.
        """
        run = self._open.get(side)
        again = run is not None and channel in run.started
        if run is None or (again and (run.packets or run.buffers or run.loaded)):
            run = self._open[side] = TraceRun(self._path, side)
            self._runs.append(run)
        elif again:
            run.started.clear()
            run.loads = False
        if channel is not None:
            run.started.add(channel)
        return run

    def ended(self) -> list[TraceRun]:
        """The runs with anything to compare."""
        runs = [run for run in self._runs if run.packets or run.buffers]
        if runs:
            runs[0].ignored = self._ignored
        return runs


def _time(found: re.Match[str]) -> int:
    if found["seconds"] is not None:
        return int(found["seconds"]) * 10**9 + int(found["fraction"].ljust(9, "0"))
    if found["day"] is None:
        return 0
    from datetime import UTC, datetime

    try:
        moment = datetime.fromisoformat(f"{found['day']}T{found['clock']}").replace(tzinfo=UTC)
    except ValueError:
        return 0
    return int(moment.timestamp()) * 10**9 + int((found["part"] or "").ljust(9, "0"))


def _lines(path: str) -> Iterator[str]:
    """The lines of a log, each cut to ``LINE_MAX`` bytes, more than QEMU ever writes."""
    source = open_source(path)
    try:
        rest = b""
        for chunk in _chunks(source):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                yield line[:LINE_MAX].decode("utf-8", "replace")
            rest = rest[:LINE_MAX]
        yield rest.decode("utf-8", "replace")
    finally:
        source.close()


def _chunks(source: Source) -> Iterator[bytes]:
    view = memoryview(bytearray(CHUNK))
    while True:
        try:
            count = source.readinto(view)
        except CaptureError:
            return  # unreadable from here, as a cut compressed log: keep what came before
        if not count:
            return
        yield bytes(view[:count])
